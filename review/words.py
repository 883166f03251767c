"""Sentences and numbers of the report: plain, and no stronger than what was measured.

The word "lift" is kept for offline estimates from logs whose assignment was randomised and logged; what a simulated
market says is "predicted in a simulated market".
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from agents.panel import PANEL
from review.evidence import INCUMBENT, Behaviour, Candidate, Offline, Range, dig, number, text_of

MINUS, DASH, NO_BREAK = "\u2212", "\u2013", "\u00a0"
UNKNOWN = "not evaluated"
NAMES = {
    INCUMBENT: "incumbent",
    "never": "never send",
    "always": "always send",
    "random": "send at random",
    **{name: agent.label for name, agent in PANEL.items()},
}
THINGS = frozenset({INCUMBENT, *PANEL})
"""Policies whose names are nouns; the others' say what they do."""
UNITS = {
    "value": "per customer",
    "revenue": "revenue per customer",
    "visited": "visits per customer",
    "purchased": "purchases per customer",
    "clicked": "clicks per customer",
    "opened": "opens per customer",
}
PLACES = {
    "market": "where it learned",
    "judged": "judging market",
    "truth": "the truth",
    "offline": "from the log alone",
}
HEADS = {
    "purchased": "Purchase",
    "visited": "Visit",
    "unsubscribed": "Opt-out",
    "opened": "Open, if sent",
    "clicked": "Click, if opened",
}
GUARDRAILS = {
    "quiet_hours": "Quiet hours",
    "max_per_day": "Daily cap",
    "max_per_week": "Weekly cap",
    "spacing": "Time between two sends",
    "spacing_hours": "Time between two sends",
    "content_spacing": "Time between two sends of one content",
    "content_spacing_hours": "Time between two sends of one content",
    "content_max_per_week": "Weekly cap of one content",
    "content_max_per_month": "Monthly cap of one content",
    "content_limits": "No content left by its own limits",
    "cap_day": "Daily cap",
    "cap_week": "Weekly cap",
    "cap_channel": "Weekly cap of every channel left",
    "holdout": "Holdout customers",
    "consent": "No consent, or opted out",
    "no_consent": "No consent",
    "opted_out": "Opted out",
    "not_eligible": "Not eligible",
    "support": "The log is too thin there",
}
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
FEW_EVENTS = 20
"""Events below which nothing is said of how well an outcome is predicted."""
UNLIKE = 1.25
"""How many times the sends of one segment are those of another from which on a policy is said to treat them unlike."""
ALIKE = 1.05
"""The factor within which contents are said to be sent equally often."""
GAP_LIMIT = 0.10
"""The largest exploitation gap that passes without a word of caution (the project's budget)."""


# Numbers


def figure(value: float | None, digits: int = 2, signed: bool = False) -> str:
    """A number with a true minus sign, or that there is none."""
    if value is None:
        return UNKNOWN
    text = f"{value:{'+' if signed else ''},.{digits}f}"
    if not float(text.replace(",", "")):
        text = f"{0:.{digits}f}"  # neither +0.00 nor -0.00
    return text.replace("-", MINUS)


def span(worth: Range, digits: int, signed: bool = False) -> str:
    """The interval of a figure, or that none was given."""
    if worth.low is None or worth.high is None:
        return "no interval"
    return f"{figure(worth.low, digits, signed)} to {figure(worth.high, digits, signed)}"


def interval(worth: Range | None, digits: int = 2, signed: bool = False) -> str:
    """A figure with its interval in brackets."""
    return UNKNOWN if worth is None else f"{figure(worth.value, digits, signed)} ({span(worth, digits, signed)})"


def percent(share: float | None, digits: int = 0) -> str:
    """A share as a percentage; small ones keep a decimal."""
    if share is None:
        return UNKNOWN
    finer = max(digits, 1 if 0 < abs(share) < 0.0995 else 0)
    return f"{figure(100 * share, finer)}{NO_BREAK}%"


