"""LinUCB: ridge regression in closed form, and learning in a market."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
import torch

from agents.bandit_lessons import learn_in_market
from agents.bandit_settings import LinUCBSettings
from agents.linucb import LinUCB
from campaigns.guardrails import Guardrails
from campaigns.objective import Objective
from envs.market import Market
from evaluation.rollout import rollout
from policies.bandit import LinUCBChooser, feature_width
from policies.rules import CapDaypartContent, Never
from tests.envs.hand_made import BAD, Law, hand_made_market, its_objective
from tests.worlds import Serves, small_market, small_world


def test_the_estimate_is_the_ridge_solution() -> None:
    rng = np.random.default_rng(0)
    features, weight = rng.normal(size=(200, 6)), rng.integers(0, 3, 200).astype(float)
    reward = features @ np.arange(6.0) + rng.normal(size=200)
    learner = LinUCB(6, LinUCBSettings(ridge=2.5))
    for part in np.array_split(np.arange(200), 7):
        learner.update(*(torch.tensor(x[part], dtype=torch.float32) for x in (features, reward, weight)))
    gram = features.T @ (weight[:, None] * features) + 2.5 * np.eye(6)
    expected = np.linalg.solve(gram, features.T @ (weight * reward))
    chooser = learner.chooser()
    np.testing.assert_allclose(chooser.theta.numpy(), expected, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(chooser.inverse.numpy(), np.linalg.inv(gram), rtol=1e-3, atol=1e-5)
    spread = np.sqrt(np.average(reward**2, weights=weight) - np.average(reward, weights=weight) ** 2)
    assert chooser.alpha == pytest.approx(0.5 * spread, rel=1e-3)


def test_rows_of_weight_zero_leave_no_trace() -> None:
    features, reward = torch.randn(50, 4), torch.randn(50)
    kept = (torch.arange(50) < 30).float()
    some, all_ = LinUCB(4, LinUCBSettings()), LinUCB(4, LinUCBSettings())
    some.update(features[:30], reward[:30])
    all_.update(features, reward, kept)
    torch.testing.assert_close(some.chooser().theta, all_.chooser().theta)
    assert some.deviation == pytest.approx(all_.deviation, rel=1e-5)


def test_the_best_arm_of_a_linear_bandit_is_found() -> None:
    generator = torch.Generator().manual_seed(1)
    truth = torch.tensor([[1.0, -1.0], [-1.0, 1.0], [0.2, 0.2]])  # arm x context
    learner, hits = LinUCB(6, LinUCBSettings(alpha=0.5, ridge=1.0)), []
    for _ in range(60):
        context = torch.randn(32, 2, generator=generator)
        features = torch.zeros(32, 3, 6)
        for arm in range(3):
            features[:, arm, 2 * arm : 2 * arm + 2] = context
        arms = learner.chooser().scores(features).argmax(dim=1)
        mean = context @ truth.T
        learner.update(
            features[torch.arange(32), arms],
            mean[torch.arange(32), arms] + 0.1 * torch.randn(32, generator=generator),
        )
        hits.append(float((arms == mean.argmax(dim=1)).float().mean()))
    assert np.mean(hits[-10:]) > 0.97
    assert np.mean(hits[:2]) < 0.9


def taught(
    kind: type[LinUCB], market: Market, objective: Objective, settings: LinUCBSettings, seed: int
) -> LinUCBChooser:
    """The greedy policy of what was learned in a market."""
    learner = kind(feature_width(market.pool, market.catalogue), settings)
    learn_in_market(learner, market, objective, settings, seed)
    return learner.chooser(alpha=0.0)


def test_the_same_seed_learns_the_same_policy_in_a_market() -> None:
    settings = LinUCBSettings(rows=16, slots=12)
    first, second, other = (taught(LinUCB, small_market(), small_world().objective, settings, s) for s in (4, 4, 5))
    assert torch.equal(first.theta, second.theta)
    assert first.alpha == 0.0
    assert not torch.equal(first.theta, other.theta)


class Watched(LinUCB):
    """Keeps what it is taught."""

    lessons: ClassVar[list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]] = []

    def update(self, features: torch.Tensor, reward: torch.Tensor, weight: torch.Tensor | None = None) -> None:
        assert weight is not None
        self.lessons.append((features.clone(), reward.clone(), weight.clone()))
        super().update(features, reward, weight)


def test_a_window_of_rewards_never_runs_into_the_next_customers_episode(monkeypatch: pytest.MonkeyPatch) -> None:
    # Nothing can be sent, so that a window holds as many times what its customer buys unasked; tastes differ widely.
    law = Law(idle=(0.1,), taste=1.5)
    market = hand_made_market(law, Guardrails("shut", 0, 24, 0, 0, 0.0, 0.0, 0, 0, 0.0), days=2)
    monkeypatch.setattr(Watched, "lessons", [])
    rows, slots, window, horizon = 20, 40, 3, 12
    taught(Watched, market, its_objective(2), LinUCBSettings(rows=rows, slots=slots, window_hours=12), seed=0)
    assert len(Watched.lessons) == slots - window + 1
    counted, dropped = 0.0, 0
    for features, reward, weight in Watched.lessons:
        taste = features[:, 1].double()  # the customer's first column, after the constant
        chance = torch.sigmoid(torch.logit(torch.tensor(0.1, dtype=torch.float64)) + law.taste * taste)
        whole = weight == 1
        torch.testing.assert_close(reward[whole].double(), window * chance[whole] * law.basket, rtol=1e-4, atol=1e-4)
        assert bool(((weight == 0) | whole).all())
        counted, dropped = counted + float(weight.sum()), dropped + int((~whole).sum())
    # Of each episode's slots all but the last two have a whole window before it ends.
    assert counted / (counted + dropped) == pytest.approx((horizon - window + 1) / horizon, abs=0.06)


def test_it_learns_in_a_market_to_send_the_right_content_at_the_right_hour() -> None:
    market, objective = hand_made_market(days=4), its_objective(4)
    settings = LinUCBSettings(rows=128, slots=96, window_hours=4)
    learned = rollout(market, Serves(taught(LinUCB, market, objective, settings, seed=1)), objective, 300, seed=9)
    best = rollout(market, Serves(CapDaypartContent(16, "evening", "good")), objective, 300, seed=9)
    idle = rollout(market, Serves(Never()), objective, 300, seed=9)
    gain = (learned.value.mean() - idle.value.mean()) / (best.value.mean() - idle.value.mean())
    assert 0.9 < gain <= 1 + 1e-6
    assert learned.contents[:, BAD - 1].sum() < 0.02 * learned.sends.sum()
