"""The contents of a new campaign beside those of a log: one table of both, and what of it the log has never seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from campaigns.campaign_spec import ALL, NONE, CampaignSpec
from campaigns.content_generator import generate
from campaigns.content_templates import expand
from campaigns.encoding import FeatureEncoder
from campaigns.errors import CampaignError, nearest


@dataclass(frozen=True)
class CampaignContents:
    """Contents of a log and of a campaign.

    Attributes:
        table: the log's contents in their order, then the campaign's new ones. K rows.
        logged: number of the log's contents, the first rows.
        offered: which may be sent by the campaign. Shape [K], bool.
        ignored: attributes of new contents that the log's contents do not have.
    """

    table: pd.DataFrame
    logged: int
    offered: np.ndarray
    ignored: tuple[str, ...] = ()

    @property
    def is_new(self) -> np.ndarray:
        """Which are the campaign's own. Shape [K], bool."""
        return np.arange(len(self.table)) >= self.logged


def campaign_contents(spec: CampaignSpec, logged: pd.DataFrame, encoder: FeatureEncoder) -> CampaignContents:
    """Puts a campaign's contents beside a log's.

    Args:
        spec: the campaign.
        logged: the log's contents table.
        encoder: the trained one, whose columns every new content must have.
    Raises:
        CampaignError: for repeated or taken ids, missing trained columns, values of the wrong kind, unknown logged
            ids.
    """
    rows = [dict(row) for row in spec.contents.listed]
    for template in spec.contents.templates:
        rows += expand(template)
    if spec.contents.generator is not None:
        rows += generate(spec.contents.generator, spec.contents.settings, logged)
    known = {str(i): place for place, i in enumerate(logged["content_id"])}
    seen: set[str] = set()
    for row in rows:
        _check_row(row, known, seen, encoder, logged)
    if any(row.get("text") is not None for row in rows) and "text" not in logged.columns:
        logged = logged.assign(text=None)  # no model reads it, but people do
    new = pd.DataFrame(rows) if rows else logged.head(0)
    ignored = tuple(str(name) for name in new.columns if name not in logged.columns)
    missing = [name for name in logged.columns if name not in new.columns]
    new = new.assign(**dict.fromkeys(missing)) if missing else new
    table = pd.concat([logged, new[list(logged.columns)].astype(object)], ignore_index=True) if rows else logged.copy()
    for name in logged.columns.drop("content_id"):
        if pd.api.types.is_numeric_dtype(logged[name]) and not pd.api.types.is_bool_dtype(logged[name]):
            table[name] = pd.to_numeric(table[name], errors="coerce")
    if "channel" in table.columns:
        table["channel"] = table["channel"].where(table["channel"].notna(), logged["channel"].iloc[0])
    offered = np.arange(len(table)) >= len(logged)
    offered[: len(logged)] = _offered(spec, known)
    return CampaignContents(table, len(logged), offered, ignored)


def _check_row(
    row: Mapping[str, Any], known: Mapping[str, int], seen: set[str], encoder: FeatureEncoder, logged: pd.DataFrame
) -> None:
    name = str(row.get("content_id", "")).strip()
    if not name or row.get("content_id") is None:
        raise CampaignError(f"contents: a content has no id: {dict(row)!r}.")
    if name in known:
        raise CampaignError(
            f"contents: id {name!r} is already one of the log's contents; give the new one another id, or offer the "
            f"log's own with contents.logged: [{name}]."
        )
    if name in seen:
        raise CampaignError(f"contents: id {name!r} occurs more than once; let the id tell all combinations apart.")
    seen.add(name)
    absent = [column.name for column in encoder.columns if column.name != "content_id" and column.name not in row]
    if absent:
        raise CampaignError(
            f"contents: {name} lacks the attribute(s) {', '.join(absent)} that the models were trained on; add them "
            "(null where it is not known)."
        )
    for column in encoder.columns:
        value = row.get(column.name)
        if column.kind == "number" and value is not None and not isinstance(value, (bool, int, float)):
            raise CampaignError(f"contents: {name}.{column.name}={value!r}: must be a number, as in the log.")
        if column.kind == "category" and isinstance(value, (list, dict)):
            raise CampaignError(f"contents: {name}.{column.name}={value!r}: must be one value.")
    cost = row.get("cost")
    if cost is not None and (isinstance(cost, bool) or not isinstance(cost, (int, float)) or not cost >= 0):
        raise CampaignError(f"contents: {name}.cost={cost!r}: must be a number of at least 0.")
    if "channel" in logged.columns:
        channels = sorted(logged["channel"].dropna().astype(str).str.strip().str.lower().unique())
        channel = row.get("channel")
        if channel is None and len(channels) > 1:
            raise CampaignError(f"contents: {name} says no channel; the log's are {', '.join(channels)}.")
        if channel is not None and str(channel).strip().lower() not in channels:
            raise CampaignError(
                f"contents: {name}.channel={channel!r}: nothing was ever sent by this channel, so nothing is known of "
                f"it{nearest(str(channel).lower(), channels)} The log's are {', '.join(channels)}."
            )


