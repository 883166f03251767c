"""How good predicted effects of sending are, judged by decisions that chance took: arrays alone.

Rows come weighted by the inverse of their decision's probability, so that sent and held rows are two samples of one
population; an effect observed is a difference of weighted means. Customers, not rows, are independent: every
interval is clustered by customer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

Z95 = 1.959964
GROUPS = 100
"""Steps of a Qini curve; equal predictions always fall into one."""
DRAWS_AT_ONCE = 64
LEAST_CUSTOMERS = 10
"""Figures of fewer customers are left out: k-anonymity with k = 10."""


@dataclass(frozen=True)
class EffectSample:
    """R decisions with a prediction of what sending would change.

    Attributes:
        predicted: effect of sending on the outcome, as predicted before. Shape [R].
        observed: the outcome; or the outcome less any guess from what was known before the decision, which leaves
            effects as they are and narrows their intervals. Shape [R].
        sent: whether it was sent. Shape [R], bool.
        weight: rows that each stands for: one over its decision's probability. Shape [R].
        customer: whose decision. Shape [R], int64.
    """

    predicted: np.ndarray
    observed: np.ndarray
    sent: np.ndarray
    weight: np.ndarray
    customer: np.ndarray

    def __len__(self) -> int:
        return len(self.predicted)

    def take(self, rows: np.ndarray) -> EffectSample:
        """The rows at `rows` (indices or a mask)."""
        return EffectSample(
            self.predicted[rows], self.observed[rows], self.sent[rows], self.weight[rows], self.customer[rows]
        )


Estimate = dict[str, float | None]
"""`value` with the ends `low` and `high` of its 95 % interval; None where nothing can be said."""
NOTHING: Estimate = {"value": None, "low": None, "high": None}


def average_effect(sample: EffectSample) -> Estimate:
    """The observed effect: weighted mean of sent less that of held rows (Hajek 1971), with a linearised interval."""
    if not _both_arms(sample):
        return dict(NOTHING)
    value, part = 0.0, np.zeros(len(sample))
    for arm, sign in ((sample.sent, 1.0), (~sample.sent, -1.0)):
        weight = np.where(arm, sample.weight, 0.0)
        mean = float((weight * sample.observed).sum() / weight.sum())
        value += sign * mean
        part += sign * weight * (sample.observed - mean) / weight.sum()
    return clustered(value, part, sample.customer)


def effect_slope(sample: EffectSample) -> Estimate:
    """Slope of observed on predicted effects: 1 is right, 1/2 says that differences are predicted twice too large.

    The coefficient of sent x predicted in the weighted regression of the outcome on 1, predicted, sent and
    sent x predicted: the difference of the two arms' own slopes. With weights 1/p it is the best linear predictor
    of the true effect from the predicted one (Chernozhukov, Demirer, Duflo and Fernandez-Val 2018, eq. 3.1), with a
    sandwich error clustered by customer (Liang and Zeger 1986).

    Returns:
        None where predictions do not differ.
    """
    if not _both_arms(sample):
        return dict(NOTHING)
    value, part = 0.0, np.zeros(len(sample))
    for arm, sign in ((sample.sent, 1.0), (~sample.sent, -1.0)):
        weight = np.where(arm, sample.weight, 0.0)
        away = sample.predicted - (weight * sample.predicted).sum() / weight.sum()
        centred = sample.observed - (weight * sample.observed).sum() / weight.sum()
        spread = float((weight * away**2).sum())
        scale = float((weight * sample.predicted**2).sum())
        if spread <= 1e-12 * max(scale, 1e-300):
            return dict(NOTHING)
        slope = float((weight * away * centred).sum() / spread)
        value += sign * slope
        part += sign * weight * away * (centred - slope * away) / spread
    return clustered(value, part, sample.customer)


def effect_deciles(sample: EffectSample, bins: int = 10) -> list[dict[str, Any]]:
    """Predicted beside observed effect in bins of equal weight, the least predicted first.

    Returns:
        `predicted`, `observed` with `low` and `high`, `share` of all weight, and `customers`; bins of fewer than ten
        customers in either arm are left out.
    """
    group = _groups(sample.predicted, sample.weight, bins)
    rows = []
    for one in np.unique(group):
        part = sample.take(group == one)
        customers = len(np.unique(part.customer))
        if min(len(np.unique(part.customer[part.sent])), len(np.unique(part.customer[~part.sent]))) < LEAST_CUSTOMERS:
            continue
        effect = average_effect(part)
        rows.append(
            {
                "predicted": float(np.average(part.predicted, weights=part.weight)),
                "observed": effect["value"],
                "low": effect["low"],
                "high": effect["high"],
                "share": float(part.weight.sum() / sample.weight.sum()),
                "customers": customers,
            }
        )
    return rows


def uplift_curve(sample: EffectSample, draws: int = 500, seed: int = 0) -> dict[str, Any]:
    """Qini curve, Qini coefficient and AUUC, with intervals from customers drawn anew (Poisson bootstrap).

    With rows ordered by predicted effect, the highest first, and the share u of them sent to:

    - Qini curve (Radcliffe 2007, per row): Q(u) = sum of sent outcomes up to u / weight of all sent rows - the same
      of held rows: what sending to the share u brings a row of everybody. Q(1) is the average effect.
    - Qini coefficient: integral of Q(u) - u Q(1) over u; 0 for an order that knows nothing.
    - AUUC: integral of u (mean of sent - mean of held outcomes up to u) over u (Gutierrez and Gerardy 2017, eq. 8);
      half the average effect for an order that knows nothing, which `auuc_of_chance` gives.

    Equal predictions are one step. Both integrals are trapezes over at most 100 steps of about equal weight.

    Args:
        sample: of held-out customers.
        draws: bootstrap replicates.
        seed: of the draws.
    Returns:
        `qini`, `auuc`, `auuc_of_chance` (estimates) and `curve`: `share`, `gain`, `low`, `high`, from 0 to 1.
    """
    if not _both_arms(sample):
        return {"qini": dict(NOTHING), "auuc": dict(NOTHING), "auuc_of_chance": dict(NOTHING), "curve": []}
    group = _groups(-sample.predicted, sample.weight, GROUPS)
    _, group = np.unique(group, return_inverse=True)
    steps = int(group.max()) + 1
    _, customer = np.unique(sample.customer, return_inverse=True)
    customers = int(customer.max()) + 1
    arm = np.where(sample.sent, 0, 2)
    cell = np.concatenate([4 * group + arm, 4 * group + arm + 1])
    sums = sparse.csr_matrix(
        (np.concatenate([sample.weight, sample.weight * sample.observed]), (np.tile(customer, 2), cell)),
        shape=(customers, 4 * steps),
    )
    figures = _curves(np.asarray(sums.sum(axis=0)), steps)
    drawn = []
    generator = np.random.default_rng(seed)
    for begin in range(0, draws, DRAWS_AT_ONCE):
        times = generator.poisson(1.0, (min(DRAWS_AT_ONCE, draws - begin), customers)).astype(np.float64)
        drawn.append(_curves((sums.T @ times.T).T, steps))
    replicates = {name: np.concatenate([part[name] for part in drawn]) for name in figures}
    low, high = (_quantile(replicates["curve"], q) for q in (0.025, 0.975))
    points = zip(figures["share"][0], figures["curve"][0], low, high, strict=True)
    report: dict[str, Any] = {
        name: {
            "value": float(figures[name][0]),
            "low": float(_quantile(replicates[name], 0.025)),
            "high": float(_quantile(replicates[name], 0.975)),
        }
        for name in ("qini", "auuc", "auuc_of_chance")
    }
    return report | {
        "curve": [
            {"share": float(u), "gain": float(g), "low": float(bottom), "high": float(top)}
            for u, g, bottom, top in points
        ]
    }


def effect_figures(sample: EffectSample, draws: int = 500, seed: int = 0) -> dict[str, Any]:
    """All of this file: `predicted` mean, `observed` effect, `slope`, `deciles`, and what `uplift_curve` returns."""
    return {
        "rows": len(sample),
        "customers": len(np.unique(sample.customer)),
        "predicted": float(np.average(sample.predicted, weights=sample.weight)),
        "observed": average_effect(sample),
        "slope": effect_slope(sample),
        "deciles": effect_deciles(sample),
        **uplift_curve(sample, draws, seed),
    }


def _curves(sums: np.ndarray, steps: int) -> dict[str, np.ndarray]:
    """Curves and areas of [B, 4 G] sums: weight and outcome of sent rows, then of held rows, step after step."""
    table = sums.reshape(len(sums), steps, 4).cumsum(axis=1)
    table = np.concatenate([np.zeros((len(sums), 1, 4)), table], axis=1)
    sent, sent_outcome, held, held_outcome = np.moveaxis(table, 2, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = (sent + held) / (sent + held)[:, -1:]
        curve = sent_outcome / sent[:, -1:] - held_outcome / held[:, -1:]
        # Where one arm is still empty nothing can be compared; the curve starts at 0.
        uplift = np.where((sent > 0) & (held > 0), share * (sent_outcome / sent - held_outcome / held), 0.0)
    area = np.trapezoid(curve, share, axis=1)
    return {
        "share": share,
        "curve": curve,
        "qini": area - curve[:, -1] / 2,
        "auuc": np.trapezoid(uplift, share, axis=1),
        "auuc_of_chance": curve[:, -1] / 2,
    }


def _groups(predicted: np.ndarray, weight: np.ndarray, bins: int) -> np.ndarray:
    """Bin of each row, of about equal weight in the order of `predicted`; equal predictions share a bin. [R]."""
    _, place = np.unique(predicted, return_inverse=True)
    total = np.bincount(place, weights=weight)
    middle = total.cumsum() - total / 2
    group: np.ndarray = np.minimum((bins * middle / total.sum()).astype(np.int64), bins - 1)[place]
    return group


def _both_arms(sample: EffectSample) -> bool:
    return bool(sample.weight[sample.sent].sum() > 0 and sample.weight[~sample.sent].sum() > 0)


def clustered(value: float, part: np.ndarray, customer: np.ndarray) -> Estimate:
    """A value whose error is the sum of `part` over rows, with customers independent.

    Args:
        value: the figure.
        part: what each row adds to its error. Shape [R].
        customer: whose row. Shape [R].
    """
    _, index = np.unique(customer, return_inverse=True)
    scores = np.bincount(index, weights=part)
    if len(scores) < 2:
        return {"value": value, "low": None, "high": None}
    error = float(np.sqrt((scores**2).sum() * len(scores) / (len(scores) - 1)))
    return {"value": value, "low": value - Z95 * error, "high": value + Z95 * error}


def _quantile(values: np.ndarray, q: float) -> Any:
    """Over replicates (axis 0); those without one of the arms are left out."""
    return np.nanquantile(values, q, axis=0)
