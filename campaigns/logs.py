"""The log: what was sent to whom, when, and what came of it; read, checked and put in order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from campaigns.attribution import attribute_events
from campaigns.clock import SlotClock
from campaigns.errors import CampaignError
from campaigns.log_checks import (
    ACTION_PROB,
    AMOUNT,
    AMOUNTS,
    EVENTS,
    FLAGS,
    Quarantine,
    clean_contents,
    clean_flags,
    clean_numbers,
    clean_times,
    clean_users,
    require_columns,
)
from campaigns.log_reader import SUFFIXES, find_table, read_table

DERIVED = ("slot", "labelled", "_user", "_content")
"""Columns that reading adds and writing leaves out."""

HOLDS = ("logged", "implied", "absent")


@dataclass(frozen=True)
class LogSettings:
    """How a log is read.

    Attributes:
        path: folder with `users`, `contents`, `decisions` and optionally `events`, as .parquet, .csv or .csv.gz.
        holds: `logged` (hold rows are there), `implied` (the grid is complete, absent rows are holds) or `absent`
            (only sends were logged).
        slot_hours: length of a decision slot, in hours.
        timezone: IANA zone of naive times and of the grid.
        attribution_hours: events this long after a send are credited to it, in hours.
        max_rejected: largest share of a table's rows that may have something set aside.
    """

    path: str = ""
    holds: str = "logged"
    slot_hours: int = 4
    timezone: str = "UTC"
    attribution_hours: float = 24.0
    max_rejected: float = 0.05

    def __post_init__(self) -> None:
        if self.holds not in HOLDS:
            raise CampaignError(f"data.holds={self.holds!r}: must be one of {', '.join(HOLDS)}.")
        if not 0 <= self.max_rejected <= 1:
            raise CampaignError(f"data.max_rejected={self.max_rejected}: must be a share from 0 to 1.")
        if self.attribution_hours <= 0:
            raise CampaignError(f"data.attribution_hours={self.attribution_hours}: must be more than 0 hours.")


@dataclass(frozen=True)
class CampaignLog:
    """A log that can be learned from.

    Attributes:
        users: one row a customer.
        contents: one row a content.
        decisions: one row a customer and slot, in the order of `users` and time, with the columns user_id, time
            (start of the slot, naive wall clock), slot, content_id (null = hold), action_prob (NaN = unknown),
            eligible, labelled, and the outcomes that are known.
        events: what happened when, with a `slot`; None where outcomes stand in the decisions alone.
        rejected: what was set aside: table, row, column, value, reason.
        report: what reading found, JSON-able.
        settings: how it was read.
    """

    users: pd.DataFrame
    contents: pd.DataFrame
    decisions: pd.DataFrame
    events: pd.DataFrame | None
    rejected: pd.DataFrame
    report: dict[str, Any]
    settings: LogSettings

    @property
    def clock(self) -> SlotClock:
        """The decision grid."""
        return SlotClock(self.settings.timezone, self.settings.slot_hours)


def read_log(path: str | Path, settings: LogSettings, margin_rate: float = 0.3) -> CampaignLog:
    """Reads a log from a folder.

    Args:
        path: the folder.
        settings: how.
        margin_rate: margin as a share of revenue, where the log has revenue but no value.
    Raises:
        CampaignError: where a table or key column is missing, a file is unreadable, nothing usable is left, or more
            than `settings.max_rejected` of a table's rows have faults.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise CampaignError(
            f"data.path={str(path)!r} is no folder; give the folder that holds users, contents and decisions."
        )
    tables: dict[str, pd.DataFrame] = {}
    for table in ("users", "contents", "decisions", "events"):
        file = find_table(folder, table)
        if file is None:
            if table == "events":
                continue
            there = ", ".join(sorted(p.name for p in folder.iterdir())) or "nothing"
            raise CampaignError(
                f"{folder.name}: table {table!r} is missing; expected {table} with one of {', '.join(SUFFIXES)}, "
                f"the folder holds {there}."
            )
        tables[table] = read_table(file)
        require_columns(tables[table], table, file.name)
    return make_log(tables, settings, margin_rate)


