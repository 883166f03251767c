"""By which channels the chosen policy sends, beside the incumbent: in runs whose contents go by more than one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from review import words
from review.evidence import INCUMBENT, LEAST_CUSTOMERS, Behaviour, Candidate, number, text_of


def channels_section(
    chosen: Candidate | None, does: Mapping[str, Behaviour], horizon_days: float | None
) -> list[dict[str, Any]]:
    """Rows of the table, a channel's policies below each other; empty where there is one channel.

    Args:
        chosen: whose channels are shown beside the incumbent's.
        does: what each policy does.
        horizon_days: over which figures are sums; None where it is not known.
    """
    names = [name for name in dict.fromkeys((chosen.name if chosen else INCUMBENT, INCUMBENT)) if name in does]
    weeks = None if not horizon_days else horizon_days / 7
    channels = dict.fromkeys(text_of(row.get("channel")) for name in names for row in does[name].channels)
    rows = []
    for channel in channels:
        for name in names:
            row = next((r for r in does[name].channels if text_of(r.get("channel")) == channel), {})
            rows.append(
                {
                    "channel": channel if name == names[0] else "",
                    "policy": words.policy_title(name),
                    "cells": _cells(row, weeks),
                }
            )
    return rows


def _cells(row: Mapping[str, Any], weeks: float | None) -> list[str]:
    """Customers, sends a week, cost; opens, purchases, opt-outs and value per send; a dash where nothing was sent."""
    customers, sends = number(row.get("customers")), number(row.get("sends"))
    if row.get("suppressed") is True or (customers is not None and 0 < customers < LEAST_CUSTOMERS):
        return [f"<{LEAST_CUSTOMERS}", *[words.DASH] * 6]
    if not sends:
        return [words.count(row.get("customers")), words.figure(sends, 2), *[words.DASH] * 5]
    per_send = {key: number(row.get(key)) for key in ("opens", "purchases", "opt_outs")}
    shares = {key: None if total is None else total / sends for key, total in per_send.items()}
    return [
        words.count(row.get("customers")),
        words.figure(None if weeks is None else sends / weeks, 2),
        words.figure(number(row.get("cost")), 3),
        words.percent(shares["opens"]),
        words.percent(shares["purchases"]),
        words.percent(shares["opt_outs"], 2),
        words.figure(number(row.get("value_per_send")), 2),
    ]
