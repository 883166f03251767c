"""Sentences of the report: plain, and no stronger than what was measured."""

from __future__ import annotations

from typing import Any

UNKNOWN = "not evaluated"
NAMES = {
    "incumbent": "what was done so far",
    "never": "never send",
    "random": "send at random",
    "ppo": "PPO agent",
    "linucb": "LinUCB bandit",
    "propensity_greedy": "propensity-greedy rule",
    "best_rule": "best rule",
}
OUTCOMES = {
    "value": "value",
    "revenue": "revenue",
    "visited": "visits",
    "purchased": "purchases",
    "clicked": "clicks",
    "opened": "opens",
}


def policy_name(name: str) -> str:
    """A policy's name as a strategist would say it."""
    return NAMES.get(name, name)


def figure(value: float | None, digits: int = 2) -> str:
    """A number, or that there is none."""
    return UNKNOWN if value is None else f"{value:,.{digits}f}".replace("-", "−")


def interval(worth: dict[str, Any] | None, digits: int = 2, signed: bool = False) -> str:
    """A figure with its interval."""
    if not worth or worth.get("value") is None:
        return UNKNOWN
    sign = "+" if signed else ""
    parts = [f"{worth[key]:{sign},.{digits}f}".replace("-", "−") for key in ("value", "low", "high")]
    return f"{parts[0]} ({parts[1]} to {parts[2]})"


def digits_for(values: list[float]) -> int:
    """Decimals that show about three significant digits of the largest value."""
    largest = max((abs(v) for v in values), default=1.0)
    return 2 if largest >= 1 else 4


def headline(summary: dict[str, Any]) -> str:
    """The first sentence: what to do."""
    name = policy_name(summary["chosen"])
    if summary["recommended"]:
        return f"Recommended: {name}."
    return (
        f"No change is recommended; stay with {name}."
        if summary["chosen"] == "incumbent"
        else (f"{name[0].upper()}{name[1:]} looked best, but is not recommended.")
    )


def worth_sentence(summary: dict[str, Any], digits: int) -> str:
    """What the chosen policy is worth, where that figure comes from, and how sure it is."""
    chosen = next((p for p in summary["policies"] if p["name"] == summary["chosen"]), None)
    unit = f"{OUTCOMES[summary['objective']['outcome']]} per customer"
    if chosen is None or summary["chosen"] == "incumbent":
        return ""
    if chosen["judged"]:
        gain = interval(chosen["judged"]["difference"], digits, signed=True)
        text = f"Predicted gain in a simulated market: {gain} {unit} over {summary['horizon_days']} days."
        if chosen["truth"]:
            truth = interval(chosen["truth"]["difference"], digits, signed=True)
            text += f" In the reference market's own truth, which is known here: {truth}."
        return text
    offline = chosen["offline"]
    if offline and offline["difference"]:
        word = "Lift" if summary["data"]["randomised"] else "Estimated gain"
        gain = interval(offline["difference"], digits, signed=True)
        return f"{word} over what was done, estimated from the log alone: {gain} {unit}."
    return ""


def assumptions(summary: dict[str, Any]) -> list[tuple[str, str]]:
    """What was fitted, what was logged, and what had to be assumed."""
    data = summary["data"]
    items = [
        ("fitted", "Responses (open, click, visit, purchase, value, opt-out) by a network, from the log."),
        ("fitted", "What was done so far, by a model of the logged decisions."),
    ]
    if data["action_prob"] == "logged":
        items.append(("logged", "The probabilities with which decisions were taken."))
    else:
        items.append(("assumed", "That the fitted probabilities of past decisions are right: they were not logged."))
    if data["randomised"]:
        items.append(("identified", "The effect of a send where the logging policy gave it a positive probability."))
    else:
        items.append(("assumed", "That nothing unseen drove both the decisions and their outcomes."))
    if summary["market"] is not None:
        items += [
            (
                "assumed",
                "That customers respond in the coming weeks as in the log's; season and trend stay as they were.",
            ),
            ("assumed", "That what the features show of a customer's history is what matters of it."),
        ]
    return items
