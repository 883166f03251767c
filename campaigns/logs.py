"""The log: what was sent to whom, when, and what came of it; read, checked and put in order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from campaigns.attribution import add_organic_holds, attribute_events
from campaigns.clock import SlotClock
from campaigns.columns import AMOUNTS, FLAGS, tidy_columns
from campaigns.errors import CampaignError
from campaigns.log_checks import Quarantine, clean_contents, clean_users, note_consent
from campaigns.log_reader import SUFFIXES, find_table, read_table
from campaigns.log_rows import place_decisions, place_events
from campaigns.ranges import check_range

TABLES = ("users", "contents", "decisions", "events")

DERIVED = ("slot", "labelled", "_user", "_content")
"""Columns that reading adds and writing leaves out."""

HOLDS = ("logged", "implied", "absent")

LONGEST_WINDOW = 366 * 24.0
"""Hours; an attribution window beyond a year labels nothing."""

MOST_CELLS = 250_000_000
"""Customers times slots that a log may span: about 15 GB of dense arrays."""


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
        check_range("data.max_rejected", self.max_rejected, at_least=0, at_most=1, unit="(a share of a table's rows)")
        check_range("data.attribution_hours", self.attribution_hours, above=0, at_most=LONGEST_WINDOW, unit="hours")


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
    files: dict[str, str] = {}
    for table in TABLES:
        file = find_table(folder, table)
        if file is None:
            if table == "events":
                continue
            there = ", ".join(sorted(p.name for p in folder.iterdir())) or "nothing"
            raise CampaignError(
                f"{folder.name}: table {table!r} is missing; expected {table} with one of {', '.join(SUFFIXES)}, "
                f"the folder holds {there}."
            )
        tables[table], files[table] = read_table(file), file.name
    return _make_log(tables, files, settings, margin_rate)


def make_log(tables: Mapping[str, pd.DataFrame], settings: LogSettings, margin_rate: float = 0.3) -> CampaignLog:
    """Checks tables and puts them in order; see `read_log` for what is raised.

    Args:
        tables: `users`, `contents`, `decisions` and optionally `events`.
        settings, margin_rate: as for `read_log`.
    """
    missing = [name for name in ("users", "contents", "decisions") if name not in tables]
    if missing:
        raise CampaignError(f"table {missing[0]!r} is missing; got {', '.join(tables) or 'none'}.")
    return _make_log(tables, {name: name for name in tables}, settings, margin_rate)


def _make_log(
    tables: Mapping[str, pd.DataFrame], files: Mapping[str, str], settings: LogSettings, margin_rate: float
) -> CampaignLog:
    clock = SlotClock(settings.timezone, settings.slot_hours)
    quarantine = Quarantine()
    warnings: list[str] = []
    read = {name: tidy_columns(tables[name], name, files[name], warnings) for name in TABLES if name in tables}
    quarantine.sizes = {name: len(table) for name, table in read.items()}
    users = clean_users(read["users"], clock, quarantine, warnings)
    contents = clean_contents(read["contents"], quarantine, warnings)
    note_consent(users, contents, warnings)
    if not len(read["decisions"]):
        raise CampaignError(f"{files['decisions']}: the table is empty; there is nothing to learn from.")
    decisions = place_decisions(read["decisions"], users, contents, clock, quarantine, warnings)
    events = None
    if "events" in read:
        events = place_events(read["events"], users, contents, clock, quarantine, warnings)
        if not len(events):
            warnings.append(f"{files['events']}: no usable row; outcomes are taken from decisions.")
            events = None
    quarantine.refuse_beyond(settings.max_rejected)
    if not len(decisions):
        raise CampaignError(f"{files['decisions']}: no usable row is left. {quarantine.commonest('decisions')}")
    _check_span(len(users), decisions, clock)
    decisions["labelled"] = True
    if events is not None:
        if settings.holds == "implied":
            decisions = add_organic_holds(decisions, events, users, clock)
        decisions, events = attribute_events(decisions, events, clock, settings.attribution_hours, warnings)
    decisions = _with_value(_without_empty(decisions, warnings), margin_rate, warnings)
    _note_oddities(users, decisions, settings, warnings)
    report = {
        "rows": {name: int(size) for name, size in quarantine.sizes.items()},
        "kept": {"users": len(users), "contents": len(contents), "decisions": len(decisions)},
        "warnings": warnings,
        "rejected": quarantine.summary(),
        "preparation": [],
    }
    return CampaignLog(users, contents, decisions, events, quarantine.frame(), report, settings)


def _check_span(customers: int, decisions: pd.DataFrame, clock: SlotClock) -> None:
    first, last = int(decisions["slot"].min()), int(decisions["slot"].max())
    if customers * (last - first + 1) > MOST_CELLS:
        days = clock.times([first, last]).strftime("%Y-%m-%d")
        raise CampaignError(
            f"decisions.time: from {days[0]} to {days[1]} are {last - first + 1:,} slots of {clock.slot_hours} h; with "
            f"{customers:,} customers that is more than memory holds ({MOST_CELLS:,} slots in all). Are these times "
            "right? Cut the log, take fewer customers, or set a longer data.slot_hours."
        )


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


def _without_empty(decisions: pd.DataFrame, warnings: list[str]) -> pd.DataFrame:
    """Without outcomes of which no row has a value: of them nothing can be learned or tested."""
    empty = [name for name in (*FLAGS, *AMOUNTS) if name in decisions.columns and decisions[name].isna().all()]
    warnings.extend(f"decisions.{name}: empty, no row has a value; taken as not logged." for name in empty)
    return decisions.drop(columns=empty)


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
    if "value" in decisions.columns:
        unsold = int((decisions["value"].gt(0) & ~decisions["purchased"].eq(1)).sum())
        if unsold:
            warnings.append(f"decisions: {unsold} rows have a value above 0 but no purchase; is purchased complete?")
    return decisions


def _note_oddities(users: pd.DataFrame, decisions: pd.DataFrame, settings: LogSettings, warnings: list[str]) -> None:
    if len(users) == 1:
        warnings.append("users: only one customer; nothing can be said about others.")
    _note_holds(users, decisions, settings, warnings)
    _note_single_outcomes(decisions, warnings)
    late = late_snapshots(users, decisions)
    if late:
        warnings.append(
            f"users.as_of: {late} customers' features were taken after their first decision; they may know what "
            "came of it."
        )
    if decisions["action_prob"].isna().any():
        share = float(decisions["action_prob"].isna().mean())
        warnings.append(f"decisions.action_prob: unknown for {share:.0%} of rows; the logging policy is fitted there.")


def _note_single_outcomes(decisions: pd.DataFrame, warnings: list[str]) -> None:
    """Outcomes with one answer alone, where they could have happened: no model can tell who is likelier."""
    could = {"opened": decisions["content_id"].notna()}
    if "opened" in decisions.columns:
        could["clicked"] = decisions["opened"] == 1
    for flag in [f for f in FLAGS if f in decisions.columns]:
        known = decisions.loc[could[flag] if flag in could else slice(None), flag].dropna()
        if not (decisions[flag] == 1).any():
            warnings.append(f"decisions.{flag}: never happened; its model can only say the rate is near 0.")
        elif len(known) > 1 and (known == 1).all():
            warnings.append(f"decisions.{flag}: happened whenever it could; its model can only say the rate is near 1.")


def late_snapshots(users: pd.DataFrame, decisions: pd.DataFrame) -> int | None:
    """Customers whose features were taken (`as_of`) after their first decision; None where that is not said.

    Args:
        users: N rows.
        decisions: with `_user`, the row of the customer, and `time`.
    """
    if "as_of" not in users.columns:
        return None
    began = decisions.groupby("_user")["time"].min().reindex(range(len(users)))
    return int((users["as_of"] > began).sum())


def _note_holds(users: pd.DataFrame, decisions: pd.DataFrame, settings: LogSettings, warnings: list[str]) -> None:
    sent = decisions["content_id"].notna()
    if not sent.any():
        warnings.append("decisions: nothing was ever sent; what a send does cannot be learned.")
    if sent.all() and settings.holds == "logged":
        warnings.append(
            "decisions: every row is a send; if holds were not logged, say data.holds=absent or implied. "
            "When to send, and whether, cannot be learned from these rows."
        )
    if settings.holds == "absent":
        warnings.append("decisions: holds were not logged; timing and hold are not identifiable, only content is.")
        if not sent.all():
            warnings.append(
                f"decisions: {int((~sent).sum())} rows are holds although data.holds=absent; are all there?"
            )
    if settings.holds == "implied":
        without = len(users) - int(decisions["_user"].nunique())
        if without:
            warnings.append(
                f"decisions: {without} customers have no row; data.holds=implied takes them as always held."
            )
