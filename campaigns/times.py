"""Time stamps as people write them; what cannot be told apart is refused, not guessed.

Read are ISO 8601 (2025-03-31T16:00, with or without a zone), year first with slashes or dots, German dates
(31.03.2025 16:00), English month names (31 Mar 2025, March 31, 2025), and dates with slashes or dashes and the
year last, where the column itself shows whether the day or the month comes first. Numbers are not times.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd

from campaigns.clock import SlotClock
from campaigns.errors import CampaignError

EARLIEST, LATEST = pd.Timestamp("1990-01-01"), pd.Timestamp("2101-01-01")
"""Time stamps outside are not a campaign's: they stand for "unknown", or are garbage."""

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
ZONE = r"(?:Z|[+-]\d\d(?::?\d\d)?)"
ISO = rf"\d{{4}}-\d\d-\d\d(?:[T ]\d\d(?::\d\d(?::\d\d(?:[.,]\d+)?)?)?\s?{ZONE}?)?"
DIGITS = re.compile(r"(\d{1,4})([-/.])(\d{1,2})\2(\d{1,4})(?:[ T,]+(.*))?")
DAY_NAME_YEAR = re.compile(r"(\d{1,2})[ .-]+([A-Za-z]{3,9})[ .,-]+(\d{4})(?:[ T,]+(.*))?")
NAME_DAY_YEAR = re.compile(r"([A-Za-z]{3,9})[ .]+(\d{1,2}),?[ ]+(\d{4})(?:[ T,]+(.*))?")
HOURS = re.compile(rf"(\d{{1,2}})[:.](\d\d)(?:[:.](\d\d)(?:[.,]\d+)?)?\s*([AaPp]\.?[Mm]\.?)?\s*({ZONE})?(?:\s*Uhr)?")


@dataclass(frozen=True)
class TimeColumn:
    """A column of times as it was read.

    Attributes:
        times: naive wall clock of the grid's zone, NaT where it could not be read; index as given.
        notes: how it was read, where that needed deciding.
    """

    times: pd.Series
    notes: tuple[str, ...] = ()


def read_times(series: pd.Series, clock: SlotClock, column: str) -> TimeColumn:
    """Reads a column of times. Aware times are converted to the grid's zone, naive ones are its wall clock.

    Args:
        series: N values of any type.
        clock: the grid.
        column: its full name, for messages.
    Raises:
        CampaignError: where day and month cannot be told apart, or the column mixes both orders.
    """
    if pd.api.types.is_datetime64_any_dtype(series):
        return TimeColumn(_plausible(_wall_clock(series, clock)))
    if pd.api.types.is_numeric_dtype(series):
        return TimeColumn(pd.Series(pd.NaT, index=series.index, dtype="datetime64[us]"))
    known = series.notna().to_numpy(dtype=bool)
    codes, unique = pd.factorize(series[known].map(str))
    text = pd.Series(unique, dtype=object).str.strip().str.replace(r"\s?(?:UTC|GMT)$", "Z", regex=True)
    is_iso = text.str.fullmatch(ISO).to_numpy(dtype=bool)
    notes: list[str] = []
    if not is_iso.all():
        text = text.mask(~is_iso, pd.Series(_as_iso(text[~is_iso], column, notes), index=text.index[~is_iso]))
    aware = text.str.contains(rf":\d\d(?:[.,]\d+)?\s?{ZONE}$|\dZ$", regex=True).fillna(False).to_numpy(dtype=bool)
    parsed = pd.Series(pd.NaT, index=text.index, dtype="datetime64[us]")
    parsed[~aware] = pd.to_datetime(text[~aware], errors="coerce", format="ISO8601").astype("datetime64[us]")
    if aware.any():
        zoned = pd.to_datetime(text[aware].str.replace(" ", "T", n=1).str.replace(" ", ""), errors="coerce",
                               format="ISO8601", utc=True)  # fmt: skip
        parsed[aware] = _wall_clock(zoned, clock)
        if (~aware & parsed.notna().to_numpy()).any():
            notes.append(
                f"{column}: some times have a zone and some have none; those without are wall clock in "
                f"{clock.timezone}."
            )
    times = pd.Series(pd.NaT, index=series.index, dtype="datetime64[us]")
    times[known] = parsed.to_numpy()[codes]
    return TimeColumn(_plausible(times), tuple(notes))


