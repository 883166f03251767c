"""What the log knows: limits on frequency and repetition beyond which nothing was ever tried.

A learned market extrapolates there, and an agent would go where the extrapolation is kindest. The limits are
guardrails like any other, so that training, markets and serving mask by the same function.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from campaigns.audience import Catalogue, Population
from campaigns.clock import SlotClock
from campaigns.grid import DecisionGrid
from campaigns.guardrails import NO_GUARDRAILS, Guardrails
from campaigns.history import HOLD, NEVER, RECENT, REPEATS, SEND, repeats_within, sends_within
from campaigns.replay import replay


def fit_support(
    grid: DecisionGrid, population: Population, catalogue: Catalogue, clock: SlotClock, quantile: float = 0.999
) -> Guardrails:
    """Limits within which the log's own sends lie.

    Args:
        grid, population, catalogue, clock: of one log.
        quantile: share of the log's sends that each limit admits.
    Returns:
        Guardrails named `support` without quiet hours and holdout: caps at the `quantile` of what customers had
        received, of anything and of the same content, up to and including a send; spacing at the 1 - `quantile`
        of the hours since their last send. Of a content's sends no more than REPEATS are remembered: where the log
        supports more there is no cap (ADR 9).
    """
    day, week, month = clock.slots_in(1), clock.slots_in(7), clock.slots_in(28)
    in_day, in_week, since_send, week_of_content, month_of_content = [], [], [], [], []
    for step in replay(grid, population, catalogue, clock):
        rows = torch.nonzero((step.decision > HOLD) & (step.decision <= len(catalogue))).squeeze(1)
        if not len(rows):
            continue
        past, slot = step.observation.history.take(rows), step.observation.slot[rows]
        in_day.append(1 + sends_within(past, slot, day))
        in_week.append(1 + sends_within(past, slot, week))
        last = past.last[:, SEND]
        since_send.append((slot - last)[last != NEVER])
        content = (step.decision[rows] - 1).unsqueeze(1)
        week_of_content.append(1 + repeats_within(past, slot, week).gather(1, content).squeeze(1))
        month_of_content.append(1 + repeats_within(past, slot, month).gather(1, content).squeeze(1))
    if not in_day:
        return replace(NO_GUARDRAILS, name="support")

    def limit(parts: list[torch.Tensor], share: float) -> float:
        values = torch.cat(parts).double().numpy()
        return float(np.quantile(values, share, method="nearest")) if len(values) else 0.0

    def remembered(sends: float) -> int:
        return int(sends) if sends <= REPEATS else 0

    return Guardrails(
        name="support",
        quiet_from=0,
        quiet_until=0,
        max_per_day=min(RECENT, int(limit(in_day, quantile))),
        max_per_week=min(RECENT, int(limit(in_week, quantile))),
        spacing_hours=limit(since_send, 1 - quantile) * clock.slot_hours,
        content_spacing_hours=0.0,
        content_max_per_week=remembered(limit(week_of_content, quantile)),
        content_max_per_month=remembered(limit(month_of_content, quantile)),
        holdout=0.0,
    )


def narrowed(guardrails: Guardrails, support: Guardrails) -> Guardrails:
    """The guardrails and the limits of support together: the stricter of each rule."""

    def cap(a: int, b: int) -> int:
        return min(a, b) if a and b else a or b

    return replace(
        guardrails,
        max_per_day=cap(guardrails.max_per_day, support.max_per_day),
        max_per_week=cap(guardrails.max_per_week, support.max_per_week),
        spacing_hours=max(guardrails.spacing_hours, support.spacing_hours),
        content_spacing_hours=max(guardrails.content_spacing_hours, support.content_spacing_hours),
        content_max_per_week=cap(guardrails.content_max_per_week, support.content_max_per_week),
        content_max_per_month=cap(guardrails.content_max_per_month, support.content_max_per_month),
    )
