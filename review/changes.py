"""What changed since the earlier run: what came of the policy that served, what is proposed now, and for whom."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from campaigns.clock import DAYPARTS
from review import words
from review.evidence import (
    INCUMBENT,
    LEAST_CUSTOMERS,
    Behaviour,
    Candidate,
    Evidence,
    Range,
    dig,
    mappings,
    number,
    read_range,
    text_of,
)

Section = dict[str, Any]
Shares = tuple[str, float | None, float | None]
"""Of what, the share before, and after; None where too few customers stand behind it."""
LITTLE = 0.005
"""A share that moves by less than this is not named among what changed most."""


def changes_section(
    evidence: Evidence, chosen: Candidate | None, does: Mapping[str, Behaviour], digits: int
) -> Section:
    """The section; `there` is False for a run that goes on from none."""
    served, changes = evidence.part("served"), evidence.part("changes")
    if not served and not changes:
        return {"there": False}
    keeps = changes.get("keeps") is True
    return {
        "there": True,
        "why_not": "" if changes else evidence.missing.get("changes", "the run ended before a policy was proposed"),
        "no_promise": "" if served else evidence.missing.get("served", ""),
        "sentences": [
            s for s in (_evidence(changes), _kept(served, digits), _proposal(changes, chosen, does, digits)) if s
        ],
        "checks": _checks(evidence, served),
        "promise": _promise(served, digits),
        "keeps": keeps,
        "moves": [] if keeps or chosen is None else _moves(does.get(INCUMBENT), does.get(chosen.name)),
        "segments": [] if keeps else _segments(changes, digits),
    }


def _evidence(changes: Mapping[str, Any]) -> str:
    """From which days the evidence is."""
    parts = []
    for name, label in (("earlier", "the earlier run's log"), ("new", "what came back since")):
        part = dig(changes, "joined", name)
        if isinstance(part, Mapping) and number(part.get("decisions")):
            parts.append(
                f"{label} ({text_of(part.get('first_day'))} to {text_of(part.get('last_day'))}, "
                f"{words.count(part.get('customers'))} customers, {words.count(part.get('decisions'))} decisions)"
            )
    return words.sentence(f"learned from {' and '.join(parts)}") if parts else ""


def _kept(served: Mapping[str, Any], digits: int) -> str:
    """Whether the policy that served kept its promise."""
    if not served:
        return ""
    found = served.get("delivered")
    name = words.the_policy(text_of(dig(served, "policy", "name")))
    if not isinstance(found, Mapping):
        return words.sentence(f"promised and delivered are not compared: {text_of(served.get('why_not'))}")
    promised, delivered = read_range(found.get("promised")), read_range(found.get("delivered"))
    difference = read_range(found.get("difference"))
    if promised is None or delivered is None or difference is None:
        return ""
    verdict = text_of(found.get("verdict"))
    said = {
        "as promised": "what it delivered cannot be told from what was promised",
        "less than promised": "it delivered less than was promised",
        "more than promised": "it delivered more than was promised",
    }.get(verdict, "whether it kept its promise cannot be told")
    return (
        f"{name[0].upper() + name[1:]} served, and {said}: {words.figure(delivered.value, digits)} a customer over "
        f"{number(found.get('days')):g} days where {words.figure(promised.value, digits)} were promised"
        f", a difference of {words.interval_words(difference, digits)}."
    )


def _proposal(changes: Mapping[str, Any], chosen: Candidate | None, does: Mapping[str, Behaviour], digits: int) -> str:
    if not changes:
        return ""
    if changes.get("keeps") is True:
        return "Nothing is changed: no other policy earned more in the judging market than the one that serves."
    gain = read_range(changes.get("difference"))
    worth = "" if gain is None else f"; predicted to be worth {words.interval_words(gain, digits)} a customer more"
    before, after = (
        part.sends_per_week if part is not None else None
        for part in (does.get(INCUMBENT), does.get(chosen.name) if chosen else None)
    )
    rate = "" if before is None or after is None else (
        f" It sends {words.figure(after, 1)} times a week, the one that serves {words.figure(before, 1)} times."
    )  # fmt: skip
    name = words.the_policy(chosen.name if chosen else text_of(changes.get("proposed")))
    return words.sentence(
        f"{name} is proposed instead: {words.percent(number(changes.get('changed')))} of decisions in the new log "
        f"would come out otherwise than by the policy that serves{worth}"
    ) + rate  # fmt: skip


def _checks(evidence: Evidence, served: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Facts for a short table: the log's origin, and the market gate then and now."""
    rows = []
    sends = number(dig(served, "match", "sends"))
    if sends:
        share = words.percent(number(dig(served, "match", "agreeing")))
        rows.append(
            ("Logged probabilities are those of the policy that served", f"{share} of {sends:,.0f} sends asked")
        )
    gates = text_of(served.get("gate")), text_of(evidence.part("gate").get("verdict"))
    if all(gates):
        rows.append(("Market gate in the earlier run, and now", f"{gates[0]}, {gates[1]}"))
    return rows


