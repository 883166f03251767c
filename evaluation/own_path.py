"""Predictions along a policy's own path: the network's word beside what a world really holds, decision by decision.

A market may be right about every decision of the logging policy and wrong about the states into which another policy
leads. Where the truth is known, the policy acts in it, and the network is asked about the very states and decisions
that come about there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from campaigns.history import HOLD
from campaigns.objective import Objective
from campaigns.observation import Observation
from envs.world import World
from evaluation.rollout import rollout
from policies.following import Decides
from propensity.model import PropensityModel

NAMES = {"opens": "opened", "clicks": "clicked", "purchases": "purchased", "opt-outs": "unsubscribed", "value": "value"}
"""What is compared, and the outcome that it counts."""


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
    predicted = dict.fromkeys(NAMES.values(), 0.0)

    def ask(seen: Observation, decision: Tensor) -> None:
        content = (decision - 1).clamp(min=0)
        response = model.respond(
            seen.population.features, seen.state, seen.catalogue.features[content], seen.candidate(content),
            decision > HOLD,
        )  # fmt: skip
        for outcome in predicted:
            predicted[outcome] += float(response.expected(outcome).double().sum())

    true = rollout(world, policy, objective, customers, seed, slots, progress, watch=ask).expected
    return [
        PathCheck(
            name, true[outcome] / customers, predicted[outcome] / customers,
            predicted[outcome] / true[outcome] if true[outcome] else float("nan"),
        )
        for name, outcome in NAMES.items()
    ]  # fmt: skip
