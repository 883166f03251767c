"""Off-policy estimators over few slots, whose weights multiply.

Notation: w = pi(a|x) / mu(a|x) with mu the logging policy's probability, rho_t the product of w up to slot t and 1
before the first, r the reward, q a model of the reward from the slot on, and v = sum_a pi(a|x) q(x, a).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from evaluation.logged import Contributions, LoggedSequences, check_target, checked_model, earned, mean_contributions


class SequentialEstimator(Protocol):
    """A way to estimate it over the first H slots: the undiscounted sum of a customer's rewards."""

    @property
    def name(self) -> str:
        """In tables."""
        ...

    def contributions(
        self, logged: LoggedSequences, target: np.ndarray, predicted: np.ndarray | None = None
    ) -> Contributions:
        """Contributions a customer. As `Estimator.contributions`, with shapes [N, H, 1 + K].

        `predicted` is a model of the reward from the slot on (see `reward_to_go`).
        """
        ...


def cumulative_weights(logged: LoggedSequences, target: np.ndarray) -> np.ndarray:
    """rho_t, the product of w up to slot t, which a missing slot leaves as it is. Shape [N, H].

    Raises:
        CampaignError: where the target's rows are no probabilities over enough decisions.
    """
    check_target(target, logged.action, logged.mask)
    chosen = np.take_along_axis(target, np.where(logged.mask, logged.action, 0)[..., None], axis=2)[..., 0]
    ratios = np.where(logged.mask, chosen, 1.0) / np.where(logged.mask, logged.logged_prob, 1.0)
    products: np.ndarray = np.cumprod(ratios, axis=1)
    return products


@dataclass(frozen=True)
class PerDecisionIS:
    """Per-decision importance sampling: mean of sum_t rho_t r_t (Precup, Sutton and Singh 2000, section 3)."""

    name: str = "PDIS"

    def contributions(
        self, logged: LoggedSequences, target: np.ndarray, predicted: np.ndarray | None = None
    ) -> Contributions:
        """See `SequentialEstimator.contributions`."""
        return mean_contributions((cumulative_weights(logged, target) * earned(logged)).sum(axis=1))


@dataclass(frozen=True)
class WeightedPerDecisionIS:
    """Its self-normalised form, slot by slot: sum_t (sum_i rho_it r_it / sum_i rho_it) (Thomas 2015, eq. 3.15)."""

    name: str = "WPDIS"

    def contributions(
        self, logged: LoggedSequences, target: np.ndarray, predicted: np.ndarray | None = None
    ) -> Contributions:
        """See `SequentialEstimator.contributions`."""
        weights = cumulative_weights(logged, target)
        return Contributions(weights * earned(logged), weights)


@dataclass(frozen=True)
class PerDecisionDR:
    """Doubly robust over slots: mean of sum_t rho_{t-1} v_t + rho_t (r_t - q_t) (Jiang and Li 2016, eq. 10, unrolled).

    Unbiased where the logged probabilities are right, whatever the model; the better it is, the narrower.
    """

    name: str = "per-decision DR"

    def contributions(
        self, logged: LoggedSequences, target: np.ndarray, predicted: np.ndarray | None = None
    ) -> Contributions:
        """See `SequentialEstimator.contributions`."""
        weights, before, residual, expected = _doubly_robust_parts(logged, target, predicted, self.name)
        return mean_contributions((before * expected + weights * residual).sum(axis=1))


@dataclass(frozen=True)
class WeightedPerDecisionDR:
    """Its self-normalised form: PerDecisionDR with rho_t / sum_i rho_it (Thomas and Brunskill 2016, WDR)."""

    name: str = "per-decision SNDR"

    def contributions(
        self, logged: LoggedSequences, target: np.ndarray, predicted: np.ndarray | None = None
    ) -> Contributions:
        """See `SequentialEstimator.contributions`."""
        weights, before, residual, expected = _doubly_robust_parts(logged, target, predicted, self.name)
        return Contributions(
            np.concatenate([before * expected, weights * residual], axis=1), np.concatenate([before, weights], axis=1)
        )


def reward_to_go(immediate: np.ndarray, logged: LoggedSequences) -> np.ndarray:
    """Makes a model of a slot's own reward one of the reward from that slot on.

    The mean logged reward of the slots after it is added, a constant a slot: it leaves PerDecisionDR consistent and
    takes most of the later rewards' noise out of it. `immediate` and the result have shape [N, H, 1 + K].
    """
    counts = np.maximum(logged.mask.sum(axis=0), 1)
    # what those who have slot t earn after it; a customer's own reward moves it by 1 / N only
    rest = np.cumsum(earned(logged)[:, ::-1], axis=1)[:, ::-1] - earned(logged)
    later = (rest * logged.mask).sum(axis=0) / counts
    model: np.ndarray = immediate + later[None, :, None]
    return model


def per_decision_dr(
    action: np.ndarray,
    reward: np.ndarray,
    logged_prob: np.ndarray,
    target: np.ndarray,
    predicted: np.ndarray,
    known: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """`PerDecisionDR` from bare arrays, and the weights that it rests on.

    The first three and `known` have shape [N, H] (see `LoggedSequences`), `target` and `predicted` [N, H, 1 + K].

    Returns:
        Value of each customer's sequence under the policy, and its cumulated weight. Shapes [N].
    """
    logged = LoggedSequences(action, reward, logged_prob, known)
    value = PerDecisionDR().contributions(logged, target, predicted).numerator
    return value, cumulative_weights(logged, target)[:, -1]


def _doubly_robust_parts(
    logged: LoggedSequences, target: np.ndarray, predicted: np.ndarray | None, name: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """rho_t, rho_{t-1}, r_t - q_t and v_t; the last two are 0 where a slot is missing. Shapes [N, H]."""
    weights = cumulative_weights(logged, target)
    model = checked_model(predicted, target, logged.mask, name)
    before = np.concatenate([np.ones((len(logged), 1)), weights[:, :-1]], axis=1)
    taken = np.take_along_axis(model, np.where(logged.mask, logged.action, 0)[..., None], axis=2)[..., 0]
    residual = np.where(logged.mask, earned(logged) - taken, 0.0)
    expected = np.where(logged.mask, (target * model).sum(axis=2), 0.0)
    return weights, before, residual, expected
