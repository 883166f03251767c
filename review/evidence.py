"""What a run folder holds, read once and checked, so that a report can neither crash on a gap nor invent a number.

Only files inside the run folder are read. What is missing or unreadable is remembered with its reason.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from campaigns.errors import CampaignError

FILES = {
    "summary": "summary.json",
    "data": "data/report.json",
    "metrics": "propensity/metrics.json",
    "profiles": "propensity/profiles.json",
    "attributions": "propensity/attributions.json",
    "families": "propensity/families.json",
    "gate": "market/gate.json",
    "behaviour": "evaluation/behaviour.json",
    "offline": "evaluation/offline.json",
    "twins": "evaluation/twins.json",
    "served": "evaluation/served.json",
    "changes": "evaluation/changes.json",
    "manifest": "manifest.json",
    "policy": "policy/policy.json",
    "best_rule": "agents/best_rule/policy/policy.json",
}
PLACES = ("market", "judged", "truth")
INCUMBENT = "incumbent"
LEAST_CUSTOMERS = 10
"""Figures of fewer customers are suppressed: k-anonymity with k = 10."""
UNBELIEVABLE = 1e15
"""From this size on a number is taken for damage."""
MOST_HOURS = 48
"""Columns of a heat map that can still be told apart."""


@dataclass(frozen=True)
class Range:
    """A figure and its 95 % interval; the limits are None where none was given."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Offline:
    """What the log alone says of a policy.

    Attributes:
        estimator: its name.
        slots: decision slots that it covers, or None.
        whole: whether these are the objective's whole horizon of several decisions.
        worth, gain: per customer over those slots; the gain is the paired difference to the incumbent.
        verdict: better, worse, cannot tell or not identifiable.
        blend: the largest share of this policy, mixed into the incumbent, whose gain is surely above zero.
        effective_share: effective sample size as a share of the rows.
        refused: why no figure is given, or "".
        refused_by: the rule that refused it (`evaluation.diagnostics`), or "".
        effective, least_effective: effective rows, and how many it takes at least, or None.
        mean_weight: of the rows, or None.
        detectable: the least difference to the incumbent that the log could tell from none, or None.
        against: by other policy, the paired difference to it and its verdict.
    """

    estimator: str
    slots: int | None
    worth: Range | None
    gain: Range | None
    verdict: str
    blend: float | None
    effective_share: float | None
    refused: str
    refused_by: str
    effective: float | None
    least_effective: float | None
    mean_weight: float | None
    against: dict[str, tuple[Range, str]]
    whole: bool = False
    detectable: float | None = None


@dataclass(frozen=True)
class Candidate:
    """One compared policy. Figures are by place: market (trained in), judged, truth.

    Attributes:
        worth, gain, over_rule: its worth, and what it gains over the incumbent and over the best rule.
        over_slots: of an agent of weekly plans, over `slot_agent`, the best one that decides slot by slot.
        sends, opt_outs: sends a week and customer, and share of customers who opt out.
    """

    name: str
    kind: str
    mode: str
    worth: dict[str, Range]
    gain: dict[str, Range]
    over_rule: dict[str, Range]
    gap: float | None
    claim_gap: float | None
    offline: Offline | None
    offline_reason: str
    over_slots: dict[str, Range] = field(default_factory=dict)
    slot_agent: str = ""
    sends: dict[str, float] = field(default_factory=dict)
    opt_outs: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Behaviour:
    """What a policy does. Shares are of sends, unless said otherwise.

    Attributes:
        heatmap: share of sends by weekday (Monday first) and hour bin. Shape [7, H], sums to 1, or None.
        hours: labels of the hour bins.
        frequency: label of sends a week -> share of customers.
        contents: content -> share of sends.
        held_because: guardrail -> share of decisions that it held back.
        thin_support_share: share of decisions where the log is thin.
        thin_send_share: share of sends where it is.
        channels: rows as the run wrote them (`evaluation.by_channel`); empty where all contents go by one.
        plans: rows as the run wrote them (`evaluation.plans_chosen`), those of too few customers left out.
        segments: rows as the run wrote them, those of too few customers left out.
        suppressed: how many segments were left out.
    """

    sends_per_week: float | None
    opt_out_share: float | None
    opens_per_send: float | None
    heatmap: NDArray[np.float64] | None
    hours: list[str]
    frequency: dict[str, float | None]
    contents: dict[str, float]
    held_because: dict[str, float]
    thin_support_share: float | None
    thin_send_share: float | None
    channels: list[dict[str, Any]] = field(default_factory=list)
    plans: list[dict[str, Any]] = field(default_factory=list)
    segments: list[dict[str, Any]] = field(default_factory=list)
    suppressed: int = 0


