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
    objective = summary.get("objective")
    objective = objective if isinstance(objective, Mapping) else {}
    told = [_one_limit(objective, name, mine, before) for name in NAMES]
    return " ".join(part for part in told if part)


def _one_limit(objective: Mapping[str, Any], name: str, mine: Mapping[str, Any], before: Mapping[str, Any]) -> str:
    most = number(objective.get(name))
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
    parts += _surely(mine, name, number(objective.get("optout_confidence")))
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


def _surely(policy: Mapping[str, Any], name: str, confidence: float | None) -> list[str]:
    """What the market in which the policy learned expects, and the bound that restraint kept within the limit."""
    found = _restraint(policy, name)
    expected, surely = number(found.get("after")), number(found.get("surely"))
    if confidence is None or expected is None or surely is None or surely <= expected:
        return []
    return [
        f"The market it learned in expects {_shown(name, expected)}; by what the log's opt-outs can tell it is "
        f"{_shown(name, surely)} at most, with {words.percent(confidence)} confidence."
    ]


def _shown(name: str, value: float | None) -> str:
    return words.percent(value) if name == OPTOUT_CEILING else words.figure(value, 3)


def _price(policy: Mapping[str, Any], name: str) -> float | None:
    """What one more unit earns; None where nothing had to be given up for the limit."""
    found = _restraint(policy, name)
    return number(found.get("price")) if number(found.get("strength")) else None


def _restraint(policy: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """What it took the policy to keep to one limit; empty where that is not said."""
    return next((found for found in mappings(policy.get("restraints")) if found.get("limit") == name), {})
