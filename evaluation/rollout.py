"""What a policy earns in a world: value per customer, and what the policy does there.

Common random numbers: customer i meets the same uniforms in slot t whatever the policy, so that differences
between policies are paired. Values are sums of conditional expectations given state and decision.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from campaigns.history import HOLD, SEND
from campaigns.objective import Objective
from campaigns.observation import Observation
from envs.world import World, slot_reward
from policies.chooser import sample


class Decides(Protocol):
    """Anything that turns an observation into decision probabilities."""

    def probabilities_of(self, observation: Observation) -> Tensor:
        """Probability of hold and each content. Shape [N, 1 + K], zero where not allowed, rows sum to 1."""
        ...


@dataclass(frozen=True)
class Rollout:
    """What a policy earned and did over one horizon.

    Attributes:
        value: expected-reward sum a customer over the horizon, in the objective's unit. Shape [N].
        drawn: the same from drawn events. Shape [N].
        sends, opens, clicks, purchases: drawn counts a customer. Shape [N].
        opted_out: whether the customer opted out of anything. Shape [N], bool.
        expected: sums over customers and slots of E[.] by outcome name.
        heatmap: sends by local weekday (Monday first) and local hour of the slot. Shape [7, 24].
        contents: sends by content. Shape [K].
        by_daypart: slots, sends, opens (expected), purchases (expected), opt-outs (expected), value. Shape [4, 6].
    """

    value: np.ndarray
    drawn: np.ndarray
    sends: np.ndarray
    opens: np.ndarray
    clicks: np.ndarray
    purchases: np.ndarray
    opted_out: np.ndarray
    expected: dict[str, float]
    heatmap: np.ndarray
    contents: np.ndarray
    by_daypart: np.ndarray


@torch.no_grad()
def rollout(
    world: World[Any],
    policy: Decides,
    objective: Objective,
    customers: int,
    seed: int,
    slots: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Rollout:
    """Plays a policy for one horizon.

    Args:
        world: learned market or truth.
        policy: decides; its guardrails are the world's.
        objective: what counts, and for how many days.
        customers: N; row i of the world's pool, wrapped around where the pool is smaller.
        seed: of the common random numbers.
        slots: shorter horizon than the objective's, for tests.
        progress: called after every slot with the number of slots done.
    """
    horizon = objective.horizon_days * world.clock.slots_per_day if slots is None else slots
    generator = torch.Generator().manual_seed(seed)
    state = world.begin(torch.arange(customers) % _pool_size(world, customers), generator)
    value, drawn = torch.zeros(customers), torch.zeros(customers)
    counts = torch.zeros(customers, 4)
    opted_out = torch.zeros(customers, dtype=torch.bool)
    heatmap = torch.zeros(7 * 24)
    contents = torch.zeros(1 + len(world.catalogue))
    by_daypart = torch.zeros(4, 6)
    names = ("opened", "clicked", "visited", "purchased", "unsubscribed", "value")
    expected = torch.zeros(len(names), dtype=torch.float64)
    for slot in range(horizon):
        noise = torch.rand(customers, 1 + world.noise_columns, generator=generator)
        seen = world.observe(state)
        decision = sample(policy.probabilities_of(seen), noise[:, 0])
        sends_before = state.history.total[:, SEND]
        state, outcome = world.step(state, decision, noise[:, 1:])
        sent = state.history.total[:, SEND] > sends_before
        decision = torch.where(sent, decision, HOLD)
        earned = slot_reward(objective, outcome, decision, world.catalogue, expected=True)
        value += earned
        drawn += slot_reward(objective, outcome, decision, world.catalogue, expected=False)
        counts += torch.stack([sent, outcome.opened, outcome.clicked, outcome.purchased], dim=1)
        opted_out |= outcome.unsubscribed
        heatmap.scatter_add_(0, seen.weekday * 24 + seen.minute // 60, sent.float())
        contents.scatter_add_(0, decision, sent.float())
        sums = torch.stack(
            [
                torch.ones(customers),
                sent.float(),
                outcome.expected_opened,
                outcome.expected_purchased,
                outcome.expected_unsubscribed,
                earned,
            ],
            dim=1,
        )
        by_daypart.index_add_(0, seen.daypart, sums)
        expected += torch.stack([getattr(outcome, f"expected_{name}").double().sum() for name in names])
        if progress is not None:
            progress(slot + 1)
    columns = counts.T.numpy()
    return Rollout(
        value.numpy(),
        drawn.numpy(),
        *columns,
        opted_out.numpy(),
        dict(zip(names, expected.tolist(), strict=True)),
        heatmap.view(7, 24).numpy(),
        contents[1:].numpy(),
        by_daypart.numpy(),
    )


def _pool_size(world: World[Any], customers: int) -> int:
    pool = getattr(world, "pool", None)
    return customers if pool is None else len(pool)
