"""Stage `campaign`: what a new campaign would have earned, from the log and from the markets, and how to try it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from campaigns.audience import Population
from campaigns.campaign_contents import unread_notes, unseen_values
from campaigns.campaign_spec import CampaignSpec
from campaigns.clock import DAYPARTS
from campaigns.errors import CampaignError
from campaigns.history import ABSENT, HOLD
from evaluation.blend import blend_curve
from evaluation.by_attributes import estimate_by_attributes, kinds_of
from evaluation.diagnostics import PROBABILITIES
from evaluation.live_test import DAYS, Spread, plan_test, spread_of
from evaluation.logged_slots import LoggedSlots
from evaluation.new_campaign import (
    CAMPAIGN,
    Unknown,
    by_segment,
    campaign_report,
)
from evaluation.offline import check_slots, collect_slots, logged_rewards
from evaluation.offline_evidence import one_shot_details
from evaluation.segments import LEAST_CUSTOMERS
from policies.following import Decides
from scripts.pipeline.campaign_horizon import whole_horizon
from scripts.pipeline.campaign_market import market_part
from scripts.pipeline.campaign_segments import Segments, customer_segments
from scripts.pipeline.campaign_setup import Judged, Setup, logged_sends, set_up, settings_of_setup, stretch_of
from scripts.pipeline.campaign_unknown import logger_of, unknown_of
from scripts.pipeline.context import JUDGE, Study, content_categories, load_model, settings_of
from scripts.pipeline.earlier_run import Models
from scripts.pipeline.progress import StageProgress
from scripts.pipeline.stage import Stage, show, write_json

ANSWER = "campaign.json"
LEAST_JUDGED = 2


def answer_campaign(study: Study, models: Models, spec: CampaignSpec, target: Path) -> dict[str, Any]:
    """Judges a campaign and writes `campaign.json` into a folder.

    Args:
        study, models: the log and what was fitted to it.
        spec: the campaign.
        target: where the answer belongs.
    Returns:
        The answer.
    Raises:
        CampaignError: where the campaign asks for what the log or the run does not have.
    """
    config = study.config
    setup = set_up(study, models, spec, config.policy_folder, config.run)
    judged = _judged(study, setup)
    segments = customer_segments(study, models.train, spec)

    def work(folder: Path, progress: StageProgress) -> None:
        write_json(folder / ANSWER, _answer(study, models, setup, judged, segments, progress))

    settings = settings_of_setup(setup) | {
        "evaluation": settings_of(config.evaluation),
        "objective": settings_of(config.objective),
        "customers": config.market.judge_customers,
        "seed": config.seed,
    }
    after = (study.data, models.train, models.judge, models.incumbent)
    stage: Stage = study.runner.run("campaign", settings, after, work)
    show(stage.folder, target)
    answer: dict[str, Any] = json.loads((target / ANSWER).read_text(encoding="utf-8"))
    return answer


def _judged(study: Study, setup: Setup) -> Judged:
    half = study.halves[JUDGE]
    rows = half[setup.audience[half]]
    if len(rows) < LEAST_JUDGED:
        raise CampaignError(
            f"{setup.spec.file}: audience: {int(setup.audience.sum()):,} customers, of whom {len(rows)} are among "
            "those "
            "that judge; at least 2 are needed. Ask for more of them."
        )
    first = study.config.evaluation.first_slots
    return Judged(rows, *stretch_of(setup, study, first, first))


def _answer(
    study: Study,
    models: Models,
    setup: Setup,
    judged: Judged,
    segments: Segments,
    progress: StageProgress,
) -> dict[str, Any]:
    config, spec = study.config, setup.spec
    slots = _collect(study, models, setup, judged, progress)
    unseen = unseen_values(setup.contents, study.content_encoder, logged_sends(study))
    unknown = unknown_of(study, setup, judged, unseen)
    names = [str(name) for name in setup.catalogue.ids]
    words = list(dict.fromkeys(word for told in unseen.values() for word in told))
    asked = (names, words, config.evaluation, config.seed)
    report = campaign_report(slots, unknown, *asked)
    spread = _detail(study, setup, slots, report)
    curve, safe, why_no_curve = _blend(slots, report, config.evaluation, config.seed, study.is_one_shot)
    if report["offline"] is not None:
        report["offline"]["blend"] = safe  # by the same bounds as the curve
    whole = whole_horizon(study, models, setup, judged, unseen, check_slots(slots).reason, progress)
    rows, suppressed = by_segment(slots, unknown, segments.code[judged.rows], segments.labels, *asked)
    market = market_part(study, models, setup, judged, segments, unknown.silent, progress)
    for row in rows:
        row["market"] = market["by_segment"].get(row["segment"]) if market else None
    return {
        "schema_version": 1,
        "name": spec.name,
        "outcome": study.objective.outcome,
        "decided_by": setup.decided_by,
        "mode": setup.policy.mode,
        "exploration": setup.policy.exploration,
        "audience": {
            "where": spec.audience.where,
            "named": None if spec.audience.customers is None else len(spec.audience.customers),
            "customers": int(setup.audience.sum()),
            "judged": len(judged.rows),
            "of": len(setup.audience),
        },
        "dates": _dates(study, setup, judged),
        "contents": _contents(setup, unseen, slots),
        "guardrails": asdict(setup.policy.guardrails),
        "verdict": report["verdict"],
        "sentence": report["sentence"],
        "offline": report["offline"],
        "offline_reason": report["offline_reason"],
        "prediction": report["prediction"],
        "whole_horizon": whole,
        "distributions": spread,
        "by_attributes": _by_attributes(study, setup, slots, unknown),
        "unlogged": report["unlogged"] | {
            "values": words,
            "dayparts": [part for part, silent in zip(DAYPARTS, unknown.silent, strict=True) if silent],
        },
        "blend": curve,
        "safe_share": safe,
        "blend_reason": why_no_curve,
        "segments": {"by": segments.by, "rows": rows, "suppressed": suppressed, "least": LEAST_CUSTOMERS},
        "market": market,
        "plan": _plan(study, setup, report, whole, market, safe),
        "probabilities": "fitted" if slots.fitted else "logged",
        "notes": _notes(study, setup, judged, slots, report["offline"], whole, market),
    }  # fmt: skip


# From the log alone


def _collect(study: Study, models: Models, setup: Setup, judged: Judged, progress: StageProgress) -> LoggedSlots:
    """The audience's judged stretch, with what the campaign would do in it."""
    policies: dict[str, Decides] = {CAMPAIGN: setup.serves(study, judged.rows, judged.shift)}
    return collect_slots(
        study.grid.take(judged.rows), _people(study, judged.rows), setup.catalogue, study.log.clock,
        setup.policy.guardrails, study.objective, policies, load_model(models.train.folder), logger_of(models, setup),
        judged.slots,
        lambda done: progress.update(done, judged.slots, "log"), judged.column,
    )  # fmt: skip


