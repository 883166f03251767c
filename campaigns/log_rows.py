"""Decisions and events on the grid: which customer, slot and content each row means, and which rows mean none."""

from __future__ import annotations

import numpy as np
import pandas as pd

from campaigns.clock import SlotClock
from campaigns.columns import AMOUNTS
from campaigns.flags import read_flags
from campaigns.ids import MISSING_WORDS, id_keys, rows_of
from campaigns.log_checks import ACTION_PROB, AMOUNT, EVENTS, Quarantine, clean_flags, clean_numbers, clean_times
from campaigns.times import far_from_the_rest


def place_decisions(
    decisions: pd.DataFrame,
    users: pd.DataFrame,
    contents: pd.DataFrame,
    clock: SlotClock,
    quarantine: Quarantine,
    warnings: list[str],
) -> pd.DataFrame:
    """One row a customer and slot, in the order of `users` and time.

    Args:
        decisions: as they were read, with tidy column names.
        users, contents: cleaned.
        clock: the grid.
        quarantine, warnings: take what was set aside, and what was decided.
    Returns:
        The usable rows with `slot`, and with `_user` and `_content`, the rows of the two tables (-1 for a hold).
    """
    decisions = decisions.reset_index(drop=True)
    times = clean_times(decisions, "decisions", clock, quarantine, warnings)
    user_row = _known_users(decisions, users, "decisions", quarantine)
    content_row, unknown = _known_contents(decisions, contents, "decisions", warnings)
    # An unknown content cannot become null, which would say that nothing was sent.
    quarantine.add("decisions", "content_id", np.flatnonzero(unknown), decisions.loc[unknown, "content_id"],
                   "not in contents; the row is left out")  # fmt: skip
    sent = content_row >= 0
    decisions = clean_flags(decisions, "decisions", quarantine)
    decisions = clean_numbers(
        decisions, "decisions", {"action_prob": ACTION_PROB, **dict.fromkeys(AMOUNTS, AMOUNT)}, quarantine
    )
    for column in ("opened", "clicked"):
        if column in decisions.columns:
            impossible = ~sent & ~unknown & (decisions[column] == 1).to_numpy(dtype=bool)
            quarantine.add("decisions", column, np.flatnonzero(impossible), decisions.loc[impossible, column],
                           f"{column} without a send")  # fmt: skip
            decisions.loc[impossible, column] = np.nan
    if "action_prob" not in decisions.columns:
        decisions["action_prob"] = np.nan
    decisions["eligible"] = _eligible(decisions, sent, quarantine)
    forced = ~decisions["eligible"].to_numpy(dtype=bool) & ~sent
    decisions.loc[forced, "action_prob"] = 1.0
    decisions = decisions.assign(_row=np.arange(len(decisions)), _user=user_row, _content=content_row, time=times)
    decisions = decisions[times.notna().to_numpy() & (user_row >= 0) & ~unknown].copy()
    if not len(decisions):
        return decisions
    off_grid = ~clock.on_grid(decisions["time"])
    if off_grid.any():
        warnings.append(
            f"decisions.time: {int(off_grid.sum())} rows were off the grid and moved to their slot's start."
        )
    decisions = _without_stray(decisions.assign(slot=clock.slots(decisions["time"])), "decisions", clock, quarantine)
    if (decisions.groupby("_user")["slot"].diff() < 0).any():
        warnings.append("decisions: a customer's rows were not in order of time; they were sorted.")
    decisions = decisions.iloc[np.lexsort((decisions["_row"], decisions["slot"], decisions["_user"]))]
    repeated = decisions.duplicated(["_user", "slot"])
    quarantine.add("decisions", "time", decisions.loc[repeated, "_row"], decisions.loc[repeated, "time"],
                   "a second decision in one slot; the first is kept")  # fmt: skip
    decisions = decisions[~repeated].copy()
    decisions["time"] = clock.times(decisions["slot"].to_numpy())
    decisions["user_id"] = users["user_id"].to_numpy()[decisions["_user"].to_numpy()]
    decisions["content_id"] = _ids_at(contents["content_id"], decisions["_content"].to_numpy(), decisions.index)
    return decisions.drop(columns=["_row"]).reset_index(drop=True)


