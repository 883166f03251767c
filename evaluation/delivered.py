"""Promised and delivered: whether a log came from the policy that it is said to come from, and what that policy earned.

A log that the policy wrote itself needs no weights: what its customers earned is the estimate of its own value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.stats import norm

from campaigns.audience import Catalogue, Population
from campaigns.clock import SlotClock
from campaigns.grid import DecisionGrid
from campaigns.guardrails import Guardrails
from campaigns.history import ABSENT, HOLD
from campaigns.objective import Objective
from campaigns.replay import replay
from evaluation.intervals import Interval, mean_interval
from evaluation.offline import logged_rewards
from policies.following import Decides, following

TOLERANCE = 1.1
"""Factor within which two probabilities of one decision agree: histories may be known a little differently."""

LEAST_AGREEING = 0.5
"""Share of the sends whose probabilities agree, below which a log is another policy's."""


@dataclass(frozen=True)
class Match:
    """Whether logged probabilities are a policy's.

    Attributes:
        sends: of the log with a known probability.
        agreeing: share of them for which the policy's is within `TOLERANCE`; NaN without any.
    """

    sends: int
    agreeing: float

    @property
    def matches(self) -> bool:
        """False where enough is known to say that another policy wrote the log."""
        return not self.sends or self.agreeing >= LEAST_AGREEING


@torch.no_grad()
def policy_match(
    grid: DecisionGrid,
    people: Population,
    catalogue: Catalogue,
    clock: SlotClock,
    policy: Decides,
    guardrails: Guardrails,
    first: int,
) -> Match:
    """Asks a policy how likely each logged send was.

    Args:
        grid, people, catalogue, clock: the log, earlier slots included, and its customers, nobody held out.
        policy, guardrails: said to have decided from column `first` on.
        first: column of the grid.
    """
    sends, agreeing = 0, 0
    asked = following(policy)
    for step in replay(grid, people, catalogue, clock, guardrails=guardrails):
        if step.column < first:
            continue
        logged = torch.from_numpy(grid.action_prob[:, step.column].astype(np.float64))
        rows = torch.nonzero((step.decision > HOLD) & (step.decision <= len(catalogue)) & logged.isfinite()).squeeze(1)
        if not len(rows) and asked is policy:  # one that carries something is asked in every slot
            continue
        chances = asked.probabilities_of(step.observation).double()
        own = chances.gather(1, step.decision.clamp(HOLD, len(catalogue)).unsqueeze(1)).squeeze(1)[rows]
        ratio = own / logged[rows]
        sends += len(rows)
        agreeing += int(((ratio < TOLERANCE) & (ratio > 1 / TOLERANCE)).sum())
    return Match(sends, agreeing / sends if sends else float("nan"))


def delivered(
    grid: DecisionGrid, catalogue: Catalogue, clock: SlotClock, objective: Objective, promised: Interval
) -> dict[str, Any]:
    """What customers earned under the policy that wrote their log, beside what was promised of it.

    Args:
        grid: what the policy wrote, from its first slot on.
        catalogue, clock: of the log.
        objective: what counts. A log shorter than its horizon is compared with that share of the promise.
        promised: value a customer over the horizon.
    Returns:
        `days` and `customers` compared; `promised`, `delivered` and `difference`, each with its interval; `verdict`.
        Customers are those who were there in the first slot, with nothing but known outcomes counted.
    """
    horizon = objective.slots(clock)
    slots = min(grid.slots, horizon)
    there = grid.decision[:, 0] != ABSENT
    earned = logged_rewards(grid, catalogue, objective, slots)
    known = (grid.decision[:, :slots] != ABSENT) & grid.labelled[:, :slots]
    found = mean_interval(np.where(known, earned, 0.0)[there].sum(axis=1))
    share = slots / horizon
    promise = Interval(promised.value * share, promised.low * share, promised.high * share)
    difference = _difference(found, promise)
    return {
        "days": slots * clock.slot_hours / 24,
        "customers": int(there.sum()),
        "promised": promise.to_dict(),
        "delivered": found.to_dict(),
        "difference": difference.to_dict(),
        "verdict": _verdict(difference),
    }


def _difference(one: Interval, other: Interval) -> Interval:
    """Of two independent figures, by their standard errors."""
    width = norm.ppf(0.975)
    errors = [(part.high - part.low) / (2 * width) for part in (one, other)]
    reach = float(width * np.hypot(*errors))
    value = one.value - other.value
    return Interval(value, value - reach, value + reach)


def _verdict(difference: Interval) -> str:
    if not np.isfinite(difference.low + difference.high):
        return "cannot tell"
    if difference.high < 0:
        return "less than promised"
    return "more than promised" if difference.low > 0 else "as promised"
