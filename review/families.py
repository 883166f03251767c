"""The families of models: those of which the markets are made, and all beside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from review import words
from review.evidence import LEAST_CUSTOMERS, Evidence, Range, dig, number, read_range, text_of

Section = dict[str, Any]
WITH_ARTICLE = {
    "network": "a network",
    "logistic": "a logistic regression",
    "gbdt": "gradient boosting (LightGBM)",
}
NAMES = {
    "constant": "base rates",
    "linear": "linear regression",
    "logistic": "logistic regression",
    "gbdt": "gradient boosting (LightGBM)",
    "network": "network",
}


def family_used(evidence: Evidence) -> str:
    """The family of models that this run's responses come from, with its article."""
    return WITH_ARTICLE.get(text_of(evidence.part("families").get("market")), "a model")


def families_used(evidence: Evidence) -> str:
    """The same, with the judging market's family where that is another."""
    judging = text_of(dig(evidence.part("summary"), "market", "families", "judging"))
    if judging not in WITH_ARTICLE or judging == text_of(evidence.part("families").get("market")):
        return family_used(evidence)
    return f"{family_used(evidence)}, in the judging market {WITH_ARTICLE[judging]}"


def families_section(evidence: Evidence) -> Section:
    """Rows of the table of families, one a family and outcome, and which family the market uses and why."""
    content = evidence.part("families")
    market, heads = text_of(content.get("market")), content.get("heads")
    rows: list[Section] = []
    for outcome, head in heads.items() if isinstance(heads, Mapping) else ():
        families = dig(head, "families")
        if not isinstance(families, Mapping) or (number(dig(head, "customers")) or 0) < LEAST_CUSTOMERS:
            continue
        for place, (family, entry) in enumerate(families.items()):
            rows.append(
                {
                    "outcome": words.head_name(str(outcome)) if not place else "",
                    "family": _name(str(family)),
                    "market": family == market,
                    "cells": _cells(entry, number(dig(families, market, "log_loss"))),
                }
            )
    if not rows:
        return {"why_not": evidence.missing.get("families", "propensity/families.json lists no outcomes")}
    return {"why_not": "", "rows": rows, "note": words.sentence(text_of(content.get("note")))}


def worlds_words(summary: Mapping[str, Any]) -> str:
    """Of which families of models the markets are made; empty where the run does not say."""
    training, judging = (text_of(dig(summary, "market", "families", place)) for place in ("training", "judging"))
    if not training or not judging:
        return ""
    in_truth = (
        " Agents learned in the truth itself (market=reference): of them, the market where policies learned says"
        " nothing."
        if dig(summary, "market", "learned_in") == "reference"
        else ""
    )
    if training == judging:
        return f"Both markets are made of models of one family ({_name(training)}).{in_truth}"
    return (
        f"The two markets are made of models of different families: {_name(training)} where policies learned, "
        f"{_name(judging)} where they are judged, so that faults of one family alone come to light.{in_truth}"
    )


def _name(family: str) -> str:
    return NAMES.get(family, family)


def _cells(entry: object, of_market: float | None) -> list[str]:
    """Log loss, its gain over base rates, AUC, slope, and log loss against the market's family, as a share of that."""
    gain, auc, slope = (number(dig(entry, key)) for key in ("gain", "auc", "calibration_slope"))
    difference = read_range(dig(entry, "difference"))
    return [
        words.figure(number(dig(entry, "log_loss")), 4),
        words.DASH if gain is None else words.percent(gain, 1),
        words.DASH if auc is None else words.figure(auc, 3),
        words.DASH if slope is None else words.figure(slope, 2),
        words.DASH if difference is None or not of_market or not difference.value else _share(difference, of_market),
    ]


def _share(difference: Range, whole: float) -> str:
    low, high = (None if end is None else end / whole for end in (difference.low, difference.high))
    said = words.percent(difference.value / whole, 1)
    return said if low is None or high is None else f"{said} ({words.percent(low, 1)} to {words.percent(high, 1)})"
