"""Weekly plans beside decisions slot by slot: what a plan that people can read costs, and what it says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agents.panel import AGENT, PANEL
from review import words
from review.comparison import worth_cell
from review.evidence import INCUMBENT, PLACES, Behaviour, Candidate, Evidence, Range, mappings, number, text_of

Section = dict[str, Any]
PLANS = "weekly plans"


def plans_section(
    evidence: Evidence, candidates: list[Candidate], does: Mapping[str, Behaviour], digits: int
) -> Section:
    """The table of both kinds of agents, and the plans of the best judged agent of plans; empty without such agents."""
    planners = [c for c in candidates if _decides(c) == PLANS and c.worth]
    if not planners:
        return {"rows": [], "segments": []}
    best = max(planners, key=lambda c: c.gain["judged"].value if "judged" in c.gain else float("-inf"))
    shown = [c for c in candidates if c.worth and (c.kind == AGENT or c.name in (INCUMBENT, "best_rule"))]
    places = [place for place in PLACES if any(place in c.worth for c in shown)]
    over = [place for place in ("judged", "truth") if any(place in c.over_slots for c in planners)]
    behaviour = does.get(best.name)
    return {
        "rows": [_row(c, places, over, digits) for c in sorted(shown, key=_judged)],
        "places": [words.PLACES[place] for place in places],
        "over": [words.PLACES[place] for place in over],
        "costs": [_cost(c, digits) for c in planners if "judged" in c.over_slots],
        "policy": words.the_policy(best.name),
        "segments": [] if behaviour is None else _segments(behaviour.plans),
        "unit": words.unit(evidence.part("summary")),
    }


def _decides(candidate: Candidate) -> str:
    agent = PANEL.get(candidate.name)
    return PLANS if agent is not None and agent.plans else "slot by slot"


def _judged(candidate: Candidate) -> float:
    return -candidate.worth["judged"].value if "judged" in candidate.worth else 0.0


def _row(candidate: Candidate, places: list[str], over: list[str], digits: int) -> Section:
    return {
        "name": words.policy_title(candidate.name),
        "decides": _decides(candidate),
        "plans": _decides(candidate) == PLANS,
        "worth": [worth_cell(candidate.worth.get(place), digits) | {"key": place == "judged"} for place in places],
        "sends": words.figure(candidate.sends.get("judged"), 1),
        "opt_outs": words.percent(candidate.opt_outs.get("judged")),
        "over": [worth_cell(candidate.over_slots.get(place), digits, signed=True) for place in over],
    }


def _cost(candidate: Candidate, digits: int) -> str:
    """One sentence on what the readable plan costs, in the judging market and in the truth."""
    slots = words.the_policy(candidate.slot_agent)
    parts = [_told(candidate.over_slots["judged"], digits) + " in the judging market"]
    if "truth" in candidate.over_slots:
        parts.append(_told(candidate.over_slots["truth"], digits) + " in the truth")
    return words.sentence(f"Against {slots}, {words.the_policy(candidate.name)} {', and '.join(parts)}")


def _told(over: Range, digits: int) -> str:
    """What a difference to slot decisions says: less, more, or neither for sure."""
    leaning = words.leaning(over)
    span = words.span(over, digits, signed=True)
    amount = words.figure(abs(over.value), digits)
    if leaning == "worse":
        return f"earns {amount} less ({span})"
    if leaning == "better":
        return f"earns {amount} more ({span})"
    return f"earns neither surely more nor less ({words.figure(over.value, digits, signed=True)}, {span})"


def _segments(plans: list[dict[str, Any]]) -> list[Section]:
    """Rows of the table of plans; the column's name stands in the first row of its groups alone."""
    rows, before = [], ""
    for row in plans:
        column, _, level = text_of(row.get("segment")).partition(" = ")
        rows.append(
            {
                "column": column if column != before else "",
                "level": level,
                "customers": words.count(row.get("customers")),
                "sends": words.figure(number(row.get("sends")), 1),
                "plans": [plan for entry in mappings(row.get("plans")) if (plan := _plan(entry))],
            }
        )
        before = column
    return rows


def _plan(entry: Mapping[str, Any]) -> tuple[str, str, str, str] | None:
    """How often, when, what, and in which share of the segment's weeks."""
    frequency, share = number(entry.get("frequency")), number(entry.get("share"))
    if frequency is None or share is None:
        return None
    if not frequency:
        return "nothing", words.DASH, words.DASH, words.percent(share)
    daypart = text_of(entry.get("daypart"))
    when = "any time of day" if daypart == "any" else daypart
    return f"{frequency:g} a week", when, words.content_choice(text_of(entry.get("content"))), words.percent(share)