def place_events(
    events: pd.DataFrame,
    users: pd.DataFrame,
    contents: pd.DataFrame,
    clock: SlotClock,
    quarantine: Quarantine,
    warnings: list[str],
) -> pd.DataFrame:
    """Events in the order of `users` and time, with `slot`, `_user` and `_content` as in `place_decisions`.

    An open or click of an unknown content is left out; any other event of one keeps its row and loses its content,
    since a purchase is precious and an opt-out binds.
    """
    events = events.reset_index(drop=True)
    times = clean_times(events, "events", clock, quarantine, warnings)
    user_row = _known_users(events, users, "events", quarantine)
    kind = events["event"].astype("string").str.strip().str.lower()
    strange = ~kind.isin(EVENTS).fillna(False).to_numpy(dtype=bool)
    quarantine.add("events", "event", np.flatnonzero(strange), events.loc[strange, "event"],
                   f"must be one of {', '.join(EVENTS)}; the row is left out")  # fmt: skip
    events = clean_numbers(events, "events", dict.fromkeys(AMOUNTS, AMOUNT), quarantine)
    content_row, lost = np.full(len(events), -1, dtype=np.int64), np.zeros(len(events), dtype=bool)
    if "content_id" in events.columns:
        content_row, unknown = _known_contents(events, contents, "events", warnings)
        lost = unknown & kind.isin(("open", "click")).fillna(False).to_numpy(dtype=bool)
        for rows, reason in ((lost, "not in contents; the row is left out"), (unknown & ~lost, "not in contents")):
            quarantine.add("events", "content_id", np.flatnonzero(rows), events.loc[rows, "content_id"], reason)
        events["content_id"] = _ids_at(contents["content_id"], content_row, events.index)
    events = events.assign(event=kind.astype(object), time=times, _user=user_row, _content=content_row)
    events["_row"] = np.arange(len(events))
    events = events[times.notna().to_numpy() & (user_row >= 0) & ~strange & ~lost].copy()
    if not len(events):
        return events.drop(columns=["_row"]).assign(slot=np.zeros(0, dtype=np.int64))
    events = _without_stray(events.assign(slot=clock.slots(events["time"])), "events", clock, quarantine)
    events["user_id"] = users["user_id"].to_numpy()[events["_user"].to_numpy()]
    order = ["_user", "time", "_row"]
    return events.sort_values(order, kind="stable").drop(columns=["_row"]).reset_index(drop=True)


def _known_users(frame: pd.DataFrame, users: pd.DataFrame, table: str, quarantine: Quarantine) -> np.ndarray:
    """Row of each customer, -1 where the id is unknown or missing (which is set aside). Shape [N], int64."""
    keys = id_keys(frame["user_id"], table)
    rows = rows_of(keys, id_keys(users["user_id"], "users"))
    missing = np.array([key is None or key.lower() in MISSING_WORDS for key in keys], dtype=bool) & (rows < 0)
    for bad, reason in ((missing, "missing id"), ((rows < 0) & ~missing, "not in users")):
        quarantine.add(
            table, "user_id", np.flatnonzero(bad), frame.loc[bad, "user_id"], f"{reason}; the row is left out"
        )
    return rows


def _known_contents(
    frame: pd.DataFrame, contents: pd.DataFrame, table: str, warnings: list[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Row of each content (-1 for none) and whether the id is one that `contents` does not list. Shapes [N]."""
    keys = id_keys(frame["content_id"], table)
    rows = rows_of(keys, id_keys(contents["content_id"], "contents"))
    unlisted = (rows < 0) & np.array([key is not None for key in keys], dtype=bool)
    words = unlisted & np.array([key is not None and key.lower() in MISSING_WORDS for key in keys], dtype=bool)
    if words.any():
        first = frame["content_id"][words].iloc[0]
        warnings.append(f"{table}.content_id: {int(words.sum())} times {first!r} or the like is read as missing.")
    return rows, unlisted & ~words


def _ids_at(ids: pd.Series, rows: np.ndarray, index: pd.Index) -> pd.Series:
    """The ids at `rows` in the type that they have in their table, missing at -1."""
    values = np.array([*ids, None], dtype=object)[rows]
    return pd.Series(values, index=index, dtype="Int64" if pd.api.types.is_integer_dtype(ids) else object)


def _eligible(decisions: pd.DataFrame, sent: np.ndarray, quarantine: Quarantine) -> np.ndarray:
    """Whether the customer could be sent anything; true where that is unknown. Shape [N], bool."""
    if "eligible" not in decisions.columns:
        return np.ones(len(decisions), dtype=bool)
    flags = read_flags(decisions["eligible"])
    strange = np.isnan(flags) & decisions["eligible"].notna().to_numpy(dtype=bool)
    refuted = (flags == 0) & sent
    for bad, reason in ((strange, "neither 0 nor 1; taken as eligible"), (refuted, "sent although not eligible")):
        quarantine.add("decisions", "eligible", np.flatnonzero(bad), decisions.loc[bad, "eligible"], reason)
    eligible: np.ndarray = (flags != 0) | sent
    return eligible


def _without_stray(frame: pd.DataFrame, table: str, clock: SlotClock, quarantine: Quarantine) -> pd.DataFrame:
    """The rows without those whose times lie more than a year from all others: one would stretch the grid by it."""
    far = far_from_the_rest(frame["slot"].to_numpy(), clock.slots_in(366))
    quarantine.add(table, "time", frame.loc[far, "_row"], frame.loc[far, "time"],
                   "more than a year from the rest of the log; the row is left out")  # fmt: skip
    return frame[~far].copy()
