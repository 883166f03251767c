"""Simple rules, the logging policy and an oracle at work in the reference truth, valued by expectation."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from torch import Tensor

from envs.reference import market
from envs.reference.world import ReferenceWorld

OPT_OUT_COST = 3.0
CAPS = (1, 3, 7)
DAYPARTS = {"morning": (8, 12), "afternoon": (12, 18), "evening": (18, 21)}
CONTENTS = ("favourite", "all", "discounted")
GRID = tuple(product(CAPS, DAYPARTS, CONTENTS))
STRICTNESS = (0.3, 0.45, 0.6)


@dataclass(frozen=True)
class Result:
    """Means per customer over the horizon; `net` is expected value less send and opt-out costs. Shape [N] for net."""

    net: Tensor
    sends: float
    opens: float
    purchases: float
    opted_out: float
    negative: float

    @property
    def mean(self) -> float:
        return float(self.net.mean())


class Rule:
    """So many sends a week in one part of the day, of what was sent longest ago in one set of contents."""

    def __init__(self, world: ReferenceWorld, cap: int, daypart: str, contents: str) -> None:
        self.world, self.cap, self.hours = world, cap, DAYPARTS[daypart]
        told = world.users["favourite_category"].to_numpy()[:, None]
        category, discount = world.contents["category"].to_numpy(), world.contents["discount"].to_numpy()
        sets = {"favourite": told == category, "all": told == told, "discounted": (told == told) & (discount > 0)}
        mask = np.broadcast_to(sets[contents], (len(told), len(category))).copy()
        self.mask = torch.from_numpy(mask)
        self.sent_at = torch.full(mask.shape, -10_000, dtype=torch.int64)
        self.week = torch.zeros(len(told), 7 * world.clock.slots_per_day - 1)

    def __call__(self, state: market.TruthState) -> Tensor:
        minute, _ = self.world.law.clocks(state.slot)
        hour = minute / 60.0
        today = self.week[:, 3 - self.world.clock.slots_per_day :].any(dim=1)
        now = (hour >= self.hours[0]) & (hour < self.hours[1]) & (self.week.sum(dim=1) < self.cap) & ~today
        oldest = self.sent_at.masked_fill(~self.mask, 10**9).argmin(dim=1)
        decision = torch.where(now & reachable(self.world, state), oldest + 1, 0)
        remember(self.sent_at, decision, state.slot)
        self.week = torch.cat([self.week[:, 1:], (decision > 0).float()[:, None]], dim=1)
        return decision


class Oracle:
    """Knows all latents: sends the content of highest expected gain now, where it is near this customer's best."""

    def __init__(self, world: ReferenceWorld, strictness: float) -> None:
        self.world, self.strictness = world, strictness
        self.sent_at = torch.full((len(world.users), len(world.contents)), -10_000, dtype=torch.int64)
        best = torch.zeros(len(world.users))
        for slot in range(world.first_slot, world.first_slot + world.clock.slots_per_day):
            state = market.fresh_state(world.law, slot)
            best = torch.maximum(best, self.gains(state).masked_fill(self.quiet(state)[:, None], 0).amax(dim=1))
        self.best = best

    def quiet(self, state: market.TruthState) -> Tensor:
        hour = self.world.law.clocks(state.slot)[0] / 60.0
        return (hour < 8) | (hour >= 21)

    def gains(self, state: market.TruthState) -> Tensor:
        """Expected gain of each content over a hold. Shape [N, K]."""
        noise = torch.full((len(state.slot), self.world.noise_columns), 0.5)
        columns = []
        for content in range(len(self.world.contents) + 1):
            outcome = self.world.step(state, torch.full_like(state.slot, content), noise)[1]
            columns.append(outcome.expected_value - OPT_OUT_COST * outcome.expected_unsubscribed)
        cost = torch.tensor(self.world.contents["cost"].to_numpy(dtype=np.float32, copy=True))
        return torch.stack(columns[1:], dim=1) - columns[0][:, None] - cost

    def __call__(self, state: market.TruthState) -> Tensor:
        gain, content = self.gains(state).max(dim=1)
        slots = self.world.clock.slots_per_day
        today = (self.sent_at > state.slot[:, None] - slots + 2).any(dim=1)
        now = (gain > 0) & (gain > self.strictness * self.best) & ~self.quiet(state) & ~today
        decision = torch.where(now & reachable(self.world, state), content + 1, 0)
        remember(self.sent_at, decision, state.slot)
        return decision


class Logger:
    """The policy that wrote the log."""

    def __init__(self, world: ReferenceWorld, seed: int = 5) -> None:
        self.world, self.recent = world, world.warm[1]
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, state: market.TruthState) -> Tensor:
        uniform = torch.rand(len(state.slot), generator=self.generator)
        decision, _, _ = self.world.logged_decisions(state, self.recent, uniform)
        self.recent = self.world.logger.remember(self.recent, decision, self.world.clock.slot_hours)
        return decision


def never(state: market.TruthState) -> Tensor:
    return torch.zeros_like(state.slot)


def reachable(world: ReferenceWorld, state: market.TruthState) -> Tensor:
    return world.law.customers.consent & ~state.opted_out


def remember(sent_at: Tensor, decision: Tensor, slot: Tensor) -> None:
    rows = (decision > 0).nonzero().squeeze(1)
    sent_at[rows, decision[rows] - 1] = slot[rows]


def rollout(world: ReferenceWorld, choose, days: int = 28, seed: int = 11) -> Result:
    """Lets `choose(state) -> decision` act; the same seed gives the same chance to everyone."""
    generator = torch.Generator().manual_seed(seed)
    state = world.initial_state()
    n = len(world.users)
    cost = torch.tensor([0.0, *world.contents["cost"]], dtype=torch.float32)
    net, totals = torch.zeros(n), torch.zeros(4)
    for _ in range(days * world.clock.slots_per_day):
        decision = choose(state)
        state, out = world.step(state, decision, torch.rand(n, world.noise_columns, generator=generator))
        net += out.expected_value - cost[decision] - OPT_OUT_COST * out.expected_unsubscribed
        parts = (decision > 0, out.opened, out.purchased, out.value < 0)
        totals += torch.stack([part.float().mean() for part in parts])
    sends, opens, purchases, negative = totals.tolist()
    return Result(net, sends, opens, purchases, float(state.opted_out.float().mean()), negative)
