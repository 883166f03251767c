"""Where a log holds nearly no alternative to what was done: what would have followed from it cannot be known."""

from __future__ import annotations

from typing import Any

import numpy as np

from campaigns.grid import DecisionGrid
from campaigns.history import ABSENT, HOLD
from campaigns.logs import CampaignLog

CERTAIN = 0.99
"""A decision that was taken with at least this probability had nearly no alternative."""

NEARLY_ALL = 0.9
"""Share of certain decisions, or of customers always treated alike, from which on a log counts as deterministic."""

FEWEST_SENDS, FEWEST_CUSTOMERS, FEWEST_DECISIONS = 4, 20, 200
"""Sends of a customer, such customers, and decisions at an hour, below which "always" means little."""


def alternatives_check(log: CampaignLog, grid: DecisionGrid) -> dict[str, Any]:
    """How much the logging policy ever varied what it did, over decisions that it was free to take.

    With logged probabilities: the shares of sends and of holds taken with probability CERTAIN or more (a logger that
    seldom sends is certain of its holds, but not of its sends). Without or with: the slots of the day in which free
    customers were never, or always, sent something, and the shares of customers (with at least FEWEST_SENDS sends) to
    whom always the same content, or always in the same slot of the day, was sent.

    Returns:
        `certain_sends`, `certain_holds` (shares, None without probabilities), `hours_without_sends`,
        `hours_without_holds` (starts of slots on the grid's clock), `same_content`, `same_hour` (shares of customers,
        None where too few), `passed`, and `warnings` that say what cannot be known. JSON-able.
    """
    free = (grid.decision != ABSENT) & grid.eligible
    sent = free & (grid.decision > HOLD)
    known = free & np.isfinite(grid.action_prob)
    certain_sends, certain_holds = (
        float((grid.action_prob[rows] >= CERTAIN).mean()) if rows.any() else None
        for rows in (known & sent, known & ~sent)
    )
    per_day = max(1, log.clock.slots_per_day)  # none where slots are longer than a day
    of_day = (grid.first_slot + np.arange(grid.slots)) % per_day
    decided = np.array([free[:, of_day == hour].sum() for hour in range(per_day)])
    sends = np.array([sent[:, of_day == hour].sum() for hour in range(per_day)])
    enough = decided >= FEWEST_DECISIONS
    clock = [f"{hour * log.clock.slot_hours:02d}:00" for hour in range(per_day)]
    never = [clock[hour] for hour in np.flatnonzero(enough & (sends == 0))] if sent.any() else []
    always = [clock[hour] for hour in np.flatnonzero(enough & (sends == decided))]
    same_content = _always_alike(np.where(sent, grid.decision, 0)) if len(log.contents) > 1 else None
    same_hour = _always_alike(np.where(sent, 1 + of_day[None, :], 0)) if per_day > 1 else None
    warnings = []
    for name, share, other in (
        ("sends", certain_sends, "a hold or another content"),
        ("holds", certain_holds, "a send"),
    ):
        if share is not None and share > 0.5:
            warnings.append(
                f"decisions.action_prob: {share:.0%} of the free {name} were taken with a probability of {CERTAIN:.0%} "
                f"or more: next to nothing else was tried there, so what {other} would have brought cannot be known "
                "from this log. Let a small share of decisions be drawn at random."
            )
    if same_content is not None and same_content >= NEARLY_ALL:
        warnings.append(
            f"decisions.content_id: {same_content:.0%} of the customers always got one and the same content: contents "
            "differ by who got them, so which content suits a customer better cannot be known from this log."
        )
    if same_hour is not None and same_hour >= NEARLY_ALL:
        warnings.append(
            f"decisions.time: {same_hour:.0%} of the customers were always sent to in the same slot of the day: how "
            "another time would have done cannot be known from this log."
        )
    if never and len(never) < per_day:
        warnings.append(
            f"decisions: nothing was ever sent in the slots from {', '.join(never)} ({log.clock.timezone}), though "
            "customers were free: what a send would bring then cannot be known from this log."
        )
    if always:
        warnings.append(
            f"decisions: everybody free was sent something in the slots from {', '.join(always)} "
            f"({log.clock.timezone}): what a hold would bring then cannot be known from this log."
        )
    if len(log.contents) == 1:
        warnings.append(
            "contents: with one content alone the effect of a content cannot be told from that of a send; what another "
            "content would bring cannot be known from this log."
        )
    deterministic = (certain_sends or 0) >= NEARLY_ALL or (same_content or 0) >= NEARLY_ALL
    return {
        "certain_sends": certain_sends,
        "certain_holds": certain_holds,
        "hours_without_sends": never,
        "hours_without_holds": always,
        "same_content": same_content,
        "same_hour": same_hour,
        "passed": not deterministic and not always,
        "warnings": warnings,
    }


def _always_alike(code: np.ndarray) -> float | None:
    """Share of customers, of those with FEWEST_SENDS, whose codes other than 0 are all the same; `code` [N, T]."""
    several = (code > 0).sum(axis=1) >= FEWEST_SENDS
    if several.sum() < FEWEST_CUSTOMERS:
        return None
    chosen = code[several]
    highest = chosen.max(axis=1)
    lowest = np.where(chosen > 0, chosen, np.iinfo(chosen.dtype).max).min(axis=1)
    return float((highest == lowest).mean())
