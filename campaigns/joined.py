"""Two logs as one: what an earlier run learned from, and what came back since.

Customers keep the attributes that they had first, since attributes must not know what came of later decisions. A
consent holds where both logs' customers give it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from campaigns.clock import SlotClock
from campaigns.errors import CampaignError
from campaigns.flags import read_consent
from campaigns.ids import id_keys
from campaigns.logs import DERIVED, CampaignLog, make_log

NAMED = 3
"""Differences that a message names."""


@dataclass(frozen=True)
class JoinedLog:
    """A log that goes on where an earlier one ended.

    Attributes:
        log: all evidence, earlier customers first.
        first_slot: slot with which the new part begins.
        parts: `earlier` and `new`: first and last day, customers and decisions of each; JSON-able.
    """

    log: CampaignLog
    first_slot: int
    parts: dict[str, dict[str, Any]]


def join_logs(earlier: CampaignLog, new: CampaignLog, margin_rate: float, keep_days: int | None = None) -> JoinedLog:
    """Puts a new log behind an earlier one.

    Args:
        earlier, new: read with the same settings.
        margin_rate: as for `campaigns.logs.read_log`.
        keep_days: of decisions before the new log's end only so many days are kept, the new log whole in any case; None
            keeps all. Who opted out before then stays out.
    Raises:
        CampaignError: where the logs' contents differ, their times overlap, or a column is in one of them alone.
    """
    if new.settings.holds != "logged":
        raise CampaignError(
            f"data.holds={new.settings.holds}: a log can go on from an earlier run's only where its holds are logged; "
            "write a row for every slot in which nothing was sent."
        )
    refuse_other_contents(earlier.contents, new.contents)
    _refuse_overlap(earlier.decisions, new.decisions, new.clock)
    for table, one, other in (
        ("users", earlier.users, new.users),
        ("decisions", earlier.decisions, new.decisions),
    ):
        _refuse_other_columns(table, one.columns, other.columns)
    if (earlier.events is None) != (new.events is None):
        has, lacks = (
            ("the new log", "the earlier one") if earlier.events is None else ("the earlier log", "the new one")
        )
        raise CampaignError(f"events: {has} has this table and {lacks} has not; give both, or neither.")
    first = int(new.decisions["slot"].min())
    cut = -(2**62) if keep_days is None else min(first, _after_days(new, keep_days))
    gone = _opted_out_before(earlier, cut)
    old = earlier.decisions[earlier.decisions["slot"] >= cut]
    tables = {
        "users": _with_consents(_union(earlier.users, new.users), new.users, gone),
        "contents": earlier.contents,
        "decisions": pd.concat([old, new.decisions], ignore_index=True),
    }
    if earlier.events is not None and new.events is not None:
        lasting = (earlier.events["slot"] >= cut) | (earlier.events["event"] == "unsubscribe")
        tables["events"] = pd.concat([earlier.events[lasting], new.events], ignore_index=True)
    tables = {name: frame.drop(columns=[c for c in DERIVED if c in frame.columns]) for name, frame in tables.items()}
    joined = make_log(tables, new.settings, margin_rate)
    warnings = list(dict.fromkeys([*new.report["warnings"], *joined.report["warnings"]]))
    log = replace(joined, rejected=new.rejected, report=joined.report | {
        "warnings": warnings, "rejected": new.report["rejected"],
    })  # fmt: skip
    return JoinedLog(log, first, {"earlier": _part(old, earlier.clock), "new": _part(new.decisions, new.clock)})


def refuse_other_contents(earlier: pd.DataFrame, new: pd.DataFrame) -> None:
    """Refuses a contents table that is not an earlier run's: what was learned of the one says nothing of the other.

    Raises:
        CampaignError: naming the contents and columns that differ.
    """
    before, after = _by_id(earlier), _by_id(new)
    differences = [f"{name} is gone" for name in before.index.difference(after.index)]
    differences += [f"{name} is new" for name in after.index.difference(before.index)]
    differences += [f"column {name} is gone" for name in before.columns.difference(after.columns)]
    differences += [f"column {name} is new" for name in after.columns.difference(before.columns)]
    for column in before.columns.intersection(after.columns):
        for name in before.index.intersection(after.index):
            one, other = str(before.at[name, column]), str(after.at[name, column])
            if not _same(one, other):
                differences.append(f"{name} has {column} {_plain(other)} where it had {_plain(one)}")
    if differences:
        more = f" and {len(differences) - NAMED} more" if len(differences) > NAMED else ""
        raise CampaignError(
            f"contents: not those of the previous run: {'; '.join(differences[:NAMED])}{more}. Bring the table in line "
            "with the earlier one, or start anew without previous."
        )


def _by_id(contents: pd.DataFrame) -> pd.DataFrame:
    keyed = contents.set_index(pd.Index([str(key) for key in id_keys(contents["content_id"], "contents")]))
    return keyed.drop(columns="content_id")


def _plain(value: str) -> str:
    """A number without the noise of its last digits; a text as it is."""
    try:
        return f"{float(value):.6g}"
    except ValueError:
        return value


def _same(one: str, other: str) -> bool:
    try:
        return bool(np.isclose(float(one), float(other), rtol=1e-6, equal_nan=True))
    except ValueError:
        return one == other


def _refuse_overlap(earlier: pd.DataFrame, new: pd.DataFrame, clock: SlotClock) -> None:
    last, first = int(earlier["slot"].max()), int(new["slot"].min())
    if first > last:
        return
    ended, begins = clock.times([last, first])
    both = new.assign(_key=id_keys(new["user_id"], "decisions"))[["_key", "slot"]].merge(
        earlier.assign(_key=id_keys(earlier["user_id"], "decisions"))[["_key", "slot"]], on=["_key", "slot"]
    )
    named = ""
    if len(both):
        row = both.iloc[0]
        named = (
            f" {len(both):,} decisions are in both, the first of {row['_key']} at {clock.times([int(row['slot'])])[0]}."
        )
    raise CampaignError(
        f"decisions.time: the new log begins at {begins}, before the previous run's ends at {ended}.{named} Give only "
        "what came after it."
    )


def _refuse_other_columns(table: str, earlier: pd.Index, new: pd.Index) -> None:
    before, after = (
        {c for c in columns if c not in DERIVED and not str(c).startswith("consent_")} for columns in (earlier, new)
    )
    if before != after:
        gone, come = ", ".join(sorted(before - after)), ", ".join(sorted(after - before))
        parts = [f"{names} {word} the previous run's" for names, word in ((gone, "only in"), (come, "not in")) if names]
        raise CampaignError(f"{table}: columns differ: {'; '.join(parts)}. Give both the same columns.")


def _after_days(new: CampaignLog, keep_days: int) -> int:
    """The first slot of the last `keep_days` days."""
    return int(new.decisions["slot"].max()) + 1 - new.clock.slots_in(keep_days)


def _union(earlier: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """Earlier customers as they were, then those who are new."""
    known = set(id_keys(earlier["user_id"], "users"))
    come = [key not in known for key in id_keys(new["user_id"], "users")]
    return pd.concat([earlier, new[come]], ignore_index=True)


def _opted_out_before(earlier: CampaignLog, cut: int) -> dict[str, set[str | None]]:
    """By channel, or `all`, the customers whose opt-outs lie in what is left out."""
    if earlier.events is not None or "unsubscribed" not in earlier.decisions.columns:
        return {}  # opt-outs among events are kept
    left = earlier.decisions[(earlier.decisions["slot"] < cut) & (earlier.decisions["unsubscribed"] == 1)]
    content, channel = left["_content"].to_numpy(), np.full(len(left), "all", dtype=object)
    channels = (
        earlier.contents["channel"].astype("string").str.strip().str.lower().fillna("push").to_numpy(dtype=object)
        if "channel" in earlier.contents.columns
        else np.full(len(earlier.contents), "push", dtype=object)
    )
    channel[content >= 0] = channels[content[content >= 0]]
    keys = id_keys(left["user_id"], "users")
    return {name: {k for k, c in zip(keys, channel, strict=True) if c == name} for name in sorted(set(channel))}


def _with_consents(users: pd.DataFrame, new: pd.DataFrame, gone: Mapping[str, set[str | None]]) -> pd.DataFrame:
    """The customers with the consents that both tables give, and none where they opted out in what is left out."""
    users = users.copy()
    keys = pd.Series(id_keys(users["user_id"], "users"), index=users.index)
    new_keys = id_keys(new["user_id"], "users")
    for column in [c for c in new.columns if str(c).startswith("consent_")]:
        refused = keys.isin(new_keys[~read_consent(new[column])])
        given = users[column] if column in users.columns else pd.Series(True, index=users.index)
        users[column] = given.astype(object).where(~refused, False)
    everywhere = gone.get("all", set())
    channels = {str(c).removeprefix("consent_") for c in users.columns if str(c).startswith("consent_")} | set(gone)
    for channel in sorted(channels - {"all"}):
        left = keys.isin(everywhere | gone.get(channel, set()))
        column = f"consent_{channel}"
        if left.any():
            given = users[column] if column in users.columns else pd.Series(True, index=users.index)
            users[column] = given.astype(object).where(~left, False)
    return users


def _part(decisions: pd.DataFrame, clock: SlotClock) -> dict[str, Any]:
    if not len(decisions):
        return {"first_day": None, "last_day": None, "customers": 0, "decisions": 0}
    days = clock.times([int(decisions["slot"].min()), int(decisions["slot"].max())]).strftime("%Y-%m-%d")
    return {
        "first_day": str(days[0]),
        "last_day": str(days[1]),
        "customers": int(decisions["user_id"].nunique()),
        "decisions": len(decisions),
    }
