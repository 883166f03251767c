"""What a one-shot campaign earns where contents are weighed by what they are like: for contents that were never sent.

OffCEM (`evaluation.content_attributes`) on the combinations of categorical attributes: it is right where the reward
model is right about differences between contents of one combination, however wrong it is about a combination as a
whole. Its intervals hold chance alone, not errors of that kind; so it stands beside the estimate, never in its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from evaluation.content_attributes import MIPS, KnownEmbedding, OffCEM, attribute_embedding
from evaluation.estimators import Contributions, LoggedDecisions
from evaluation.intervals import bootstrap
from evaluation.logged_slots import LoggedSlots
from evaluation.offline_settings import OfflineSettings
from evaluation.verdict import diagnose, judge


def kinds_of(contents: pd.DataFrame, names: Sequence[str]) -> list[str]:
    """What each decision is like, hold first: the combination of some of its attributes. Length 1 + K."""
    table = contents[list(names)].astype("string").fillna("missing")
    return ["hold", *(" / ".join(row) for row in table.itertuples(index=False))]


def estimate_by_attributes(
    slots: LoggedSlots, name: str, kinds: Sequence[str], logging: np.ndarray, settings: OfflineSettings, seed: int
) -> dict[str, Any] | None:
    """Value, interval, difference to what was logged, diagnostics and verdict, with contents weighed by their kind.

    Args:
        slots: one slot of N customers.
        name: of the policy among theirs.
        kinds: what each decision is like, hold first. Length 1 + K.
        logging: of all decisions; see `evaluation.slot_context.full_logging`. Shape [N, 1 + K].
        settings, seed: of the bootstrap of customers.
    Returns:
        None where no customer's slot is known.
    """
    use = np.flatnonzero(slots.known[:, 0])
    if not len(use):
        return None
    logged = LoggedDecisions(slots.units[use], slots.action[use, 0], slots.reward[use, 0], slots.logged_prob[use, 0])
    target, predicted = slots.target[name][use, 0], slots.predicted[use, 0]
    marginal = KnownEmbedding(attribute_embedding(np.array(kinds), logged.action), logging[use])
    estimators = (OffCEM(marginal), MIPS(marginal))
    estimates = {"incumbent": Contributions(logged.reward, np.ones(len(use)))}
    estimates |= {e.name: e.contributions(logged, target, predicted) for e in estimators}
    result = bootstrap(estimates, logged.customer, settings.draws, settings.level, seed)
    diagnostics = diagnose(*marginal.by_attribute(logged, target), logging=logging[use] @ marginal.embedding.prob)
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
