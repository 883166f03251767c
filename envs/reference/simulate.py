"""Writes the log that a company would have: the logging policy at work in a reference world."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch

from envs.reference.market import NOISE_COLUMNS
from envs.reference.variants import Variant
from envs.reference.world import START, ReferenceWorld

EVENTS = ("opened", "clicked", "visited", "purchased")


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
    """Writes a log. The same arguments give the same tables.

    Args:
        variant: the world.
        customers: N.
        days: length of the log.
        seed: of people and chance.
        slot_hours, timezone, start: of the grid.
        progress: called with slots done and slots in all.
    Returns:
        `users`, `contents` and `decisions` tables in the log format, the decisions by customer and then by time.
        `action_prob` is the exact probability of what was done. Memory: about 100 bytes a customer and slot.
    Raises:
        CampaignError: where a setting cannot be.
    """
    world = ReferenceWorld(variant, customers, seed, slot_hours, timezone, start, days)
    generator = torch.Generator().manual_seed(2 * seed + 1)
    slots = days * world.clock.slots_per_day
    state, recent = world.warm
    columns: dict[str, list[np.ndarray]] = {}
    for slot in range(slots):
        noise = torch.rand(customers, 1 + NOISE_COLUMNS, generator=generator)
        decision, probability, eligible = world.logged_decisions(state, recent, noise[:, 0])
        state, outcome = world.step(state, decision, noise[:, 1:])
        recent = world.logger.remember(recent, decision, slot_hours)
        row = {
            "decision": decision.to(torch.int16),
            "action_prob": probability,
            "eligible": eligible,
            **{name: getattr(outcome, name) for name in (*EVENTS, "revenue", "value", "unsubscribed")},
        }
        for name, values in row.items():
            columns.setdefault(name, []).append(values.numpy())
        if progress is not None:
            progress(slot + 1, slots)
    decisions = _decisions_table(world, columns, slots)
    return {"users": world.users, "contents": world.contents, "decisions": decisions}


def _decisions_table(world: ReferenceWorld, columns: dict[str, list[np.ndarray]], slots: int) -> pd.DataFrame:
    """One row a customer and slot, customers in order."""
    table = {name: np.stack(parts, axis=1).ravel() for name, parts in columns.items()}
    customers = len(world.users)
    times = world.clock.times(np.arange(world.first_slot, world.first_slot + slots))
    names = np.array([None, *world.contents["content_id"]], dtype=object)
    decisions = pd.DataFrame(
        {
            "user_id": world.users["user_id"].repeat(slots).to_numpy(),
            "time": np.tile(times.to_numpy(), customers),
            "content_id": names[table["decision"]],
            "action_prob": table["action_prob"].astype(np.float64),
            "eligible": table["eligible"],
        }
    )
    for name in EVENTS:
        decisions[name] = table[name]
    for name in ("revenue", "value"):
        decisions[name] = np.round(table[name].astype(np.float64), 2)
    decisions["unsubscribed"] = table["unsubscribed"]
    return decisions
