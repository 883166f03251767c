"""Who the customers are: segments as cards, the columns that answers hang on, and a few anonymous examples."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from review import charts, words
from review.evidence import LEAST_CUSTOMERS, Evidence, Range, dig, mappings, number, read_range, text_of, texts

SHOWN_COLUMNS = 12
NOUNS = {"purchased": ("Purchases", "buy"), "visited": ("Visits", "visit")}
UNLIKE = 1.15
"""How many times everyone's figure a segment's is, or less than its reciprocal, from which on its title says so."""
Section = dict[str, Any]


def profiles_section(evidence: Evidence) -> Section:
    """The segments and the attributions, each with why it is missing where it is."""
    return {"segments": _segments(evidence), "columns": _columns(evidence), "examples": _examples(evidence)}


def _segments(evidence: Evidence) -> Section:
    profiles = evidence.part("profiles")
    rows = [row for row in mappings(profiles.get("segments")) if (number(row.get("customers")) or 0) >= LEAST_CUSTOMERS]
    if not rows:
        return {"why_not": evidence.missing.get("profiles", "no segment of customers was large enough to be shown")}
    everyone = profiles.get("everyone")
    outcome = text_of(profiles.get("outcome"))
    noun, verb = NOUNS.get(outcome, ("Outcomes", "respond"))
    weekly = text_of(profiles.get("per")) != "customer"
    observed = profiles.get("effect_observed") is True
    kind = "observed" if observed else "predicted"
    effects = [effect for row in rows if (effect := _points(row, kind)) is not None]
    digits = min(max(words.digits_for(effects), 1), 2)
    cards = [_card(row, everyone, (noun, verb), weekly, digits, place) for place, row in enumerate(rows)]
    marks = {
        card["name"]: {
            place: effect for place, kind in (("offline", "observed"), ("judged", "predicted"))
            if (effect := _points(row, kind)) is not None
        }
        for card, row in zip(cards, rows, strict=True)
    }  # fmt: skip
    marks = {name: found for name, found in marks.items() if found}
    return {
        "why_not": "",
        "fitted_on": words.count(profiles.get("fitted_on")),
        "judged_on": words.count(profiles.get("judged_on")),
        "fidelity": words.percent(number(profiles.get("fidelity"))),
        "fidelity_constant": words.percent(number(profiles.get("fidelity_constant"))),
        "notes": texts(profiles.get("notes")),
        "one": len(rows) == 1,
        "cards": cards,
        "observed": observed,
        "noun": noun.lower(),
        "verb": verb,
        "off": any(figure["off"] for card in cards for figure in card["figures"]),
        "chart": Markup(charts.segment_effects(marks, verb)) if marks and len(rows) > 1 else None,
        "suppressed": int(number(profiles.get("suppressed")) or 0),
    }


def _card(
    row: Mapping[str, Any], everyone: object, said: tuple[str, str], weekly: bool, digits: int, place: int
) -> Section:
    noun, verb = said
    rate = f"{noun} per customer and week" if weekly else f"Customers who {verb}"
    figures = [
        _figure(rate, row, "outcome_rate", None if weekly else 100.0),
        _figure("Opt-outs per send", row, "opt_out_rate", 100.0),
        _effect(row, digits),
    ]
    best = [
        f"{text_of(entry.get('content'))} ({words.figure(100 * effect, digits, signed=True)})"
        for entry in mappings(row.get("contents"))
        if (effect := number(entry.get("effect"))) is not None
    ]
    return {
        "name": f"Segment {chr(65 + place)}",
        "title": _title(row, everyone, verb),
        "rules": [rule.replace(">=", "\u2265") for rule in text_of(row.get("rule")).split(", or ")],
        "share": words.percent(number(row.get("share"))),
        "customers": words.count(row.get("customers")),
        "figures": [figure for figure in figures if figure is not None],
        "best": best[:2],
        "worst": best[-1] if len(best) > 2 else "",
    }


def _figure(title: str, row: Mapping[str, Any], key: str, times: float | None) -> Section | None:
    """One figure of a card, observed and predicted; in percent where `times` is 100."""
    found = {kind: read_range(dig(row, key, kind)) for kind in ("observed", "predicted")}
    first = found["observed"] or found["predicted"]
    if first is None:
        return None
    digits = min(max(words.digits_for([_scaled(first, times or 1.0)]), 1), 2)
    unit = f"{words.NO_BREAK}%" if times else ""
    said = {
        kind: "" if figure is None else words.figure(figure.value * (times or 1.0), digits) + unit
        for kind, figure in found.items()
    }
    span = words.span(_scaled(found["observed"], times or 1.0), digits) if found["observed"] else ""
    return {"title": title, "observed": said["observed"], "span": span, "predicted": said["predicted"],
            "off": _is_off(found["observed"], found["predicted"])}  # fmt: skip


def _effect(row: Mapping[str, Any], digits: int) -> Section | None:
    observed, predicted = _points(row, "observed"), _points(row, "predicted")
    if observed is None and predicted is None:
        return None
    return {
        "title": "Effect of a send, points",
        "observed": "" if observed is None else words.figure(observed.value, digits, signed=True),
        "span": "" if observed is None else words.span(observed, digits, signed=True),
        "predicted": "" if predicted is None else words.figure(predicted.value, digits, signed=True),
        "off": _is_off(observed, predicted),
    }


def _is_off(observed: Range | None, predicted: Range | None) -> bool:
    """Whether a prediction lies outside the interval of what was observed."""
    if observed is None or predicted is None or observed.low is None or observed.high is None:
        return False
    return not observed.low <= predicted.value <= observed.high


def _points(row: Mapping[str, Any], kind: str) -> Range | None:
    found = read_range(dig(row, "effect", kind))
    return None if found is None else _scaled(found, 100.0)


def _scaled(figure: Range, times: float) -> Range:
    low, high = figure.low, figure.high
    return Range(times * figure.value, None if low is None else times * low, None if high is None else times * high)


def _title(row: Mapping[str, Any], everyone: object, verb: str) -> str:
    """In what the segment differs from everyone, as far as its observed interval leaves no doubt."""
    told = []
    for key, more, less in (
        ("outcome_rate", f"{verb} more", f"{verb} less"),
        ("effect", "sends do more", "sends do less"),
        ("opt_out_rate", "opt out sooner", "seldom opt out"),
    ):
        mine, all_ = read_range(dig(row, key, "observed")), read_range(dig(everyone, key, "observed"))
        if mine is None or all_ is None or mine.low is None or mine.high is None or all_.value <= 0:
            continue
        if mine.low > all_.value and mine.value > UNLIKE * all_.value:
            told.append(more)
        elif mine.high < all_.value and mine.value < all_.value / UNLIKE:
            told.append(less)
    text = ", ".join(told)
    return text[:1].upper() + text[1:] if text else "Much like the rest"


def _columns(evidence: Evidence) -> Section:
    attributions = evidence.part("attributions")
    outcome = text_of(attributions.get("outcome"))
    panels = {}
    for name, title in (
        (outcome, NOUNS.get(outcome, ("Outcomes", ""))[0]),
        ("unsubscribed", "Opt-outs"),
    ):
        block = dig(attributions, "permutation", name)
        loss = number(dig(block, "log_loss"))
        bars = [
            (text_of(entry.get("column")), 100 * drop / loss, 100 * (number(entry.get("spread")) or 0.0) / loss)
            for entry in mappings(dig(block, "columns"))
            if loss and (drop := number(entry.get("drop"))) is not None
        ]
        bars = [bar for bar in bars if bar[1] or bar[2]][:SHOWN_COLUMNS]
        if bars:
            panels[title] = bars
    if not panels:
        return {"why_not": evidence.missing.get("attributions", "the run measured no column's importance")}
    return {"why_not": "", "charts": [Markup(figure) for figure in charts.importance(panels)]}


def _examples(evidence: Evidence) -> Section:
    attributions = evidence.part("attributions")
    names = {
        number(row.get("group")): f"Segment {chr(65 + place)}"
        for place, row in enumerate(
            row for row in mappings(evidence.part("profiles").get("segments"))
            if (number(row.get("customers")) or 0) >= LEAST_CUSTOMERS
        )
    }  # fmt: skip
    verb = NOUNS.get(text_of(attributions.get("outcome")), ("", "respond"))[1]
    baseline = dig(attributions, "gradients", "baseline")
    keys = [key for key in _KEYS if number(dig(baseline, key)) is not None]
    told = [entry for example in mappings(attributions.get("examples")) for entry in mappings(example.get("columns"))]
    digits = {key: _digits([number(entry.get(key)) for entry in told]) for key in keys}
    rows: list[Section] = []
    for example in mappings(attributions.get("examples")):
        if number(example.get("group")) not in names or (number(example.get("alike")) or 0) < LEAST_CUSTOMERS:
            continue
        rows.append(
            {
                "name": names[number(example.get("group"))],
                "answers": [_answer(dig(example, "answer", key), dig(baseline, key)) for key in keys],
                "columns": [
                    {
                        "column": text_of(entry.get("column")),
                        "told": text_of(entry.get("told")),
                        "parts": [_part(entry.get(key), digits[key]) for key in keys],
                    }
                    for entry in mappings(example.get("columns"))
                ],
            }
        )
    rows.sort(key=lambda row: text_of(row["name"]))
    heads = {"outcome": f"chance to {verb} unasked", "effect": "effect of a send", "unsubscribed": "opt-out if sent"}
    return {"rows": rows, "heads": [heads[key] for key in keys]}


_KEYS = ("outcome", "effect", "unsubscribed")


def _answer(value: object, base: object) -> tuple[str, str]:
    return _percent(number(value)), _percent(number(base))


def _percent(share: float | None) -> str:
    return words.DASH if share is None else f"{100 * share:.2g}{words.NO_BREAK}%".replace("-", words.MINUS)


def _digits(shares: list[float | None]) -> int:
    """Decimals, in percentage points, that show two digits of the largest."""
    most = max((100 * abs(share) for share in shares if share is not None), default=0.0)
    return min(max(1 - math.floor(math.log10(most)), 0), 4) if most > 0 else 1


def _part(value: object, digits: int) -> str:
    share = number(value)
    return words.DASH if share is None else words.figure(100 * share, digits, signed=True)
