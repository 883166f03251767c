"""One-step estimators that tame large weights: less noise for some bias, by one setting each.

Each replaces w by a smaller f(w) in IPS or DR; `evaluation.tuning` chooses the setting. With the setting at its loose
end (`threshold` or `shrinkage` infinite, `mixing` 0) they are IPS and DR again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from campaigns.errors import CampaignError
from evaluation.logged import Contributions, LoggedDecisions, mean_contributions
from evaluation.one_step import Estimator, doubly_robust_parts, importance_weights


class ShrunkEstimator(Estimator, Protocol):
    """An estimator that says what it makes of the weights, so that its bias can be estimated."""

    @property
    def doubly(self) -> bool:
        """Whether f(w) weighs the residuals of a reward model (DR) or the rewards (IPS)."""
        ...

    def shrunk(self, weights: np.ndarray) -> np.ndarray:
        """f(w). Shape [n]."""
        ...


class _Shrunk:
    """What all of them share: f(w) in place of w."""

    def contributions(
        self: ShrunkEstimator, logged: LoggedDecisions, target: np.ndarray, predicted: np.ndarray | None = None
    ) -> Contributions:
        """f(w) r, or v + f(w) (r - q) with a reward model; see `Estimator.contributions`."""
        if not self.doubly:
            return mean_contributions(self.shrunk(importance_weights(logged, target)) * logged.reward)
        expected, weights, residual = doubly_robust_parts(logged, target, predicted, self.name)
        return mean_contributions(expected + self.shrunk(weights) * residual)


@dataclass(frozen=True)
class ClippedIPS(_Shrunk):
    """IPS with clipped weights: mean of min(w, threshold) r (Ionides 2008; Strehl et al. 2010)."""

    threshold: float
    name: str = "clipped IPS"
    doubly: bool = False

    def __post_init__(self) -> None:
        _check_setting(self.name, "threshold", self.threshold)

    def shrunk(self, weights: np.ndarray) -> np.ndarray:
        """min(w, threshold)."""
        clipped: np.ndarray = np.minimum(weights, self.threshold)
        return clipped


@dataclass(frozen=True)
class ClippedDR(_Shrunk):
    """DR with clipped weights: mean of v + min(w, threshold) (r - q) (the pessimistic shrinkage of
    Su, Dimakopoulou, Krishnamurthy and Dudik 2020)."""

    threshold: float
    name: str = "clipped DR"
    doubly: bool = True

    def __post_init__(self) -> None:
        _check_setting(self.name, "threshold", self.threshold)

    def shrunk(self, weights: np.ndarray) -> np.ndarray:
        """min(w, threshold)."""
        clipped: np.ndarray = np.minimum(weights, self.threshold)
        return clipped


@dataclass(frozen=True)
class SwitchDR(_Shrunk):
    """SWITCH-DR: mean of v + w 1{w <= threshold} (r - q) (Wang, Agarwal and Dudik 2017).

    Where a weight is too large, the reward model's word is taken.
    """

    threshold: float
    name: str = "SWITCH-DR"
    doubly: bool = True

    def __post_init__(self) -> None:
        _check_setting(self.name, "threshold", self.threshold)

    def shrunk(self, weights: np.ndarray) -> np.ndarray:
        """w 1{w <= threshold}."""
        return np.where(weights <= self.threshold, weights, 0.0)


@dataclass(frozen=True)
class DRos(_Shrunk):
    """DR with optimistic shrinkage: mean of v + lambda w / (w^2 + lambda) (r - q).

    Source: Su, Dimakopoulou, Krishnamurthy and Dudik 2020, optimistic. lambda is `shrinkage`.
    """

    shrinkage: float
    name: str = "DRos"
    doubly: bool = True

    def __post_init__(self) -> None:
        _check_setting(self.name, "shrinkage", self.shrinkage)

    def shrunk(self, weights: np.ndarray) -> np.ndarray:
        """lambda w / (w^2 + lambda)."""
        if np.isinf(self.shrinkage):
            return weights
        if self.shrinkage == 0:
            return np.zeros_like(weights)
        smaller: np.ndarray = self.shrinkage * weights / (np.square(weights) + self.shrinkage)
        return smaller


@dataclass(frozen=True)
class SubGaussianIPS(_Shrunk):
    """IPS with weights w / (1 - lambda + lambda w) (Metelli, Russo and Restelli 2021). lambda is `mixing`."""

    mixing: float
    name: str = "sub-Gaussian IPS"
    doubly: bool = False

    def __post_init__(self) -> None:
        _check_setting(self.name, "mixing", self.mixing, most=1.0)

    def shrunk(self, weights: np.ndarray) -> np.ndarray:
        """w / (1 - lambda + lambda w)."""
        return _harmonic(weights, self.mixing)


@dataclass(frozen=True)
class SubGaussianDR(_Shrunk):
    """DR with the same weights (Metelli, Russo and Restelli 2021). lambda is `mixing`."""

    mixing: float
    name: str = "sub-Gaussian DR"
    doubly: bool = True

    def __post_init__(self) -> None:
        _check_setting(self.name, "mixing", self.mixing, most=1.0)

    def shrunk(self, weights: np.ndarray) -> np.ndarray:
        """w / (1 - lambda + lambda w)."""
        return _harmonic(weights, self.mixing)


def _harmonic(weights: np.ndarray, mixing: float) -> np.ndarray:
    below = 1 - mixing + mixing * weights
    shrunk: np.ndarray = weights / np.where(below == 0, 1.0, below)  # mixing 1 and weight 0 make 0
    return shrunk


def _check_setting(name: str, setting: str, value: float, most: float = np.inf) -> None:
    if not 0 <= value <= most:
        raise CampaignError(f"evaluation: the {setting} of {name} must lie in [0, {most:g}]; got {value}.")
