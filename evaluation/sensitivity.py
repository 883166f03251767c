"""What confounding could do to an estimate from fitted probabilities: bounds under the marginal sensitivity model.

Where `action_prob` is missing, the fitted mu(a | x) is what the log's columns explain. If the logger also looked at
something that the log does not hold, the true probability differs from row to row; the model supposes that its odds
are at most Gamma times larger or smaller than the fitted ones (Tan 2006). The true inverse probability then lies in
1 + (1 / mu - 1) [1 / Gamma, Gamma], and the largest and smallest self-normalised estimate over all such choices give
the larger weight to all rewards above a threshold, or below (Zhao, Small and Bhattacharya 2019, proposition 2):
sorting once finds them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from campaigns.errors import CampaignError
from evaluation.analytic_intervals import clustered_error, student_quantile
from evaluation.logged import Contributions

GAMMAS = (1.0, 1.25, 1.5, 2.0, 3.0)
"""Strengths of confounding that are shown; 1 is none."""

MOST_GAMMA = 20.0
"""Beyond this nobody needs to know where the verdict turns."""


@dataclass(frozen=True)
class SensitivityProblem:
    """Estimate and incumbent as sums over rows: mean ahead + sum w earned / sum w - mean logged.

    Attributes:
        ahead: what needs no weights: a reward model's v, or 0. Shape [n].
        weighted: what the weights multiply: rewards, or rewards less the model's. Shape [n].
        logged: what was really earned. Shape [n].
        target_prob: the policy's probability of what was decided. Shape [n] or [n, H].
        logged_prob: the fitted one. The same shape.
        customer: of each row. Shape [n].
    """

    ahead: np.ndarray
    weighted: np.ndarray
    logged: np.ndarray
    target_prob: np.ndarray
    logged_prob: np.ndarray
    customer: np.ndarray


@dataclass(frozen=True)
class Sensitivity:
    """How a paired difference stands up to confounding.

    Attributes:
        curve: (Gamma, low, high): interval of the difference that covers at its level if the odds are off by no more.
        word: verdict without confounding.
        breakdown: the Gamma at which that verdict turns into `cannot tell`; None where there is none to turn,
            MOST_GAMMA where it stands so far.
    """

    curve: tuple[tuple[float, float, float], ...]
    word: str
    breakdown: float | None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        rows = [{"gamma": gamma, "low": low, "high": high} for gamma, low, high in self.curve]
        return {"curve": rows, "word": self.word, "breakdown": self.breakdown}


def weight_bounds(target_prob: np.ndarray, logged_prob: np.ndarray, gamma: float) -> tuple[np.ndarray, np.ndarray]:
    """Least and largest weight of each row: products over slots of pi (1 + (1 / mu - 1) / Gamma) and with Gamma.

    Args:
        target_prob, logged_prob: of what was decided. Shape [n] or [n, H].
        gamma: at least 1.
    Returns:
        Two arrays of shape [n].
    """
    if not gamma >= 1:
        raise CampaignError(f"evaluation: Gamma must be at least 1; got {gamma}.")
    odds = 1 / logged_prob - 1
    low, high = target_prob * (1 + odds / gamma), target_prob * (1 + odds * gamma)
    rows = len(target_prob)
    return low.reshape(rows, -1).prod(axis=1), high.reshape(rows, -1).prod(axis=1)


def largest_ratio(values: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[float, np.ndarray]:
    """The largest sum w values / sum w with low <= w <= high, and its weights; NaN where no weight is above 0.

    Args:
        values, low, high: Shape [n].
    """
    order = np.argsort(-values, kind="stable")
    sorted_values, least, extra = values[order], low[order], (high - low)[order]
    above = np.concatenate([[0.0], np.cumsum(extra * sorted_values)]) + (least * sorted_values).sum()
    below = np.concatenate([[0.0], np.cumsum(extra)]) + least.sum()
    ratios = np.where(below > 0, above, -np.inf) / np.where(below > 0, below, 1.0)
    best = int(np.argmax(ratios))
    weights = low.copy()
    weights[order[:best]] = high[order[:best]]
    return (float(ratios[best]) if np.isfinite(ratios[best]) else float("nan")), weights


def difference_bounds(problem: SensitivityProblem, gamma: float, level: float = 0.95) -> tuple[float, float]:
    """Interval of the paired difference to the incumbent that allows for confounding of strength Gamma, and chance.

    Each end is moved by Student's t times its own standard error at the weights that make it (to first order, chance
    does not move them: the envelope theorem).
    """
    low, high = weight_bounds(problem.target_prob, problem.logged_prob, gamma)
    ends = []
    for sign in (-1.0, 1.0):
        _, weights = largest_ratio(sign * problem.weighted, low, high)
        ones = np.ones(len(weights))
        estimate = Contributions(
            np.stack([problem.ahead, weights * problem.weighted, -problem.logged], axis=1),
            np.stack([ones, weights, ones], axis=1),
        )
        error, customers = clustered_error(estimate, problem.customer)
        ends.append(estimate.value + sign * student_quantile(0.5 + level / 2, customers) * error)
    return ends[0], ends[1]


def sensitivity(
    problem: SensitivityProblem, gammas: tuple[float, ...] = GAMMAS, level: float = 0.95, steps: int = 16
) -> Sensitivity:
    """The interval by Gamma, and the Gamma at which the verdict turns.

    Args:
        problem: estimate and incumbent.
        gammas: shown.
        level: of the intervals.
        steps: bisections of log Gamma.
    """
    curve = tuple((gamma, *difference_bounds(problem, gamma, level)) for gamma in gammas)
    word = _word(*difference_bounds(problem, 1.0, level))
    if word == "cannot tell":
        return Sensitivity(curve, word, None)
    stands, turns = 0.0, float(np.log(MOST_GAMMA))
    if _word(*difference_bounds(problem, MOST_GAMMA, level)) == word:
        return Sensitivity(curve, word, MOST_GAMMA)
    for _ in range(steps):
        middle = (stands + turns) / 2
        if _word(*difference_bounds(problem, float(np.exp(middle)), level)) == word:
            stands = middle
        else:
            turns = middle
    return Sensitivity(curve, word, float(np.exp(stands)))


def _word(low: float, high: float) -> str:
    return "better" if low > 0 else "worse" if high < 0 else "cannot tell"
