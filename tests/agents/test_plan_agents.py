"""Agents of weekly plans find the plan that is known to be best, and say the same when asked twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from agents.plan_ppo import train_plan_ppo
from agents.plan_settings import PlanPPOSettings, PlanThompsonSettings
from agents.plan_thompson import WeekRegression, train_plan_thompson
from campaigns.errors import CampaignError
from campaigns.guardrails import Guardrails
from campaigns.objective import Objective
from campaigns.plans import NO_PLAN
from evaluation.rollout import rollout
from policies.plans import PLAN, PlanChooser
from policies.policy import Policy
from policies.rules import CapDaypartContent, Never
from tests.envs.hand_made import GOOD, hand_made_market, its_objective
from tests.policies.conftest import make_policy
from tests.worlds import Serves, small_market

PPO = PlanPPOSettings(plans=128 * 10, rows=128, batch_size=64, epochs=8, learning_rate=2e-2, width=16)
THOMPSON = PlanThompsonSettings(rows=64, weeks=10, draws=8, ridge=1.0)
TINY_PPO = replace(PPO, plans=64, rows=32, batch_size=32, epochs=1)
SHORT = Objective(horizon_days=2)


def serving(chooser: PlanChooser) -> Policy:
    return make_policy(chooser=chooser)


@pytest.mark.parametrize("name", ["ppo", "thompson"])
def test_the_best_plan_of_a_hand_made_world_is_found(name: str) -> None:
    """Daily, in the evening, good."""
    market, objective = hand_made_market(days=7), its_objective(7)
    learned = (
        train_plan_ppo(market, objective, PPO, seed=0)
        if name == "ppo"
        else train_plan_thompson(market, objective, THOMPSON, seed=0)
    )
    mine = rollout(market, serving(learned), objective, 200, seed=9)
    best = rollout(market, Serves(CapDaypartContent(7, "evening", "good")), objective, 200, seed=9)
    idle = rollout(market, Serves(Never()), objective, 200, seed=9)
    gain = (mine.value.mean() - idle.value.mean()) / (best.value.mean() - idle.value.mean())
    assert 0.9 < gain <= 1 + 1e-6
    assert mine.heatmap[:, 18:].sum() > 0.95 * mine.sends.sum()
    assert mine.contents[:, GOOD - 1].sum() > 0.95 * mine.sends.sum()


def plans_of(chooser: PlanChooser) -> torch.Tensor:
    market = small_market()
    return chooser.carry(market.observe(market.begin(torch.arange(200), torch.Generator())))[:, PLAN]


def test_the_same_seed_learns_the_same() -> None:
    market, objective = small_market(), SHORT
    first, second, other = (
        torch.cat([v.flatten() for v in train_plan_ppo(market, objective, TINY_PPO, seed).tensors().values()])
        for seed in (3, 3, 4)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    few = replace(THOMPSON, rows=16, weeks=2)
    one, two, three = (train_plan_thompson(market, objective, few, seed).theta for seed in (3, 3, 4))
    assert torch.equal(one, two)
    assert not torch.equal(one, three)


def test_where_everything_is_forbidden_nothing_is_planned() -> None:
    shut = small_market(Guardrails(quiet_from=0, quiet_until=24, holdout=0.0))
    objective = SHORT
    for chooser in (
        train_plan_ppo(shut, objective, TINY_PPO, seed=0),
        train_plan_thompson(shut, objective, replace(THOMPSON, rows=16, weeks=2), seed=0),
    ):
        assert bool((plans_of(chooser) == NO_PLAN).all())


def test_a_refit_goes_on_from_where_the_agent_stood(tmp_path: Path) -> None:
    kept, objective = tmp_path / "learned.safetensors", SHORT
    first = train_plan_ppo(small_market(), objective, TINY_PPO, seed=0, keep=kept)
    still = replace(TINY_PPO, plans=1, refit_plans=1, learning_rate=1e-9)
    again = train_plan_ppo(small_market(), objective, still, seed=1, start=kept)
    for name, value in first.tensors().items():
        torch.testing.assert_close(again.tensors()[name], value, rtol=0, atol=1e-6)


def test_the_regression_of_weeks_is_the_ridge_solution_and_draws_around_it() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(300, 5))
    reward = features @ np.arange(5.0) + 0.5 * rng.normal(size=300)
    regression = WeekRegression(5, 0.01)
    for part in np.array_split(np.arange(300), 3):
        regression.update(*(torch.tensor(x[part], dtype=torch.float32) for x in (features, reward)))
    gram = features.T @ features + 0.01 * np.eye(5)
    theta, _, deviation = regression.solve()
    np.testing.assert_allclose(theta.numpy(), np.linalg.solve(gram, features.T @ reward), rtol=1e-3, atol=1e-3)
    assert deviation == pytest.approx(0.5, rel=0.15)
    drawn = regression.draw(20_000, 2.0, torch.Generator().manual_seed(0)).double().numpy()
    np.testing.assert_allclose(drawn.mean(axis=0), theta.numpy(), atol=0.01)
    np.testing.assert_allclose(np.cov(drawn.T), 4 * deviation**2 * np.linalg.inv(gram), rtol=0.2, atol=1e-4)


@pytest.mark.parametrize("values", [[], [0, 1], [2, 1], [1, 1], [15]])
def test_impossible_frequencies_are_refused(values: list[int]) -> None:
    with pytest.raises(CampaignError, match=r"agent.plan_ppo.frequencies=.*from 1 to 14, ascending"):
        PlanPPOSettings(frequencies=values)
