"""Choice of an estimator's setting from the log: SLOPE, or the least estimated squared error.

SLOPE orders candidates by the width of their confidence intervals and goes from the widest, which has the least bias,
to narrower ones as long as all their intervals agree (Su, Srinath and Krishnamurthy 2020; the sharper rule of Tucker
and Lee 2021, "SLOPE++", is used). It needs no estimate of the bias.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from campaigns.errors import CampaignError
from evaluation.analytic_intervals import clustered_error, student_quantile
from evaluation.intervals import Bootstrap, Interval
from evaluation.logged import Contributions, LoggedDecisions
from evaluation.one_step import Estimator, importance_weights
from evaluation.shrunk import ClippedIPS, DRos, ShrunkEstimator, SwitchDR

AGREEMENT = 6**0.5 - 1
"""By which an earlier candidate's half width counts (Tucker and Lee 2021)."""

LEAST_BIASED = ", least biased"
"""How the name of a tuned estimator's least biased candidate ends, among estimates."""

LOOSE_TO_TIGHT = (np.inf, 1000.0, 300.0, 100.0, 30.0, 10.0, 3.0, 1.0)
"""Thresholds, and square roots of shrinkages, that are tried where none are named."""


@dataclass(frozen=True)
class Slope:
    """The candidate that SLOPE chooses, as an estimator.

    |theta_i - theta_j| <= half_i + (sqrt(6) - 1) half_j must hold for all wider candidates j, else the one before i is
    taken. Half widths are one-sided Student's t at 1 - delta, by customer.

    Attributes:
        candidates: estimators that differ in a setting; their order does not matter.
        name: in tables.
        delta: chance with which a half width may be too small.
    """

    candidates: Sequence[Estimator]
    name: str = "SLOPE"
    delta: float = 0.1

    def __post_init__(self) -> None:
        _check_candidates(self.candidates)
        if not 0 < self.delta < 1:
            raise CampaignError(f"evaluation: the delta of {self.name} must lie in (0, 1); got {self.delta}.")

    def chosen(self, logged: LoggedDecisions, target: np.ndarray, predicted: np.ndarray | None = None) -> Estimator:
        """The candidate that is used on this log."""
        found = [candidate.contributions(logged, target, predicted) for candidate in self.candidates]
        return self.candidates[self.choice(found, logged.customer)]

    def contributions(
        self, logged: LoggedDecisions, target: np.ndarray, predicted: np.ndarray | None = None
    ) -> Contributions:
        """See `Estimator.contributions`."""
        found = [candidate.contributions(logged, target, predicted) for candidate in self.candidates]
        return found[self.choice(found, logged.customer)]

    def choice(self, found: Sequence[Contributions], customer: np.ndarray) -> int:
        """Which candidate is used, from the candidates' contributions and the customer of each of their rows."""
        values, half = np.array([estimate.value for estimate in found]), self._half_widths(found, customer)
        if not np.isfinite(half).all():
            return 0  # too little to choose by
        widest_first = np.argsort(half)[::-1]
        for position, own in enumerate(widest_first):
            wider = widest_first[:position]
            if (np.abs(values[wider] - values[own]) > half[own] + AGREEMENT * half[wider]).any():
                return int(widest_first[position - 1])
        return int(widest_first[-1])

    def least_biased(self, found: Sequence[Contributions], customer: np.ndarray) -> int:
        """The candidate with the widest interval, which SLOPE takes for the one with the least bias; as `choice`."""
        half = self._half_widths(found, customer)
        return int(np.argmax(half)) if np.isfinite(half).all() else 0

    def _half_widths(self, found: Sequence[Contributions], customer: np.ndarray) -> np.ndarray:
        """One-sided, of every candidate."""
        errors, customers = zip(*(clustered_error(estimate, customer) for estimate in found), strict=True)
        widths: np.ndarray = np.array(errors) * student_quantile(1 - self.delta, customers[0])
        return widths


