"""What a policy earns in a world: value per customer, and what the policy does there.

Common random numbers: customer i meets the same uniforms in slot t whatever the policy, so that differences
between policies are paired. Values are sums of conditional expectations given state and decision.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from campaigns.audience import decision_costs
from campaigns.guardrails import Guardrails, customer_blocks
from campaigns.history import HOLD, SEND
from campaigns.objective import Objective
from campaigns.observation import Observation
from envs.world import World, slot_reward
from policies.chooser import sample
from policies.following import Decides, following


@dataclass(frozen=True)
class Rollout:
    """What a policy earned and did over one horizon.

    Attributes:
        value: expected-reward sum a customer over the horizon, in the objective's unit. Shape [N].
        drawn: the same from drawn events. Shape [N].
        sends, opens, clicks, purchases: drawn counts a customer. Shape [N].
        opted_out: whether the customer opted out of anything. Shape [N], bool.
        spent: expected cost of sends given each slot's state, in currency: less noisy than that of drawn sends, with
            the same mean. Shape [N].
        lost: chance of a first opt-out, summed over the slots before one: likewise beside `opted_out`. Shape [N].
        expected: sums over customers and slots of E[.] by outcome name.
        heatmap: sends by local weekday (Monday first) and local hour of the slot. Shape [7, 24].
        contents: sends of each content, by customer. Shape [N, K].
        by_channel: sums over the slots with a send by each channel: sends, their cost, opens (expected), purchases
            (expected), opt-outs (expected), value. Shape [M, 6].
        by_daypart: slots, sends, opens (expected), purchases (expected), opt-outs (expected), value. Shape [4, 6].
        held_because: share of customers' slots in which a guardrail left nothing to send, by the rule that is named
            first; `content_limits` where only limits of single contents did. Empty where no guardrails were given.
    """

    value: np.ndarray
    drawn: np.ndarray
    sends: np.ndarray
    opens: np.ndarray
    clicks: np.ndarray
    purchases: np.ndarray
    opted_out: np.ndarray
    spent: np.ndarray
    lost: np.ndarray
    expected: dict[str, float]
    heatmap: np.ndarray
    contents: np.ndarray
    by_channel: np.ndarray
    by_daypart: np.ndarray
    held_because: dict[str, float]


@torch.no_grad()
def rollout(
    world: World[Any],
    policy: Decides,
    objective: Objective,
    customers: int,
    seed: int,
    slots: int | None = None,
    progress: Callable[[int], None] | None = None,
    guardrails: Guardrails | None = None,
    watch: Callable[[Observation, Tensor], None] | None = None,
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
        guardrails: whose rules are counted in `held_because`; they do not mask, the world's own do.
        watch: called in every slot with what was seen and what was decided.
    """
    horizon = objective.slots(world.clock) if slots is None else slots
    policy = following(policy)
    generator = torch.Generator().manual_seed(seed)
    state = world.begin(torch.arange(customers) % len(world.pool), generator)
    value, drawn = torch.zeros(customers), torch.zeros(customers)
    counts = torch.zeros(customers, 4)
    opted_out = torch.zeros(customers, dtype=torch.bool)
    spent, lost = torch.zeros(customers), torch.zeros(customers)
    cost = decision_costs(world.catalogue)
    heatmap = torch.zeros(7 * 24)
    contents = torch.zeros(customers, 1 + len(world.catalogue))
    held: dict[str, float] = {}
    by_daypart = torch.zeros(4, 6)
    by_channel = torch.zeros(len(world.catalogue.channels), 6, dtype=torch.float64)
    names = ("opened", "clicked", "visited", "purchased", "unsubscribed", "value")
    expected = torch.zeros(len(names), dtype=torch.float64)
    for slot in range(horizon):
        noise = torch.rand(customers, 1 + world.noise_columns, generator=generator)
        seen = world.observe(state)
        chances = policy.probabilities_of(seen)
        decision = sample(chances, noise[:, 0])
        sends_before = state.history.total[:, SEND]
        state, outcome = world.step(state, decision, noise[:, 1:], seen)
        sent = state.history.total[:, SEND] > sends_before
        decision = torch.where(sent, decision, HOLD)
        if watch is not None:
            watch(seen, decision)
        earned = slot_reward(objective, outcome, decision, world.catalogue, expected=True)
        value += earned
        drawn += slot_reward(objective, outcome, decision, world.catalogue, expected=False)
        counts += torch.stack([sent, outcome.opened, outcome.clicked, outcome.purchased], dim=1)
        spent += (chances * seen.allowed) @ cost
        lost += outcome.expected_unsubscribed * ~opted_out
        opted_out |= outcome.unsubscribed
        heatmap.scatter_add_(0, seen.weekday * 24 + seen.minute // 60, sent.float())
        contents.scatter_add_(1, decision.unsqueeze(1), sent.float().unsqueeze(1))
        if guardrails is not None:
            for rule, share in _held_back(guardrails, seen).items():
                held[rule] = held.get(rule, 0.0) + share / horizon
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
        to, costs = torch.nonzero(sent).squeeze(1), cost[decision].unsqueeze(1)
        figures = torch.cat([sums[:, 1:2], costs, sums[:, 2:]], dim=1)
        by_channel.index_add_(0, world.catalogue.channel[decision[to] - 1], figures[to].double())
        expected += torch.stack([getattr(outcome, f"expected_{name}").double().sum() for name in names])
        if progress is not None:
            progress(slot + 1)
    sends, opens, clicks, purchases = counts.T.numpy()
    return Rollout(
        value.numpy(),
        drawn.numpy(),
        sends,
        opens,
        clicks,
        purchases,
        opted_out.numpy(),
        spent.numpy(),
        lost.numpy(),
        dict(zip(names, expected.tolist(), strict=True)),
        heatmap.view(7, 24).numpy(),
        contents[:, 1:].numpy(),
        by_channel.numpy(),
        by_daypart.numpy(),
        held,
    )


def _held_back(guardrails: Guardrails, seen: Observation) -> dict[str, float]:
    """Share of the customers whom each rule, being the first to, keeps from any send in this slot."""
    blocks = customer_blocks(
        guardrails, seen.history, seen.slot, seen.minute, seen.population, seen.catalogue, seen.clock
    )
    blocks["content_limits"] = ~seen.allowed[:, 1:].any(dim=1)
    free = torch.ones_like(seen.slot, dtype=torch.bool)
    shares = {}
    for rule, blocked in blocks.items():
        shares[rule] = float((free & blocked).float().mean())
        free = free & ~blocked
    return {rule: share for rule, share in shares.items() if share}
