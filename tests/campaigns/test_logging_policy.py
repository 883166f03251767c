"""The fitted logging policy: of what was done in all, or of what was free to decide."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from campaigns.history import HOLD
from campaigns.logging_policy import LoggingPolicyModel, fit_logging_policy
from campaigns.replay import replay
from tests.worlds import small_world

WORLD = small_world()
CHANCE = np.random.default_rng(0).random(WORLD.grid.decision.shape) < 0.5
ELIGIBLE = WORLD.grid.eligible & CHANCE
GRID = replace(WORLD.grid, eligible=ELIGIBLE, decision=np.where(ELIGIBLE, WORLD.grid.decision, HOLD))
LOG = (GRID, WORLD.population, WORLD.catalogue, WORLD.log.clock)


def sends_where_free(model: LoggingPolicyModel) -> tuple[float, float]:
    """Predicted and observed share of sends among decisions that were free."""
    predicted, observed, rows = 0.0, 0, 0
    for step in replay(*LOG):
        free = step.observation.allowed[:, 1:].any(dim=1)
        chances = model.probabilities(step.observation)
        predicted += float((1 - chances[free, 0]).sum())
        observed += int((step.decision[free] > HOLD).sum())
        rows += int(free.sum())
    return predicted / rows, observed / rows


def test_what_eligibility_forced_does_not_count_as_a_choice_where_asked() -> None:
    predicted, observed = sends_where_free(fit_logging_policy(*LOG, epochs=60, respect_eligible=True))
    assert predicted == pytest.approx(observed, rel=0.1)


def test_by_default_the_fit_is_of_everything_that_was_done() -> None:
    predicted, observed = sends_where_free(fit_logging_policy(*LOG, epochs=60))
    assert predicted < 0.75 * observed