@dataclass(frozen=True)
class Evidence:
    """A run folder's files by name of FILES, and why others are missing."""

    parts: dict[str, dict[str, Any]]
    missing: dict[str, str]
    overrides: list[str] | None

    def part(self, name: str) -> dict[str, Any]:
        """A file's content; empty where it is missing."""
        return self.parts.get(name, {})

    def candidates(self) -> list[Candidate]:
        """The compared policies, in the order of the summary."""
        return [
            _candidate(entry) for entry in mappings(self.part("summary").get("policies")) if text_of(entry.get("name"))
        ]

    def behaviours(self) -> dict[str, Behaviour]:
        """What each policy does in the judging world."""
        content = self.part("behaviour")
        customers = number(content.get("customers"))
        policies = content.get("policies")
        entries = policies.items() if isinstance(policies, Mapping) else ()
        return {str(name): _behaviour(entry, customers) for name, entry in entries if isinstance(entry, Mapping)}


def read_evidence(run_folder: Path) -> Evidence:
    """Reads the files of FILES that the folder has.

    Raises:
        CampaignError: where the folder is not there, or holds none of a run's files.
    """
    if not run_folder.is_dir():
        raise CampaignError(f"{run_folder}: there is no such folder; give the folder of a run.")
    parts: dict[str, dict[str, Any]] = {}
    missing: dict[str, str] = {}
    for name, file in FILES.items():
        try:
            content = json.loads((run_folder / file).read_text(encoding="utf-8"))
        except FileNotFoundError:
            missing[name] = f"the run folder has no {file}"
        except (OSError, ValueError, RecursionError):
            missing[name] = f"{file} cannot be read as JSON"
        else:
            if isinstance(content, Mapping):
                parts[name] = dict(content)
            else:
                missing[name] = f"{file} does not hold what it should"
    if not parts:
        raise CampaignError(f"{run_folder}: none of a run's files is there (summary.json...); give a run's folder.")
    return Evidence(parts, missing, _overrides(run_folder))


