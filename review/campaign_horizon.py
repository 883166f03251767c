"""What the log alone says of a new campaign over all its days, as its page shows it beside the first decisions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from review import words
from review.blend_curve import blend_section, read_blends
from review.evidence import Range, dig, number, read_range, text_of

Section = dict[str, Any]


def whole_gain(answer: Mapping[str, Any]) -> Range | None:
    """Gain over what was done; None where it was not estimated."""
    return read_range(dig(answer, "whole_horizon", "offline", "difference"))


def whole_value(answer: Mapping[str, Any]) -> Range | None:
    """What it earns; None where it was not estimated."""
    return read_range(dig(answer, "whole_horizon", "offline"))


def whole_days(answer: Mapping[str, Any]) -> str:
    """How much of the campaign the estimate covers."""
    of, days = (number(dig(answer, "whole_horizon", key)) for key in ("of_days", "days"))
    return "" if of is None else covered(days, of)


def covered(days: float | None, of: float) -> str:
    """How much of a campaign's days an estimate is about; `days` is None where there is no estimate."""
    return f"all {of:g} days" if days is None or days >= of else f"{days:g} of its {of:g} days"


def whole_name(answer: Mapping[str, Any]) -> str:
    """The estimate's name in figures and tables."""
    return text_of(dig(answer, "whole_horizon", "offline", "estimator")) or "no estimate"


def whole_section(answer: Mapping[str, Any]) -> Section | None:
    """Verdict and reason, curve of blends and what they rest on; None where customers are decided on once."""
    whole = answer.get("whole_horizon")
    if not isinstance(whole, Mapping):
        return None
    days, offline = whole_days(answer), dig(whole, "offline")
    reason = text_of(dig(whole, "sentence"))
    points = read_blends(dig(offline, "blends"))
    safe = number(dig(offline, "blend")) or 0.0
    blend = blend_section(points, safe, f"gain, {days}", "the campaign", reason)
    return {
        "over": days,
        "verdict": text_of(dig(whole, "verdict")),
        "sentence": reason,
        "blend": blend,
        "diagnostics": _diagnostics(offline, text_of(dig(answer, "outcome"))) if offline else [],
    }


def _diagnostics(offline: object, outcome: str) -> list[tuple[str, str]]:
    """What a whole-horizon estimate rests on: label and figure."""
    found = {
        "customers in effect, weighted slot by slot": words.percent(
            number(dig(offline, "diagnostics", "effective_share"))
        ),
        "mean weight (should be 1)": words.figure(number(dig(offline, "diagnostics", "mean_weight")), 3),
        "rows in effect for what follows from states (FQE)": words.percent(
            number(dig(offline, "diagnostics", "fqe_support"))
        ),
        "decisions over which weights are multiplied": words.count(dig(offline, "diagnostics", "window")),
        f"least true difference that it would tell, {words.UNITS.get(outcome, outcome)}": words.figure(
            number(dig(offline, "minimum_detectable")), 2
        ),
    }
    return list(found.items())
