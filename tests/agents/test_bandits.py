"""Bandits in worlds whose right answers are planted; what a policy says of its own probabilities; lessons from logs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import erf, sqrt
from typing import Any

import numpy as np
import pytest
import torch

from agents.bandit_lessons import Learner, learn_from_log, learn_in_market, windowed_rewards
from agents.bandit_settings import (
    BanditSettings,
    EpsilonGreedySettings,
    LinUCBSettings,
    NeuralLinearSettings,
    ThompsonSettings,
)
from agents.epsilon_greedy import EpsilonGreedy, learn_epsilon_greedy
from agents.lesson import Lesson, LoggedCustomers
from agents.linucb import LinUCB, learn_linucb
from agents.neural_linear import NeuralLinear, learn_neural_linear
from agents.ridge import RidgeStatistics
from agents.thompson import LinearThompson, learn_thompson
from campaigns.errors import CampaignError
from campaigns.history import ABSENT
from campaigns.objective import Objective
from envs.market import Market
from evaluation.rollout import rollout
from policies.bandit import decided_features, feature_width
from policies.chooser import Chooser
from policies.rules import CapDaypartContent, Never, Random
from policies.votes import vote_shares
from tests.agents.one_shot_world import first_look, lesson_of, one_shot_world, share_right
from tests.envs.hand_made import hand_made_market, its_objective
from tests.worlds import Serves, small_world

ROOM = {"rows": 128, "slots": 96, "window_hours": 4}
Taught = tuple[Learner, Callable[[], Chooser], BanditSettings]


def epsilon_greedy(market: Market) -> Taught:
    settings = EpsilonGreedySettings(**ROOM)  # type: ignore[arg-type]
    learner = EpsilonGreedy(feature_width(market.pool, market.catalogue), settings)
    return learner, lambda: learner.chooser(0.0), settings


def thompson(market: Market) -> Taught:
    settings = ThompsonSettings(**ROOM)  # type: ignore[arg-type]
    learner = LinearThompson(feature_width(market.pool, market.catalogue), settings)
    return learner, lambda: learner.chooser(0), settings


def neural_linear(market: Market) -> Taught:
    settings = NeuralLinearSettings(**ROOM, width=32, last=16, train_batches=80)  # type: ignore[arg-type]
    learner = NeuralLinear(market.pool, market.catalogue, settings, 0)
    return learner, lambda: learner.chooser(0), settings


@pytest.mark.parametrize("make", [epsilon_greedy, thompson, neural_linear], ids=lambda make: make.__name__)
def test_it_learns_in_a_market_to_send_the_right_content_at_the_right_hour(make: Callable[[Market], Taught]) -> None:
    market, objective = hand_made_market(days=4), its_objective(4)
    learner, chooser, settings = make(market)
    learn_in_market(learner, market, objective, settings, seed=1)

    def worth(chooser: Chooser) -> float:
        return float(rollout(market, Serves(chooser), objective, 200, seed=9).value.mean())

    idle, best = worth(Never()), worth(CapDaypartContent(16, "evening", "good"))
    assert 0.9 < (worth(chooser()) - idle) / (best - idle) <= 1 + 1e-6
    assert worth(Random()) < idle


SETTINGS = {
    learn_linucb: LinUCBSettings(),
    learn_epsilon_greedy: EpsilonGreedySettings(),
    learn_thompson: ThompsonSettings(),
    learn_neural_linear: NeuralLinearSettings(width=32, last=16, train_batches=200),
}


@pytest.mark.parametrize("learn", SETTINGS, ids=lambda learn: learn.__name__)
def test_a_one_shot_log_that_preferred_what_harms_teaches_what_is_right(learn: Callable[[Lesson], Chooser]) -> None:
    world = one_shot_world()
    assert share_right(Random(2 / 3), world) == pytest.approx(1 / 3)
    assert share_right(learn(lesson_of(world.log, SETTINGS[learn])), world) > 0.98


def test_few_decisions_leave_thompson_in_doubt_and_many_do_not() -> None:
    few, many = one_shot_world(customers=40), one_shot_world()
    shares = [
        learn_thompson(lesson_of(world.log, ThompsonSettings(draws=200))).probabilities(first_look(world.log))
        for world in (few, many)
    ]
    assert shares[0].amax(dim=1).min() < 0.95
    assert shares[1].amax(dim=1).min() > 0.99


def test_shares_of_votes_are_the_chances_of_the_posterior() -> None:
    # Two decisions with independent normal posteriors: the chance that the first is better is known.
    statistics = RidgeStatistics(2, ridge=1.0)
    generator = torch.Generator().manual_seed(0)
    arm = torch.arange(60) % 2
    features = torch.nn.functional.one_hot(arm, 2).float()
    statistics.update(features, 0.2 * arm + torch.randn(60, generator=generator))
    thetas = statistics.draws(20_000, 1.0, generator)
    shares = vote_shares(thetas.unsqueeze(0), torch.ones(1, 2, dtype=torch.bool))
    variance = statistics.noise**2 * (torch.linalg.inv(statistics.gram)).diagonal().sum()
    away = float(statistics.estimate[1] - statistics.estimate[0]) / sqrt(float(variance))
    assert float(shares[0, 1]) == pytest.approx(0.5 * (1 + erf(away / sqrt(2))), abs=0.012)
    assert 0.55 < float(shares[0, 1]) < 0.95


def test_the_noise_is_what_the_estimate_leaves_over() -> None:
    rng = torch.Generator().manual_seed(3)
    features, statistics = torch.randn(4000, 5, generator=rng), RidgeStatistics(5, ridge=0.1)
    statistics.update(features, features @ torch.arange(5.0) + 0.7 * torch.randn(4000, generator=rng))
    assert statistics.noise == pytest.approx(0.7, rel=0.05)
    assert statistics.deviation > 3


def sequential_log() -> LoggedCustomers:
    w = small_world()
    return LoggedCustomers(w.grid, w.population, w.catalogue, w.log.clock, one_shot=False)


def test_a_logged_decisions_window_is_summed_and_unknown_ones_are_left_out() -> None:
    log, objective = sequential_log(), Objective(outcome="purchased")
    decision = log.grid.decision.copy()
    decision[3, 10] = ABSENT
    log = replace(log, grid=replace(log.grid, decision=decision))
    earned, whole = windowed_rewards(log, objective, window_hours=12)
    bought = np.nan_to_num(log.grid.outcomes["purchased"])
    assert earned.shape[1] == log.grid.slots - 2
    np.testing.assert_allclose(earned[:, 5], bought[:, 5:8].sum(axis=1))
    labelled = log.grid.labelled[3]
    assert whole[3, :14].tolist() == [bool(labelled[t : t + 3].all()) and t not in (8, 9, 10) for t in range(14)]


def test_what_a_log_teaches_is_the_sum_over_its_decisions() -> None:
    log = sequential_log()
    settings = LinUCBSettings()
    learner = LinUCB(feature_width(log.population, log.catalogue), settings)
    learn_from_log(learner, log, small_world().objective, 4, weight=0.5)
    _, whole = windowed_rewards(log, small_world().objective, 4)
    assert learner.weight == pytest.approx(0.5 * whole.sum())
    once = one_shot_world().log
    by_hand = LinUCB(feature_width(once.population, once.catalogue), settings)
    decision = torch.from_numpy(once.grid.decision[:, 0].astype(np.int64))
    cost = torch.where(decision > 0, 0.1, 0.0)
    by_hand.update(
        decided_features(first_look(once), decision), torch.from_numpy(once.grid.outcomes["value"][:, 0]) - cost
    )
    learned = learn_linucb(lesson_of(once, settings))
    torch.testing.assert_close(learned.theta, by_hand.estimate.float(), atol=1e-3, rtol=1e-3)


def test_logged_decisions_come_before_those_of_the_market() -> None:
    market, log = hand_made_market(days=2), sequential_log()
    log = replace(log, catalogue=market.catalogue, grid=replace(log.grid, decision=np.minimum(log.grid.decision, 3)))
    room: dict[str, Any] = {"rows": 8, "slots": 4, "window_hours": 4}

    def lesson(log_weight: float) -> Lesson:
        settings = EpsilonGreedySettings(**room, log_weight=log_weight)
        return replace(lesson_of(log, settings), market=lambda: market)

    cold, warm = learn_epsilon_greedy(lesson(0.0)), learn_epsilon_greedy(lesson(1.0))
    assert not torch.allclose(cold.thetas, warm.thetas, atol=1e-3)


def test_settings_out_of_range_are_refused_by_name() -> None:
    with pytest.raises(CampaignError, match=r"agent\.neural_linear\.draws=0"):
        NeuralLinearSettings(draws=0)
    with pytest.raises(CampaignError, match=r"agent\.epsilon_greedy\.epsilon=1\.5"):
        EpsilonGreedySettings(epsilon=1.5)
    with pytest.raises(CampaignError, match=r"agent\.thompson\.log_weight=-1"):
        ThompsonSettings(log_weight=-1)