def make_log(tables: Mapping[str, pd.DataFrame], settings: LogSettings, margin_rate: float = 0.3) -> CampaignLog:
    """Checks tables and puts them in order; see `read_log` for what is raised.

    Args:
        tables: `users`, `contents`, `decisions` and optionally `events`.
        settings, margin_rate: as for `read_log`.
    """
    clock = SlotClock(settings.timezone, settings.slot_hours)
    quarantine, warnings = Quarantine(), []
    for name, table in tables.items():
        require_columns(table, name, name)
        quarantine.sizes[name] = len(table)
    users = clean_users(tables["users"].copy(), quarantine, warnings)
    contents = clean_contents(tables["contents"].copy(), quarantine, warnings)
    if not len(tables["decisions"]):
        raise CampaignError("decisions: the table is empty; there is nothing to learn from.")
    decisions = _clean_decisions(tables["decisions"].copy(), users, contents, clock, quarantine, warnings)
    events = None
    if "events" in tables and len(tables["events"]):
        events = _clean_events(tables["events"].copy(), users, contents, clock, quarantine)
    quarantine.refuse_beyond(settings.max_rejected)
    if not len(decisions):
        raise CampaignError("decisions: no usable row is left; see the reasons in rejected.parquet.")
    decisions["labelled"] = True
    if events is not None:
        decisions = attribute_events(decisions, events, clock, settings.attribution_hours, contents)
    decisions = _with_value(decisions, margin_rate, warnings)
    _note_oddities(users, decisions, settings, warnings)
    report = {
        "rows": {name: int(size) for name, size in quarantine.sizes.items()},
        "kept": {"users": len(users), "contents": len(contents), "decisions": len(decisions)},
        "warnings": warnings,
        "rejected": quarantine.summary(),
        "preparation": [],
    }
    return CampaignLog(users, contents, decisions, events, quarantine.frame(), report, settings)


def write_log(tables: CampaignLog | Mapping[str, pd.DataFrame], folder: str | Path) -> Path:
    """Writes a log's tables as Parquet into `folder`, and what was set aside as `rejected.parquet`."""
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    if isinstance(tables, CampaignLog):
        tables.rejected.astype("string").to_parquet(target / "rejected.parquet", index=False)
        parts = {"users": tables.users, "contents": tables.contents, "decisions": tables.decisions}
        if tables.events is not None:
            parts["events"] = tables.events
        parts = {name: frame.drop(columns=[c for c in DERIVED if c in frame.columns]) for name, frame in parts.items()}
    else:
        parts = dict(tables)
    for name, frame in parts.items():
        frame.to_parquet(target / f"{name}.parquet", index=False)
    return target


def _clean_decisions(
    decisions: pd.DataFrame,
    users: pd.DataFrame,
    contents: pd.DataFrame,
    clock: SlotClock,
    quarantine: Quarantine,
    warnings: list[str],
) -> pd.DataFrame:
    decisions = decisions.reset_index(drop=True)
    times = clean_times(decisions, "decisions", clock, quarantine)
    user_row = _rows_of(decisions["user_id"], users["user_id"])
    content_row = _rows_of(decisions["content_id"], contents["content_id"])
    unknown_user = (user_row < 0) & times.notna().to_numpy()
    unknown_content = (content_row < 0) & decisions["content_id"].notna().to_numpy() & ~unknown_user
    # An unknown content cannot become null, which would say that nothing was sent.
    quarantine.add("decisions", "user_id", np.flatnonzero(unknown_user), decisions.loc[unknown_user, "user_id"],
                   "not in users; the row is left out")  # fmt: skip
    quarantine.add("decisions", "content_id", np.flatnonzero(unknown_content),
                   decisions.loc[unknown_content, "content_id"], "not in contents; the row is left out")  # fmt: skip
    decisions = clean_flags(decisions, "decisions", quarantine)
    decisions = clean_numbers(
        decisions, "decisions", {"action_prob": ACTION_PROB, **dict.fromkeys(AMOUNTS, AMOUNT)}, quarantine
    )
    held = decisions["content_id"].isna()
    for column in ("opened", "clicked"):
        if column in decisions.columns:
            impossible = held & (decisions[column] == 1)
            quarantine.add("decisions", column, np.flatnonzero(impossible), decisions.loc[impossible, column],
                           f"{column} without a send")  # fmt: skip
            decisions.loc[impossible, column] = np.nan
    decisions["_row"] = np.arange(len(decisions))
    decisions["_user"] = user_row
    decisions["_content"] = content_row
    decisions["time"] = times
    decisions = decisions[times.notna().to_numpy() & ~unknown_user & ~unknown_content].copy()
    if not len(decisions):
        return decisions
    off_grid = ~clock.on_grid(decisions["time"])
    if off_grid.any():
        warnings.append(
            f"decisions.time: {int(off_grid.sum())} rows were off the grid and moved to their slot's start."
        )
    decisions["slot"] = clock.slots(decisions["time"])
    order = np.lexsort((decisions["_row"], decisions["slot"], decisions["_user"]))
    if (decisions.groupby("_user")["slot"].diff() < 0).any():
        warnings.append("decisions: a customer's rows were not in order of time; they were sorted.")
    decisions = decisions.iloc[order]
    repeated = decisions.duplicated(["_user", "slot"])
    quarantine.add("decisions", "time", decisions.loc[repeated, "_row"], decisions.loc[repeated, "time"],
                   "a second decision in one slot; the first is kept")  # fmt: skip
    decisions = decisions[~repeated].copy()
    decisions["time"] = clock.times(decisions["slot"].to_numpy())
    if "action_prob" not in decisions.columns:
        decisions["action_prob"] = np.nan
    if "eligible" in decisions.columns:
        text = decisions["eligible"].astype("string").str.strip().str.lower()
        decisions["eligible"] = ~text.isin({"0", "0.0", "false", "f", "no"}).fillna(False).to_numpy(dtype=bool)
        forced = ~decisions["eligible"] & decisions["content_id"].isna()
        decisions.loc[forced, "action_prob"] = 1.0
    else:
        decisions["eligible"] = True
    ids = users["user_id"].to_numpy()
    decisions["user_id"] = ids[decisions["_user"].to_numpy()]
    return decisions.drop(columns=["_row"]).reset_index(drop=True)


