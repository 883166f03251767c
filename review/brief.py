"""The first screen: what to do, what it is worth, what it does, to whom, why, and whether to trust it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from review import words
from review.evidence import INCUMBENT, Behaviour, Candidate, Evidence, dig, mappings, number, text_of
from review.limits import limits_words
from review.trust import CAUTION, OK, PROBLEM, UNKNOWN, Check

NAMED_CONTENTS = 6
HOLDING = "never"
"""The rule that keeps to every limit that can be kept, and takes the place of an incumbent that may not go on."""


def headline(
    summary: Mapping[str, Any], candidates: Sequence[Candidate], chosen: Candidate | None, checks: Sequence[Check] = ()
) -> str:
    """The first line: what to do, and whether a check speaks against it."""
    if not summary:
        return "No verdict: the run is not finished, or its summary is lost"
    if chosen is None:
        return "No verdict: the run " + ("chose no policy" if candidates else "compared no policies")
    if gate_refused(summary, candidates):
        return "No verdict: the simulated market does not give back the log"
    if chosen.name == INCUMBENT:
        return "No change is recommended"
    if summary.get("recommended") is True:
        how = "Recommended, but not to be trusted yet" if _problems(checks) else "Recommended"
        return f"{how}: {words.policy_name(chosen.name)}"
    gain = chosen.gain.get("judged")
    held = chosen.name == HOLDING and gain is not None and gain.value <= 0
    looked_best = f"Not recommended: {words.policy_name(chosen.name)} looked best, but not surely enough"
    return "No policy is recommended: sending nothing is what is left" if held else looked_best


def caveat(summary: Mapping[str, Any], chosen: Candidate | None, checks: Sequence[Check]) -> str:
    """What speaks against a recommendation that the run made all the same; empty where nothing does."""
    problems = _problems(checks)
    if chosen is None or summary.get("recommended") is not True or not problems:
        return ""
    first = "The simulated market failed its gate, and market.gate=warn let the run go on. "
    found = " ".join(words.sentence(f"{check.short}: {check.text}") for check in problems)
    advice = "Settle this, or try the policy on a small randomised share of customers, before you use it."
    return f"{first if _gate_failed(summary) else ''}{found} {advice}"


def _problems(checks: Sequence[Check]) -> list[Check]:
    return [check for check in checks if check.status == PROBLEM]


def _gate_failed(summary: Mapping[str, Any]) -> bool:
    return text_of(dig(summary, "market", "gate")) == "fail"


def gate_refused(summary: Mapping[str, Any], candidates: Sequence[Candidate]) -> bool:
    """Whether the market failed its gate, so that no agent was trained in it; older summaries tell by their panel."""
    said = dig(summary, "market", "refused")
    if isinstance(said, bool):
        return said
    return _gate_failed(summary) and all(c.kind != "agent" for c in candidates)


def worth(
    summary: Mapping[str, Any], candidates: Sequence[Candidate], chosen: Candidate | None, digits: int, randomised: bool
) -> str:
    """What the chosen policy is worth against the incumbent, and where that figure comes from.

    The word lift is for estimates from a log whose decisions chance assigned, with the probabilities on record.
    """
    if chosen is None:
        return "What a policy would be worth was not evaluated."
    if gate_refused(summary, candidates):
        return "So no agent was trained in it, and what rules would earn there is not to be relied upon."
    if chosen.name == INCUMBENT:
        return "Nothing that was compared is surely worth more than going on as before."
    what, when = words.unit(summary), words.horizon(summary, not chosen.worth)
    for place, where in (("judged", "a simulated market of customers it had not met"), ("market", "its own market")):
        if place in chosen.gain:
            gain = words.interval_words(chosen.gain[place], digits)
            caution = "" if place == "judged" else " It was not judged in another market."
            failed = ", of the kind that failed its gate" if _gate_failed(summary) else ""
            return f"Predicted in {where}{failed}: {gain} {what} {when}, against the incumbent.{caution}"
    if chosen.offline is not None and chosen.offline.gain is not None:
        gain = words.interval_words(chosen.offline.gain, digits)
        slots = chosen.offline.slots
        scope = when if slots in {None, 1} or chosen.offline.whole else f"over the first {slots} decisions"
        word = "Lift over the incumbent" if randomised else "Difference to the incumbent"
        return f"{word}, estimated from the log alone: {gain} {what} {scope}."
    because = f": {chosen.offline_reason.rstrip('.')}" if chosen.offline_reason else ""
    return f"What it is worth against the incumbent was not evaluated{because}."


def lines(
    evidence: Evidence,
    chosen: Candidate | None,
    does: Mapping[str, Behaviour],
    checks: Sequence[Check],
    digits: int,
) -> list[tuple[str, str]]:
    """The questions of a strategist with their answers, a line each; what the run does not tell is left out."""
    if chosen is None:
        return []
    mine = does.get(chosen.name)
    before = does.get(INCUMBENT) if chosen.name != INCUMBENT else None
    answers = [
        ("What it does", (words.behaviour(chosen.name, mine, before) if mine else "") or _one_decision(evidence, mine)),
        ("Are limits kept?", limits_words(evidence.part("summary"), chosen.name)),
        ("To whom", _whom(evidence, mine)),
        ("Why", _why(evidence, chosen, digits)),
        ("May it be trusted?", _trusted(checks, evidence.part("summary").get("recommended") is True)),
    ]
    return [(question, answer) for question, answer in answers if answer]


def _one_decision(evidence: Evidence, does: Behaviour | None) -> str:
    """What a policy for a one-shot campaign chooses between, and what it mostly sends."""
    summary = evidence.part("summary")
    arms = [text_of(arm.get("content")) for arm in mappings(summary.get("arms")) if arm.get("content") != "hold"]
    if dig(summary, "market") is not None or not arms:
        return ""
    named = " or ".join(arms) if len(arms) <= NAMED_CONTENTS else f"one of {len(arms)} contents"
    most = words.most_sent(does) if does is not None else ""
    return f"Decides once for every customer: nothing, {named}." + (f" It sends {most}." if most else "")


def _whom(evidence: Evidence, does: Behaviour | None) -> str:
    holdout = number(dig(evidence.part("policy"), "guardrails", "holdout"))
    reach = "All customers who consent" if evidence.part("policy") else ""
    if holdout:
        reach += f", but for {words.percent(holdout)} held out to measure the programme"
    return " ".join(part for part in (words.sentence(reach), words.whom(does) if does else "") if part)


def _why(evidence: Evidence, chosen: Candidate, digits: int) -> str:
    reason = text_of(evidence.part("summary").get("reason"))
    reason = re.sub(rf"^{re.escape(chosen.name)}(?=\s)", words.the_policy(chosen.name), reason)
    for name in words.THINGS - {INCUMBENT}:
        reason = re.sub(rf"(?<=\s){name}(?=[,.])", words.the_policy(name), reason)
    if chosen.gain.get("judged"):
        reason = re.sub(r": [+-].*$", "", reason)  # the figures stand in the line above already
    over = chosen.over_rule.get("judged")
    leaning = words.leaning(over)
    same = over is not None and over.low == over.high == 0  # the rule decides as the chosen policy does
    if over is None or not leaning or same or chosen.name == INCUMBENT:
        return words.sentence(reason)
    beats = {"better": "It beats", "worse": "It loses to", "cannot tell": "It does not surely beat"}[leaning]
    return f"{words.sentence(reason)} {beats} the best simple rule there: {words.interval_words(over, digits)}."


def _trusted(checks: Sequence[Check], recommended: bool) -> str:
    found = {status: [c.short for c in checks if c.status == status] for status in (OK, CAUTION, PROBLEM, UNKNOWN)}
    total = len(checks)
    if not total:
        return ""
    if found[PROBLEM]:
        verdict = f"{'Not yet' if recommended else 'No'}. Problems: {', '.join(found[PROBLEM])}"
    elif found[CAUTION]:
        verdict = "With care"
    elif found[UNKNOWN]:
        verdict = "As far as it was checked"
    else:
        return f"Yes, as far as a log can tell: {total} of {total} checks are fine."
    rest = [f"{len(found[OK])} of {total} checks are fine"]
    if found[CAUTION]:
        rest.append(f"look at {', '.join(found[CAUTION])}")
    if found[UNKNOWN]:
        rest.append(f"not evaluated: {', '.join(found[UNKNOWN])}")
    return f"{verdict}. {words.sentence('; '.join(rest))}"


def kicker(summary: Mapping[str, Any]) -> str:
    """Which log the run learned from, in one line."""
    data = summary.get("data")
    parts = [text_of(dig(data, "source")), text_of(dig(data, "variant"))]
    for key, noun in (("customers", "customers"), ("decisions", "decisions")):
        if number(dig(data, key)) is not None:
            parts.append(f"{words.count(dig(data, key))} {noun}")
    first, last = (text_of(dig(data, key)) for key in ("first_day", "last_day"))
    if first and last:
        parts.append(first if first == last else f"{first} to {last}")
    return " · ".join(part for part in parts if part)


def cards(
    summary: Mapping[str, Any], chosen: Candidate | None, does: Mapping[str, Behaviour], digits: int, sequential: bool
) -> list[dict[str, str]]:
    """The figures that a strategist looks for first: gain, the same for 1,000 customers, sends and opt-outs."""
    if chosen is None or chosen.name == INCUMBENT:
        return []
    found = []
    gain = chosen.gain.get("judged") or chosen.gain.get("market") or (chosen.offline.gain if chosen.offline else None)
    if gain is not None:
        where = "predicted in a simulated market" if chosen.gain else "estimated from the log alone"
        if chosen.gain and _gate_failed(summary):
            where = "predicted, but the market failed its gate"
        what = words.unit(summary)
        noun = "" if what == "per customer" else f"in {what.removesuffix(' per customer')} "
        thousand = words.per_thousand(gain)
        when = words.horizon(summary, not sequential)
        found += [
            _card(f"Gain {noun}per customer", words.figure(gain.value, digits, True),
                  f"{words.span(gain, digits, True)}, {where}"),
            _card("The same for 1,000 customers", words.figure(thousand.value, 0, True),
                  f"{words.span(thousand, 0, True)}, {when}"),
        ]  # fmt: skip
    mine, base = does.get(chosen.name), does.get(INCUMBENT)
    if mine is not None:
        found += [
            _beside("Sends per customer and week", mine.sends_per_week, base.sends_per_week if base else None, 1),
            _beside("Opt out over the horizon", mine.opt_out_share, base.opt_out_share if base else None, None),
        ]
    return [card for card in found if card]


def _beside(title: str, value: float | None, before: float | None, digits: int | None) -> dict[str, str]:
    if value is None:
        return {}
    shown, then = (words.percent(v) if digits is None else words.figure(v, digits) for v in (value, before))
    return _card(title, shown, "" if before is None else f"{then} with the incumbent")


def _card(title: str, value: str, note: str) -> dict[str, str]:
    return {"title": title, "value": value, "note": note}
