"""From estimates and diagnostics to a word and a sentence: better, worse, cannot tell, not identifiable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from evaluation.diagnostics import WeightDiagnostics, diagnose, diagnose_weights
from evaluation.intervals import Interval

__all__ = [
    "Verdict",
    "Word",
    "decides_as_logged",
    "diagnose",
    "diagnose_weights",
    "judge",
    "verdict",
]

Word = Literal["better", "worse", "cannot tell", "not identifiable"]

UNSUPPORTED_TOLERANCE = 0.2
"""A policy that puts more probability on decisions never logged is not identifiable: its mean weight is at most .8."""

SAME_WEIGHT = 1e-6
"""Weights that vary by less, around 1, are a policy's that decides as was logged; what is left is rounding."""


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
