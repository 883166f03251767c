"""The fitted logging policy: of what was done in all, or of what was free to decide."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from campaigns.clock import MINUTES_PER_DAY
from campaigns.history import HOLD
from campaigns.logging_policy import LoggingPolicyModel, fit_logging_policy, local_hour
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


def test_every_local_hour_is_sent_in_as_often_as_the_log_did_and_quiet_hours_begin_at_once() -> None:
    w = small_world()
    log = (w.grid, w.population, w.catalogue, w.log.clock)
    model = fit_logging_policy(*log)
    predicted, observed, decisions = torch.zeros(24), torch.zeros(24), torch.zeros(24)
    for step in replay(*log):
        seen, hour = step.observation, step.observation.minute // 60
        assert torch.equal(local_hour(seen.state), hour)
        predicted.index_add_(0, hour, 1 - model.probabilities(seen)[:, 0])
        observed.index_add_(0, hour, (step.decision > HOLD).float())
        decisions.index_add_(0, hour, torch.ones(len(hour)))
    known = decisions > 1000
    rates = predicted[known] / decisions[known], observed[known] / decisions[known]
    silent = rates[1] == 0
    assert silent.any()
    assert (~silent).any()
    assert float(rates[0][silent].max()) < 0.005
    assert torch.allclose(rates[0][~silent], rates[1][~silent], rtol=0.25)


def test_a_policy_that_was_saved_without_hours_is_read_and_knows_none() -> None:
    w = small_world()
    model = fit_logging_policy(w.grid, w.population, w.catalogue, w.log.clock, epochs=1)
    tensors = {name: value for name, value in model.state_dict().items() if name != "hour"}
    assert not LoggingPolicyModel.restore(model.settings(), tensors).hour.any()


def test_the_local_hour_is_read_back_from_features_at_any_minute() -> None:
    from campaigns.features import STATE_FEATURES

    minute = torch.arange(0, MINUTES_PER_DAY, 15)
    angle = minute * (2 * torch.pi / MINUTES_PER_DAY)
    state = torch.zeros(len(minute), len(STATE_FEATURES))
    state[:, STATE_FEATURES.index("hour sin")], state[:, STATE_FEATURES.index("hour cos")] = angle.sin(), angle.cos()
    assert torch.equal(local_hour(state), minute // 60)
