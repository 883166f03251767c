"""One-step off-policy estimators. Each returns contributions a row; points and intervals are built on them.

Notation: w = pi(a|x) / mu(a|x) with mu the logging policy's probability, r the reward, q a reward model, and
v = sum_a pi(a|x) q(x, a).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from evaluation.logged import Contributions, LoggedDecisions, check_target, checked_model, every_row, mean_contributions


class Estimator(Protocol):
    """A way to estimate a policy's value from another policy's log."""

    @property
    def name(self) -> str:
        """In tables."""
        ...

    def contributions(
        self, logged: LoggedDecisions, target: np.ndarray, predicted: np.ndarray | None = None
    ) -> Contributions:
        """Contributions a row.

        Args:
            logged: n decisions.
            target: the policy's probabilities. Shape [n, 1 + K].
            predicted: reward model, fitted without the row's own customer. Shape [n, 1 + K].
        Raises:
            CampaignError: where shapes differ, the target's rows are no probabilities, or a needed model is missing.
        """
        ...


def importance_weights(logged: LoggedDecisions, target: np.ndarray) -> np.ndarray:
    """w = pi(a|x) / mu(a|x) of the logged decisions. Shape [n].

    Raises:
        CampaignError: where the target's rows are no probabilities over enough decisions.
    """
    check_target(target, logged.action, every_row(logged))
    weights: np.ndarray = target[np.arange(len(logged)), logged.action] / logged.logged_prob
    return weights


@dataclass(frozen=True)
class DM:
    """Direct method: mean of v (Dudik, Langford and Li 2011, eq. 1). Biased where q is."""

    name: str = "DM"

    def contributions(
        self, logged: LoggedDecisions, target: np.ndarray, predicted: np.ndarray | None = None
    ) -> Contributions:
        """See `Estimator.contributions`."""
        check_target(target, logged.action, every_row(logged))
        model = checked_model(predicted, target, every_row(logged), self.name)
        return mean_contributions(np.einsum("nk,nk->n", target, model))


@dataclass(frozen=True)
class IPS:
    """Inverse propensity scoring: mean of w r (Horvitz and Thompson 1952). Unbiased where mu covers pi."""

    name: str = "IPS"

    def contributions(
        self, logged: LoggedDecisions, target: np.ndarray, predicted: np.ndarray | None = None
    ) -> Contributions:
        """See `Estimator.contributions`."""
        return mean_contributions(importance_weights(logged, target) * logged.reward)


@dataclass(frozen=True)
class SNIPS:
    """Self-normalised IPS: sum w r / sum w (Swaminathan and Joachims 2015, eq. 9). Follows a shift of the rewards."""

    name: str = "SNIPS"

    def contributions(
        self, logged: LoggedDecisions, target: np.ndarray, predicted: np.ndarray | None = None
    ) -> Contributions:
        """See `Estimator.contributions`."""
        weights = importance_weights(logged, target)
        return Contributions(weights * logged.reward, weights)


@dataclass(frozen=True)
class DR:
    """Doubly robust: mean of v + w (r - q(x, a)) (Dudik, Langford and Li 2011, eq. 3).

    Unbiased where either the logged probabilities or the reward model are right.
    """

    name: str = "DR"

    def contributions(
        self, logged: LoggedDecisions, target: np.ndarray, predicted: np.ndarray | None = None
    ) -> Contributions:
        """See `Estimator.contributions`."""
        expected, weights, residual = doubly_robust_parts(logged, target, predicted, self.name)
        return mean_contributions(expected + weights * residual)


@dataclass(frozen=True)
class SNDR:
    """Self-normalised DR: mean of v + sum w (r - q) / sum w (Robins, Sued, Lei-Gomez and Rotnitzky 2007).

    Its correction cannot leave the range of the residuals.
    """

    name: str = "SNDR"

    def contributions(
        self, logged: LoggedDecisions, target: np.ndarray, predicted: np.ndarray | None = None
    ) -> Contributions:
        """See `Estimator.contributions`."""
        expected, weights, residual = doubly_robust_parts(logged, target, predicted, self.name)
        return Contributions(
            np.stack([expected, weights * residual], axis=1), np.stack([np.ones(len(logged)), weights], axis=1)
        )


def doubly_robust_parts(
    logged: LoggedDecisions, target: np.ndarray, predicted: np.ndarray | None, name: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What doubly robust estimators are made of: v, w and r - q(x, a). Shapes [n].

    Raises:
        CampaignError: see `Estimator.contributions`; `name` is that of the estimator which needs the model.
    """
    weights = importance_weights(logged, target)
    model = checked_model(predicted, target, every_row(logged), name)
    residual = logged.reward - model[np.arange(len(logged)), logged.action]
    return np.einsum("nk,nk->n", target, model), weights, residual
