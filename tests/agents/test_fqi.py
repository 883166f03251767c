"""Fitted Q iteration finds what is known to be best from a uniformly random log, and looks at open decisions alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from agents.fqi import train_fqi
from agents.fqi_settings import FQISettings
from agents.logged_states import LoggedStates, discount
from campaigns.errors import CampaignError
from policies.bandit import linear_values
from policies.decision_values import LinearValues
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


def values(chooser: LinearValues, log: LoggedStates) -> dict[tuple[int, int], float]:
    """Q by state and decision."""
    state = states_of(torch.tensor([False, True]))
    daypart, candidates = torch.zeros(2, dtype=torch.int64), torch.zeros(2, len(log.contents), 1)
    found = linear_values(chooser.theta, torch.zeros(2, 1), state, daypart, log.contents, candidates)
    return {(s, a): float(found[s, a]) for s in (FRESH, WORN) for a in range(found.shape[1])}


def test_values_are_those_of_value_iteration() -> None:
    log = wearing_log()
    found = values(train_fqi(log, DISCOUNT, FQISettings(), seed=0), log)
    assert found == pytest.approx(BEST, abs=0.12)
    assert found[FRESH, 0] > found[FRESH, 1] + 0.8  # a myopic learner would send


def test_without_a_future_the_slots_own_reward_decides() -> None:
    log = wearing_log()
    found = values(train_fqi(log, 0.0, FQISettings(backups=2), seed=0), log)
    assert found == pytest.approx({(FRESH, 0): 0.5, (FRESH, 1): 1.0, (WORN, 0): 0.0, (WORN, 1): 0.0}, abs=0.02)


def test_what_is_closed_in_the_next_slot_is_worth_nothing() -> None:
    """Where fresh customers may never be held, the best that follows is what a send brings."""
    log = wearing_log()
    closed = log.allowed.clone()
    closed[..., 0] &= log.state[..., 1] == 1
    found = values(train_fqi(replace(log, allowed=closed), DISCOUNT, FQISettings(), seed=0), log)
    # V(fresh) = 1 + .9 V(worn), V(worn) = .9 (.2 V(fresh) + .8 V(worn))
    worn = 0.18 / (1 - 0.72 - 0.162)
    assert found[WORN, 0] == pytest.approx(worn, abs=0.12)
    assert found[FRESH, 1] == pytest.approx(1 + 0.9 * worn, abs=0.12)


def test_a_random_log_is_enough_for_the_right_content_at_the_right_hour() -> None:
    chance = discount(its_objective(DAYS), market().clock, 0.99)
    settings, done = FQISettings(backups=10), []
    first, second = (train_fqi(random_log(), chance, settings, 0, done.append) for _ in range(2))
    assert recovered(first) > 0.8
    assert torch.equal(first.theta, second.theta)
    assert done == [*range(1, 11), *range(1, 11)]


def test_it_believes_a_trend_beyond_what_the_log_tried() -> None:
    """What CQL is for: see `test_cql`."""
    log = rising_log()
    found = values(train_fqi(log, 0.0, FQISettings(backups=1), seed=0), log)
    assert found[FRESH, 3] > found[FRESH, 2] + 0.3


def test_values_that_run_away_stop_at_their_backup() -> None:
    with pytest.raises(CampaignError, match=r"no longer finite at backup \d+ of 400"):
        train_fqi(wearing_log(customers=40), 1e3, FQISettings(backups=400), seed=0)
