"""A new campaign over all its days, from the log alone: which stretch of the log, which customers, and the estimate."""

from __future__ import annotations

from typing import Any

import torch

from evaluation.campaign_horizon import LEAST_CUSTOMERS, too_few, whole_report
from evaluation.new_campaign import CAMPAIGN
from evaluation.sequences import collect_sequences
from scripts.pipeline.campaign_setup import Judged, Setup, labelled_slots, stretch_of
from scripts.pipeline.campaign_unknown import logger_of, unknown_of
from scripts.pipeline.context import Study, load_model
from scripts.pipeline.earlier_run import Models
from scripts.pipeline.fit_stage import sequence_customers
from scripts.pipeline.progress import StageProgress


def whole_horizon(
    study: Study,
    models: Models,
    setup: Setup,
    judged: Judged,
    unseen: dict[int, list[str]],
    contradicted: str | None,
    progress: StageProgress,
) -> dict[str, Any] | None:
    """The campaign's estimate over all its days, or why there is none; None where customers are decided on once.

    Args:
        study, models: the log and what was fitted to it.
        setup: the campaign.
        judged: the customers, and its first slots.
        unseen: attribute values that no send ever had, by content.
        contradicted: why the log contradicts its own probabilities; None where it does not.
        progress: of the stage.
    Returns:
        `of_days`: how long the campaign is; `slots`, `days` and `judged`: the stretch of the log in which it is
        judged; and what `whole_report` says. Where there is no estimate `offline` is None, and `sentence` says why.
    """
    if study.is_one_shot:
        return None
    config, clock, grid = study.config, study.log.clock, study.grid
    told: dict[str, Any] = {
        "offline": None, "verdict": "cannot tell", "of_days": setup.slots * clock.slot_hours / 24,
        "slots": None, "days": None, "judged": None, "customers": None, "unlogged": None,
    }  # fmt: skip
    if not config.evaluation.sequence_customers:
        return told | {"sentence": "evaluation.sequence_customers is 0."}
    if len(setup.windows) > 1:
        return told | {
            "sentence": "Its dates have pauses, and an estimate over many decisions takes them all together. Ask about "
            "one stretch at a time."
        }
    column, slots, shift = stretch_of(setup, study, setup.slots, judged.slots + 1)
    slots = min(slots, labelled_slots(grid) - column)
    if slots <= judged.slots:
        hours = judged.slots * clock.slot_hours
        return told | {
            "sentence": f"The campaign, or what the log has of its days, is no longer than the {hours:g} hours that "
            "the estimate of its first decisions covers."
        }
    rows = judged.rows
    if len(rows) < LEAST_CUSTOMERS:
        return told | {"sentence": too_few(len(rows))}
    rows = sequence_customers(study, rows)
    there = Judged(rows, column, slots, shift)
    sequences = collect_sequences(
        grid.take(rows), study.population.take(torch.from_numpy(rows)), setup.catalogue, clock,
        setup.policy.guardrails, study.objective, {CAMPAIGN: setup.serves(study, rows, shift)},
        load_model(models.train.folder), logger_of(models, setup),
        lambda done: progress.update(done, slots, "log, all days"), column, slots,
    )  # fmt: skip
    words = list(dict.fromkeys(word for values in unseen.values() for word in values))
    found = whole_report(
        sequences, unknown_of(study, setup, there, unseen), [str(name) for name in setup.catalogue.ids], words,
        config.evaluation, config.seed, contradicted,
    )  # fmt: skip
    first = grid.first_slot + column
    begin, end = (f"{clock.times([slot])[0]:%Y-%m-%d %H:%M}" for slot in (first, first + slots))
    return told | found | {"slots": slots, "days": slots * clock.slot_hours / 24, "judged": [begin, end]}
