"""The decision grid: wall-clock slots aligned to midnight, and what a customer's own clock says in each.

A slot is an integer: the number of `slot_hours` long intervals of wall clock since 1970-01-01 00:00 in the
grid's time zone; weeks count from the Monday before. Daylight saving therefore never shifts the grid: a skipped
hour leaves a slot short, a repeated hour makes one long. A send goes out at the start of its slot, and that instant
is what quiet hours and dayparts are judged by, on the customer's own clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from campaigns.errors import CampaignError

DAYPARTS = ("night", "morning", "afternoon", "evening")
"""Local 00-06, 06-12, 12-18 and 18-24 h."""

MINUTES_PER_DAY = 24 * 60

WEEK = 168
"""Hours of the one slot that is longer than a day."""

MONDAY = 72
"""Hours by which the week of 1970-01-01, a Thursday, had begun."""


@dataclass(frozen=True)
class SlotClock:
    """The decision grid.

    Attributes:
        timezone: IANA name of the grid's wall clock.
        slot_hours: length of a slot, in hours; a divisor of 24, or 168 for weeks that begin on Monday.
    """

    timezone: str = "UTC"
    slot_hours: int = 4

    def __post_init__(self) -> None:
        if self.slot_hours != WEEK and (self.slot_hours < 1 or 24 % self.slot_hours):
            raise CampaignError(
                f"data.slot_hours={self.slot_hours}: must divide 24 (1, 2, 3, 4, 6, 8, 12 or 24), or be 168, a week."
            )
        if not is_timezone(self.timezone):
            raise CampaignError(
                f"data.timezone={self.timezone!r} is no IANA time zone; write for example Europe/Berlin or UTC."
            )

    @property
    def slots_per_day(self) -> int:
        """Number of slots in 24 h; 0 where a slot is a week, so spans are better asked of `slots_in`."""
        return 24 // self.slot_hours

    def slots_in(self, days: int) -> int:
        """Whole slots in `days` days: 0 where a slot is longer."""
        return days * 24 // self.slot_hours

    @property
    def _begun(self) -> int:
        return MONDAY if self.slot_hours == WEEK else 0

    def slots(self, times: pd.Series[pd.Timestamp] | pd.DatetimeIndex) -> np.ndarray:
        """Slot number of each time. Naive times are wall clock in `timezone`; aware ones are converted to it.

        Args:
            times: N parsed time stamps without missing values.
        Returns:
            int64 array, shape [N].
        """
        index = pd.DatetimeIndex(times)
        if index.tz is not None:
            index = index.tz_convert(self.timezone).tz_localize(None)
        hours = index.values.astype("datetime64[h]").astype(np.int64)
        return np.floor_divide(hours + self._begun, self.slot_hours)

    def on_grid(self, times: pd.Series[pd.Timestamp] | pd.DatetimeIndex) -> np.ndarray:
        """Whether each time is exactly the start of a slot. Shape [N], bool."""
        index = pd.DatetimeIndex(times)
        if index.tz is not None:
            index = index.tz_convert(self.timezone).tz_localize(None)
        return np.asarray(self.times(self.slots(index)) == index)

    def times(self, slots: np.ndarray | Sequence[int]) -> pd.DatetimeIndex:
        """Naive wall-clock start of each slot, in `timezone`. Shape [N]."""
        hours = np.asarray(slots, dtype=np.int64) * self.slot_hours - self._begun
        return pd.DatetimeIndex(hours.astype("datetime64[h]").astype("datetime64[us]"))

    def slot(self, time: object) -> int:
        """Slot number of one time stamp (str, datetime or Timestamp, naive or aware).

        Raises:
            CampaignError: when `time` is not a time.
        """
        try:
            stamp = pd.Timestamp(time)  # type: ignore[arg-type]
        except (TypeError, ValueError) as error:
            raise CampaignError(f"time={time!r} is no time stamp: {error}.") from None
        if pd.isna(stamp):
            raise CampaignError("time is missing (NaT); give a time stamp.")
        return int(self.slots(pd.DatetimeIndex([stamp]))[0])


@dataclass(frozen=True)
class LocalCalendar:
    """What the customers' clocks say at the start of each slot of a stretch.

    Attributes:
        first_slot: slot number of column 0.
        minute: local minute of the day, 0..1439. Shape [Z, T], int64.
        weekday: local day of the week, Monday = 0. Shape [Z, T], int64.
    """

    first_slot: int
    minute: np.ndarray
    weekday: np.ndarray


def is_timezone(name: object) -> bool:
    """Whether `name` is an IANA time zone that this machine knows."""
    if not isinstance(name, str) or not name:
        return False
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return True


@lru_cache(maxsize=1024)
def local_calendar(clock: SlotClock, zones: tuple[str, ...], first_slot: int, slots: int) -> LocalCalendar:
    """Local time of day and weekday for every zone and slot.

    A wall-clock start that daylight saving skips counts as the first instant after the gap; one that occurs
    twice counts as its first occurrence.

    Args:
        clock: the grid.
        zones: Z IANA names.
        first_slot: slot number of the first column.
        slots: T, the number of columns.
    Returns:
        The calendar, shapes [Z, T].
    """
    starts = clock.times(np.arange(first_slot, first_slot + slots))
    instants = starts.tz_localize(clock.timezone, ambiguous=np.ones(slots, dtype=bool), nonexistent="shift_forward")
    minute = np.empty((len(zones), slots), dtype=np.int64)
    weekday = np.empty((len(zones), slots), dtype=np.int64)
    for row, zone in enumerate(zones):  # a few dozen zones, never customers
        local = instants.tz_convert(zone)
        minute[row] = local.hour * 60 + local.minute
        weekday[row] = local.day_of_week
    return LocalCalendar(first_slot, minute, weekday)
