"""What stands behind a one-shot estimate: every other estimator with intervals of three kinds, the blends of the policy
with what was done, and how value is spread over customers.

None of it decides: the verdict is DR's (`evaluation.offline`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from evaluation.analytic_intervals import bernstein_interval, student_interval
from evaluation.blend import BAND_LEVEL, SHARES
from evaluation.by_attributes import estimate_by_attributes
from evaluation.estimators import (
    DM,
    DR,
    IPS,
    SNDR,
    SNIPS,
    Contributions,
    Estimator,
    LoggedDecisions,
    importance_weights,
    mean_contributions,
)
from evaluation.intervals import Bootstrap, Interval, bootstrap, simultaneous_factors
from evaluation.logged_slots import LoggedSlots
from evaluation.offline_settings import OfflineSettings
from evaluation.tuning import LEAST_BIASED, Slope, stretched, tuned_estimators, tuned_interval
from evaluation.value_distribution import value_distribution

INCUMBENT = "incumbent"

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
"""Shares of the customers whose largest value is told."""

TAILS = (0.05, 0.25)
"""Shares of the customers, those with the least value, whose mean is told."""


def estimators_of_one_decision() -> tuple[Estimator, ...]:
    """All that a log of one decision a customer allows, the one whose word counts first."""
    return (DR(), SNDR(), SNIPS(), IPS(), DM(), *tuned_estimators())


def detail_of(
    slots: LoggedSlots,
    name: str,
    settings: OfflineSettings,
    seed: int,
    kinds: Sequence[str] | None = None,
    logging: np.ndarray | None = None,
) -> dict[str, Any]:
    """What stands behind the estimate of a policy that is not refused.

    Args:
        slots: one slot of N customers, some of which are known.
        name: of the policy among theirs.
        settings, seed: of the bootstrap of customers.
        kinds: what each decision is like, hold first, for MIPS and OffCEM; None where contents have no attributes, and
            then these are left out, as where no two contents are alike. Length 1 + K.
        logging: probabilities of all decisions (`full_logging`), which these need. Shape [N, 1 + K].
    Returns:
        `estimators`: by name value, low and high (bootstrap), `bernstein` and `student` (low and high; None where the
        kind does not apply), and of tuned ones that their intervals are those of `tuned_interval`; `blends`: by share
        the gain over what was done with one-sided bounds, which hold for all shares at once; `blend`: the largest share
        whose lower bound is above zero, 0 where none is.
    """
    use = np.flatnonzero(slots.known[:, 0])
    logged = LoggedDecisions(slots.units[use], slots.action[use, 0], slots.reward[use, 0], slots.logged_prob[use, 0])
    target, predicted = slots.target[name][use, 0], slots.predicted[use, 0]
    found = {INCUMBENT: mean_contributions(logged.reward)}
    estimators = estimators_of_one_decision()
    for estimator in estimators:
        if isinstance(estimator, Slope):
            parts = [candidate.contributions(logged, target, predicted) for candidate in estimator.candidates]
            found[estimator.name] = parts[estimator.choice(parts, logged.customer)]
            found[estimator.name + LEAST_BIASED] = parts[estimator.least_biased(parts, logged.customer)]
        else:
            found[estimator.name] = estimator.contributions(logged, target, predicted)
    result = bootstrap(found, logged.customer, settings.draws, settings.level, seed)
    told = {e.name: _three_intervals(e.name, found, result, logged.customer) for e in estimators}
    if kinds is not None and logging is not None and len(set(kinds)) < len(kinds):
        weighed = estimate_by_attributes(slots, name, kinds, logging, settings, seed)
        told |= (weighed or {}).get("estimators") or {}
    blends = _blends(result, DR().name)
    safe = max((point["share"] for point in blends if point["low"] > 0), default=0.0)
    return {"estimators": told, "blends": blends, "blend": safe}


def _three_intervals(
    name: str, found: dict[str, Contributions], result: Bootstrap, customer: np.ndarray
) -> dict[str, Any]:
    """An estimate with its bootstrap interval, and the ends of the empirical Bernstein bound and of Student's t."""
    tuned = name + LEAST_BIASED in found
    estimate, value = found[name + LEAST_BIASED if tuned else name], result.points[name]
    drawn = tuned_interval(result, name) if tuned else result.interval(name)
    is_mean = estimate.denominator.ndim == 1 and bool((estimate.denominator == 1).all())

    def ends(interval: Interval) -> dict[str, float]:
        low, high = stretched(interval, value)
        return {"low": low, "high": high}

    return {
        **drawn.to_dict(),
        "bernstein": ends(bernstein_interval(estimate, customer, None, result.level)) if is_mean else None,
        "student": ends(student_interval(estimate, customer, result.level)),
        "tuned": tuned,
    }


def _blends(result: Bootstrap, name: str) -> list[dict[str, float]]:
    """Gains of (1 - a) incumbent + a policy, as `evaluation.blend.blend_curve` has them: with one decision they are a
    times the policy's, and so are their bounds, which therefore hold for all shares at once where they hold for one."""
    gain, error = result.points[name] - result.points[INCUMBENT], result.standard_error(name, INCUMBENT)
    below, above = simultaneous_factors(result, {name: error}, INCUMBENT, BAND_LEVEL)
    low, high = gain - below * error, gain + above * error
    return [{"share": a, "value": a * gain, "low": a * low, "high": a * high} for a in SHARES]


def distributions(slots: LoggedSlots, names: Sequence[str], settings: OfflineSettings, seed: int) -> dict[str, Any]:
    """How value per customer is spread under policies, and under what was done.

    Args:
        slots: one slot of N customers, some of which are known.
        names: of the policies that are not refused.
        settings, seed: of the bootstrap.
    Returns:
        By policy, `incumbent` among them: `quantiles` and `worst` (means of the customers with the least value), each
        a list of share, value, low and high.
    """
    use = np.flatnonzero(slots.known[:, 0])
    logged = LoggedDecisions(slots.units[use], slots.action[use, 0], slots.reward[use, 0], slots.logged_prob[use, 0])
    weights = {INCUMBENT: np.ones(len(use))}
    weights |= {name: importance_weights(logged, slots.target[name][use, 0]) for name in names}
    told = {}
    for name, weight in weights.items():
        spread = value_distribution(logged.reward, weight, logged.customer)
        quantiles, worst = spread.intervals(QUANTILES, TAILS, settings.draws, settings.level, seed)
        told[name] = {
            key: [{"share": share, **found.to_dict()} for share, found in zip(shares, intervals, strict=True)]
            for key, shares, intervals in (("quantiles", QUANTILES, quantiles), ("worst", TAILS, worst))
        }
    return told
