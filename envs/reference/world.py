"""A reference world with its tables, ready to be stepped."""

from __future__ import annotations

import pandas as pd
from torch import Tensor

from campaigns.clock import SlotClock
from campaigns.observation import make_calendar
from envs.reference import market
from envs.reference.market import NOISE_COLUMNS, TruthState
from envs.reference.people import ZONES, make_people
from envs.reference.variants import Variant
from envs.world import Outcome

START = "2025-03-03"
"""A Monday; the stretch that follows crosses a change to daylight saving time in every zone."""


class ReferenceWorld:
    """N customers of a variant, at first rested.

    Args:
        variant: the world.
        customers: N.
        seed: of the people.
        slot_hours, timezone: of the grid.
        start: first day.
        days: how long the world can be stepped.
    """

    def __init__(
        self,
        variant: Variant,
        customers: int,
        seed: int,
        slot_hours: int = 4,
        timezone: str = "UTC",
        start: str = START,
        days: int = 28,
    ) -> None:
        self.variant = variant
        self.clock = SlotClock(timezone, slot_hours)
        self.people, self.users = make_people(variant, customers, seed)
        self.contents = contents_table(variant)
        self.first_slot = self.clock.slot(start)
        self.noise_columns = NOISE_COLUMNS
        self._contents = market.content_tensors(variant)
        self.calendar = make_calendar(self.clock, ZONES, self.first_slot, days * self.clock.slots_per_day + 1)

    def initial_state(self) -> TruthState:
        """Rested customers on the first slot."""
        return market.fresh_state(self.people, len(self.variant.contents), self.first_slot)

    def step(self, state: TruthState, decision: Tensor, noise: Tensor) -> tuple[TruthState, Outcome]:
        """One slot; see `envs.reference.market.step`."""
        return market.step(
            self.variant,
            self.people,
            self._contents,
            self.calendar,
            self.clock.slot_hours,
            self.first_slot,
            state,
            decision,
            noise,
        )


def contents_table(variant: Variant) -> pd.DataFrame:
    """The `contents` table of a variant."""
    return pd.DataFrame(
        {
            "content_id": [c.content_id for c in variant.contents],
            "category": [c.category for c in variant.contents],
            "price_level": [c.price for c in variant.contents],
            "discount": [c.discount for c in variant.contents],
            "text": [c.text for c in variant.contents],
            "channel": "push",
            "cost": variant.send_cost,
        }
    )
