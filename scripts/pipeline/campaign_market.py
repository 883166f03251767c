"""A new campaign in the markets of both halves: what it earns there, what it does, and to whom."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from campaigns.guardrails import NO_GUARDRAILS, Guardrails
from campaigns.replay import history_before
from envs.market import make_market
from evaluation.new_campaign import AsLogged, across, market_answer
from evaluation.rollout import Rollout, rollout
from evaluation.segments import LEAST_CUSTOMERS
from evaluation.thin_support import ThinCount
from policies.following import Decides
from scripts.pipeline.campaign_segments import Segments
from scripts.pipeline.campaign_setup import Judged, Setup
from scripts.pipeline.context import JUDGE, TRAIN, Study, load_logging_policy, load_model
from scripts.pipeline.earlier_run import Models
from scripts.pipeline.fit_stage import log_support_of
from scripts.pipeline.progress import StageProgress
from scripts.pipeline.stage import Stage

MARKET_LABEL = (
    "The markets' own answer: what simulated customers, fitted to this log, do in two worlds. A range across "
    "worlds, of "
    "which no coverage is claimed; both may share what the log cannot show."
)


def market_part(
    study: Study,
    models: Models,
    setup: Setup,
    judged: Judged,
    segments: Segments,
    silent: np.ndarray,
    progress: StageProgress,
) -> dict[str, Any] | None:
    """What the worlds of both halves say; None where a log has one slot, and so no market."""
    if not study.has_market:
        return None
    stretches = {
        "judged_slots": (study.grid.first_slot + judged.column, judged.slots, judged.shift),
        "campaign": (setup.begin, setup.slots, 0),
    }
    found: dict[str, Any] = {"label": MARKET_LABEL, "days": setup.slots * study.log.clock.slot_hours / 24}
    found["by_segment"] = {}
    worlds: dict[str, dict[str, dict[str, float]]] = {name: {} for name in stretches}
    for number, (half, network) in enumerate(((TRAIN, models.train), (JUDGE, models.judge))):
        rows = _players(study, setup, half)
        if not len(rows):
            continue
        thin = ThinCount(log_support_of(models.incumbent), seed=study.config.seed)
        for name, stretch in stretches.items():
            progress.update(number, 2, f"market of the {half} half")
            mine, before = _play(study, models, network, setup, rows, *stretch, thin if name == "campaign" else None)
            worlds[name][half] = market_answer(mine.value, before.value)
        if half == JUDGE:  # the last one played is the whole campaign
            found |= _behaviour(setup, mine, len(rows), found["days"], silent, thin)
            found["by_segment"] = _gains(mine.value - before.value, segments.code[rows], segments.labels)
    for name, answers in worlds.items():
        found[name] = {"worlds": answers, "range": across(answers)}
    return found


def _players(study: Study, setup: Setup, half: str) -> np.ndarray:
    """The audience of a half, at most as many as worlds are judged with."""
    rows, most = study.halves[half], study.config.market.judge_customers
    rows = rows[setup.audience[rows]]
    if len(rows) <= most:
        return rows
    return np.sort(np.random.default_rng([study.config.seed, 41]).permutation(rows)[:most])


def _gains(gain: np.ndarray, code: np.ndarray, labels: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Mean gain of every segment of enough customers."""
    return {
        label: {"customers": int((code == index).sum()), "difference": float(gain[code == index].mean())}
        for index, label in enumerate(labels)
        if (code == index).sum() >= LEAST_CUSTOMERS
    }


def _play(
    study: Study,
    models: Models,
    network: Stage,
    setup: Setup,
    rows: np.ndarray,
    begin: int,
    slots: int,
    shift: int,
    thin: ThinCount | None,
) -> tuple[Rollout, Rollout]:
    """The campaign and the incumbent in one world, from what the log knows of its customers at `begin`."""
    people = study.population.take(torch.from_numpy(rows))
    column = begin - study.grid.first_slot
    start = history_before(study.grid.take(rows), people, setup.catalogue, study.log.clock, column)
    model = load_model(network.folder)

    def play(policy: Decides, guardrails: Guardrails, watch: ThinCount | None) -> Rollout:
        world = make_market(
            model, people, setup.catalogue, study.log.clock, guardrails, begin, slots, start=start
        )  # fmt: skip
        return rollout(
            world,
            policy,
            study.objective,
            len(rows),
            study.config.seed + 100,
            slots,
            guardrails=guardrails,
            watch=watch,
        )

    incumbent = AsLogged(load_logging_policy(models.incumbent.folder), torch.from_numpy(~setup.contents.is_new))
    mine = play(setup.serves(study, rows, shift), setup.policy.guardrails, thin)
    return mine, play(incumbent, NO_GUARDRAILS, None)


def _behaviour(
    setup: Setup, mine: Rollout, customers: int, days: float, silent: np.ndarray, thin: ThinCount
) -> dict[str, Any]:
    """What the campaign does in the judging world, over all its days."""
    sends = mine.contents.sum(axis=0)
    total = float(sends.sum())
    return {
        "sends_per_customer_day": total / (customers * days),
        "opt_out_share": float(mine.opted_out.mean()),
        "share_of_contents": {
            str(name): float(count / total) for name, count in zip(setup.catalogue.ids, sends, strict=True) if count
        },
        "share_of_sends_new": float(sends[setup.contents.is_new].sum() / total) if total else None,
        "share_of_sends_silent": float(mine.by_daypart[silent, 1].sum() / total) if total else None,
        "thin_send_share": thin.shares()["thin_send_share"],
        "held_because": mine.held_because,
    }
