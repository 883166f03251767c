"""Whether policies keep to a budget or an opt-out ceiling, and what one more unit of it would earn, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evaluation.limits import BROKEN, BUDGET, KEPT, OPTOUT_CEILING
from review import words
from review.evidence import INCUMBENT, dig, mappings, number, text_of

NAMES = {BUDGET: "Budget", OPTOUT_CEILING: "Opt-out ceiling"}
VERDICTS = {KEPT: "it is kept", BROKEN: "it is broken"}


def limits_words(summary: Mapping[str, Any], chosen: str) -> str:
    """Some sentences for each limit of the objective; empty where it has none."""
    policies = {text_of(entry.get("name")): entry for entry in mappings(summary.get("policies"))}
    mine, before = policies.get(chosen, {}), policies.get(INCUMBENT, {})
    told = [_one_limit(number(dig(summary, "objective", name)), name, mine, before) for name in NAMES]
    return " ".join(part for part in told if part)


def _one_limit(most: float | None, name: str, mine: Mapping[str, Any], before: Mapping[str, Any]) -> str:
    use = dig(mine, "judged", "limits", name)
    used, low, high = (number(dig(use, key)) for key in ("value", "low", "high"))
    if most is None or used is None:
        return ""
    verdict = VERDICTS.get(text_of(dig(use, "verdict")), "whether it is kept cannot be told surely")
    span = "" if low is None or high is None else f" [{_shown(name, low)} to {_shown(name, high)}]"
    noun = "spent a customer" if name == BUDGET else "of the customers opt out"
    parts = [
        f"{NAMES[name]} {_shown(name, most)}: {_shown(name, used)}{span} {noun} in the judging world, so {verdict}."
    ]
    true = number(dig(mine, "truth", "limits", name, "value"))
    if true is not None:
        parts.append(f"In the truth it is {_shown(name, true)}.")
    price = _price(mine, name)
    if price is not None:
        what = "currency unit of budget" if name == BUDGET else "opt-out allowed"
        parts.append(f"One more {what} would earn about {words.figure(price, 2)} in the market it learned in.")
    past = dig(before, "judged", "limits", name)
    if mine is not before and text_of(dig(past, "verdict")) == BROKEN:
        parts.append(f"The incumbent breaks it, with {_shown(name, number(dig(past, 'value')))}.")
    return " ".join(parts)


def _shown(name: str, value: float | None) -> str:
    return words.percent(value) if name == OPTOUT_CEILING else words.figure(value, 3)


def _price(policy: Mapping[str, Any], name: str) -> float | None:
    """What one more unit earns; None where nothing had to be given up for the limit."""
    for restraint in mappings(policy.get("restraints")):
        if restraint.get("limit") == name and number(restraint.get("strength")):
            return number(restraint.get("price"))
    return None
