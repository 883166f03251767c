"""Off-policy estimators over arrays. Each returns contributions a row; points and intervals are built on them.

Notation: w = pi(a|x) / mu(a|x) with mu the logging policy's probability, r the reward, q a reward model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from campaigns.errors import CampaignError


@dataclass(frozen=True)
class LoggedDecisions:
    """A log as the estimators read it.

    Attributes:
        customer: index of the customer, by whom rows are clustered. Shape [n], int64.
        action: 0 hold, 1..K contents. Shape [n], int64.
        reward: Shape [n], float64.
        logged_prob: probability with which the logging policy took `action`, in (0, 1]. Shape [n], float64.
    """

    customer: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    logged_prob: np.ndarray

    def __post_init__(self) -> None:
        sizes = {len(self.customer), len(self.action), len(self.reward), len(self.logged_prob)}
        if len(sizes) != 1:
            raise CampaignError(
                f"evaluation: customer, action, reward and logged_prob differ in length ({sorted(sizes)})."
            )
        if not len(self.action):
            raise CampaignError("evaluation: the log has no decision to evaluate on.")
        bad = ~np.isfinite(self.reward)
        if bad.any():
            raise CampaignError(
                f"evaluation: {int(bad.sum())} rewards are missing or infinite, first in row {bad.argmax()}."
            )
        bad = ~((self.logged_prob > 0) & (self.logged_prob <= 1))
        if bad.any():
            row = int(bad.argmax())
            raise CampaignError(
                f"evaluation: action_prob must lie in (0, 1]; {int(bad.sum())} rows do not, first row {row} with "
                f"{self.logged_prob[row]}."
            )

    def __len__(self) -> int:
        return len(self.action)


@dataclass(frozen=True)
class Contributions:
    """An estimate as a sum over rows: numerator / denominator.

    Attributes:
        numerator: Shape [n].
        denominator: ones for a plain mean, weights for a self-normalised one. Shape [n].
    """

    numerator: np.ndarray
    denominator: np.ndarray

    @property
    def value(self) -> float:
        """The point estimate; NaN where nothing carries weight."""
        total = float(self.denominator.sum())
        return float(self.numerator.sum()) / total if total else float("nan")


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
            predicted: reward model. Shape [n, 1 + K].
        """
        ...


def importance_weights(logged: LoggedDecisions, target: np.ndarray) -> np.ndarray:
    """pi(a|x) / mu(a|x) of the logged decisions. Shape [n].

    Raises:
        CampaignError: where the target's rows are no probabilities over enough decisions.
    """
    if target.ndim != 2 or len(target) != len(logged) or target.shape[1] <= logged.action.max():
        raise CampaignError(
            f"evaluation: target probabilities have shape {target.shape}; expected ({len(logged)}, 1 + K) with K at "
            f"least {int(logged.action.max())}."
        )
    sums = target.sum(axis=1)
    bad = ~(np.isfinite(target).all(axis=1) & (np.abs(sums - 1) < 1e-4) & (target >= -1e-9).all(axis=1))
    if bad.any():
        row = int(bad.argmax())
        raise CampaignError(
            f"evaluation: target probabilities must be >= 0 and sum to 1; {int(bad.sum())} rows do not, first row {row} "
            f"with sum {sums[row]:.6g}."
        )
    weights: np.ndarray = target[np.arange(len(logged)), logged.action] / logged.logged_prob
    return weights


def _model(predicted: np.ndarray | None, name: str) -> np.ndarray:
    if predicted is None:
        raise CampaignError(f"evaluation: {name} needs a reward model's predictions.")
    return predicted


@dataclass(frozen=True)
class DM:
    """Direct method: mean of sum_a pi(a|x) q(x, a) (Dudik et al. 2011, eq. 1). Biased where q is."""

    name: str = "DM"

    def contributions(
        self, logged: LoggedDecisions, target: np.ndarray, predicted: np.ndarray | None = None
    ) -> Contributions:
        """See `Estimator.contributions`."""
        importance_weights(logged, target)
        return Contributions((target * _model(predicted, self.name)).sum(axis=1), np.ones(len(logged)))


@dataclass(frozen=True)
class IPS:
    """Inverse propensity scoring: mean of w r (Horvitz and Thompson 1952). Unbiased where mu covers pi."""

    name: str = "IPS"

    def contributions(
        self, logged: LoggedDecisions, target: np.ndarray, predicted: np.ndarray | None = None
    ) -> Contributions:
        """See `Estimator.contributions`."""
        return Contributions(importance_weights(logged, target) * logged.reward, np.ones(len(logged)))


@dataclass(frozen=True)
class SNIPS:
    """Self-normalised IPS: sum w r / sum w (Swaminathan and Joachims 2015, eq. 9)."""

    name: str = "SNIPS"

    def contributions(
        self, logged: LoggedDecisions, target: np.ndarray, predicted: np.ndarray | None = None
    ) -> Contributions:
        """See `Estimator.contributions`."""
        weights = importance_weights(logged, target)
        return Contributions(weights * logged.reward, weights)


@dataclass(frozen=True)
class DR:
    """Doubly robust: mean of sum_a pi q + w (r - q(x, a)) (Dudik et al. 2011, eq. 3)."""

    name: str = "DR"

    def contributions(
        self, logged: LoggedDecisions, target: np.ndarray, predicted: np.ndarray | None = None
    ) -> Contributions:
        """See `Estimator.contributions`."""
        model = _model(predicted, self.name)
        weights = importance_weights(logged, target)
        residual = logged.reward - model[np.arange(len(logged)), logged.action]
        return Contributions((target * model).sum(axis=1) + weights * residual, np.ones(len(logged)))


def per_decision_dr(
    action: np.ndarray,
    reward: np.ndarray,
    logged_prob: np.ndarray,
    target: np.ndarray,
    predicted: np.ndarray,
    known: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Doubly robust value of the first H slots, a customer (Jiang and Li 2016, eq. 10, undiscounted).

    Args:
        action: Shape [N, H], int64.
        reward: Shape [N, H].
        logged_prob: of the logged decisions. Shape [N, H].
        target: the policy's probabilities in the logged states. Shape [N, H, 1 + K].
        predicted: model of the reward from the slot on. Shape [N, H, 1 + K].
        known: slots that the customer's trajectory has; it ends at the first unknown one. Shape [N, H], bool.
    Returns:
        Value of each customer's trajectory under the policy, and its cumulated weight. Shapes [N].
    """
    customers, slots = action.shape
    rows = np.arange(customers)
    value, weight = np.zeros(customers), np.ones(customers)
    for slot in reversed(range(slots)):
        taken = target[rows, slot, action[:, slot]] / logged_prob[:, slot]
        model = predicted[:, slot]
        baseline = (target[:, slot] * model).sum(axis=1)
        step = baseline + taken * (reward[:, slot] + value - model[rows, action[:, slot]])
        value = np.where(known[:, slot], step, 0.0)
        weight = np.where(known[:, slot], weight * taken, weight)
    return value, weight