def count(value: object) -> str:
    """A whole number with thousands separated."""
    found = number(value)
    return UNKNOWN if found is None else f"{found:,.0f}"


def digits_for(ranges: list[Range]) -> int:
    """Decimals that show two significant digits of the typical interval, so that no figure looks surer than it is."""
    widths = [(r.high - r.low) / 2 for r in ranges if r.low is not None and r.high is not None and r.high > r.low]
    sizes = sorted(widths) or [abs(r.value) / 10 for r in ranges if r.value]
    if not sizes:
        return 2
    return min(max(1 - math.floor(math.log10(sizes[len(sizes) // 2])), 0), 6)


def per_thousand(gain: Range) -> Range:
    """The same gain for a thousand customers."""
    low, high = gain.low, gain.high
    return Range(1000 * gain.value, None if low is None else 1000 * low, None if high is None else 1000 * high)


# Names


def policy_name(name: str) -> str:
    """A policy's name as a strategist would say it."""
    return NAMES.get(name, name)


def policy_title(name: str) -> str:
    """The same where it stands alone; names that the log gave keep their letters."""
    known = NAMES.get(name)
    return name if known is None else known[0].upper() + known[1:]


def the_policy(name: str) -> str:
    """The same inside a sentence; names that the log gave stand as they are."""
    if name in THINGS:
        return f"the {policy_name(name)}"
    return f"the rule \u201c{NAMES[name]}\u201d" if name in NAMES else name


def sentence(text: str) -> str:
    """With a capital letter and a full stop, percentages as `percent` writes them."""
    text = re.sub(r"(?<=\d)%", f"{NO_BREAK}%", text.strip())
    if not text:
        return ""
    return text[0].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def guardrail_name(name: str) -> str:
    """A guardrail's name as a strategist would say it."""
    return GUARDRAILS.get(name, name.replace("_", " ").capitalize())


def unit(summary: Mapping[str, Any]) -> str:
    """What figures of worth count. Value and revenue are in the log's own currency."""
    outcome = text_of(dig(summary, "objective", "outcome")) or "value"
    return UNITS.get(outcome, f"{outcome} per customer")


def horizon(summary: Mapping[str, Any], one_shot: bool) -> str:
    """Over which time figures of worth are summed."""
    days = number(summary.get("horizon_days"))
    if one_shot:
        return "for one decision each"
    return "over the horizon" if days is None else f"over {days:g} day{'' if days == 1 else 's'}"


def rule(settings: object) -> str:
    """What the best rule says, from its settings."""
    cap = number(dig(settings, "cap"))
    daypart, content = text_of(dig(settings, "daypart")), text_of(dig(settings, "content"))
    if cap is None:
        return ""
    time = "at any time of day" if daypart in {"any", ""} else f"in the {daypart}"
    return ", ".join(part for part in (f"at most {cap:g} a week", time, content_choice(content)) if part)


def content_choice(content: str) -> str:
    """Which content a rule or plan sends, from its setting: a content's id, or how one is chosen."""
    return {"favourite": "each customer's favourite", "rotate": "contents in turn"}.get(content, content)


# Verdicts


def interval_words(gain: Range, digits: int) -> str:
    """A gain with its interval, said in full."""
    if gain.low is None or gain.high is None:
        return f"{figure(gain.value, digits, signed=True)} (no interval)"
    return f"{figure(gain.value, digits, signed=True)} (95 % interval {span(gain, digits, signed=True)})"


def leaning(gain: Range | None) -> str:
    """Whether a difference is surely above zero, surely below, or neither."""
    if gain is None or gain.low is None or gain.high is None:
        return ""
    return "better" if gain.low > 0 else "worse" if gain.high < 0 else "cannot tell"


def offline_words(candidate: Candidate) -> str:
    """What the log alone says of a policy, or why it says nothing."""
    if candidate.offline is None:
        return f"{UNKNOWN}{_because(candidate)}"
    return candidate.offline.verdict or UNKNOWN


def offline_scope(offline: Offline) -> str:
    """How much of the horizon an offline estimate covers."""
    if offline.slots is None:
        return ""
    if offline.whole:
        return "over the whole horizon"
    return "one decision" if offline.slots == 1 else f"the first {offline.slots} decisions"


def _because(candidate: Candidate) -> str:
    return f": {candidate.offline_reason.rstrip('.')}" if candidate.offline_reason else ""


# What it does


def behaviour(name: str, does: Behaviour, before: Behaviour | None = None) -> str:
    """How often, when and what a policy sends, in one sentence; beside how often `before` does."""
    if does.sends_per_week is None:
        return ""
    if does.sends_per_week == 0:
        return sentence(f"{policy_name(name)}: nothing is sent")
    parts = [f"sends {figure(does.sends_per_week, 1)} times per customer and week"]
    if before is not None and before.sends_per_week is not None:
        parts[0] += f" ({figure(before.sends_per_week, 1)} so far)"
    if does.heatmap is not None and does.heatmap.sum() > 0:
        hours = does.heatmap.sum(axis=0)
        busiest = int(hours.argmax())
        parts.append(f"most between {_hours(does.hours[busiest])} ({percent(float(hours[busiest]))} of sends)")
    if most := most_sent(does):
        parts.append(f"and {most}")
    return sentence(f"{the_policy(name)} {', '.join(parts)}")


def most_sent(does: Behaviour) -> str:
    """The content that a policy sends most, or how many it sends alike."""
    best = max(does.contents, key=lambda content: does.contents[content], default="")
    most = does.contents.get(best, 0.0)
    if most <= 0:
        return ""
    alike = sum(share * ALIKE >= most for share in does.contents.values())
    if most >= 0.995:
        return f"{best} alone"
    if alike > 1:
        return f"{alike} contents about equally often ({percent(most)} each)"
    return f"{best} more than anything else ({percent(most)})"


def whom(does: Behaviour) -> str:
    """Between which customers a policy differs most, by the column that tells most."""
    first = text_of(does.segments[0].get("segment")) if does.segments else ""
    column, sign, _ = first.partition(" = ")
    rates = {
        text_of(row["segment"]).partition(" = ")[2]: rate
        for row in does.segments
        if sign
        and text_of(row.get("segment")).startswith(f"{column} = ")
        and (rate := number(row.get("sends_per_week"))) is not None
    }
    if len(rates) < 2:
        return ""
    most, least = max(rates, key=lambda level: rates[level]), min(rates, key=lambda level: rates[level])
    many, few = (
        f"{column} {most} ({figure(rates[most], 1)} sends a week)",
        f"{column} {least} ({figure(rates[least], 1)})",
    )
    if rates[most] > UNLIKE * rates[least]:
        return f"Most to {many}, least to {few}."
    return f"Much the same to all: between {many} and {few}."


def held(does: Behaviour) -> str:
    """Which guardrails most often leave nothing to send."""
    order = sorted(does.held_because.items(), key=lambda item: -item[1])[:2]
    if not order:
        return ""
    named = " and ".join(f"{guardrail_name(rule).lower()} ({percent(share)} of decisions)" for rule, share in order)
    return f"Most often held back by {named}."


def _hours(label: str) -> str:
    low, dash, high = label.partition("-")
    return f"{low}:00 and {high}:00" if dash and low.isdigit() and high.isdigit() else label


def guardrail_settings(settings: object) -> list[tuple[str, str]]:
    """The guardrails in force, as (name, setting); rules that are switched off are left out."""
    if not isinstance(settings, Mapping):
        return []
    rows: list[tuple[str, str]] = []
    quiet = number(settings.get("quiet_from")), number(settings.get("quiet_until"))
    if quiet[0] is not None and quiet[1] is not None and quiet[0] != quiet[1]:
        rows.append((GUARDRAILS["quiet_hours"], f"{quiet[0]:02.0f}:00 to {quiet[1]:02.0f}:00, customer's own clock"))
    for key, say in (
        ("max_per_day", "{:g} a day"),
        ("max_per_week", "{:g} a week"),
        ("spacing_hours", "{:g} hours"),
        ("content_spacing_hours", "{:g} hours"),
        ("content_max_per_week", "{:g} a week"),
        ("content_max_per_month", "{:g} in 28 days"),
    ):
        limit = number(settings.get(key))
        if limit:
            rows.append((guardrail_name(key), say.format(limit)))
    by_channel = settings.get("channel_max_per_week")
    for channel, cap in by_channel.items() if isinstance(by_channel, Mapping) else ():
        limit = number(cap)
        if limit:
            rows.append((f"Weekly cap of {channel}", f"{limit:g} a week"))
    holdout = number(settings.get("holdout"))
    if holdout:
        rows.append((GUARDRAILS["holdout"], f"{percent(holdout)} are never sent anything, to measure the programme"))
    rows.append((GUARDRAILS["consent"], "always binds"))
    return rows


# The network


def head_name(name: str) -> str:
    """An outcome's name."""
    return HEADS.get(name, name.replace("_", " ").capitalize())


def head_words(head: Mapping[str, Any]) -> str:
    """What a head's figures mean: how well it ranks, and whether its probabilities can be taken at their word."""
    auc, slope = number(head.get("auc")), number(head.get("calibration_slope"))
    rows, rate = number(head.get("rows")), number(head.get("base_rate"))
    if rows is not None and rate is not None and rows * rate < FEW_EVENTS:
        return f"happened fewer than {FEW_EVENTS} times, too seldom to tell"
    loss, constant = number(head.get("log_loss")), number(head.get("log_loss_constant"))
    parts = []
    if loss is not None and constant is not None and loss >= constant:
        parts.append("no better than its mean rate")
    if auc is not None:
        parts.append(
            "ranks no better than chance" if auc < 0.53
            else "ranks weakly" if auc < 0.6
            else "ranks usefully" if auc < 0.75
            else "ranks well"
        )  # fmt: skip
    if slope is not None:
        parts.append(
            "differences between customers overstated" if slope < 0.8
            else "differences between customers understated" if slope > 1.25
            else "well calibrated"
        )  # fmt: skip
    return "; ".join(parts) or UNKNOWN


# What was assumed


def assumptions(summary: Mapping[str, Any], sequential: bool, family: str) -> list[tuple[str, str]]:
    """What was logged, identified, fitted and assumed, as (label, sentence); `family` is the model's, with article."""
    data = summary.get("data") if isinstance(summary.get("data"), Mapping) else {}
    items = [("fitted", f"How customers respond (open, click, visit, buy, opt out): {family}, from the log.")]
    if sequential:
        items.append(("fitted", "What was done so far (the incumbent): a model of the logged decisions."))
    action_prob, randomised, holds = (dig(data, key) for key in ("action_prob", "randomised", "holds"))
    if action_prob == "logged":
        items.append(("logged", "The probability with which each past decision was taken."))
    elif action_prob == "fitted":
        items.append(("fitted", "The probabilities of past decisions, as they were not logged."))
        items.append(("assumed", "That these fitted probabilities are right."))
    if randomised is True:
        items.append(("identified", "The effect of a send, wherever the log gave it a chance of being sent."))
    elif randomised is False:
        items.append(("assumed", "That nothing unseen drove both what was sent and what came of it."))
    if holds == "implied":
        items.append(("assumed", "That slots without a row were decisions not to send."))
    elif holds == "absent":
        items.append(("not identified", "When and how often to send: only sends were logged, not the times without."))
    items.append(("assumed", "That customers will respond as they did in the log; season and trend stay as they were."))
    if sequential:
        items.append(("assumed", "That what the features show of a customer's past is all of it that matters."))
    terminal = dig(summary, "objective", "terminal")
    if sequential and terminal == "zero":
        items.append(("assumed", "That nothing after the horizon counts."))
    elif sequential and terminal == "continue":
        items.append(("assumed", "That what follows the horizon goes on as the market predicts."))
    return items