def tuned_interval(result: Bootstrap, name: str, other: str | None = None) -> Interval:
    """A tuned estimate with an interval that allows for the bias which tuning may have brought.

    It is that of the candidate with the least bias, stretched to hold the tuned figure: the chosen candidate's own
    interval holds noise alone, and covers far less often than it says (docs/offline.md).

    Args:
        result: with the tuned estimate as `name` and its least biased candidate as `name` + LEAST_BIASED.
        name: of the tuned estimator.
        other: of the estimate from which the paired difference is asked.
    """
    loose, point = name + LEAST_BIASED, result.points[name]
    found = result.interval(loose) if other is None else result.difference(loose, other)
    value = point if other is None else point - result.points[other]
    return Interval(value, *stretched(found, value), found.level)


def stretched(interval: Interval, value: float) -> tuple[float, float]:
    """Ends of an interval that holds a figure as well; NaN where nothing can be said."""
    return float(np.minimum(interval.low, value)), float(np.maximum(interval.high, value))


@dataclass(frozen=True)
class LeastError:
    """The candidate whose estimated squared error is least, as an estimator.

    Variance of the mean, plus the square of an upper bound of the bias that shrinking w to f(w) makes:
    |mean (w - f(w)) (r - q)| + sqrt(2 mean(w^2) log(2 / delta) / n) + 2 max(w) log(2 / delta) / (3 n), without q for
    IPS (Su, Dimakopoulou, Krishnamurthy and Dudik 2020). The bound supposes residuals in [-1, 1].

    Attributes:
        candidates: estimators that differ in a setting.
        name: in tables.
        delta: chance with which the bound may fail.
        bounded: False takes the estimated bias itself.
    """

    candidates: Sequence[ShrunkEstimator]
    name: str = "least error"
    delta: float = 0.1
    bounded: bool = True

    def __post_init__(self) -> None:
        _check_candidates(self.candidates)
        if not 0 < self.delta < 1:
            raise CampaignError(f"evaluation: the delta of {self.name} must lie in (0, 1); got {self.delta}.")

    def chosen(
        self, logged: LoggedDecisions, target: np.ndarray, predicted: np.ndarray | None = None
    ) -> ShrunkEstimator:
        """The candidate that is used on this log."""
        scores = [self._score(candidate, logged, target, predicted) for candidate in self.candidates]
        return self.candidates[int(np.argmin(scores))]

    def contributions(
        self, logged: LoggedDecisions, target: np.ndarray, predicted: np.ndarray | None = None
    ) -> Contributions:
        """See `Estimator.contributions`."""
        return self.chosen(logged, target, predicted).contributions(logged, target, predicted)

    def _score(
        self, candidate: ShrunkEstimator, logged: LoggedDecisions, target: np.ndarray, predicted: np.ndarray | None
    ) -> float:
        rows = len(logged)
        variance = float(candidate.contributions(logged, target, predicted).numerator.var()) / rows
        weights = importance_weights(logged, target)
        residual = logged.reward
        if candidate.doubly and predicted is not None:
            residual = residual - predicted[np.arange(rows), logged.action]
        bias = abs(float(((weights - candidate.shrunk(weights)) * residual).mean()))
        if self.bounded:
            log = float(np.log(2 / self.delta))
            bias += float(np.sqrt(2 * np.square(weights).mean() * log / rows) + 2 * weights.max() * log / (3 * rows))
        return variance + bias**2


def tuned_estimators() -> tuple[Slope, Slope, Slope]:
    """Clipped IPS, SWITCH-DR and DRos over a grid from loose to tight, tuned by SLOPE."""
    return (
        Slope(tuple(ClippedIPS(threshold) for threshold in LOOSE_TO_TIGHT), "clipped IPS (SLOPE)"),
        Slope(tuple(SwitchDR(threshold) for threshold in LOOSE_TO_TIGHT), "SWITCH-DR (SLOPE)"),
        Slope(tuple(DRos(root**2) for root in LOOSE_TO_TIGHT), "DRos (SLOPE)"),
    )


def _check_candidates(candidates: Sequence[object]) -> None:
    if not candidates:
        raise CampaignError("evaluation: tuning needs at least one candidate; got none.")
