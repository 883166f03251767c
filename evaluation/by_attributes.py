"""What a one-shot campaign earns where contents are weighed by what they are like: for contents that were never sent.

OffCEM (`evaluation.content_attributes`) on the combinations of categorical attributes: it is right where the reward
model is right about differences between contents of one combination, however wrong it is about a combination as a
whole. Its intervals hold chance alone, not errors of that kind; so it stands beside the estimate, never in its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from evaluation.content_attributes import MIPS, KnownEmbedding, OffCEM, attribute_embedding
from evaluation.estimators import Contributions, LoggedDecisions
from evaluation.intervals import bootstrap
from evaluation.offline import LoggedSlots
from evaluation.offline_settings import OfflineSettings
from evaluation.verdict import diagnose, judge


def full_logging(slots: LoggedSlots, fitted: np.ndarray) -> np.ndarray:
    """The logging policy's probabilities of all decisions in the first slot: what was logged, else as fitted.

    Args:
        slots: N customers.
        fitted: a fitted logging policy's. Shape [N, 1 + K].
    Returns:
        Shape [N, 1 + K], rows sum to 1; that of the decision taken is the logged one.
    """
    taken, logged = slots.action[:, :1], slots.logged_prob[:, :1]
    rest = 1.0 - np.take_along_axis(fitted, taken, axis=1)
    some = rest > 1e-9
    scale = np.divide(1.0 - logged, rest, out=np.zeros_like(rest), where=some)
    mixed: np.ndarray = fitted * scale
    np.put_along_axis(mixed, taken, np.where(some, logged, 1.0), axis=1)
    return mixed


def estimate_by_attributes(
    slots: LoggedSlots, name: str, kinds: Sequence[str], logging: np.ndarray, settings: OfflineSettings, seed: int
) -> dict[str, Any] | None:
    """Value, interval, difference to what was logged, diagnostics and verdict, with contents weighed by their kind.

    Args:
        slots: one slot of N customers.
        name: of the policy among theirs.
        kinds: what each decision is like, hold first. Length 1 + K.
        logging: of all decisions; see `full_logging`. Shape [N, 1 + K].
        settings, seed: of the bootstrap of customers.
    Returns:
        None where no customer's slot is known.
    """
    use = np.flatnonzero(slots.known[:, 0])
    if not len(use):
        return None
    logged = LoggedDecisions(use, slots.action[use, 0], slots.reward[use, 0], slots.logged_prob[use, 0])
    target, predicted = slots.target[name][use, 0], slots.predicted[use, 0]
    marginal = KnownEmbedding(attribute_embedding(np.array(kinds), logged.action), logging[use])
    estimators = (OffCEM(marginal), MIPS(marginal))
    estimates = {"incumbent": Contributions(logged.reward, np.ones(len(use)))}
    estimates |= {e.name: e.contributions(logged, target, predicted) for e in estimators}
    result = bootstrap(estimates, use, settings.draws, settings.level, seed)
    diagnostics = diagnose(*marginal.by_attribute(logged, target))
    difference = result.difference(estimators[0].name, "incumbent")
    told = judge(difference, diagnostics, "the campaign", "what was done")
    found: dict[str, Any] = {
        "estimator": estimators[0].name,
        **result.interval(estimators[0].name).to_dict(),
        "difference": difference.to_dict(),
        "diagnostics": diagnostics.to_dict(),
        "verdict": told.word,
        "sentence": told.sentence[:1].upper() + told.sentence[1:],
        "estimators": {e.name: result.interval(e.name).to_dict() for e in estimators},
    }
    if told.word == "not identifiable" or diagnostics.refused:
        found |= {"value": None, "low": None, "high": None, "difference": None, "estimators": None}
    return found
