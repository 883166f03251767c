"""The cross-fitted reward model."""

from __future__ import annotations

import numpy as np
import pytest

from campaigns.errors import CampaignError
from evaluation.estimators import DR, LoggedDecisions
from evaluation.reward_model import Learner, RewardModel, cross_fitted_rewards, customer_folds
from tests.evaluation.bandit_worlds import bandit_world, z_score

CONTENTS = np.array([[0.0, 1.0], [1.0, 0.5], [1.0, 0.0]])
both = pytest.mark.parametrize("learner", ["boosting", "ridge"])


def linear_log(rows: int, seed: int = 0) -> tuple[np.ndarray, LoggedDecisions, np.ndarray]:
    """Features, a uniform log and the true mean of every decision."""
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(rows, 3))
    truth = features @ generator.normal(size=(3, 4)) + np.array([0.0, 1.0, 2.0, -1.0])
    action = generator.integers(0, 4, rows)
    reward = truth[np.arange(rows), action] + generator.normal(size=rows)
    return features, LoggedDecisions(np.arange(rows), action, reward, np.full(rows, 0.25)), truth


@both
def test_it_learns_what_each_decision_earns(learner: Learner) -> None:
    features, logged, truth = linear_log(6000)
    predicted = cross_fitted_rewards(RewardModel(CONTENTS, learner), features, logged)
    assert predicted.shape == (6000, 4)
    explained = 1 - np.mean((predicted - truth) ** 2) / truth.var()
    assert explained > (0.99 if learner == "ridge" else 0.85)
    assert predicted.mean(axis=0) == pytest.approx(truth.mean(axis=0), abs=0.15)


@both
def test_skewed_rewards_keep_their_mean(learner: Learner) -> None:
    generator = np.random.default_rng(1)
    rows = 6000
    reward = np.where(generator.random(rows) < 0.05, generator.lognormal(4, 1, rows), 0.0)
    logged = LoggedDecisions(np.arange(rows), generator.integers(0, 4, rows), reward, np.full(rows, 0.25))
    predicted = cross_fitted_rewards(RewardModel(CONTENTS, learner), generator.normal(size=(rows, 2)), logged)
    assert predicted.mean() == pytest.approx(reward.mean(), rel=0.1)


@both
def test_no_customer_is_predicted_from_their_own_rewards(learner: Learner) -> None:
    features, logged, _ = linear_log(300)
    customer = np.arange(300) // 3
    before = LoggedDecisions(customer, logged.action, logged.reward, logged.logged_prob)
    spoilt = logged.reward.copy()
    spoilt[customer == 7] += 1e4
    after = LoggedDecisions(customer, logged.action, spoilt, logged.logged_prob)
    model = RewardModel(CONTENTS, learner)
    one, other = (cross_fitted_rewards(model, features, log) for log in (before, after))
    assert np.array_equal(one[customer == 7], other[customer == 7])
    assert not np.allclose(one, other)


def test_folds_keep_customers_together_and_are_even() -> None:
    customer = np.random.default_rng(0).integers(0, 90, 1000)
    fold = customer_folds(customer, 3, seed=0)
    sizes = [len(np.unique(customer[fold == f])) for f in range(3)]
    assert sum(sizes) == len(np.unique(customer))
    assert max(sizes) - min(sizes) <= 1
    assert not np.array_equal(fold, customer_folds(customer, 3, seed=1))


@both
def test_the_same_seed_gives_the_same_predictions(learner: Learner) -> None:
    features, logged, _ = linear_log(400)
    one, same = (cross_fitted_rewards(RewardModel(CONTENTS, learner, seed=3), features, logged) for _ in range(2))
    assert np.array_equal(one, same)


@both
def test_missing_and_constant_features_are_harmless(learner: Learner) -> None:
    features, logged, truth = linear_log(3000)
    features = np.concatenate([features, np.full((3000, 1), 7.0), np.full((3000, 1), np.nan)], axis=1)
    features[::10, 0] = np.nan
    predicted = cross_fitted_rewards(RewardModel(CONTENTS, learner), features, logged)
    assert np.isfinite(predicted).all()
    assert np.corrcoef(predicted.ravel(), truth.ravel())[0, 1] > 0.85


@both
def test_a_decision_never_taken_gets_a_finite_guess(learner: Learner) -> None:
    features, logged, _ = linear_log(1000)
    taken = LoggedDecisions(logged.customer, np.minimum(logged.action, 2), logged.reward, logged.logged_prob)
    predicted = cross_fitted_rewards(RewardModel(CONTENTS, learner), features, taken)
    assert np.isfinite(predicted[:, 3]).all()
    assert logged.reward.min() <= predicted[:, 3].mean() <= logged.reward.max()


@both
def test_cross_fitted_dr_is_unbiased_and_narrower_than_without_a_model(learner: Learner) -> None:
    world, generator = bandit_world(), np.random.default_rng(2)
    fitted, bare = [], []
    for _ in range(200 if learner == "ridge" else 20):
        log, context = world.log(600, generator)
        model = cross_fitted_rewards(RewardModel(CONTENTS, learner), np.eye(8)[context], log)
        fitted.append(DR().contributions(log, world.target[context], model).value)
        bare.append(DR().contributions(log, world.target[context], np.zeros_like(model)).value)
    assert abs(z_score(np.array(fitted), world.value)) < 3.5
    assert np.std(fitted) < np.std(bare)


def test_bad_input_is_named() -> None:
    features, logged, _ = linear_log(100)
    model = RewardModel(CONTENTS)
    with pytest.raises(CampaignError, match="has to be fitted"):
        model.predict(features)
    with pytest.raises(CampaignError, match=r"features have shape \(99, 3\)"):
        cross_fitted_rewards(model, features[:99], logged)
    spoilt = features.copy()
    spoilt[4, 1] = np.inf
    with pytest.raises(CampaignError, match="column 1 is infinite, first in row 4"):
        cross_fitted_rewards(model, spoilt, logged)
    with pytest.raises(CampaignError, match="action 3 is logged, but there are 1 contents"):
        cross_fitted_rewards(RewardModel(CONTENTS[:1]), features, logged)
    with pytest.raises(CampaignError, match="content features must be finite"):
        RewardModel(np.array([[np.nan]]))
    one = LoggedDecisions(np.zeros(100), logged.action, logged.reward, logged.logged_prob)
    with pytest.raises(CampaignError, match="3 folds"):
        cross_fitted_rewards(model, features, one)
