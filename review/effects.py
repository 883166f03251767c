"""Sections on what the network says of sending, and of segments, beside what the log shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from review import model_charts, words
from review.evidence import LEAST_CUSTOMERS, Evidence, Range, dig, mappings, number, read_range, text_of

Section = dict[str, Any]
SHOWN_SEGMENTS, SHOWN_CONTENTS = 26, 12
EFFECTS = {"purchased": "Purchase", "visited": "Visit", "unsubscribed": "Opt-out", "value": "Value"}
POINTS, CURRENCY = "percentage points", "currency"


def effects_section(evidence: Evidence) -> Section:
    """Predicted effects of sending against those that the log's own chance shows."""
    effects = dig(evidence.part("metrics"), "effects")
    note = text_of(dig(effects, "note"))
    outcomes = {
        name: block
        for name in _in_order(evidence)
        if isinstance(block := dig(effects, "outcomes", name), Mapping)
        and read_range(block.get("observed")) is not None
        and number(block.get("predicted")) is not None
    }
    if not outcomes:
        missing = evidence.missing.get("metrics", "")
        return {"why_not": note or missing or "the run did not judge effects of sending"}
    first = next(iter(outcomes))
    return {
        "why_not": "",
        "customers": words.count(dig(effects, "customers")),
        "sentences": _sentences(first, outcomes[first]),
        "charts": [chart for place, (name, block) in enumerate(outcomes.items()) if place < 2
                   for chart in _charts(name, block)],
        "rows": [_row(name, block) for name, block in outcomes.items()],
        "contents": _contents(first, outcomes[first]),
    }  # fmt: skip


def segments_section(evidence: Evidence) -> list[Section]:
    """Observed over expected events by segment, a part a head: those that are off first."""
    heads = evidence.part("metrics").get("heads")
    parts = []
    for place, (name, head) in enumerate(heads.items() if isinstance(heads, Mapping) else ()):
        rows = []
        for row in mappings(dig(head, "segments")):
            ratio = read_range({"value": row.get("ratio"), "low": row.get("low"), "high": row.get("high")})
            if ratio is None or ratio.value < 0 or (number(row.get("customers")) or 0) < LEAST_CUSTOMERS:
                continue
            rows.append((text_of(row.get("segment")), ratio, row.get("off") is True, row))
        if not rows:
            continue
        off = [row for row in rows if row[2]]
        shown = rows if len(rows) <= SHOWN_SEGMENTS else (off + [row for row in rows if not row[2]])[:SHOWN_SEGMENTS]
        outcome = words.head_name(str(name))
        parts.append(
            {
                "name": outcome,
                "off": len(off),
                "count": len(rows),
                "chart": Markup(
                    model_charts.segment_ratios([(n, r, o) for n, r, o, _ in shown], outcome, f"segment{place}")
                ),
                "rows": [
                    {
                        "name": segment,
                        "customers": words.count(row.get("customers")),
                        "observed": words.figure(number(row.get("observed")), 0),
                        "expected": words.figure(number(row.get("expected")), 1),
                        "ratio": words.interval(ratio, 2),
                        "off": is_off,
                    }
                    for segment, ratio, is_off, row in rows
                ],
            }
        )
    return parts


def effect_agrees(evidence: Evidence) -> tuple[bool | None, str]:
    """Whether the effect on the objective's outcome is predicted within what the log shows, in words; None: unknown."""
    effects = dig(evidence.part("metrics"), "effects")
    for name in _in_order(evidence):
        block = dig(effects, "outcomes", name)
        observed, predicted = read_range(dig(block, "observed")), number(dig(block, "predicted"))
        if observed is None or predicted is None or observed.low is None or observed.high is None:
            continue
        slope = read_range(dig(block, "slope"))
        level = observed.low <= predicted <= observed.high
        leaning = _slope_words(slope)
        said = f"{EFFECTS[name]}: predicted {_shown(name, predicted)}, observed {_interval(name, observed)}"
        return level and leaning not in OFF_SLOPES, f"{said}; {leaning}"
    return None, text_of(dig(effects, "note"))


OFF_SLOPES = ("differences between decisions are overstated", "differences between decisions are understated")


def _slope_words(slope: Range | None) -> str:
    if slope is None or slope.low is None or slope.high is None:
        return "its differences between decisions cannot be judged"
    if slope.low > 1:
        return OFF_SLOPES[1]
    if slope.high < 1:
        return OFF_SLOPES[0]
    if slope.low <= 0:
        return "whether it differs between decisions as predicted, the log is too small to tell"
    return "its differences between decisions are as predicted, as far as the log can tell"


def _in_order(evidence: Evidence) -> list[str]:
    """Outcomes with an effect, the objective's first."""
    wanted = text_of(dig(evidence.part("summary"), "objective", "outcome"))
    return sorted(EFFECTS, key=lambda name: name != wanted)


def _scale(name: str) -> tuple[float, str]:
    return (1.0, CURRENCY) if name == "value" else (100.0, POINTS)


