"""What stands behind offline estimates besides their intervals: support, probabilities, and twins of the log."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from campaigns.column_groups import grouped_columns
from evaluation.estimators import LoggedDecisions
from evaluation.offline import LoggedSlots, check_slots
from evaluation.offline_settings import OfflineSettings
from evaluation.probability_check import predicted_shares
from evaluation.support_breakdown import SupportRows, support_breakdown
from evaluation.twins import MOST_ROWS, score_on_twins, twin_law, twins_report

LEAST_ROWS = 200
"""A smaller log has no twins worth drawing."""

INCUMBENT = "incumbent"


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
    logging = None if context.logging is None else context.logging[known]
    rows = SupportRows(slots.action[known], slots.logged_prob[known], customer, context.daypart[known], logging)
    groups = list(grouped_columns(users))
    return {
        "support": {name: support_breakdown(p[known], rows, names, groups) for name, p in slots.target.items()},
        "probabilities": check_slots(slots, names).to_dict(names),
    }


def twins_of(slots: LoggedSlots, settings: OfflineSettings, seed: int) -> dict[str, Any]:
    """Judges the estimators on twins of a one-shot log (`evaluation.twins`), or says under `reason` why not."""
    reason = _why_no_twins(slots, settings)
    if reason or slots.context is None:
        return {"twins": 0, "estimators": [], "right": [], "reason": reason, "sentence": ""}
    use = np.flatnonzero(slots.known[:, 0])
    if len(use) > MOST_ROWS:
        use = np.sort(np.random.default_rng([seed, 59]).choice(use, MOST_ROWS, replace=False))
    logged = LoggedDecisions(use, slots.action[use, 0], slots.reward[use, 0], slots.logged_prob[use, 0])
    features, logging = slots.context.features[use, 0], slots.context.logging
    decisions = slots.predicted.shape[2]
    others = predicted_shares(features, logged.action, use, decisions, seed) if logging is None else logging[use, 0]
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
