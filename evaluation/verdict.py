"""From estimates and diagnostics to a word and a sentence: better, worse, cannot tell, not identifiable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from evaluation.diagnostics import WeightDiagnostics, diagnose, diagnose_weights
from evaluation.estimators import Contributions
from evaluation.intervals import Interval, bootstrap

__all__ = [
    "Verdict",
    "Word",
    "decides_as_logged",
    "diagnose",
    "diagnose_weights",
    "judge",
    "largest_blend",
    "safe_blend",
    "verdict",
]

Word = Literal["better", "worse", "cannot tell", "not identifiable"]

UNSUPPORTED_TOLERANCE = 0.2
"""A policy that puts more probability on decisions never logged is not identifiable: its mean weight is at most .8."""

SAME_WEIGHT = 1e-6
"""Weights that vary by less, around 1, are a policy's that decides as was logged; what is left is rounding."""

SHARES = tuple(a / 10 for a in range(1, 11))
"""Shares of decisions that a blend may give to the new policy."""


@dataclass(frozen=True)
class Verdict:
    """What the log says of a policy against another.

    Attributes:
        word: one of the four.
        sentence: why, for people to read.
    """

    word: Word
    sentence: str


def judge(
    difference: Interval | None,
    diagnostics: WeightDiagnostics | None,
    name: str = "the policy",
    against: str = "what was done",
) -> Verdict:
    """The verdict on a policy against another, in a word and a sentence.

    Args:
        difference: paired difference of their values; None where it was not estimated.
        diagnostics: of the policy's weights; None for estimates that use none.
        name, against: as the sentence calls them.
    Returns:
        `not identifiable` where the policy puts more than a fifth of its probability where nothing was logged,
        `cannot tell` where the estimate is refused, where the policy decides as was logged, or where the difference's
        interval holds 0 (or is unknown), else `better` or `worse`.
    """
    if diagnostics is not None and diagnostics.unsupported > UNSUPPORTED_TOLERANCE:
        return Verdict(
            "not identifiable",
            f"{diagnostics.unsupported:.0%} of what {name} would decide was hardly ever or never logged; this log "
            "cannot say what it earns. Log some of these decisions at random first.",
        )
    nothing = None if diagnostics is None else _nothing_to_tell(diagnostics, name)
    if nothing:
        return Verdict("cannot tell", nothing)
    if difference is None or not np.isfinite([difference.value, difference.low, difference.high]).all():
        return Verdict("cannot tell", f"The log is too small to compare {name} with {against}.")
    found = f"{difference.level:.0%} interval of the difference {difference.low:+.4g} to {difference.high:+.4g}"
    if difference.low > 0:
        return Verdict("better", f"{name} earns {difference.value:.4g} more than {against} ({found}).")
    if difference.high < 0:
        return Verdict("worse", f"{name} earns {-difference.value:.4g} less than {against} ({found}).")
    return Verdict("cannot tell", f"The log does not tell {name} from {against} ({found}).")


def _nothing_to_tell(diagnostics: WeightDiagnostics, name: str) -> str | None:
    """Why no difference is told: the estimate is refused, or all weights are 1 but for rounding. None: it can be."""
    if diagnostics.refused:
        return diagnostics.refused
    if decides_as_logged(diagnostics):
        return f"{name} decides as the log did, so there is no difference to tell."
    return None


def decides_as_logged(diagnostics: WeightDiagnostics) -> bool:
    """Whether all weights are 1 but for rounding."""
    spread = diagnostics.mean_weight_error * diagnostics.rows**0.5
    return bool(abs(diagnostics.mean_weight - 1) < SAME_WEIGHT and spread < SAME_WEIGHT)


def verdict(difference: Interval | None, diagnostics: WeightDiagnostics | None) -> Word:
    """The word alone; see `judge`."""
    return judge(difference, diagnostics).word


def safe_blend(
    policy: Contributions, incumbent: Contributions, weights: np.ndarray, customer: np.ndarray, draws: int, seed: int
) -> float:
    """Largest share of decisions that a roll-out can safely give to a policy: (1 - a) incumbent + a policy.

    With one slot a blend's difference to the incumbent is a times the policy's (SNIPS: times a positive factor), so
    that its one-sided lower bound (95 %) clears zero for every a or for none. Nor does a small a make a refused
    estimate fit for use: gain and noise shrink alike. Where decisions of several slots are blended: `largest_blend`.

    Args:
        policy, incumbent: contributions on one log, the logging policy being the incumbent.
        weights: the policy's. Shape [n].
        customer: of each row. Shape [n].
        draws, seed: of the bootstrap.
    Returns:
        1, or 0 where no share is safe.
    """
    return largest_blend(lambda _: (policy, weights), incumbent, customer, draws, seed, shares=(1.0,))


def largest_blend(
    blend: Callable[[float], tuple[Contributions, np.ndarray]],
    incumbent: Contributions,
    customer: np.ndarray,
    draws: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    shares: tuple[float, ...] = SHARES,
) -> float:
    """Largest share a whose blend's paired difference to the incumbent has a one-sided lower bound above zero.

    Over slots the blend pi_a = (1 - a) mu + a pi has weights prod_t (1 - a + a w_t), far tamer than the policy's own.
    A blend is refused by the same rule as a policy, applied to 1 + (weight - 1) / a, its departure from the incumbent
    at full scale: for one slot that is w itself, whatever a is, so that shrinking a cannot hide a bad weight.

    Args:
        blend: for a share, the blend's contributions and its weights. Shape [n] each.
        incumbent: contributions of the logging policy, on the same rows.
        customer: of each row. Shape [n].
        draws, seed: of the bootstrap; the same draws for all shares.
        level: of the one-sided bound.
        shares: that are tried, in (0, 1].
    Returns:
        The largest safe share, 0 where there is none.
    """
    estimates = {"incumbent": incumbent}
    for share in shares:
        estimate, weights = blend(share)
        if not diagnose_weights(1 + (weights - 1) / share).refused:
            estimates[str(share)] = estimate
    if len(estimates) == 1:
        return 0.0
    result = bootstrap(estimates, customer, draws, seed=seed)
    safe = [a for a in shares if str(a) in estimates and result.lower_bound(str(a), "incumbent", level) > 0]
    return max(safe, default=0.0)