def _wall_clock(times: pd.Series, clock: SlotClock) -> pd.Series:
    if getattr(times.dt, "tz", None) is not None:
        times = times.dt.tz_convert(clock.timezone).dt.tz_localize(None)
    return times.astype("datetime64[us]")


def _plausible(times: pd.Series) -> pd.Series:
    return times.where((times >= EARLIEST) & (times < LATEST))


def _as_iso(texts: pd.Series, column: str, notes: list[str]) -> list[str | None]:
    """Each text in ISO 8601, None where it is no time that we know how to read."""
    split = [_split(text) for text in texts]
    unsure = [(part, text) for part, text in zip(split, texts, strict=True) if part is not None and part[0] == "?"]
    order = "dmy"
    if unsure:
        order = _order_of(unsure, column)
        words = "day/month/year" if order == "dmy" else "month/day/year"
        notes.append(f"{column}: dates such as {unsure[0][1]!r} are read as {words}, as the column's days show.")
    return [None if part is None else _compose(part, order) for part in split]


def _split(text: object) -> tuple[str, str, str, str, str] | None:
    """Order (`ymd`, `dmy`, or `?` for a year last that may be either), three parts, and the time of day."""
    text = str(text)
    if match := DIGITS.fullmatch(text):
        first, mark, second, third, rest = match.groups()
        if len(first) == 4 and len(third) <= 2:
            return "ymd", first, second, third, rest or ""
        if len(first) <= 2 and len(third) == 4:
            return ("dmy" if mark == "." else "?"), first, second, third, rest or ""
        return None
    if match := DAY_NAME_YEAR.fullmatch(text):
        day, name, year, rest = match.groups()
    elif match := NAME_DAY_YEAR.fullmatch(text):
        name, day, year, rest = match.groups()
    else:
        return None
    if name[:3].lower() not in MONTHS:
        return None
    return "dmy", day, str(MONTHS.index(name[:3].lower()) + 1), year, rest or ""


def _order_of(unsure: list[tuple[tuple[str, str, str, str, str], object]], column: str) -> str:
    """`dmy` or `mdy`, as the days beyond the twelfth show."""
    day_first = [text for part, text in unsure if int(part[1]) > 12]
    month_first = [text for part, text in unsure if int(part[2]) > 12]
    if day_first and month_first:
        raise CampaignError(
            f"{column}: {day_first[0]!r} puts the day first and {month_first[0]!r} the month; "
            "write all dates as 2025-03-31T16:00."
        )
    open_ = [text for part, text in unsure if part[1] != part[2]]
    if open_ and not day_first and not month_first:
        raise CampaignError(
            f"{column}: {open_[0]!r} may be day/month or month/day, and no date in the column tells; "
            "write dates as 2025-03-31T16:00."
        )
    return "mdy" if month_first else "dmy"


def _compose(part: tuple[str, str, str, str, str], order: str) -> str | None:
    kind, first, second, third, rest = part
    order = order if kind == "?" else kind
    values = dict(zip(order, (int(first), int(second), int(third)), strict=True))
    hour = minute = second_ = 0
    zone = ""
    if rest.strip():
        match = HOURS.fullmatch(rest.strip())
        if match is None:
            return None
        hour, minute, second_ = int(match[1]), int(match[2]), int(match[3] or 0)
        if match[4]:
            if not 1 <= hour <= 12:
                return None
            hour = hour % 12 + (12 if match[4][0] in "pP" else 0)
        zone = match[5] or ""
    try:
        stamp = datetime(values["y"], values["m"], values["d"], hour, minute, second_)
    except ValueError:
        return None
    return stamp.isoformat() + zone


def far_from_the_rest(slots: np.ndarray, slots_per_year: int) -> np.ndarray:
    """Which rows lie more than a year from all others, so that they cannot be this log's.

    Args:
        slots: slot of each row. Shape [N], int64.
        slots_per_year: length of a year.
    Returns:
        True where less than a hundredth of the rows lies beyond a gap of a year. Shape [N], bool.
    """
    far = np.zeros(len(slots), dtype=bool)
    unique, counts = np.unique(slots, return_counts=True)
    few = len(slots) / 100
    gaps = np.flatnonzero(np.diff(unique) > slots_per_year)
    before = np.cumsum(counts)
    early = [gap for gap in gaps if before[gap] < few]
    late = [gap for gap in gaps if len(slots) - before[gap] < few]
    if early:
        far |= slots <= unique[early[-1]]
    if late:
        far |= slots > unique[late[0]]
    return far
