"""The effect of sending: what the market's network predicts beside what the log shows of other customers.

Among the log's free sends the predicted effect is q(s, a) - q(s, hold); the observed one is y - q(s, hold), less what
the same difference comes to on free holds weighted by the odds of a send, e / (1 - e): the effect on the treated,
doubly robust (Robins, Rotnitzky and Zhao 1994). A prediction that is wrong about holds cancels out, one that is wrong
about sends does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from evaluation.gate_checks import OUTCOMES, GateCheck, customer_weights, within
from evaluation.logged import customer_index
from evaluation.logged_answers import LoggedAnswers

MEAN_MARGIN, SLOPE_MARGIN = 1 / 3, 0.5
"""An observed mean effect may lie between predicted / (1 + 1/3) and predicted / (1 - 1/3); the slope of observed on
predicted between 0.5 and 1.5. A mean's interval does not hold what the network's own customers leave unsure."""

GROUPS = 10
MOST_ODDS = 20.0
"""Odds of a send are clipped here: beyond, hardly any hold stands for the sends."""

LEAST_EVENTS = 30
"""Events among the free sends below which an effect is left out."""

EFFECTS = ("purchases", "visits", "opt-outs", "value")
"""What a send may change that happens without one too. Opens and clicks need a send: their totals speak for them."""


@dataclass(frozen=True)
class EffectTable:
    """Effects of sending on one outcome.

    Attributes:
        outcome: in words.
        predicted, observed: mean effect by group of predicted effect, lowest first. Length G.
        low, high: interval of `observed`. Length G.
        sends: in each group. Length G.
        slope: of observed on predicted effect, 1 where right; with its interval.
        slope_low, slope_high: the interval.
    """

    outcome: str
    predicted: list[float]
    observed: list[float]
    low: list[float]
    high: list[float]
    sends: list[int]
    slope: float
    slope_low: float
    slope_high: float

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return dict(vars(self))


def check_effects(
    answers: LoggedAnswers, level: float, draws: int, seed: int
) -> tuple[list[GateCheck], list[EffectTable]]:
    """Tests mean effect and slope of every outcome for equivalence.

    Args:
        answers: on customers that the network did not see.
        level, draws, seed: of the intervals, by customer bootstrap.
    Returns:
        Two checks an outcome, of which the mean effect decides, and tables by tenth of the predicted effect.
    """
    inverse, size = customer_index(answers.unit)
    weights = customer_weights(size, draws, seed)
    checks, tables = [], []
    for name in EFFECTS:
        column = OUTCOMES[name]
        if column not in answers.observed:
            continue
        known = np.isfinite(answers.observed[column])
        events = int((np.nan_to_num(answers.observed[column]) != 0)[answers.sent].sum())
        if events < LEAST_EVENTS:
            continue
        found = _outcome_checks(name, column, answers, known, inverse, weights, level)
        checks += found[0]
        tables.append(found[1])
    return checks, tables


def _outcome_checks(
    name: str,
    column: str,
    answers: LoggedAnswers,
    known: np.ndarray,
    customer: np.ndarray,
    weights: np.ndarray,
    level: float,
) -> tuple[list[GateCheck], EffectTable]:
    sent = answers.sent & known
    odds = np.clip((1 - answers.hold_prob) / answers.hold_prob, 0.0, MOST_ODDS)
    role = np.where(sent, answers.weight, np.where(known, -answers.weight * odds, 0.0))
    treated = np.where(sent, answers.weight, 0.0)
    gained = np.nan_to_num(answers.observed[column]) - answers.idle[column]
    predicted = answers.tried[column] - answers.idle[column]
    edges = np.quantile(predicted[sent], np.linspace(0, 1, GROUPS + 1)[1:-1])
    group = np.searchsorted(edges, predicted, side="right")

    def summed(values: np.ndarray) -> np.ndarray:
        """By bootstrap draw and group. Shape [1 + draws, G]."""
        cells = np.bincount(customer * GROUPS + group, weights=values, minlength=weights.shape[1] * GROUPS)
        result: np.ndarray = weights @ cells.reshape(-1, GROUPS).astype(np.float32)
        return result

    size = np.maximum(summed(treated), 1e-9)
    effect, claim = summed(role * gained), summed(treated * predicted)
    total = size.sum(axis=1)
    mean_observed, mean_predicted = effect.sum(axis=1) / total, claim.sum(axis=1) / total
    tail = 100 * (1 - level) / 2
    checks = [_mean_check(name, mean_observed, mean_predicted, MEAN_MARGIN, tail)]

    centre = mean_predicted[0]
    cross, square = summed(role * gained * (predicted - centre)), summed(treated * (predicted - centre) ** 2)
    shift = mean_predicted - centre
    # Centred anew in every draw.
    covariance = cross.sum(axis=1) - shift * effect.sum(axis=1)
    variance = square.sum(axis=1) - total * shift**2
    flat = bool(variance[0] <= 1e-12 * total[0])
    slope = np.full(len(total), np.nan) if flat else covariance / np.maximum(variance, 1e-30)
    low, high = (np.nan, np.nan) if flat else np.percentile(slope[1:], [tail, 100 - tail])
    passed = None if flat else within(float(low), float(high), 1 - SLOPE_MARGIN, 1 + SLOPE_MARGIN)
    checks.append(
        GateCheck(
            f"effect on {name}, slope", 1.0, float(slope[0]), float("nan"), float(low), float(high), passed, "effect",
            SLOPE_MARGIN, decides=False,
        )
    )  # fmt: skip
    by_group = effect / size
    ends = np.percentile(by_group[1:], [tail, 100 - tail], axis=0)
    table = EffectTable(
        name, (claim / size)[0].tolist(), by_group[0].tolist(), ends[0].tolist(), ends[1].tolist(),
        np.bincount(group[sent], minlength=GROUPS).tolist(), float(slope[0]), float(low), float(high),
    )  # fmt: skip
    return checks, table


def _mean_check(name: str, observed: np.ndarray, predicted: np.ndarray, margin: float, tail: float) -> GateCheck:
    """Equivalence without a division: neither bound on the observed effect may be crossed, whatever its sign."""
    sign = np.sign(observed[0]) or 1.0
    least, most = observed * sign - predicted * sign / (1 + margin), observed * sign - predicted * sign / (1 - margin)
    least_low, least_high = np.percentile(least[1:], [tail, 100 - tail])
    most_low, most_high = np.percentile(most[1:], [tail, 100 - tail])
    passed: bool | None = None
    if least_low >= 0 and most_high <= 0:
        passed = True
    elif least_high < 0 or most_low > 0:
        passed = False
    ratio = predicted[0] / observed[0] if observed[0] else float("nan")
    low, high = float("nan"), float("nan")
    ends = np.percentile(observed[1:] * sign, [tail, 100 - tail])
    if ends[0] > 0:  # else the log shows no sure effect, and a ratio to it says nothing
        low, high = (float(q) for q in np.percentile(predicted[1:] / observed[1:], [tail, 100 - tail]))
    return GateCheck(
        f"effect on {name}", float(observed[0]), float(predicted[0]), float(ratio), low, high, passed, "effect", margin
    )
