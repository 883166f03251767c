"""LinUCB: ridge regression in closed form, and learning in a market."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from agents.linucb import LinUCB, train_linucb
from agents.linucb_settings import LinUCBSettings
from tests.worlds import small_market, small_world


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


def test_the_same_seed_learns_the_same_policy_in_a_market() -> None:
    settings = LinUCBSettings(rows=16, slots=12)
    first, second = (train_linucb(small_market(), small_world().objective, settings, seed=4) for _ in range(2))
    assert torch.equal(first.theta, second.theta)
    assert first.alpha == 0.0
    other = train_linucb(small_market(), small_world().objective, settings, seed=5)
    assert not torch.equal(first.theta, other.theta)
