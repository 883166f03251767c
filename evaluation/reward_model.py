"""A reward model of a one-shot log, cross-fitted by customer, as the doubly robust estimators need it.

Cross-fitting (Chernozhukov et al. 2018, definition 3.1): a customer's rewards are predicted by a model fitted without
that customer, so that the model's errors are independent of the noise that they correct.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import Ridge

from campaigns.errors import CampaignError
from evaluation.estimators import LoggedDecisions

Learner = Literal["boosting", "ridge"]


@dataclass
class RewardModel:
    """E[reward | features, decision], by squared loss, so that skewed rewards keep their mean.

    Attributes:
        contents: features of the contents; they let contents share what they have in common. Shape [K, Fx], finite.
        learner: `boosting` (trees over customer, decision and content features; NaN in `features` is a value of its
            own) or `ridge` (linear, a fit for each decision around its mean; NaN becomes the column's mean).
        seed: of the folds, and of the rows that stop the boosting.
        trees: most boosting rounds.
    """

    contents: np.ndarray
    learner: Learner = "boosting"
    seed: int = 0
    trees: int = 300
    _fitted: Any = field(default=None, init=False, repr=False)
    _kept: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=bool), init=False, repr=False)

    def __post_init__(self) -> None:
        if self.contents.ndim != 2 or not np.isfinite(self.contents).all():
            raise CampaignError(
                f"evaluation: content features must be finite numbers of shape (K, Fx); got {self.contents.shape}."
            )

    def fit(self, features: np.ndarray, action: np.ndarray, reward: np.ndarray) -> RewardModel:
        """Fits to logged decisions.

        Args:
            features: of the customers. Shape [n, F].
            action: 0 hold, 1..K contents. Shape [n], int64.
            reward: Shape [n].
        Returns:
            Itself.
        Raises:
            CampaignError: where shapes differ, a feature is infinite or an action has no content.
        """
        _check_features(features, len(action))
        if action.max() > len(self.contents):
            raise CampaignError(
                f"evaluation: action {action.max()} is logged, but there are {len(self.contents)} contents."
            )
        self._kept = np.isfinite(features).any(axis=0)  # the trees cannot bin a column that is all missing
        if self.learner == "boosting":
            model = HistGradientBoostingRegressor(
                max_iter=self.trees,
                learning_rate=0.05,
                max_leaf_nodes=8,
                min_samples_leaf=100,
                l2_regularization=1.0,
                early_stopping=True,  # rewards are mostly noise: without it a spend model is worse than the mean
                validation_fraction=0.15,
                random_state=self.seed,
            )
            self._fitted = model.fit(self._joined(features, action), reward)
        else:
            self._fitted = _LinearPerDecision(1 + len(self.contents)).fit(features, action, reward)
        return self

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Predicted reward of every decision. `features` has shape [n, F]; returns [n, 1 + K]."""
        if self._fitted is None:
            raise CampaignError("evaluation: the reward model has to be fitted before it predicts.")
        _check_features(features, len(features))
        if self.learner == "ridge":
            predicted: np.ndarray = self._fitted.predict(features)
            return predicted
        rows = len(features)
        return np.stack(
            [
                self._fitted.predict(self._joined(features, np.full(rows, decision)))
                for decision in range(1 + len(self.contents))
            ],
            axis=1,
        )

    def _joined(self, features: np.ndarray, action: np.ndarray) -> np.ndarray:
        """Customer features, one-hot decision, content features (0 on hold)."""
        decisions = np.eye(1 + len(self.contents))
        contents = np.concatenate([np.zeros((1, self.contents.shape[1])), self.contents])
        return np.concatenate([features[:, self._kept], decisions[action], contents[action]], axis=1)


def cross_fitted_rewards(
    model: RewardModel, features: np.ndarray, logged: LoggedDecisions, folds: int = 3
) -> np.ndarray:
    """Predicts each customer's rewards with a model that was fitted on the other folds' customers.

    Args:
        model: settings; it is fitted once a fold, and afterwards holds the last fold's fit.
        features: of the rows' customers. Shape [n, F].
        logged: n decisions.
        folds: of customers, drawn by the model's seed.
    Returns:
        Shape [n, 1 + K].
    Raises:
        CampaignError: with fewer customers than folds, or as `RewardModel.fit`.
    """
    _check_features(features, len(logged))
    fold = customer_folds(logged.customer, folds, model.seed)
    predicted = np.empty((len(logged), 1 + len(model.contents)))
    for held_out in range(folds):
        rest, own = fold != held_out, fold == held_out
        predicted[own] = model.fit(features[rest], logged.action[rest], logged.reward[rest]).predict(features[own])
    return predicted


def customer_folds(customer: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """A fold for each row, the same for all rows of a customer, folds equal in customers. Shape [n], int64.

    Raises:
        CampaignError: with fewer customers than folds, or fewer than two folds.
    """
    customers, index = np.unique(customer, return_inverse=True)
    if not 2 <= folds <= len(customers):
        raise CampaignError(f"evaluation: {folds} folds need two or more, and as many customers; got {len(customers)}.")
    fold = np.arange(len(customers)) % folds
    np.random.default_rng(seed).shuffle(fold)
    rows: np.ndarray = fold[index]
    return rows


class _LinearPerDecision:
    """Ridge regression of what each decision's rewards deviate from the decision's mean."""

    def __init__(self, decisions: int) -> None:
        self.decisions = decisions

    def fit(self, features: np.ndarray, action: np.ndarray, reward: np.ndarray) -> _LinearPerDecision:
        known = np.isfinite(features)
        count = np.maximum(known.sum(axis=0), 1)
        self.mean_ = np.where(known, features, 0.0).sum(axis=0) / count
        centred = np.where(known, features - self.mean_, 0.0)
        scale = np.sqrt(np.square(centred).sum(axis=0) / count)
        self.scale_ = np.where(scale > 0, scale, 1.0)
        standardised = centred / self.scale_
        self.weights_ = np.zeros((features.shape[1], self.decisions))
        self.base_ = np.full(self.decisions, reward.mean())  # a decision never taken is worth the overall mean
        for decision in np.unique(action):
            rows = action == decision
            model = Ridge(alpha=10.0).fit(standardised[rows], reward[rows])
            self.weights_[:, decision], self.base_[decision] = model.coef_, model.intercept_
        return self

    def predict(self, features: np.ndarray) -> np.ndarray:
        standardised = np.where(np.isfinite(features), features - self.mean_, 0.0) / self.scale_
        predicted: np.ndarray = standardised @ self.weights_ + self.base_
        return predicted


def _check_features(features: np.ndarray, rows: int) -> None:
    if features.ndim != 2 or len(features) != rows:
        raise CampaignError(f"evaluation: features have shape {features.shape}; expected ({rows}, F).")
    bad = np.isinf(features)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise CampaignError(f"evaluation: feature column {column} is infinite, first in row {row}.")
