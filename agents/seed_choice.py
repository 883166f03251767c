"""Which of several agents that learned side by side is kept: the one that earns most in the market where they learned.

All act for the same customers with the same noise, so that their differences are paired. No world in which policies are
judged is looked at; the winner's own figure is the luckiest of several, and no claim about it is made here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from campaigns.objective import Objective
from envs.world import World
from evaluation.intervals import Interval, mean_interval
from evaluation.limits import Limit, limits_of
from evaluation.rollout import Rollout, rollout
from policies.chooser import Chooser

CUSTOMERS = 4096
"""On whom each is tried, where the market has as many."""

NOISE = 52
"""Tells the noise of this choice from all other."""


@dataclass(frozen=True)
class SeedChoice:
    """What each seed earns.

    Attributes:
        seeds: S, by which they learned.
        earned: a customer over the horizon, in the objective's unit; of each. Where the objective has limits, what is
            used beyond them is taken off at its price, since the served policy will be restrained to them.
        behind: how much less than the chosen one, paired; of each.
        chosen: place of the one that earns most, 0..S-1.
        customers: on whom they were tried.
    """

    seeds: tuple[int, ...]
    earned: tuple[Interval, ...]
    behind: tuple[Interval, ...]
    chosen: int
    customers: int

    def told(self) -> str:
        """One line for the log of a run."""
        each = ", ".join(f"{one.value:.4g} [{one.low:.4g}, {one.high:.4g}]" for one in self.earned)
        return f"{len(self.seeds)} seeds earn {each} in the market where they learned; number {self.chosen + 1} is kept"

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        rows = zip(self.seeds, self.earned, self.behind, strict=True)
        return {
            "customers": self.customers,
            "chosen": self.chosen + 1,
            "seeds": [
                {"number": number, "seed": seed, "market": earned.to_dict(), "behind_chosen": behind.to_dict()}
                for number, (seed, earned, behind) in enumerate(rows, start=1)
            ],
        }


def choose_seed(
    choosers: Sequence[Chooser],
    seeds: Sequence[int],
    market: World[Any],
    objective: Objective,
    seed: int,
    prices: Sequence[float] = (),
) -> SeedChoice:
    """Tries every seed's policy in a market.

    Args:
        choosers: what they learned; decisions are drawn, without exploration.
        seeds: by which they learned.
        market: where.
        objective: what counts.
        seed: of the noise.
        prices: of a unit of each limit of the objective.
    """
    customers = min(len(market.pool), CUSTOMERS)
    values = [
        _worth(rollout(market, _Tried(chooser), objective, customers, seed + NOISE), limits_of(objective), prices)
        for chooser in choosers
    ]
    chosen = int(np.argmax([value.mean() for value in values]))
    return SeedChoice(
        tuple(seeds),
        tuple(mean_interval(value) for value in values),
        tuple(mean_interval(values[chosen] - value) for value in values),
        chosen,
        customers,
    )


def _worth(played: Rollout, limits: Sequence[Limit], prices: Sequence[float]) -> np.ndarray:
    """Value less what is used beyond the limits, by customer. Shape [N], float64."""
    worth: np.ndarray = played.value.astype(np.float64)
    for limit, price in zip(limits, prices, strict=False):
        used = getattr(played, limit.figure).astype(np.float64)
        if used.mean() > limit.most:
            worth = worth - price * (used - limit.most)
    return worth


class _Tried:
    """A chooser as it is asked in a rollout."""

    def __init__(self, chooser: Chooser) -> None:
        self.probabilities_of = chooser.probabilities