def _digits(name: str, *ranges: Range | None) -> int:
    scale, _ = _scale(name)
    scaled = [Range(scale * r.value, scale * r.low, scale * r.high)
              for r in ranges if r is not None and r.low is not None and r.high is not None]  # fmt: skip
    return words.digits_for(scaled)


def _interval(name: str, effect: Range | None) -> str:
    if effect is None:
        return words.DASH
    scale, unit = _scale(name)
    low, high = (None if end is None else scale * end for end in (effect.low, effect.high))
    text = words.interval(Range(scale * effect.value, low, high), _digits(name, effect), signed=True)
    return text + (" points" if unit == POINTS else "")


def _shown(name: str, effect: float | None) -> str:
    if effect is None:
        return words.DASH
    scale, unit = _scale(name)
    text = words.figure(scale * effect, 2 if abs(scale * effect) >= 0.095 else 3, signed=True)
    return text + (" points" if unit == POINTS else "")


def _sentences(name: str, block: Mapping[str, Any]) -> list[str]:
    observed, slope, qini = (read_range(block.get(key)) for key in ("observed", "slope", "qini"))
    inside = observed is not None and observed.low is not None and observed.high is not None and (
        observed.low <= (number(block.get("predicted")) or 0.0) <= observed.high
    )  # fmt: skip
    sentences = [
        f"{EFFECTS[name]}: sending changes it by {_interval(name, observed)} a decision as observed, by "
        f"{_shown(name, number(block.get('predicted')))} as predicted: "
        + ("the prediction lies within the interval." if inside else "the prediction lies OUTSIDE the interval.")
    ]
    sentences.append(words.sentence(_slope_words(slope)))
    leaning = None if qini is None else words.leaning(qini)
    if leaning == "better":
        sentences.append("Whom to send to first is predicted better than by chance (Qini above 0).")
    elif leaning == "worse":
        sentences.append("Its order of whom to send to first is WORSE than chance (Qini below 0).")
    elif qini is not None:
        sentences.append("Its order of whom to send to first cannot be told from a blind one (Qini may be 0).")
    return sentences


def _charts(name: str, block: Mapping[str, Any]) -> list[Markup]:
    scale, unit = _scale(name)
    charts = []
    bins = [
        (predicted, observed)
        for row in mappings(block.get("deciles"))
        if (number(row.get("customers")) or 0) >= LEAST_CUSTOMERS
        and (predicted := number(row.get("predicted"))) is not None
        and (observed := _point(row, "observed")) is not None
    ]
    if len(bins) > 1:
        charts.append(Markup(model_charts.effect_deciles(EFFECTS[name], bins, scale, unit, f"deciles-{name}")))
    curve = sorted(
        (
            (share, gain)
            for row in mappings(block.get("curve"))
            if (share := number(row.get("share"))) is not None
            and 0 <= share <= 1
            and (gain := _point(row, "gain")) is not None
        ),
        key=lambda point: point[0],
    )
    if len(curve) > 2:
        charts.append(Markup(model_charts.qini_curve(EFFECTS[name], curve, scale, unit, f"qini-{name}")))
    return charts


def _point(row: Mapping[str, Any], key: str) -> Range | None:
    return read_range({"value": row.get(key), "low": row.get("low"), "high": row.get("high")})


def _row(name: str, block: Mapping[str, Any]) -> Section:
    scale, unit = _scale(name)
    blind = read_range(block.get("auuc_of_chance"))
    return {
        "name": EFFECTS[name],
        "unit": unit,
        "cells": [
            (_shown(name, number(block.get("predicted"))).removesuffix(" points"), ""),
            _cell(read_range(block.get("observed")), scale),
            _cell(read_range(block.get("slope")), 1.0, signed=False),
            _cell(read_range(block.get("qini")), scale),
            _cell(read_range(block.get("auuc")), scale),
            (words.DASH if blind is None else _shown(name, blind.value).removesuffix(" points"), ""),
        ],
    }


def _cell(figure: Range | None, scale: float, signed: bool = True) -> tuple[str, str]:
    """A figure and its interval, in as many decimals as the interval bears."""
    if figure is None:
        return words.DASH, ""
    low, high = (None if end is None else scale * end for end in (figure.low, figure.high))
    scaled = Range(scale * figure.value, low, high)
    digits = words.digits_for([scaled])
    return words.figure(scaled.value, digits, signed), words.span(scaled, digits, signed)


def _contents(name: str, block: Mapping[str, Any]) -> Markup | None:
    rows = {
        text_of(row.get("content")): (predicted, observed)
        for row in mappings(block.get("contents"))
        if (number(row.get("customers")) or 0) >= LEAST_CUSTOMERS
        and (predicted := number(row.get("predicted"))) is not None
        and (observed := read_range(row.get("observed"))) is not None
    }
    shown = dict(list(rows.items())[:SHOWN_CONTENTS])
    scale, unit = _scale(name)
    return Markup(model_charts.content_effects(shown, scale, unit, "contents")) if shown else None
