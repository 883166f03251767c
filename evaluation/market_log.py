"""A log that a world writes when a policy runs free in it: drawn events on the grid, and their expectations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from campaigns.grid import DecisionGrid
from campaigns.history import HOLD, SEND
from campaigns.replay import BINARY_OUTCOMES
from envs.world import World
from policies.chooser import sample
from policies.following import Decides, following


@dataclass(frozen=True)
class MarketLog:
    """What a policy that ran free in a world left behind.

    Attributes:
        grid: decisions, their probabilities and drawn outcomes, N customers by T slots.
        expected: E[outcome | state, decision] by outcome name. Shape [N, T] each, float32.
        minute, weekday: the customers' own clocks at each slot. Shape [N, T], int16 and int8.
    """

    grid: DecisionGrid
    expected: dict[str, np.ndarray]
    minute: np.ndarray
    weekday: np.ndarray


@torch.no_grad()
def write_market_log(
    world: World[Any],
    policy: Decides,
    customers: int,
    slots: int,
    seed: int,
    outcomes: tuple[str, ...] = (*BINARY_OUTCOMES, "value"),
    progress: Callable[[int], None] | None = None,
) -> MarketLog:
    """Lets a policy run free from the world's first slot on. Memory: about 60 bytes a customer and slot.

    Args:
        world: learned market or truth; its first `customers` take part.
        policy: decides; decisions are drawn from its probabilities.
        customers: N.
        slots: T.
        seed: of everything drawn; the same seed gives the same log on the CPU.
        outcomes: names that the log shall have.
        progress: called after every slot with the number of slots done.
    """
    policy = following(policy)
    generator = torch.Generator().manual_seed(seed)
    state = world.begin(torch.arange(customers), generator)
    shape = (customers, slots)
    decided = np.zeros(shape, dtype=np.int32)
    probability = np.zeros(shape, dtype=np.float32)
    drawn = {name: np.zeros(shape, dtype=np.float32) for name in outcomes}
    expected = {name: np.zeros(shape, dtype=np.float32) for name in outcomes}
    minute, weekday = np.zeros(shape, dtype=np.int16), np.zeros(shape, dtype=np.int8)
    for slot in range(slots):
        noise = torch.rand(customers, 1 + world.noise_columns, generator=generator)
        seen = world.observe(state)
        chances = policy.probabilities_of(seen)
        decision = sample(chances, noise[:, 0])
        probability[:, slot] = chances.gather(1, decision.unsqueeze(1)).squeeze(1).numpy()
        before = state.history.total[:, SEND]
        state, outcome = world.step(state, decision, noise[:, 1:], seen)
        decided[:, slot] = torch.where(state.history.total[:, SEND] > before, decision, HOLD).numpy()
        for name in outcomes:
            drawn[name][:, slot] = getattr(outcome, name).float().numpy()
            expected[name][:, slot] = getattr(outcome, f"expected_{name}").numpy()
        minute[:, slot], weekday[:, slot] = seen.minute.numpy(), seen.weekday.numpy()
        if progress is not None:
            progress(slot + 1)
    happened = {name: drawn[name] == 1 for name in BINARY_OUTCOMES if name in drawn}
    credited = {name: np.where(flags, decided, HOLD).astype(np.int32) for name, flags in happened.items()}
    grid = DecisionGrid(
        world.first_slot, decided, probability, np.ones(shape, dtype=bool), np.ones(shape, dtype=bool), drawn, happened,
        credited,
    )  # fmt: skip
    return MarketLog(grid, expected, minute, weekday)
