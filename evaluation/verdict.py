"""From estimates and diagnostics to a word: better, worse, cannot tell, not identifiable."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from evaluation.estimators import Contributions, LoggedDecisions, importance_weights
from evaluation.intervals import Interval, bootstrap

LEAST_ESS_SHARE = 0.01
"""A weighted estimate that rests on fewer than this share of the rows is refused."""

LEAST_EFFECTIVE_ROWS = 200
"""Below this many effective rows, weights are too skewed for a bootstrap interval to be trusted."""

MEAN_WEIGHT_TOLERANCE = 0.2
"""A mean weight further from 1 shows that the logged probabilities do not fit the log."""


@dataclass(frozen=True)
class WeightDiagnostics:
    """How much of a log a weighted estimate rests on.

    Attributes:
        rows: n.
        effective: effective sample size (sum w)^2 / sum w^2 (Kish 1965).
        effective_share: of the rows.
        mean_weight: should be 1.
        mean_weight_error: its standard error.
        largest_weight: of a single row.
        unsupported: probability that the policy puts on decisions which the logging policy never took in the log.
        refused: why the estimate is refused, in plain words; None where it is not.
    """

    rows: int
    effective: float
    effective_share: float
    mean_weight: float
    mean_weight_error: float
    largest_weight: float
    unsupported: float
    refused: str | None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return asdict(self)


def diagnose(logged: LoggedDecisions, target: np.ndarray) -> WeightDiagnostics:
    """Diagnostics of a policy's weights on a log. `target` has shape [n, 1 + K]."""
    seen = np.bincount(logged.action, minlength=target.shape[1]) > 0
    unsupported = float(target[:, ~seen].sum() / len(target))
    return diagnose_weights(importance_weights(logged, target), unsupported)


def diagnose_weights(weights: np.ndarray, unsupported: float = 0.0) -> WeightDiagnostics:
    """The same from weights alone. Shape [n]."""
    rows, total, squares = len(weights), float(weights.sum()), float(np.square(weights).sum())
    effective = total * total / squares if squares else 0.0
    mean, error = float(weights.mean()), float(weights.std() / rows**0.5)
    refused = None
    if effective / rows < LEAST_ESS_SHARE or effective < min(LEAST_EFFECTIVE_ROWS, rows / 2):
        refused = (
            f"The {rows:,} logged trajectories are worth only {effective:.0f} for this policy "
            f"({effective / rows:.2%}): it decides too differently from what was logged."
        )
    elif abs(mean - 1) > MEAN_WEIGHT_TOLERANCE:
        refused = (
            f"The mean weight is {mean:.2f} where it should be 1: the policy favours decisions that were hardly ever "
            "logged, or the logged probabilities are wrong."
        )
    return WeightDiagnostics(
        rows, effective, effective / rows, mean, error, float(weights.max(initial=0.0)), unsupported, refused
    )


def verdict(difference: Interval | None, diagnostics: WeightDiagnostics | None) -> str:
    """The verdict on a policy against another.

    Returns:
        `not identifiable` where the policy puts most of its probability where nothing was logged, `cannot tell` where
        the estimate is refused or its difference's interval holds 0, else `better` or `worse`.
    """
    if diagnostics is not None and diagnostics.unsupported > 0.5:
        return "not identifiable"
    if difference is None or (diagnostics is not None and diagnostics.refused):
        return "cannot tell"
    if difference.low > 0:
        return "better"
    if difference.high < 0:
        return "worse"
    return "cannot tell"


def safe_blend(
    policy: Contributions, incumbent: Contributions, weights: np.ndarray, customer: np.ndarray, draws: int, seed: int
) -> float:
    """Largest share a of customers' decisions that a roll-out can safely give to the policy.

    The estimators here are linear in the policy, so a blend (1 - a) incumbent + a policy gains a times what the
    policy gains, with weights 1 - a + a w: the lower bound (95 %, one-sided) clears zero for every a or for none,
    and a only decides whether the estimate is refused.

    Args:
        policy, incumbent: contributions on one log.
        weights: the policy's. Shape [n].
        customer: of each row. Shape [n].
        draws, seed: of the bootstrap.
    Returns:
        a in tenths, 0 where none is safe.
    """
    both = bootstrap({"policy": policy, "incumbent": incumbent}, customer, draws, seed=seed)
    if not both.lower_bound("policy", "incumbent") > 0:
        return 0.0
    safe = [a / 10 for a in range(1, 11) if not diagnose_weights(1 - a / 10 + a / 10 * weights).refused]
    return max(safe, default=0.0)
