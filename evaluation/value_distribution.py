"""How value is spread over customers under a policy that never ran: quantiles and tail means by weighting.

The distribution F(x) = sum_i w_i 1{y_i <= x} / sum_i w_i, with y a customer's value and w the weight of the customer's
decisions, is consistent for that under the policy (Chandak et al. 2021; Huang et al. 2021). A mean may hide that a
policy earns from a few and loses on many.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from campaigns.errors import CampaignError
from evaluation.intervals import Interval, customer_weights, quantile
from evaluation.logged import customer_index


@dataclass(frozen=True)
class ValueDistribution:
    """Customers' values in ascending order, with the share of customers that each stands for.

    Attributes:
        values: Shape [N], ascending.
        weights: above 0. Shape [N].
        unit: of each customer: what the bootstrap draws as one, such as a household. Shape [N], int64.
    """

    values: np.ndarray
    weights: np.ndarray
    unit: np.ndarray

    def quantile(self, share: float) -> float:
        """Least value that at least this share of customers does not exceed."""
        return float(self._quantiles(self.weights[None], share)[0])

    def tail_mean(self, share: float) -> float:
        """CVaR: mean value of the worst `share` of customers (Rockafellar and Uryasev 2000); the mean with 1."""
        return float(self._tail_means(self.weights[None], share)[0])

    def intervals(
        self,
        quantiles: Sequence[float] = (),
        tails: Sequence[float] = (),
        draws: int = 1000,
        level: float = 0.95,
        seed: int = 0,
    ) -> tuple[list[Interval], list[Interval]]:
        """Several of `quantile` and `tail_mean` with their percentile intervals by customer bootstrap, in one pass."""
        drawn: list[list[np.ndarray]] = [[] for _ in (*quantiles, *tails)]
        for part in self._draws(draws, seed):
            weights = part * self.weights
            found = [*(self._quantiles(weights, q) for q in quantiles), *(self._tail_means(weights, t) for t in tails)]
            for place, values in enumerate(found):
                drawn[place].append(values)
        points = [*(self.quantile(share) for share in quantiles), *(self.tail_mean(share) for share in tails)]
        told = [_interval(point, values, level) for point, values in zip(points, drawn, strict=True)]
        return told[: len(quantiles)], told[len(quantiles) :]

    def quantile_interval(self, share: float, draws: int = 1000, level: float = 0.95, seed: int = 0) -> Interval:
        """`quantile` with its percentile interval by customer bootstrap."""
        return self.intervals((share,), (), draws, level, seed)[0][0]

    def tail_mean_interval(self, share: float, draws: int = 1000, level: float = 0.95, seed: int = 0) -> Interval:
        """`tail_mean` with its percentile interval by customer bootstrap."""
        return self.intervals((), (share,), draws, level, seed)[1][0]

    def _draws(self, draws: int, seed: int) -> Iterator[np.ndarray]:
        """Of customers; none with one unit of them, of which nothing can be said."""
        index, units = customer_index(self.unit)
        return (drawn[:, index] for drawn in customer_weights(units, draws, seed)) if units > 1 else iter(())

    def _quantiles(self, weights: np.ndarray, share: float) -> np.ndarray:
        """For rows of weights. Shape [draws]."""
        _check_share(share)
        reached = np.cumsum(weights, axis=1)
        first = (reached < share * reached[:, -1:] * (1 - 1e-12)).sum(axis=1)
        found = self.values[np.minimum(first, len(self.values) - 1)]
        return np.where(reached[:, -1] > 0, found, np.nan)

    def _tail_means(self, weights: np.ndarray, share: float) -> np.ndarray:
        """For rows of weights. Shape [draws]."""
        _check_share(share)
        total = weights.sum(axis=1, keepdims=True)
        # of the customer in whom the tail ends, only the part that belongs to it
        kept = np.diff(np.minimum(np.cumsum(weights, axis=1), share * total), axis=1, prepend=0.0)
        means: np.ndarray = (kept @ self.values) / np.where(total[:, 0] == 0, np.nan, share * total[:, 0])
        return means


def value_distribution(values: np.ndarray, weights: np.ndarray, unit: np.ndarray | None = None) -> ValueDistribution:
    """The distribution of value per customer under a policy.

    Args:
        values: what each customer earned. Shape [N].
        weights: of the customer's decisions: `importance_weights` with one row a customer, the last of
            `cumulative_weights` over slots. Shape [N].
        unit: what the bootstrap draws as one, such as households; None where each customer stands alone. Shape [N].
    Raises:
        CampaignError: where shapes differ, a value is not finite, a weight is negative or all are 0.
    """
    if values.ndim != 1 or values.shape != weights.shape:
        raise CampaignError(f"evaluation: values {values.shape} and weights {weights.shape} must have one shape (N,).")
    if not np.isfinite(values).all() or not (np.isfinite(weights) & (weights >= 0)).all():
        raise CampaignError("evaluation: values must be finite, and weights finite and not below 0.")
    if not weights.sum() > 0:
        raise CampaignError("evaluation: the policy never decides as logged; its values cannot be told.")
    there = weights > 0  # who has no weight is in no draw: leaving them out saves most of the work for one content
    order = np.flatnonzero(there)[np.argsort(values[there], kind="stable")]
    return ValueDistribution(values[order], weights[order], np.arange(len(order)) if unit is None else unit[order])


def _interval(point: float, drawn: list[np.ndarray], level: float) -> Interval:
    if not drawn:
        return Interval(point, float("nan"), float("nan"), level)
    replicates, tail = np.concatenate(drawn), (1 - level) / 2
    return Interval(point, quantile(replicates, tail), quantile(replicates, 1 - tail), level)


def _check_share(share: float) -> None:
    if not 0 < share <= 1:
        raise CampaignError(f"evaluation: the share of customers must lie in (0, 1]; got {share}.")
