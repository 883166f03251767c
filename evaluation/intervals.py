"""Intervals by customer bootstrap: whole customers are drawn, with the same draws for every estimate.

Rows are summed by customer once; a draw is then a weighted sum of customers, and many draws a matrix product
(Poisson bootstrap: Chamandy et al. 2012; percentile and basic intervals: Davison and Hinkley 1997, section 5.2).
Very many customers are first joined at random into groups, which are drawn in their stead (random groups: Wolter 2007,
chapter 2): sums over random groups vary as much as the customers in them do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import norm, poisson, t

from campaigns.errors import CampaignError
from evaluation.logged import Contributions, customer_index, ratio_sum

CHUNK = 4_000_000
"""Weights held at a time (8 bytes each)."""

GROUPS = 1 << 16
"""More customers than these are drawn in random groups: a standard error is then off by 1 / sqrt(2 GROUPS), 0.3 %."""

Kind = Literal["percentile", "basic"]


@dataclass(frozen=True)
class Interval:
    """A figure with its interval.

    Attributes:
        value: point estimate.
        low, high: ends of the interval; NaN where nothing can be said, as with one customer.
        level: of the interval, two-sided.
    """

    value: float
    low: float
    high: float
    level: float = 0.95

    def to_dict(self) -> dict[str, float]:
        """JSON-able form: value, low, high."""
        return {"value": self.value, "low": self.low, "high": self.high}


@dataclass(frozen=True)
class Bootstrap:
    """Bootstrap replicates of several estimates under common draws.

    Attributes:
        points: by name.
        replicates: by name. Shape [draws] each.
        level: of the intervals.
        kind: of the intervals.
    """

    points: dict[str, float]
    replicates: dict[str, np.ndarray]
    level: float
    kind: Kind = "percentile"

    def interval(self, name: str) -> Interval:
        """Interval of one estimate."""
        return self._interval(self.points[name], self.replicates[name])

    def intervals(self) -> dict[str, Interval]:
        """Intervals of all estimates, by name."""
        return {name: self.interval(name) for name in self.points}

    def difference(self, name: str, other: str) -> Interval:
        """Interval of `name` - `other`, paired: both saw the same draws."""
        return self._interval(self.points[name] - self.points[other], self.replicates[name] - self.replicates[other])

    def lower_bound(self, name: str, other: str, level: float = 0.95) -> float:
        """One-sided lower bound of the paired difference."""
        return quantile(self.replicates[name] - self.replicates[other], 1 - level)

    def standard_error(self, name: str, other: str | None = None) -> float:
        """Standard deviation of an estimate's replicates, or of a paired difference's."""
        replicates = self.replicates[name] - (0.0 if other is None else self.replicates[other])
        known = replicates[np.isfinite(replicates)]
        return float(known.std(ddof=1)) if len(known) > 1 else float("nan")

    def _interval(self, point: float, replicates: np.ndarray) -> Interval:
        tail = (1 - self.level) / 2
        low, high = quantile(replicates, tail), quantile(replicates, 1 - tail)
        if self.kind == "basic":
            low, high = 2 * point - high, 2 * point - low
        return Interval(point, low, high, self.level)


def bootstrap(
    estimates: Mapping[str, Contributions],
    customer: np.ndarray,
    draws: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    kind: Kind = "percentile",
) -> Bootstrap:
    """Draws customers with Poisson(1) weights, the same for all estimates, so that differences are paired.

    Args:
        estimates: contributions by name; rows alike for all.
        customer: index of each row's customer. Shape [n], int64.
        draws: number of replicates; 1,000 and more for a report.
        level: of the intervals.
        seed: of the draws.
        kind: `percentile`, or `basic` (the percentile interval mirrored at the point estimate).
    Returns:
        Points and replicates; all NaN where there is but one customer. Memory: one row of sums a customer or
        group, and a chunk of weights.
    Raises:
        CampaignError: where rows differ in number, or a setting is out of its range.
    """
    if draws < 100 or not 0 < level < 1:
        raise CampaignError(
            f"evaluation.draws must be at least 100 and evaluation.level in (0, 1); got {draws} and {level}."
        )
    if not len(customer):
        raise CampaignError("evaluation: the log has no decision to evaluate on.")
    for name, estimate in estimates.items():
        if len(estimate) != len(customer):
            raise CampaignError(f"evaluation: {name} has {len(estimate)} rows, the log has {len(customer)}.")
    index, size = customer_index(customer)
    if size > GROUPS:
        group = np.arange(size) % GROUPS
        np.random.default_rng(seed).shuffle(group)
        index, size = group[index], GROUPS
    columns = [
        np.bincount(index, weights=values, minlength=size)
        for estimate in estimates.values()
        for part in (estimate.numerator, estimate.denominator)
        for values in part.reshape(len(part), -1).T
    ]
    sums = np.stack(columns, axis=1)
    totals = np.concatenate([weights @ sums for weights in customer_weights(size, draws, seed)])
    if size == 1:
        totals[:] = np.nan
    replicates, begin = {}, 0
    for name, estimate in estimates.items():
        terms = estimate.numerator[0].size
        numerator, denominator = totals[:, begin : begin + terms], totals[:, begin + terms : begin + 2 * terms]
        replicates[name] = ratio_sum(numerator, denominator)
        begin += 2 * terms
    return Bootstrap({name: estimate.value for name, estimate in estimates.items()}, replicates, level, kind)


def simultaneous_factors(
    result: Bootstrap, errors: Mapping[str, float], other: str, level: float
) -> tuple[float, float]:
    """How many standard errors below and above differences to `other` one-sided bounds lie that hold for all at once.

    Quantiles of the largest t statistic among them all, on either side (max-t: Romano and Wolf 2005).

    Args:
        result: replicates of all the estimates and of `other`.
        errors: standard errors of the differences, by name of the estimate.
        other: from which differences are taken.
        level: of the bounds.
    """
    largest = np.zeros(len(result.replicates[other]))
    lowest = np.zeros_like(largest)
    for name, error in errors.items():
        if error > 0:
            gain = result.points[name] - result.points[other]
            departure = (result.replicates[name] - result.replicates[other] - gain) / error
            largest, lowest = np.maximum(largest, departure), np.minimum(lowest, departure)
    return float(np.quantile(largest, level)), float(np.quantile(-lowest, level))


def customer_weights(customers: int, draws: int, seed: int) -> Iterator[np.ndarray]:
    """Independent Poisson(1) weights, chunk after chunk. Shapes [some draws, customers], float64.

    They are looked up by 16 random bits, several times faster than exact draws; mean and variance are 1 within 1e-4.
    """
    # the quantile function of Poisson(1) at the middle of each of the 65,536 steps
    table = np.searchsorted(poisson.cdf(np.arange(20), 1.0), (np.arange(1 << 16) + 0.5) / (1 << 16)).astype(np.float64)
    generator = np.random.default_rng(seed)
    # every draw takes its bits in one go, so that the size of chunks does not change the draws
    chunk = max(1, min(draws, CHUNK // customers))
    for begin in range(0, draws, chunk):
        rows = min(chunk, draws - begin)
        bits = [generator.integers(0, 1 << 16, customers, dtype=np.uint16) for _ in range(rows)]
        yield table[np.stack(bits)]


def quantile(replicates: np.ndarray, share: float) -> float:
    """Quantile of the finite replicates; NaN where more than one in a hundred is not finite."""
    known = replicates[np.isfinite(replicates)]
    return float(np.quantile(known, share)) if len(known) >= 0.99 * len(replicates) else float("nan")


def mean_interval(values: np.ndarray, level: float = 0.95) -> Interval:
    """Mean of independent customers' values with Student's t interval. `values` has shape [N]."""
    mean, size = float(np.mean(values)), len(values)
    if size < 2:
        return Interval(mean, float("nan"), float("nan"), level)
    half = float(t.ppf(0.5 + level / 2, size - 1)) * float(np.std(values, ddof=1)) / size**0.5
    return Interval(mean, mean - half, mean + half, level)


def minimum_detectable_difference(standard_error: float, level: float = 0.95, power: float = 0.8) -> float:
    """Least true difference that an interval of this level would tell from 0 with the given probability.

    (z_{1 - alpha/2} + z_{power}) standard errors (Bloom 1995); the unit is that of `standard_error`.
    """
    return float((norm.ppf(0.5 + level / 2) + norm.ppf(power)) * standard_error)
