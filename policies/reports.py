"""Tables of the past as callers hand them in: outcomes on the way, and histories at a session's start."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from campaigns.attribution import COLUMN_OF, Sends, credited_sends
from campaigns.clock import SlotClock
from campaigns.columns import AMOUNTS, FLAGS
from campaigns.errors import CampaignError
from campaigns.flags import read_flags
from campaigns.history import ABSENT, HOLD
from campaigns.log_checks import EVENTS
from campaigns.times import read_times
from policies.ledger import ITSELF, POSSIBLE_ON_HOLD, Past, bit
from policies.roster import Roster, as_table

CREDITING = ("purchased", "clicked", "opened")
"""Events by whose content a slot's events are credited; the later in this order the sooner, as in replay."""


@dataclass(frozen=True)
class Report:
    """What came of decisions of one slot.

    Attributes:
        slot: of the decisions.
        rows: customers, each once, ascending. Shape [R], int64.
        decision: what was really done, shape [R], int64; None where the report does not say.
        told: bits of FLAGS that the report tells. Shape [R], uint8.
        happened: bits of those that happened. Shape [R], uint8.
    """

    slot: int
    rows: Tensor
    decision: Tensor | None
    told: Tensor
    happened: Tensor


class OutcomeTable:
    """Outcomes in rows of a session's customers; rows of other users are left out, of repeated ones the last is kept.

    Args:
        frame: user_id, time and any of content_id and the outcome columns.
        roster, clock: of the session.
        name: of the table, in errors.
    Raises:
        CampaignError: for missing keys, unreadable times, flags or amounts.
    """

    def __init__(self, frame: pd.DataFrame, roster: Roster, clock: SlotClock, name: str = "observe") -> None:
        frame = as_table(frame, name)
        require(frame, ("user_id", "time"), name)
        row = roster.users.rows(frame["user_id"], name)
        frame = frame[row >= 0]
        row = row[row >= 0]
        slot = slots_of(frame["time"], clock, name)
        told, happened = _bits(frame, name)
        decision = roster.decisions(frame["content_id"], name) if "content_id" in frame.columns else None
        key = pd.DataFrame({"slot": slot, "row": row})
        last = np.flatnonzero(~key.duplicated(keep="last").to_numpy())
        order = last[np.lexsort((row[last], slot[last]))]
        self.row, self.slot = row[order], slot[order]
        self.told, self.happened = told[order], happened[order]
        self.decision = None if decision is None else decision[order]

    def by_slot(self) -> Iterator[Report]:
        """One report a slot, in order of time."""
        _, starts = np.unique(self.slot, return_index=True)
        for begin, end in zip(starts, np.append(starts, len(self.slot))[1:], strict=True):
            part = slice(int(begin), int(end))
            yield Report(
                int(self.slot[begin]),
                torch.from_numpy(self.row[part]),
                None if self.decision is None else torch.from_numpy(self.decision[part]),
                torch.from_numpy(self.told[part]),
                torch.from_numpy(self.happened[part]),
            )


def read_history(
    history: pd.DataFrame | Mapping[str, pd.DataFrame], roster: Roster, clock: SlotClock, attribution_hours: float
) -> tuple[Past, int | None]:
    """The past of a session's customers.

    Where events are given, what history sees is theirs, at their own time; of the decisions' flags an opt-out binds
    all the same. An event is credited to the content that it names, else to the customer's latest send within the
    window, as in training.

    Args:
        history: decisions with outcomes, or `{"decisions": ..., "events": ...}`; rows of other users are ignored.
        roster, clock: of the session.
        attribution_hours: how long after a send an event without a content is credited to it, in hours.
    Returns:
        The past, and the slot of the latest decision (None for an empty past).
    Raises:
        CampaignError: for missing tables or columns, unreadable times or flags, unknown kinds of events.
    """
    if not isinstance(history, pd.DataFrame | Mapping):
        raise CampaignError(f"history: got {type(history).__name__}; give a decisions table, or decisions and events.")
    tables = {"decisions": history} if isinstance(history, pd.DataFrame) else dict(history)
    if set(tables) - {"decisions", "events"} or tables.get("decisions") is None:
        raise CampaignError(
            f"history: got the tables {sorted(map(str, tables))}; give a decisions table, or decisions and events."
        )
    require(as_table(tables["decisions"], "history"), ("user_id", "time", "content_id"), "history")
    decisions = OutcomeTable(tables["decisions"], roster, clock, "history")
    assert decisions.decision is not None
    happened = np.where(decisions.decision == HOLD, decisions.happened & POSSIBLE_ON_HOLD, decisions.happened)
    latest = int(decisions.slot.max()) if len(decisions.slot) else None
    past = Past(decisions.slot, decisions.row, decisions.decision, happened.astype(np.uint8))
    if tables.get("events") is None:
        return past, latest
    past.happened &= bit("unsubscribed")
    return _merged(past, _event_rows(tables["events"], roster, clock, past, attribution_hours), len(roster)), latest


