"""Limits of an objective, a budget or an opt-out ceiling: how much of one a policy uses, and whether it keeps to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from campaigns.objective import Objective, Prices
from evaluation.intervals import Interval, mean_interval

BUDGET, OPTOUT_CEILING = "budget", "optout_ceiling"
TOLERANCE = 0.02
"""Share of a limit by which a policy may be above it and is still said to keep to it."""

KEPT, BROKEN, UNSURE = "kept", "broken", "cannot tell"


@dataclass(frozen=True)
class Limit:
    """One limit.

    Attributes:
        name: `budget` or `optout_ceiling`, as under `objective`.
        most: what may be used a customer over the horizon: currency, or a share of customers.
    """

    name: str
    most: float

    @property
    def figure(self) -> str:
        """The field of `evaluation.rollout.Rollout` that says what was used."""
        return "spent" if self.name == BUDGET else "lost"

    def price(self, value: float) -> Prices:
        """`value` as the price of what is limited."""
        return Prices(money=value) if self.name == BUDGET else Prices(optout=value)


@dataclass(frozen=True)
class Use:
    """How much of a limit a policy uses.

    Attributes:
        used: mean a customer, with its interval, in the limit's unit.
        verdict: KEPT or BROKEN where the whole interval lies below or above the limit and its tolerance, or
            UNSURE.
        share: used over what may be used; None for a limit of 0.
    """

    used: Interval
    verdict: str
    share: float | None

    def to_dict(self) -> dict[str, object]:
        """JSON-able form."""
        return {**self.used.to_dict(), "share_of_limit": self.share, "verdict": self.verdict}


def limits_of(objective: Objective) -> tuple[Limit, ...]:
    """The limits that an objective sets."""
    named = ((BUDGET, objective.budget), (OPTOUT_CEILING, objective.optout_ceiling))
    return tuple(Limit(name, most) for name, most in named if most is not None)


def use_of(limit: Limit, figures: Mapping[str, np.ndarray], rows: slice = slice(None)) -> Use:
    """What a policy uses of a limit.

    Args:
        limit: the limit.
        figures: fields of a rollout, one number a customer.
        rows: customers that count.
    """
    used = mean_interval(figures[limit.figure][rows].astype(np.float64))
    most = limit.most * (1.0 + TOLERANCE)
    verdict = KEPT if used.high <= most else BROKEN if used.low > most else UNSURE
    return Use(used, verdict, used.value / limit.most if limit.most else None)