def _promise(served: Mapping[str, Any], digits: int) -> list[Section]:
    found = served.get("delivered")
    if not isinstance(found, Mapping):
        return []
    labels = {
        "promised": "Promised, in the judging market of the earlier run",
        "delivered": "Delivered, by the log itself",
        "difference": "Difference",
    }
    rows = []
    for key, label in labels.items():
        worth = read_range(found.get(key))
        if worth is not None:
            signed = key == "difference"
            rows.append(
                {
                    "label": label,
                    "value": words.figure(worth.value, digits, signed),
                    "span": words.span(worth, digits, signed),
                    "leaning": words.leaning(worth).replace(" ", "-") if signed else "",
                }
            )
    return rows


def _moves(before: Behaviour | None, after: Behaviour | None) -> list[tuple[str, list[Section]]]:
    """Tables of what is sent, when and how often: shares before and after, in the judging market."""
    if before is None or after is None:
        return []
    contents = dict.fromkeys([*before.contents, *after.contents])
    what: list[Shares] = [(name, before.contents.get(name, 0.0), after.contents.get(name, 0.0)) for name in contents]
    what.sort(key=lambda row: -abs((row[2] or 0.0) - (row[1] or 0.0)))
    often: list[Shares] = [(label, share, after.frequency.get(label)) for label, share in before.frequency.items()]
    tables: dict[str, list[Shares]] = {
        "content, share of sends": what,
        "time of day, share of sends": _dayparts(before, after),
        "sends a week, share of customers": often,
    }
    found = []
    for title, rows in tables.items():
        shown = [
            _moved(name, one, other)
            for name, one, other in rows
            if one is not None and other is not None and max(one, other) >= LITTLE
        ]
        if shown:
            found.append((title, shown))
    return found


def _dayparts(before: Behaviour, after: Behaviour) -> list[Shares]:
    """Shares of sends by daypart, where the heat maps' hours divide a day evenly."""
    if before.heatmap is None or after.heatmap is None or before.hours != after.hours or len(before.hours) % 4:
        return []
    one, other = (part.sum(axis=0).reshape(len(DAYPARTS), -1).sum(axis=1) for part in (before.heatmap, after.heatmap))
    return [(name, float(b), float(a)) for name, b, a in zip(DAYPARTS, one, other, strict=True)]


def _moved(name: str, before: float, after: float) -> Section:
    change = after - before
    points = words.figure(100 * change, 1, signed=True)
    return {
        "name": name,
        "before": words.percent(before),
        "after": words.percent(after),
        "change": words.DASH if abs(change) < LITTLE else f"{points} points",
    }


def _segments(changes: Mapping[str, Any], digits: int) -> list[Section]:
    rows, before = [], ""
    for row in mappings(changes.get("segments")):
        if (number(row.get("customers")) or 0) < LEAST_CUSTOMERS:
            continue
        column, _, level = text_of(row.get("segment")).partition(" = ")
        gain: Range | None = read_range(row.get("difference"))
        rows.append(
            {
                "column": column if column != before else "",
                "level": level,
                "customers": words.count(row.get("customers")),
                "changed": words.percent(number(row.get("changed"))),
                "before": words.figure(number(row.get("sends_before")), 1),
                "after": words.figure(number(row.get("sends_after")), 1),
                "gain": words.DASH if gain is None else words.figure(gain.value, digits, signed=True),
                "span": "" if gain is None else words.span(gain, digits, signed=True),
                "leaning": words.leaning(gain).replace(" ", "-"),
            }
        )
        before = column
    return rows