def _detail(study: Study, setup: Setup, slots: LoggedSlots, report: dict[str, Any]) -> dict[str, Any]:
    """Puts what stands behind a one-shot campaign's estimate into the report, and gives the distributions of value."""
    config, names = study.config, content_categories(study)
    if not study.is_one_shot or report["offline"] is None or report["offline"]["value"] is None:
        return {}
    kinds = kinds_of(setup.contents.table, names) if names else None
    fuller, spread = one_shot_details(
        slots, {CAMPAIGN: report["offline"]}, config.evaluation, config.seed, kinds
    )  # fmt: skip
    report["offline"] = fuller[CAMPAIGN]
    return spread


def _by_attributes(study: Study, setup: Setup, slots: LoggedSlots, unknown: Unknown) -> dict[str, Any] | None:
    """A one-shot campaign's new contents weighed by their categories; None where there is nothing to weigh so."""
    names, logging = content_categories(study), slots.logging
    sends_new = slots.target[CAMPAIGN][:, 0, 1:][:, unknown.new].any()
    if not study.is_one_shot or logging is None or not names or not sends_new:
        return None
    kinds = kinds_of(setup.contents.table, names)
    found = estimate_by_attributes(slots, CAMPAIGN, kinds, logging, study.config.evaluation, study.config.seed)
    return None if found is None else {"attributes": names, **found}


