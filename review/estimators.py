"""Every estimator beside the one whose word counts, and how value is spread over customers: for who wants to look."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from review import words
from review.evidence import INCUMBENT, Range, dig, mappings, number, read_range, text_of

Section = dict[str, Any]

KINDS = ("student", "bernstein")
"""Intervals beside the bootstrap's."""


def estimators_section(entry: Mapping[str, Any], spread: object, policy: str, digits: int) -> Section:
    """Two tables, either of them empty where the log has several decisions a customer or the estimate is refused.

    Args:
        entry: what the log says of a policy (`offline` of a summary or campaign).
        spread: distributions of value by policy (`evaluation.one_shot_detail.distributions`).
        policy: a key of `spread`.
        digits: of the figures.
    """
    estimators = entry.get("estimators")
    blocks = estimators.items() if isinstance(estimators, Mapping) else ()
    rows = [
        {
            "name": name,
            "counts": name == text_of(entry.get("estimator")),
            "value": words.figure(found.value, digits),
            "intervals": [_span(found, digits), *(_ends(block, kind, found, digits) for kind in KINDS)],
        }
        for name, block in blocks
        if (found := read_range(block)) is not None
    ]
    several = any(isinstance(dig(block, kind), Mapping) for _, block in blocks for kind in KINDS)
    return {"rows": rows if several else [], "spread": _spread(spread, policy, digits)}


def _span(found: Range, digits: int) -> str:
    return words.span(found, digits) if found.low is not None and found.high is not None else words.DASH


def _ends(block: object, kind: str, found: Range, digits: int) -> str:
    low, high = number(dig(block, kind, "low")), number(dig(block, kind, "high"))
    return words.DASH if low is None or high is None else words.span(Range(found.value, low, high), digits)


def _spread(spread: object, policy: str, digits: int) -> list[Section]:
    """A row a quantile and a tail: of the policy, and of what was done."""
    rows = []
    for key, label in (("worst", "mean of the {} who bring least"), ("quantiles", "{} of customers bring at most")):
        done = {number(point.get("share")): read_range(point) for point in mappings(dig(spread, INCUMBENT, key))}
        for point in mappings(dig(spread, policy, key)):
            share = number(point.get("share"))
            if share is None or _all_alike(read_range(point), done.get(share)):
                continue
            rows.append(
                {
                    "label": label.format(words.percent(share)),
                    "cells": [_cell(found, digits) for found in (read_range(point), done.get(share))],
                }
            )
    return rows


def _all_alike(mine: Range | None, done: Range | None) -> bool:
    """Whether both bring the same for sure, as nothing where few buy: not worth a row."""
    return mine is not None and mine == done and mine.low == mine.high


def _cell(found: Range | None, digits: int) -> Section:
    value = words.DASH if found is None else words.figure(found.value, digits)
    known = found is not None and found.low is not None and found.high is not None
    return {"value": value, "span": words.span(found, digits) if found and known else "", "leaning": "", "key": False}