def require(frame: pd.DataFrame, columns: tuple[str, ...], name: str) -> None:
    """Checks that columns are there.

    Raises:
        CampaignError: naming the first that is not.
    """
    for column in columns:
        if column not in frame.columns:
            told = "; a missing content_id says that nothing was sent" if column == "content_id" else ""
            raise CampaignError(
                f"{name}: column {column!r} is missing{told}. "
                f"The table has: {', '.join(map(str, frame.columns)) or 'no columns'}."
            )


def slots_of(times: pd.Series, clock: SlotClock, name: str) -> np.ndarray:
    """The slot in which each time lies; see `times_of`. Shape [N], int64."""
    return np.asarray(clock.slots(times_of(times, clock, name)))


def times_of(times: pd.Series, clock: SlotClock, name: str) -> pd.DatetimeIndex:
    """Each time as naive wall clock of the grid's zone. Length N.

    Raises:
        CampaignError: naming the first time that cannot be read, and its row.
    """
    if not len(times):
        return pd.DatetimeIndex([])
    codes, uniques = pd.factorize(times)  # a table has few times and many rows
    parsed = read_times(pd.Series(uniques, name="time"), clock, f"{name}.time").times
    good = np.append(parsed.notna().to_numpy(dtype=bool), False)[codes]  # a missing time has code -1, the last
    if not good.all():
        bad = np.flatnonzero(~good)
        raise CampaignError(
            f"{name}.time: {times.iloc[bad[0]]!r} in row {times.index[bad[0]]} (and {len(bad) - 1} more) is not "
            "readable as a time stamp; write 2025-04-01T16:00."
        )
    return pd.DatetimeIndex(parsed)[codes]


