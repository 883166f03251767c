"""Intervals by formula: Student's t, and the empirical Bernstein bound, both by customer.

What a customer's rows add to an estimate is one value, so that rows of a customer may be alike.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import t

from campaigns.errors import CampaignError
from evaluation.intervals import Interval
from evaluation.logged import Contributions, customer_index


def clustered_error(estimate: Contributions, customer: np.ndarray) -> tuple[float, int]:
    """Standard error of an estimate with customers as units, and their number.

    sqrt(C / (C - 1) sum_c z_c^2) with z_c the sum over a customer's rows of sum_j (numerator_ij - R_j denominator_ij)
    / sum_i denominator_ij, R_j being the j-th ratio: the delta method for ratios (Cochran 1977, section 2.11). For a
    plain mean of one row a customer it is the usual standard error. NaN with one customer.
    """
    index, customers = customer_index(customer)
    if customers < 2:
        return float("nan"), customers
    numerator = estimate.numerator.reshape(len(estimate), -1)
    denominator = estimate.denominator.reshape(len(estimate), -1)
    below = denominator.sum(axis=0)
    below = np.where(below == 0, np.nan, below)
    influence = ((numerator - numerator.sum(axis=0) / below * denominator) / below).sum(axis=1)
    sums = np.bincount(index, weights=influence, minlength=customers)
    return float(np.sqrt(customers / (customers - 1) * np.square(sums).sum())), customers


def student_quantile(share: float, customers: int) -> float:
    """Quantile of Student's t with one degree of freedom less than there are customers; NaN with fewer than two."""
    return float(t.ppf(share, customers - 1)) if customers > 1 else float("nan")


def student_interval(estimate: Contributions, customer: np.ndarray, level: float = 0.95) -> Interval:
    """Estimate -+ t standard errors (Student 1908; see `clustered_error`). NaN ends with one customer."""
    _check_level(level)
    error, customers = clustered_error(estimate, customer)
    half = student_quantile(0.5 + level / 2, customers) * error
    return Interval(estimate.value, estimate.value - half, estimate.value + half, level)


def bernstein_interval(
    estimate: Contributions,
    customer: np.ndarray,
    bounds: tuple[float, float] | None = None,
    level: float = 0.95,
) -> Interval:
    """Empirical Bernstein bound: it holds for every n, not only for large ones, and is wider for it.

    Mean -+ sqrt(2 V log(2 / delta) / n) + 7 R log(2 / delta) / (3 (n - 1)) with V the variance of the customers'
    values, R their range and delta = (1 - level) / 2 on either side (Maurer and Pontil 2009, theorem 4).

    Args:
        estimate: a plain mean (IPS, DR, DM...).
        customer: of each row. Shape [n].
        bounds: least and largest value that a customer can have: with one row a customer, a contribution (IPS with
            rewards in [0, 1]: 0 and the largest weight that can occur). None takes those seen, and then nothing is
            guaranteed.
        level: two-sided.
    Raises:
        CampaignError: for self-normalised estimates, and where a value lies outside the bounds.
    """
    _check_level(level)
    if estimate.denominator.ndim > 1 or not (estimate.denominator == 1).all():
        raise CampaignError("evaluation: the empirical Bernstein bound holds for means, not for self-normalised ones.")
    index, customers = customer_index(customer)
    if customers < 2:
        return Interval(estimate.value, float("nan"), float("nan"), level)
    # customers' values have the estimate as their mean, also where numbers of rows differ
    values = np.bincount(index, weights=estimate.numerator, minlength=customers) * customers / len(estimate)
    low, high = (float(values.min()), float(values.max())) if bounds is None else bounds
    if values.min() < low - 1e-9 or values.max() > high + 1e-9:
        raise CampaignError(
            f"evaluation: customers' values lie between {values.min():.4g} and {values.max():.4g}, outside the bounds "
            f"{low:.4g} and {high:.4g}."
        )
    log = float(np.log(4 / (1 - level)))
    half = float(np.sqrt(2 * values.var(ddof=1) * log / customers)) + 7 * (high - low) * log / (3 * (customers - 1))
    return Interval(estimate.value, estimate.value - half, estimate.value + half, level)


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise CampaignError(f"evaluation.level must lie in (0, 1); got {level}.")