def _people(study: Study, rows: np.ndarray) -> Population:
    return study.population.take(torch.from_numpy(rows))


def _blend(
    slots: LoggedSlots, report: dict[str, Any], settings: Any, seed: int, one_shot: bool
) -> tuple[list[dict[str, Any]], float, str | None]:
    if report["offline"] is None:
        return [], 0.0, report["offline_reason"]
    diagnostics = report["offline"]["diagnostics"]
    # One decision's blends stand and fall with the campaign, and all of them with the probabilities.
    none = diagnostics["refused"] and (one_shot or diagnostics["refused_by"] == PROBABILITIES)
    if none or report["prediction"] is not None or report["verdict"] == "not identifiable":
        return [], 0.0, report["sentence"]
    curve, safe = blend_curve(slots, CAMPAIGN, settings, seed)
    return curve, safe, None


# How to try it


def _plan(
    study: Study,
    setup: Setup,
    report: dict[str, Any],
    whole: dict[str, Any] | None,
    market: dict[str, Any] | None,
    safe: float,
) -> dict[str, Any]:
    over_all = None if whole is None else whole["offline"]
    grid, clock = study.grid.take(np.flatnonzero(setup.audience)), study.log.clock
    rewards = logged_rewards(grid, study.catalogue, study.objective, grid.slots)
    known = (grid.decision != ABSENT) & grid.labelled
    lengths = [study.objective.horizon_days] if study.is_one_shot else [d for d in DAYS if clock.slots_in(d)]
    spreads: list[Spread] = []
    for days in lengths:
        found = spread_of(rewards, known, 1 if study.is_one_shot else clock.slots_in(days), days)
        if found is not None:
            spreads.append(found)
    gain, source = _assumed(study, report, over_all, market)
    opt_outs = None
    if "unsubscribed" in grid.outcomes and known.any():
        a_day = 24 / clock.slot_hours if not study.is_one_shot else 1 / max(1, study.objective.horizon_days)
        opt_outs = float(np.nan_to_num(grid.outcomes["unsubscribed"])[known].sum() / known.sum() * a_day)
    sends = market["sends_per_customer_day"] if market else report["unlogged"]["sends_per_decision"]
    return plan_test(
        spreads, gain, source, int(setup.audience.sum()), int(setup.contents.offered.sum()), sends,
        setup.policy.guardrails.holdout, opt_outs,
        safe if over_all is None or over_all["difference"] is None else over_all["blend"],
    )  # fmt: skip


def _assumed(
    study: Study, report: dict[str, Any], over_all: dict[str, Any] | None, market: dict[str, Any] | None
) -> tuple[float | None, str]:
    """The gain a day that a test is planned for, the least that any source says, and where it comes from."""
    gains: dict[str, float] = {}
    offline = report["offline"]
    if offline is not None and offline["difference"] is not None:
        days = study.objective.horizon_days
        if not study.is_one_shot:
            days = offline["horizon_slots"] * study.log.clock.slot_hours / 24
        gains[f"the log's estimate by {offline['estimator']}"] = offline["difference"]["value"] / days
    if over_all is not None and over_all["difference"] is not None:
        days = over_all["horizon_slots"] * study.log.clock.slot_hours / 24
        gains[f"the log's estimate over {days:g} days by {over_all['estimator']}"] = (
            over_all["difference"]["value"] / days
        )
    if market is not None and market["campaign"]["worlds"]:
        least = market["campaign"]["range"]["difference"]["low"]
        gains["the lower of the markets' own answers"] = least / market["days"]
    if not gains:
        return None, "neither log nor market says one"
    source = min(gains, key=lambda name: gains[name])
    if max(gains.values()) > 0 >= gains[source]:
        others = " and ".join(name for name, gain in gains.items() if gain > 0)
        return gains[source], f"{source} says none, {others} says more than 0"
    return gains[source], source


# What is said with it