def _bits(frame: pd.DataFrame, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Which of FLAGS each row tells, and which happened; as bits, uint8."""
    told, happened = np.zeros(len(frame), dtype=np.uint8), np.zeros(len(frame), dtype=np.uint8)

    def tell(column: str, known: np.ndarray, true: np.ndarray) -> None:
        nonlocal told, happened
        told |= known.astype(np.uint8) * bit(column)
        happened |= true.astype(np.uint8) * bit(column)

    for column in FLAGS:
        if column in frame.columns:
            known, true = _flag(frame[column], f"{name}.{column}")
            tell(column, known, true)
            if column == "clicked":
                tell("opened", true, true)  # nobody clicks what was not opened
    for column in AMOUNTS:
        if column not in frame.columns:
            continue
        amount = pd.to_numeric(frame[column], errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
        bad = np.flatnonzero(np.isnan(amount) & frame[column].notna().to_numpy())
        if len(bad):
            raise CampaignError(
                f"{name}.{column}: {frame[column].iloc[bad[0]]!r} in row {frame.index[bad[0]]} is not a number."
            )
        if "purchased" not in frame.columns:  # as a log is read: what brought something was a purchase
            tell("purchased", ~np.isnan(amount), np.nan_to_num(amount) != 0)
    return told, happened


def _flag(series: pd.Series, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Where a flag is known, and where it is true."""
    known = series.notna().to_numpy(dtype=bool)
    if pd.api.types.is_numeric_dtype(series.dtype):  # the usual case, without a detour by text
        flags = series.to_numpy(dtype=np.float64, na_value=np.nan)
        flags = np.where((flags == 0) | (flags == 1), flags, np.nan)
    else:
        flags = read_flags(series)
    unreadable = np.flatnonzero(known & np.isnan(flags))
    if len(unreadable):
        first = int(unreadable[0])
        raise CampaignError(f"{name}: {series.iloc[first]!r} in row {series.index[first]} is neither 0 nor 1.")
    return known, flags == 1


def _event_rows(
    events: pd.DataFrame, roster: Roster, clock: SlotClock, decisions: Past, attribution_hours: float
) -> Past:
    """One row a customer and slot in which something happened."""
    events = as_table(events, "history events")
    require(events, ("user_id", "time", "event"), "history events")
    kind = events["event"].astype("string").str.strip().str.lower()
    strange = np.flatnonzero(~kind.isin(EVENTS).fillna(False).to_numpy(dtype=bool))
    if len(strange):
        raise CampaignError(
            f"history events.event: {events['event'].iloc[strange[0]]!r} in row {strange[0]} must be one of "
            f"{', '.join(EVENTS)}."
        )
    row = roster.users.rows(events["user_id"], "history events")
    seen = (row >= 0) & kind.isin(list(COLUMN_OF)).to_numpy(dtype=bool)  # a refund changes money, not history
    events, row, kind = events[seen], row[seen], kind[seen]
    times = times_of(events["time"], clock, "history events")
    slot = np.asarray(clock.slots(times))
    content = np.zeros(len(events), dtype=np.int64)
    if "content_id" in events.columns:
        content = roster.decisions(events["content_id"], "history events")
    sent = np.flatnonzero(decisions.decision > HOLD)
    sent = sent[np.lexsort((decisions.slot[sent], decisions.row[sent]))]
    sends = Sends(decisions.row[sent], decisions.slot[sent], decisions.decision[sent])
    named = pd.DataFrame(
        {
            "_user": row,
            "slot": slot,
            "time": times,
            "_content": np.where(content > HOLD, content, -1),
        }
    )
    credited = credited_sends(sends, named, clock, attribution_hours)
    if len(sent):
        content = np.where((content == HOLD) & (credited >= 0), sends.content[np.maximum(credited, 0)], content)
    column = kind.map(COLUMN_OF).to_numpy()
    bits = np.array([bit(str(name)) for name in column], dtype=np.uint8)
    size = len(roster)
    keys, cell = np.unique(slot * size + row, return_inverse=True)
    happened = np.zeros(len(keys), dtype=np.uint8)
    np.bitwise_or.at(happened, cell, bits)
    credit, left = np.full(len(keys), ITSELF, dtype=np.int64), np.full(len(keys), ITSELF, dtype=np.int64)
    for name in CREDITING:
        named = (column == name) & (content > HOLD)
        credit[cell[named]] = content[named]
    named = (column == "unsubscribed") & (content > HOLD)
    left[cell[named]] = content[named]
    return Past(keys // size, keys % size, np.full(len(keys), ABSENT, dtype=np.int64), happened, credit, left)


def _merged(decisions: Past, events: Past, size: int) -> Past:
    """Both in one row a customer and slot, in order of time."""
    keys = np.append(decisions.slot, events.slot) * size + np.append(decisions.row, events.row)
    unique, cell = np.unique(keys, return_inverse=True)
    first, second = cell[: len(decisions.slot)], cell[len(decisions.slot) :]
    assert events.credit is not None
    assert events.left is not None
    decision = np.full(len(unique), ABSENT, dtype=np.int64)
    decision[first] = decisions.decision
    happened = np.zeros(len(unique), dtype=np.uint8)
    happened[first] = decisions.happened
    happened[second] |= events.happened
    credit, left = np.full(len(unique), ITSELF, dtype=np.int64), np.full(len(unique), ITSELF, dtype=np.int64)
    credit[second], left[second] = events.credit, events.left
    return Past(unique // size, unique % size, decision, happened, credit, left)