def _offered(spec: CampaignSpec, known: Mapping[str, int]) -> np.ndarray:
    """Which of the log's contents the campaign may send. Shape [K logged], bool."""
    wanted = spec.contents.logged
    if wanted in (ALL, NONE):
        return np.full(len(known), wanted == ALL)
    offered = np.zeros(len(known), dtype=bool)
    for name in wanted:
        if str(name) not in known:
            raise CampaignError(
                f"contents.logged: {name!r} is none of the log's contents{nearest(str(name), list(known))} They are "
                f"{', '.join(list(known)[:20])}."
            )
        offered[known[str(name)]] = True
    return offered


def unseen_values(contents: CampaignContents, encoder: FeatureEncoder, sends: np.ndarray) -> dict[int, list[str]]:
    """Attribute values of the offered contents that no logged send ever had.

    Args:
        contents: of log and campaign.
        encoder: the trained one; what it does not read can change nothing.
        sends: logged sends of each of the log's contents. Shape [K logged].
    Returns:
        By row of the table: values in words, such as `category=garden` or `price=99 (sent: 5 to 40)`. Texts and
        vectors are not judged: every one is another.
    """
    sent = contents.table.iloc[: contents.logged][sends > 0]
    found: dict[int, list[str]] = {}
    for place in np.flatnonzero(contents.offered):
        told = []
        for column in encoder.columns:
            value = contents.table[column.name].iloc[place]
            if column.kind == "category":  # ids too, where nothing else tells contents apart
                there = set(sent[column.name].astype("string").str.strip().fillna("missing"))
                level = "missing" if pd.isna(value) else str(value).strip()
                if level not in there:
                    told.append(f"{column.name}={level}")
            elif column.kind == "number" and not pd.isna(value):
                values = pd.to_numeric(sent[column.name], errors="coerce").dropna()
                if not len(values) or not values.min() - 1e-9 <= float(value) <= values.max() + 1e-9:
                    span = f" (sent: {values.min():g} to {values.max():g})" if len(values) else ""
                    told.append(f"{column.name}={float(value):g}{span}")
        if told:
            found[int(place)] = told
    return found


def unread_notes(contents: CampaignContents, encoder: FeatureEncoder) -> list[str]:
    """What of the new contents the models do not use or do not know, in plain words."""
    new, notes = contents.table[contents.is_new], []
    for column in encoder.columns:
        if column.kind != "category" or column.name == "content_id" or not len(new):
            continue
        unknown = sorted({str(v).strip() for v in new[column.name].dropna()} - set(column.levels))
        if unknown:
            notes.append(
                f"contents.{column.name}: {', '.join(unknown)} never occurred in training; the models read it as "
                f"unknown{nearest(unknown[0], column.levels)}"
            )
    reads_texts = any(column.kind == "text" for column in encoder.columns)
    if not reads_texts and "text" in new.columns and new["text"].notna().any():
        notes.append("contents.text: the models do not read texts (data.text=none), so texts alone change nothing.")
    for name in contents.ignored:
        near = nearest(name, [str(column) for column in contents.table.columns])
        notes.append(f"contents.{name}: the log's contents have no such attribute, so it changes nothing{near}")
    if len(new) and any(column.name == "content_id" for column in encoder.columns):
        notes.append(
            "contents: the log tells its contents apart by id alone, so nothing learned carries over to new ones."
        )
    return notes