def _dates(study: Study, setup: Setup, judged: Judged) -> dict[str, Any]:
    clock, grid = study.log.clock, study.grid

    def told(slot: int) -> str:
        return f"{clock.times([slot])[0]:%Y-%m-%d %H:%M}"

    first = grid.first_slot + judged.column
    return {
        "windows": [[told(begin), told(end)] for begin, end in setup.windows],
        "begin": told(setup.begin),
        "end": told(setup.begin + setup.slots),
        "days": setup.slots * clock.slot_hours / 24,
        "log": [told(grid.first_slot), told(grid.first_slot + grid.slots)],
        "judged": [told(first), told(first + judged.slots)],
        "judged_slots": judged.slots,
        "slot_hours": clock.slot_hours,
        "timezone": clock.timezone,
        "in_log": judged.shift == 0,
        "one_shot": study.is_one_shot,
    }


def _contents(setup: Setup, unseen: dict[int, list[str]], slots: LoggedSlots) -> list[dict[str, Any]]:
    """What may be sent, with its attributes and its share of the campaign's sends in the judged stretch."""
    sends = np.where(slots.known[..., None], slots.target[CAMPAIGN], 0.0).sum(axis=(0, 1))[1:]
    total = sends.sum()
    rows = []
    for place in np.flatnonzero(setup.contents.offered):
        attributes = setup.contents.table.iloc[place].drop("content_id")
        rows.append(
            {
                "content_id": str(setup.catalogue.ids[place]),
                "new": bool(setup.contents.is_new[place]),
                "unseen": unseen.get(int(place), []),
                "share_of_sends": float(sends[place] / total) if total > 0 else None,
                "attributes": {str(k): v for k, v in attributes.items() if pd.notna(v)},
            }
        )
    return rows


def _notes(
    study: Study,
    setup: Setup,
    judged: Judged,
    slots: LoggedSlots,
    offline: dict[str, Any] | None,
    whole: dict[str, Any] | None,
    market: dict[str, Any] | None,
) -> list[str]:
    notes = [*setup.notes, *unread_notes(setup.contents, study.content_encoder)]
    hours = judged.slots * study.log.clock.slot_hours
    if whole is not None:
        notes.append(
            f"The estimate of the first {hours:g} hours leans on the log's own weights alone; over more decisions they "
            "lose all precision. "
            + (
                "The log says nothing of what follows: there are the markets' answers alone."
                if whole["offline"] is None or whole["offline"]["difference"] is None
                else "That over more days leans on a model of what follows from a state, corrected by weights of a few "
                "decisions: it can be wrong where customers remember for days what the model does not see."
            )
        )
    if judged.shift and not study.is_one_shot:
        notes.append(
            "The campaign's days lie after the log: it is judged in the log's latest stretch that begins at the "
            "same time "
            "of the week (of the day, in a log shorter than a week), as if customers then were as customers now."
        )
        if setup.begin > study.grid.first_slot + study.grid.slots:
            notes.append("Between the log's end and the campaign's first day nothing is known of the customers.")
    there = int(slots.known[:, 0].sum())
    if there < len(slots.known):
        notes.append(
            f"Only {there:,} of the {len(slots.known):,} judged customers have a known decision in the first judged "
            "slot; the others say nothing of it."
        )
    if offline is not None and offline["difference"] is not None and offline["one_customer"] is not None:
        without, gain = offline["one_customer"], offline["difference"]["value"]
        notes.append(
            "Without the one customer who moves it most, the gain from the log alone"
            f"{f' over the first {hours:g} hours' if whole else ''} would be {without['difference']:+.3g} instead of "
            f"{gain:+.3g}" + (": its sign hangs on that customer." if without["turns"] else ".")
        )
    if slots.fitted:
        notes.append(
            "The log does not say how likely its decisions were: they were fitted, and all estimates lean on that fit."
        )
    sent = np.where(slots.known[..., None], slots.target[CAMPAIGN], 0.0)[..., HOLD + 1 :].sum()
    if sent < 1e-6:
        notes.append(
            "In the judged stretch the campaign sends nothing: guardrails, dates or its rule keep it from it. "
            "Its estimate "
            "is that of holding."
        )
    if market is not None and market.get("sends_per_customer_day") == 0:
        notes.append("In the market, too, it sends nothing.")
    return notes
