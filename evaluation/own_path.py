"""Predictions along a policy's own path: the network's word beside what a world really holds, decision by decision.

A market may be right about every decision of the logging policy and wrong about the states into which another policy
leads. Where the truth is known, the policy acts in it, and the network is asked about the very states and decisions
that come about there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch

from campaigns.history import HOLD
from campaigns.objective import Objective
from envs.world import World
from evaluation.rollout import Decides
from policies.chooser import sample
from propensity.model import PropensityModel

NAMES = {"opens": "opened", "clicks": "clicked", "purchases": "purchased", "opt-outs": "unsubscribed", "value": "value"}
"""What is compared, and the outcome that it counts."""

PREDICTED = {"opened": "opened", "clicked": "clicked", "purchased": "purchase", "unsubscribed": "unsubscribe",
             "value": "expected_value"}  # fmt: skip


@dataclass(frozen=True)
class PathCheck:
    """Predicted beside true sums along one policy's path, per customer over the horizon.

    Attributes:
        name: opens, clicks, purchases, opt-outs, value (before costs).
        true, predicted: the two sums; value in currency.
        ratio: predicted over true.
    """

    name: str
    true: float
    predicted: float
    ratio: float

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return asdict(self)


@torch.no_grad()
def own_path(
    world: World[Any],
    policy: Decides,
    model: PropensityModel,
    objective: Objective,
    customers: int,
    seed: int,
    slots: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[PathCheck]:
    """Plays a policy in a world and asks the network, at every decision, what it expects of it.

    Both sums are of conditional expectations given the state of the world and what the network sees of it, so that
    drawn events add no noise to the comparison but for the path itself.

    Args:
        world: whose word is true.
        policy: decides.
        model: is asked; averaged over its members.
        objective: for its horizon.
        customers: N, as for `rollout`.
        seed: of customers and noise.
        slots: another horizon than the objective's.
        progress: called after every slot with the number of slots done.
    """
    horizon = objective.horizon_days * world.clock.slots_per_day if slots is None else slots
    generator = torch.Generator().manual_seed(seed)
    pool = getattr(world, "pool", None)
    state = world.begin(torch.arange(customers) % (customers if pool is None else len(pool)), generator)
    people = world.population_of(state).features
    projected = model.project_customers(people)
    sums = torch.zeros(2, len(NAMES), dtype=torch.float64)
    for slot in range(horizon):
        noise = torch.rand(customers, 1 + world.noise_columns, generator=generator)
        seen = world.observe(state)
        decision = sample(policy.probabilities_of(seen), noise[:, 0])
        content = (decision - 1).clamp(min=0)
        sent = decision > HOLD
        response = model.respond(
            people, seen.state, world.catalogue.features[content], seen.candidate(content), sent, projected=projected
        )
        state, outcome = world.step(state, decision, noise[:, 1:], seen)
        for column, name in enumerate(NAMES.values()):
            sums[0, column] += getattr(outcome, f"expected_{name}").double().sum()
            sums[1, column] += getattr(response, PREDICTED[name]).double().sum()
        if progress is not None:
            progress(slot + 1)
    sums /= customers
    return [
        PathCheck(name, float(true), float(predicted), float(predicted / true) if true else float("nan"))
        for name, true, predicted in zip(NAMES, *sums, strict=True)
    ]
