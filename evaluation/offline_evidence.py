"""What stands behind offline estimates besides their intervals: support, probabilities, and twins of the log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from campaigns.column_groups import grouped_columns
from evaluation.estimators import LoggedDecisions
from evaluation.logged_slots import LoggedSlots
from evaluation.offline import check_slots
from evaluation.offline_settings import OfflineSettings
from evaluation.one_shot_detail import INCUMBENT, detail_of, distributions
from evaluation.probability_check import predicted_shares
from evaluation.support_breakdown import SupportRows, support_breakdown
from evaluation.twins import MOST_ROWS, score_on_twins, twin_law, twins_report

LEAST_ROWS = 200
"""A smaller log has no twins worth drawing."""


def offline_evidence(slots: LoggedSlots, users: pd.DataFrame, names: tuple[str, ...]) -> dict[str, Any]:
    """Where policies decide what the log does not show, and whether its probabilities can be true.

    Args:
        slots: of N customers.
        users: their table, in the same order.
        names: of hold and the contents.
    Returns:
        `support` by policy (`support_breakdown`) and `probabilities` (`ProbabilityReport.to_dict`); both None where
        nothing is known of any decision.
    """
    known, context = slots.known, slots.context
    if context is None or not known.any():
        return {"support": None, "probabilities": None}
    customer = np.broadcast_to(np.arange(len(known))[:, None], known.shape)[known]
    logging = context.logging[known] if slots.fitted and context.logging is not None else None
    rows = SupportRows(slots.action[known], slots.logged_prob[known], customer, context.daypart[known], logging)
    groups = list(grouped_columns(users))
    return {
        "support": {name: support_breakdown(p[known], rows, names, groups) for name, p in slots.target.items()},
        "probabilities": check_slots(slots, names).to_dict(names),
    }


def one_shot_details(
    slots: LoggedSlots, report: dict[str, Any], settings: OfflineSettings, seed: int, kinds: Sequence[str] | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What stands behind the estimates of a one-shot log that are not refused (`evaluation.one_shot_detail`).

    Args:
        slots: of N customers.
        report: of `evaluate_offline`.
        settings, seed: of the bootstrap.
        kinds: see `detail_of`.
    Returns:
        The report with every policy's `estimators` and `blends`, and the `distributions` of value by policy. A log of
        several decisions a customer gives back the report, and no distributions.
    """
    told = [name for name, entry in report.items() if entry["diagnostics"]["refused"] is None]
    if slots.action.shape[1] > 1 or not told:
        return report, {}
    logging = slots.logging
    fuller = {name: entry | detail_of(slots, name, settings, seed, kinds, logging) if name in told else entry
              for name, entry in report.items()}  # fmt: skip
    return fuller, distributions(slots, told, settings, seed)


def twins_of(slots: LoggedSlots, settings: OfflineSettings, seed: int) -> dict[str, Any]:
    """Judges the estimators on twins of a one-shot log (`evaluation.twins`), or says under `reason` why not."""
    reason = _why_no_twins(slots, settings)
    if reason or slots.context is None:
        return {"twins": 0, "estimators": [], "right": [], "reason": reason, "sentence": ""}
    use = np.flatnonzero(slots.known[:, 0])
    if len(use) > MOST_ROWS:
        use = np.sort(np.random.default_rng([seed, 59]).choice(use, MOST_ROWS, replace=False))
    logged = LoggedDecisions(slots.units[use], slots.action[use, 0], slots.reward[use, 0], slots.logged_prob[use, 0])
    features, logging = slots.context.features[use, 0], slots.context.logging if slots.fitted else None
    decisions = slots.predicted.shape[2]
    others = (
        predicted_shares(features, logged.action, logged.customer, decisions, seed)
        if logging is None
        else logging[use, 0]
    )
    law = twin_law(logged, features, others, seed)
    targets = {name: target[use, 0] for name, target in slots.target.items()} | {INCUMBENT: law.logging}
    scores = score_on_twins(law, targets, slots.predicted[use, 0], settings.twins, settings.level, seed)
    return twins_report(scores, settings.twins, len(use), len(targets))


def _why_no_twins(slots: LoggedSlots, settings: OfflineSettings) -> str:
    if settings.twins == 0:
        return "evaluation.twins is 0"
    if slots.action.shape[1] > 1:
        return (
            "the log has several decisions a customer: a twin would need a law of how customers change, which is what "
            "the market gate checks"
        )
    if slots.known[:, 0].sum() < LEAST_ROWS:
        return f"the log has fewer than {LEAST_ROWS} decisions to make twins of"
    return "" if slots.target else "there is no policy to rank"