def number(value: object) -> float | None:
    """A finite number, or None for anything else: null, NaN, text, and what no run can have counted."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < UNBELIEVABLE:
        return None
    return float(value)


def mappings(value: object) -> list[Mapping[str, Any]]:
    """The objects of a list; nothing where it is no list."""
    return [entry for entry in value if isinstance(entry, Mapping)] if isinstance(value, list) else []


def text_of(value: object) -> str:
    """A text, or a number that serves as a name; empty for anything else."""
    if isinstance(value, str):
        return value
    found = number(value)
    return "" if found is None else f"{found:.15g}"


def texts(value: object) -> list[str]:
    """The entries of a list as text; nothing where it is no list."""
    return [text for entry in value if (text := text_of(entry))] if isinstance(value, list) else []


def dig(content: object, *keys: str) -> Any:
    """A nested value, or None where any key is missing."""
    for key in keys:
        if not isinstance(content, Mapping):
            return None
        content = content.get(key)
    return content


def passed(check: object) -> bool | None:
    """Whether a check passed; None where it could not tell."""
    found = dig(check, "passed")
    return found if isinstance(found, bool) else None


def read_range(block: object) -> Range | None:
    """A figure with its interval, or None where there is no figure."""
    value = number(dig(block, "value"))
    return None if value is None else Range(value, number(dig(block, "low")), number(dig(block, "high")))


def _by_place(entry: Mapping[str, Any], *keys: str) -> dict[str, Range]:
    found = {place: read_range(dig(entry, place, *keys)) for place in PLACES}
    return {place: figure for place, figure in found.items() if figure is not None}


def _numbers(entry: Mapping[str, Any], key: str) -> dict[str, float]:
    found = {place: number(dig(entry, place, key)) for place in PLACES}
    return {place: value for place, value in found.items() if value is not None}


def _candidate(entry: Mapping[str, Any]) -> Candidate:
    offline = entry.get("offline")
    return Candidate(
        name=text_of(entry["name"]),
        kind=text_of(entry.get("kind")),
        mode=text_of(entry.get("mode")),
        worth=_by_place(entry),
        gain=_by_place(entry, "difference"),
        over_rule=_by_place(entry, "over_best_rule"),
        over_slots=_by_place(entry, "over_slots"),
        slot_agent=text_of(entry.get("slot_agent")),
        sends=_numbers(entry, "sends_per_week"),
        opt_outs=_numbers(entry, "opt_out_share"),
        gap=number(entry.get("exploitation_gap")),
        claim_gap=number(entry.get("judged_minus_truth")),
        offline=_offline(offline) if isinstance(offline, Mapping) else None,
        offline_reason=text_of(entry.get("offline_reason")),
    )


def _offline(entry: Mapping[str, Any]) -> Offline:
    slots = number(entry.get("horizon_slots"))
    against = entry.get("against")
    ranges = {
        str(name): (figure, text_of(dig(block, "verdict")))
        for name, block in (against.items() if isinstance(against, Mapping) else ())
        if (figure := read_range(block)) is not None
    }
    return Offline(
        estimator=text_of(entry.get("estimator")),
        slots=None if slots is None else int(slots),
        worth=read_range(entry),
        gain=read_range(entry.get("difference")),
        verdict=text_of(entry.get("verdict")),
        blend=number(entry.get("blend")),
        effective_share=number(dig(entry, "diagnostics", "effective_share")),
        refused=text_of(dig(entry, "diagnostics", "refused")),
        refused_by=text_of(dig(entry, "diagnostics", "refused_by")),
        effective=number(dig(entry, "diagnostics", "effective")),
        least_effective=number(dig(entry, "diagnostics", "least_effective")),
        mean_weight=number(dig(entry, "diagnostics", "mean_weight")),
        against=ranges,
        whole=entry.get("whole_horizon") is True,
        detectable=number(entry.get("minimum_detectable")),
    )


def _behaviour(entry: Mapping[str, Any], customers: float | None) -> Behaviour:
    rows = mappings(entry.get("segments"))
    shown = [dict(row) for row in rows if (number(row.get("customers")) or 0) >= LEAST_CUSTOMERS]
    heatmap, hours = _heatmap(entry)
    return Behaviour(
        sends_per_week=number(entry.get("sends_per_week")),
        opt_out_share=number(entry.get("opt_out_share")),
        opens_per_send=number(entry.get("opens_per_send")),
        heatmap=heatmap,
        hours=hours,
        frequency=_frequency(entry.get("sends_histogram"), customers),
        contents={
            text_of(row.get("content")): share
            for row in mappings(entry.get("contents"))
            if (share := number(row.get("share"))) is not None
        },
        held_because=_shares(entry.get("held_because")),
        thin_support_share=number(entry.get("thin_support_share")),
        thin_send_share=number(entry.get("thin_send_share")),
        channels=[dict(row) for row in mappings(entry.get("channels")) if text_of(row.get("channel"))],
        plans=[dict(r) for r in mappings(entry.get("plans")) if (number(r.get("customers")) or 0) >= LEAST_CUSTOMERS],
        segments=shown,
        suppressed=len(rows) - len(shown),
    )


def _shares(content: object) -> dict[str, float]:
    entries = content.items() if isinstance(content, Mapping) else ()
    return {str(name): share for name, value in entries if (share := number(value)) is not None}


def _heatmap(entry: Mapping[str, Any]) -> tuple[NDArray[np.float64] | None, list[str]]:
    try:
        grid = np.array(entry.get("heatmap"), dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        return None, []
    if grid.ndim != 2 or len(grid) != 7 or not 1 <= grid.shape[1] <= MOST_HOURS:
        return None, []
    if not ((grid >= 0) & (grid < UNBELIEVABLE)).all():
        return None, []
    hours = texts(entry.get("hours"))
    if len(hours) != grid.shape[1]:
        step = 24 / grid.shape[1]
        hours = [f"{int(i * step):02d}-{int((i + 1) * step):02d}" for i in range(grid.shape[1])]
    return grid / max(grid.sum(), 1e-12), hours


def _frequency(block: object, customers: float | None) -> dict[str, float | None]:
    """Share of customers by sends a week; None where the bar would stand for fewer than LEAST_CUSTOMERS.

    `edges` are either labels, one a bar, or limits of the bars, one more than there are bars.
    """
    edges, shares = dig(block, "edges"), dig(block, "share")
    if not isinstance(edges, list) or not isinstance(shares, list):
        return {}
    if len(edges) == len(shares) + 1:
        labels = [f"{_plain(low)}\u2013{_plain(high)}" for low, high in pairwise(edges)]
    elif len(edges) == len(shares):
        labels = [_plain(edge) for edge in edges]
    else:
        return {}
    found = [share for entry in shares if (share := number(entry)) is not None]
    if len(found) < len(labels):
        return {}
    bars: dict[str, float | None] = {}
    for label, share in zip(labels, found, strict=True):
        few = customers is not None and 0 < round(share * customers) < LEAST_CUSTOMERS
        bars[label] = None if few else share
    return bars


def _plain(edge: object) -> str:
    value = number(edge)
    return text_of(edge) if value is None else f"{value:g}"


def _overrides(run_folder: Path) -> list[str] | None:
    """The settings that the run was started with, or None. Folders are shortened to their last part."""
    try:
        content = yaml.safe_load((run_folder / ".hydra" / "overrides.yaml").read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return None
    return shortened(texts(content)) if isinstance(content, list) else None


FOLDER = re.compile(r"(?<![\w.:/\\])(?:[A-Za-z]:[/\\]|[/~\\])(?:[^\s/\\'\",;()\[\]]+[/\\])*")
LOGIN = re.compile(r"//[^/@\s]+@")


def shortened(overrides: Iterable[str]) -> list[str]:
    """Settings without folders and logins: a report is passed on, a machine's folders are not."""
    return [without_folders(override) for override in overrides]


def without_folders(text: str) -> str:
    """A text whose absolute folders are cut to the last part, and whose addresses carry no login."""
    return FOLDER.sub("…/", LOGIN.sub("//…@", text))
