"""Conservative Q-learning finds what is known to be best from a uniformly random log, and stays near what was tried."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from agents.cql import train_cql
from agents.cql_settings import CQLSettings
from agents.logged_states import LoggedStates, discount
from campaigns.errors import CampaignError
from policies.decision_values import TowerValues
from tests.agents.logs_by_chance import (
    BEST,
    DAYS,
    DISCOUNT,
    FRESH,
    WORN,
    market,
    random_log,
    recovered,
    rising_log,
    states_of,
    wearing_log,
)
from tests.envs.hand_made import its_objective

QUICK = CQLSettings(steps=600, batch_size=256, learning_rate=3e-3, width=32, refresh=10)
TINY = CQLSettings(steps=30, batch_size=32, width=8, refresh=4, checkpoint_steps=10)


def values(chooser: TowerValues, log: LoggedStates) -> dict[tuple[int, int], float]:
    """Q by state and decision."""
    state = states_of(torch.tensor([False, True]))
    with torch.no_grad():
        found = chooser.network(torch.zeros(2, 1), state, log.contents, torch.zeros(2, len(log.contents), 1))
    return {(s, a): float(found[s, a]) * chooser.scale for s in (FRESH, WORN) for a in range(found.shape[1])}


def weights(chooser: TowerValues) -> torch.Tensor:
    """All weights in one vector."""
    return torch.cat([value.flatten() for value in chooser.tensors().values()])


def test_without_the_penalty_values_are_those_of_value_iteration() -> None:
    log = wearing_log()
    found = values(train_cql(log, DISCOUNT, replace(QUICK, alpha=0.0), seed=0), log)
    assert found == pytest.approx(BEST, abs=0.3)


def test_the_penalty_lowers_nothing_more_than_what_was_tried_as_often() -> None:
    """Hold and send were tried alike, so that the choice stays that of value iteration."""
    log = wearing_log()
    found = values(train_cql(log, DISCOUNT, replace(QUICK, alpha=0.05, steps=400), seed=0), log)
    assert found[FRESH, 0] > found[FRESH, 1] + 0.5


def test_a_random_log_is_enough_for_the_right_content_at_the_right_hour() -> None:
    chance = discount(its_objective(DAYS), market().clock, 0.99)
    assert recovered(train_cql(random_log(), chance, replace(QUICK, steps=500), seed=0)) > 0.8


def test_it_stays_with_what_the_log_tried() -> None:
    """The third content lies on a rising trend and was never sent; fitted Q iteration would send it."""
    log = rising_log()
    trusting = values(train_cql(log, 0.0, replace(QUICK, alpha=0.0, steps=300), seed=0), log)
    careful = values(train_cql(log, 0.0, replace(QUICK, alpha=0.5), seed=0), log)
    assert max(range(4), key=lambda a: trusting[FRESH, a]) == 3
    assert max(range(4), key=lambda a: careful[FRESH, a]) == 2
    assert careful[FRESH, 3] < trusting[FRESH, 3] - 0.3


def test_training_that_stopped_goes_on_to_the_same_policy(tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def stop(done: int) -> None:
        if done > 20:
            raise Stop

    file, log, resumed = tmp_path / "checkpoint.pt", wearing_log(customers=50), []
    with pytest.raises(Stop):
        train_cql(log, DISCOUNT, TINY, seed=1, checkpoint=file, progress=stop)
    again = train_cql(log, DISCOUNT, TINY, seed=1, checkpoint=file, on_resume=resumed.append)
    assert resumed == [20]
    assert torch.equal(weights(again), weights(train_cql(log, DISCOUNT, TINY, seed=1)))
    assert not torch.equal(weights(again), weights(train_cql(log, DISCOUNT, TINY, seed=2)))


def test_a_loss_that_is_not_finite_stops_at_its_minibatch_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    log, file = wearing_log(customers=50), tmp_path / "checkpoint.pt"
    settings = replace(TINY, steps=20, refresh=7)
    train_cql(log, DISCOUNT, replace(settings, steps=10), seed=1, checkpoint=file)
    kept = file.read_bytes()
    broken = replace(log, reward=log.reward.clone())
    broken.reward[:] = torch.nan
    with pytest.raises(CampaignError, match="not finite at minibatch 11 of 20"):
        train_cql(broken, DISCOUNT, settings, seed=1, checkpoint=file)
    assert file.read_bytes() == kept


def test_a_log_without_successors_is_refused() -> None:
    log = wearing_log(customers=20, slots=1)
    with pytest.raises(CampaignError, match="no two known slots follow each other"):
        train_cql(log, DISCOUNT, TINY, seed=0)
