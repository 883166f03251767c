"""Writes the log that a company would have: a stochastic logging policy with known probabilities at work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from envs.reference.variants import Variant
from envs.reference.world import START, ReferenceWorld

QUIET_FROM, QUIET_UNTIL = 21, 8
"""Local hours between which the logging policy never sends."""

MEMORY_HOURS = 36.0
"""Half-life of the logging policy's own count of recent sends."""


@dataclass(frozen=True)
class LoggingPolicy:
    """A plausible campaign manager: sends more to loyal customers and in the evening, less after recent sends.

    Attributes:
        base: log-odds of a send in an open slot. Shape [N].
        taste: log-weight of each content for each customer. Shape [N, K].
    """

    base: Tensor
    taste: Tensor

    def probabilities(self, minute: Tensor, recent: Tensor, reachable: Tensor) -> tuple[Tensor, Tensor]:
        """Probability of hold and each content, and who was eligible.

        Args:
            minute: local minute of the day. Shape [N].
            recent: decayed count of recent sends. Shape [N].
            reachable: consent given and not opted out. Shape [N], bool.
        Returns:
            Shapes [N, 1 + K] and [N], bool.
        """
        hour = minute / 60.0
        eligible = reachable & (hour >= QUIET_UNTIL) & (hour < QUIET_FROM)
        evening = torch.where(hour >= 18, 0.35, torch.where(hour < 11, 0.0, -0.15))
        send = torch.sigmoid(self.base + evening - 0.35 * recent) * eligible
        # A tenth of the sends is spread evenly, so that every content is tried on everyone.
        share = 0.85 * self.taste.softmax(dim=1) + 0.15 / self.taste.shape[1]
        return torch.cat([(1.0 - send).unsqueeze(1), send.unsqueeze(1) * share], dim=1), eligible


def make_logging_policy(variant: Variant, users: pd.DataFrame) -> LoggingPolicy:
    """The logging policy for a users table."""
    tier = users["loyalty_tier"].map({"new": -0.4, "regular": 0.0, "gold": 0.35}).to_numpy(dtype=np.float32, copy=True)
    odds = np.log(variant.sends_per_week / (22.0 - variant.sends_per_week)) + 0.45
    favourite = users["favourite_category"].to_numpy()
    own = np.array([[c.category == f for c in variant.contents] for f in np.unique(favourite)], dtype=np.float32)
    row = np.searchsorted(np.unique(favourite), favourite)
    discount = np.array([c.discount for c in variant.contents], dtype=np.float32)
    return LoggingPolicy(
        torch.from_numpy(tier + np.float32(odds)), torch.from_numpy(0.9 * own[row] + 1.2 * discount[None, :])
    )


def simulate(
    variant: Variant,
    customers: int,
    days: int,
    seed: int,
    slot_hours: int = 4,
    start: str = START,
    timezone: str = "UTC",
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, pd.DataFrame]:
    """Writes a log.

    Args:
        variant: the world.
        customers: N.
        days: length of the log.
        seed: of people and chance.
        slot_hours, timezone, start: of the grid.
        progress: called with slots done and slots in all.
    Returns:
        `users`, `contents` and `decisions` tables in the log format. Memory: about 40 bytes a customer and slot.
    """
    world = ReferenceWorld(variant, customers, seed, slot_hours, timezone, start, days)
    logger = make_logging_policy(variant, world.users)
    generator = torch.Generator().manual_seed(seed + 1)
    slots = days * world.clock.slots_per_day
    state, recent = world.initial_state(), torch.zeros(customers)
    decay = 2.0 ** (-slot_hours / MEMORY_HOURS)
    columns: dict[str, list[np.ndarray]] = {}
    for slot in range(slots):
        noise = torch.rand(customers, 1 + world.noise_columns, generator=generator)
        minute, _ = world.calendar.at(world.people.zone, state.slot)
        probabilities, eligible = logger.probabilities(minute, recent, world.people.consent & ~state.opted_out)
        cumulative = probabilities.double().cumsum(dim=1)
        decision = (cumulative <= noise[:, :1].double() * cumulative[:, -1:]).sum(dim=1)
        taken = probabilities.gather(1, decision.unsqueeze(1)).squeeze(1)
        state, outcome = world.step(state, decision, noise[:, 1:])
        recent = recent * decay + (decision > 0)
        row = {
            "decision": decision.to(torch.int16),
            "action_prob": taken,
            "eligible": eligible,
            "opened": outcome.opened,
            "clicked": outcome.clicked,
            "visited": outcome.visited,
            "purchased": outcome.purchased,
            "value": outcome.value,
            "unsubscribed": outcome.unsubscribed,
        }
        for name, values in row.items():
            columns.setdefault(name, []).append(values.numpy())
        if progress is not None:
            progress(slot + 1, slots)
    return {
        "users": world.users,
        "contents": world.contents,
        "decisions": _decisions_table(world, variant, columns, slots),
    }


def _decisions_table(
    world: ReferenceWorld, variant: Variant, columns: dict[str, list[np.ndarray]], slots: int
) -> pd.DataFrame:
    """One row a customer and slot, customers in order."""
    table = {name: np.stack(parts, axis=1).ravel() for name, parts in columns.items()}
    customers = len(world.users)
    times = world.clock.times(np.arange(world.first_slot, world.first_slot + slots))
    names = np.array([None, *(c.content_id for c in variant.contents)], dtype=object)
    value = np.round(table["value"].astype(np.float64), 2)
    decisions = pd.DataFrame(
        {
            "user_id": world.users["user_id"].repeat(slots).to_numpy(),
            "time": np.tile(times.to_numpy(), customers),
            "content_id": names[table["decision"]],
            "action_prob": table["action_prob"].astype(np.float64),
            "eligible": table["eligible"],
        }
    )
    for name in ("opened", "clicked", "visited", "purchased"):
        decisions[name] = table[name]
    decisions["value"] = value
    decisions["unsubscribed"] = table["unsubscribed"]
    return decisions
