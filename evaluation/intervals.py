"""Intervals by customer bootstrap: whole customers are drawn, with the same draws for every estimate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evaluation.estimators import Contributions


@dataclass(frozen=True)
class Interval:
    """A figure with its interval.

    Attributes:
        value: point estimate.
        low, high: ends of the interval.
    """

    value: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float]:
        """JSON-able form."""
        return {"value": self.value, "low": self.low, "high": self.high}


@dataclass(frozen=True)
class Bootstrap:
    """Bootstrap replicates of several estimates under common draws.

    Attributes:
        points: by name.
        replicates: by name. Shape [draws] each.
        level: of the intervals.
    """

    points: dict[str, float]
    replicates: dict[str, np.ndarray]
    level: float

    def interval(self, name: str) -> Interval:
        """Percentile interval of one estimate."""
        return self._interval(self.points[name], self.replicates[name])

    def difference(self, name: str, other: str) -> Interval:
        """Paired difference of two estimates."""
        return self._interval(self.points[name] - self.points[other], self.replicates[name] - self.replicates[other])

    def lower_bound(self, name: str, other: str, level: float = 0.95) -> float:
        """One-sided lower bound of the paired difference."""
        difference = self.replicates[name] - self.replicates[other]
        return float(np.nanpercentile(difference, 100 * (1 - level)))

    def _interval(self, point: float, replicates: np.ndarray) -> Interval:
        tail = 100 * (1 - self.level) / 2
        low, high = np.nanpercentile(replicates, [tail, 100 - tail])
        return Interval(point, float(low), float(high))


def bootstrap(
    estimates: dict[str, Contributions],
    customer: np.ndarray,
    draws: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Bootstrap:
    """Draws customers with Poisson(1) weights, the same for all estimates, so that differences are paired.

    Args:
        estimates: contributions by name; rows alike for all.
        customer: index of each row's customer. Shape [n], int64.
        draws: number of replicates.
        level: of the intervals.
        seed: of the draws.
    Returns:
        Points and replicates. Memory: customers x a chunk of draws; rows are summed by customer first.
    """
    _, index = np.unique(customer, return_inverse=True)
    size = int(index.max()) + 1
    sums = np.stack(
        [
            np.bincount(index, weights=values, minlength=size)
            for estimate in estimates.values()
            for values in (estimate.numerator, estimate.denominator)
        ],
        axis=1,
    )
    generator = np.random.default_rng(seed)
    chunk = max(1, min(draws, 20_000_000 // max(size, 1)))
    totals = np.empty((draws, sums.shape[1]))
    for begin in range(0, draws, chunk):
        part = min(chunk, draws - begin)
        totals[begin : begin + part] = generator.poisson(1.0, (part, size)).astype(np.float64) @ sums
    replicates = {}
    for position, name in enumerate(estimates):
        numerator, denominator = totals[:, 2 * position], totals[:, 2 * position + 1]
        replicates[name] = numerator / np.where(denominator == 0, np.nan, denominator)
    return Bootstrap({name: estimate.value for name, estimate in estimates.items()}, replicates, level)


def mean_interval(values: np.ndarray, level: float = 0.95) -> Interval:
    """Mean of independent customers' values with its normal interval. `values` has shape [N]."""
    from scipy.stats import norm

    half = float(norm.ppf(0.5 + level / 2)) * float(values.std(ddof=1)) / len(values) ** 0.5 if len(values) > 1 else 0.0
    mean = float(values.mean())
    return Interval(mean, mean - half, mean + half)
