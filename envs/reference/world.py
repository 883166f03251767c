"""A reference world with its tables, ready to be stepped."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from functools import cached_property

import pandas as pd
import torch
from torch import Tensor

from campaigns.clock import SlotClock
from campaigns.errors import CampaignError
from envs.reference import market
from envs.reference.channels import CHANNELS
from envs.reference.customers import make_customers
from envs.reference.logging import draw, make_logging_policy
from envs.reference.market import NOISE_COLUMNS, Outcome, TruthState
from envs.reference.variants import Variant

START = "2025-03-03"
"""A Monday; the stretch that follows crosses a change to daylight saving time in every zone."""

WARM_DAYS = 14
"""Days that the logging policy was at work before the start, unseen by any observer."""


class ReferenceWorld:
    """N customers of a variant on the first slot of a campaign.

    The logging policy has been at work for `WARM_DAYS` before: customers start with some fatigue, wear-out and spent
    demand of which no observer knows. (Those who opted out in that time are not among the customers of the world.)
    The same variant, number and seed give the same customers, in the same state, as `simulate` does.

    Args:
        variant: the world.
        customers: N.
        seed: of the people and of what happened to them before.
        slot_hours, timezone: of the grid.
        start: first day, at midnight of `timezone`.
        days: how long the world can be stepped.
        elapsed_days: for how long trend and drift have been at work when it starts.
        device: where everything lives.

    Attributes:
        users, contents: tables in the log format; users in the order of the rows.
        first_slot: slot number of the start.
        noise_columns: uniforms that `step` takes for each customer.
        law: everything that stays as it is.
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
        device: torch.device | str = "cpu",
        elapsed_days: int = 0,
    ) -> None:
        if days < 1:
            raise CampaignError(f"data.days={days}: a reference market needs at least one day.")
        self.variant = variant
        self.seed = seed
        self.clock = SlotClock(timezone, slot_hours)
        if not self.clock.slots_per_day:
            raise CampaignError(f"data.slot_hours={slot_hours}: the reference market has slots of a day at most (24).")
        self.first_slot = self.clock.slot(start)
        self.warm_slots = WARM_DAYS * self.clock.slots_per_day
        self.noise_columns = NOISE_COLUMNS
        people = make_customers(variant, customers, seed)
        self.users = people.users
        self.contents = contents_table(variant)
        self.logger = make_logging_policy(variant, people.users, slot_hours, device)
        elapsed = elapsed_days * self.clock.slots_per_day
        after = elapsed + days * self.clock.slots_per_day + 1
        origin, before = self.first_slot - elapsed, max(0, self.warm_slots - elapsed)
        self.law = market.make_law(variant, people, self.clock, origin, before, after, device)

    def later(self, state: TruthState, recent: Tensor, rows: Tensor) -> ReferenceWorld:
        """The same world for the people at `rows` alone, begun again where it stands.

        Args:
            state: of all people.
            recent: the logging policy's own count of their recent sends. Shape [N].
            rows: who takes part. Shape [M], int64.
        """
        world = copy(self)
        world.law = replace(self.law, customers=self.law.customers.take(rows))
        world.users = self.users.iloc[rows.numpy()].reset_index(drop=True)
        world.logger = self.logger.take(rows)
        world.first_slot = int(state.slot[0])
        world.warm = state.take(rows), recent[rows]
        return world

    def to(self, device: torch.device | str) -> ReferenceWorld:
        """The same world on another device, in the same state at its start; its logging policy stays where it is."""
        moved = copy(self)
        moved.law = self.law.to(device)
        state, recent = self.warm
        moved.warm = (state.to(device), recent.to(device))
        return moved

    def initial_state(self) -> TruthState:
        """The customers' state on the first slot."""
        return self.warm[0]

    def step(self, state: TruthState, decision: Tensor, noise: Tensor) -> tuple[TruthState, Outcome]:
        """One slot; see `envs.reference.market.step`."""
        return market.step(self.law, state, decision, noise)

    def logged_decisions(self, state: TruthState, recent: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What the logging policy does.

        Args:
            state: of the customers.
            recent: the policy's own count of recent sends. Shape [N].
            uniform: chance. Shape [N].
        Returns:
            Decisions [N], int64; their probabilities [N], float32; and who was eligible [N], bool.
        """
        minute, _ = self.law.clocks(state.slot)
        probabilities, eligible = self.logger.probabilities(minute, recent, self.law.reachable(state))
        decision = draw(probabilities, uniform)
        return decision, probabilities.gather(1, decision.unsqueeze(1)).squeeze(1), eligible

    @cached_property
    def warm(self) -> tuple[TruthState, Tensor]:
        """State at the start, and the logging policy's count of recent sends [N]."""
        customers = self.law.customers
        state, recent = market.fresh_state(self.law, self.first_slot - self.warm_slots), customers.organic * 0.0
        generator = torch.Generator().manual_seed(2 * self.seed)
        for _ in range(self.warm_slots):
            noise = torch.rand(len(customers), 1 + NOISE_COLUMNS, generator=generator).to(recent.device)
            noise[:, 6] = 1.0  # nobody opts out
            decision, _, _ = self.logged_decisions(state, recent, noise[:, 0])
            state, _ = self.step(state, decision, noise[:, 1:])
            recent = self.logger.remember(recent, decision, self.clock.slot_hours)
        return state, recent


def contents_table(variant: Variant) -> pd.DataFrame:
    """The `contents` table of a variant, in the log format."""
    return pd.DataFrame(
        {
            "content_id": [c.content_id for c in variant.contents],
            "category": [c.category for c in variant.contents],
            "price_level": [c.price for c in variant.contents],
            "discount": [c.discount for c in variant.contents],
            "text": [c.text for c in variant.contents],
            "channel": [c.channel for c in variant.contents],
            "cost": [variant.send_cost * CHANNELS[c.channel].cost for c in variant.contents],
        }
    )
