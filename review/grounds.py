"""What a verdict rests on: the network, the market, the data, and how to make it all again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from review import charts, model_charts, words
from review.evidence import (
    LEAST_CUSTOMERS,
    Evidence,
    Range,
    dig,
    mappings,
    number,
    shortened,
    text_of,
)

SHOWN_CONTENTS, SHOWN_CHECKS = 12, 30
Section = dict[str, Any]


def network_section(evidence: Evidence) -> Section:
    """The propensity network: reliability, metrics of every head, and value by content."""
    metrics = evidence.part("metrics")
    content = metrics.get("heads")
    heads = {str(k): v for k, v in content.items() if isinstance(v, Mapping)} if isinstance(content, Mapping) else {}
    if not heads:
        return {"why_not": evidence.missing.get("metrics", "propensity/metrics.json lists no outcomes")}
    reliable = {words.head_name(name): bins for name, head in heads.items() if (bins := _bins(head.get("reliability")))}
    value = metrics.get("value")
    values = [
        (text_of(row.get("content")), (predicted, Range(observed, number(row.get("low")), number(row.get("high")))))
        for row in sorted(mappings(dig(value, "by_content")), key=lambda row: -(number(row.get("count")) or 0))
        if (predicted := number(row.get("predicted"))) is not None
        and (observed := number(row.get("observed"))) is not None
        and (number(row.get("customers")) or 0) >= LEAST_CUSTOMERS
    ][: SHOWN_CONTENTS + 1]
    return {
        "why_not": "",
        "reliability": [Markup(figure) for figure in charts.reliability(reliable)],
        "heads": [_head(name, head) for name, head in heads.items()],
        "by_content": Markup(model_charts.content_values(dict(values))) if values else None,
        "value": [
            (label, words.figure(number(dig(value, key)), 2))
            for key, label in (("mean_predicted", "predicted mean"), ("mean_observed", "observed mean"),
                               ("rmse", "root mean squared error"))
            if number(dig(value, key)) is not None
        ],
    }  # fmt: skip


def _bins(reliability: object) -> list[dict[str, float]]:
    keys = ("predicted", "observed", "low", "high")
    return [
        {key: float(row[key]) for key in keys}
        for row in mappings(reliability)
        if all(number(row.get(key)) is not None for key in keys) and (number(row.get("count")) or 0) >= LEAST_CUSTOMERS
    ]


def _head(name: str, head: Mapping[str, Any]) -> Section:
    log_loss, constant = number(head.get("log_loss")), number(head.get("log_loss_constant"))
    better = None if log_loss is None or not constant else 1 - log_loss / constant

    def say(key: str, digits: int) -> str:
        value = number(head.get(key))
        return words.DASH if value is None else words.figure(value, digits)

    base, blind = number(head.get("base_rate")), number(head.get("accuracy_constant"))
    return {
        "name": words.head_name(name),
        "words": words.head_words(head),
        "cells": [
            words.count(head.get("rows")) if number(head.get("rows")) is not None else words.DASH,
            words.DASH if base is None else words.percent(base, 2 if base < 0.01 else 1),
            say("auc", 3),
            say("pr_auc", 3),
            say("log_loss", 4),
            words.DASH if better is None else words.percent(better, 1),
            say("brier", 4),
            say("calibration_slope", 2),
            say("ece", 4),
        ],
        "decided": [
            say("threshold", 3),
            say("accuracy", 3),
            words.DASH if blind is None else words.figure(blind, 3),
            say("precision", 2),
            say("recall", 2),
            say("f1", 2),
        ],
    }


def again_section(evidence: Evidence) -> Section:
    """The command, hashes and versions that make the run again."""
    manifest = evidence.part("manifest")
    overrides = evidence.overrides
    command = manifest.get("command")
    if isinstance(command, list):
        command = shlex.join(shortened(map(str, command)))
    elif isinstance(command, str):
        command = " ".join(shortened(command.split()))
    elif overrides is not None:
        command = " ".join(["python scripts/run.py", *map(shlex.quote, overrides)])
    versions = manifest.get("versions")
    return {
        "why_not": "" if manifest else evidence.missing.get("manifest", "manifest.json is empty"),
        "command": command or "",
        "stages": [(text_of(s.get("name")), text_of(s.get("key"))) for s in mappings(manifest.get("stages"))],
        "hashes": [(label, text_of(manifest[key])) for key, label in
                   (("config", "settings"), ("code", "code"), ("data", "data")) if text_of(manifest.get(key))],
        "versions": [f"{k} {text_of(v)}" for k, v in versions.items()] if isinstance(versions, Mapping) else [],
    }  # fmt: skip