def _clean_events(
    events: pd.DataFrame, users: pd.DataFrame, contents: pd.DataFrame, clock: SlotClock, quarantine: Quarantine
) -> pd.DataFrame:
    events = events.reset_index(drop=True)
    times = clean_times(events, "events", clock, quarantine)
    user_row = _rows_of(events["user_id"], users["user_id"])
    unknown = user_row < 0
    quarantine.add("events", "user_id", np.flatnonzero(unknown), events.loc[unknown, "user_id"],
                   "not in users; the row is left out")  # fmt: skip
    kind = events["event"].astype("string").str.strip().str.lower()
    strange = ~kind.isin(EVENTS).fillna(False).to_numpy(dtype=bool)
    quarantine.add("events", "event", np.flatnonzero(strange), events.loc[strange, "event"],
                   f"must be one of {', '.join(EVENTS)}; the row is left out")  # fmt: skip
    events = clean_numbers(events, "events", dict.fromkeys(AMOUNTS, AMOUNT), quarantine)
    events["event"] = kind
    events["time"] = times
    events["_user"] = user_row
    events["_content"] = -1
    if "content_id" in events.columns:
        events["_content"] = _rows_of(events["content_id"], contents["content_id"])
    events = events[times.notna().to_numpy() & ~unknown & ~strange].copy()
    if len(events):
        events["slot"] = clock.slots(events["time"])
        events = events.sort_values(["_user", "time"], kind="stable")
    else:
        events["slot"] = np.zeros(0, dtype=np.int64)
    return events.reset_index(drop=True)


def _with_value(decisions: pd.DataFrame, margin_rate: float, warnings: list[str]) -> pd.DataFrame:
    if "value" not in decisions.columns and "revenue" in decisions.columns:
        decisions["value"] = decisions["revenue"] * margin_rate
        warnings.append(f"decisions: no value column; margin is taken as {margin_rate:.0%} of revenue (assumed).")
    if "value" not in decisions.columns:
        warnings.append(
            "decisions: neither value nor revenue; only counts (purchased, visited...) can be the objective."
        )
    for column in AMOUNTS:
        if column in decisions.columns:
            decisions[column] = decisions[column].astype("float32")
    if "purchased" not in decisions.columns and "value" in decisions.columns:
        decisions["purchased"] = (decisions["value"].fillna(0) != 0).astype("float32")
        warnings.append("decisions: no purchased column; a slot with a value other than 0 counts as a purchase.")
    if "clicked" in decisions.columns and "opened" in decisions.columns:
        blind = (decisions["clicked"] == 1) & (decisions["opened"] != 1)
        if blind.any():
            decisions.loc[blind, "opened"] = 1.0
            warnings.append(f"decisions: {int(blind.sum())} clicks without an open; they count as opened.")
    return decisions


def _note_oddities(users: pd.DataFrame, decisions: pd.DataFrame, settings: LogSettings, warnings: list[str]) -> None:
    sent = decisions["content_id"].notna()
    if len(users) == 1:
        warnings.append("users: only one customer; nothing can be said about others.")
    if not sent.any():
        warnings.append("decisions: nothing was ever sent; what a send does cannot be learned.")
    if sent.all():
        if settings.holds == "logged":
            warnings.append(
                "decisions: every row is a send; if holds were not logged, say data.holds=absent or implied. "
                "When to send, and whether, cannot be learned from these rows."
            )
        elif settings.holds == "absent":
            warnings.append("decisions: holds were not logged; timing and hold are not identifiable, only content is.")
    for flag in [f for f in FLAGS if f in decisions.columns]:
        if not (decisions[flag] == 1).any():
            warnings.append(f"decisions.{flag}: never happened; its model can only say the rate is near 0.")
    if "as_of" in users.columns:
        snapshot = pd.to_datetime(users["as_of"], errors="coerce", utc=True).dt.tz_localize(None)
        late = int((snapshot > decisions["time"].min()).sum())
        if late:
            warnings.append(
                f"users.as_of: {late} customers' features were taken after the first decision; they may know the outcome."
            )
    if decisions["action_prob"].isna().any():
        share = float(decisions["action_prob"].isna().mean())
        warnings.append(f"decisions.action_prob: unknown for {share:.0%} of rows; the logging policy is fitted there.")


def _rows_of(ids: pd.Series, table: pd.Series) -> np.ndarray:
    """Row of each id in `table`, -1 where it is not there; ids of different types are compared as text."""
    index = pd.Index(table)
    rows = index.get_indexer(ids)
    if (rows < 0).all() and ids.notna().any():
        rows = pd.Index(table.astype(str)).get_indexer(ids.astype(str).where(ids.notna()))
    return np.asarray(rows)
