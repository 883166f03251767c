"""The contract of every world: a pure step from state, decision and noise to the next state and an outcome."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from campaigns.audience import Catalogue, Population, decision_costs
from campaigns.clock import SlotClock
from campaigns.guardrails import Guardrails
from campaigns.history import Happenings
from campaigns.objective import Objective, reward
from campaigns.observation import Observation


class SlotOutcome(Protocol):
    """What one slot brought N customers: drawn events, and their expectation under the same law.

    Attributes:
        opened, clicked, visited, purchased, unsubscribed: drawn. Shape [N], bool.
        value: drawn margin before costs. Shape [N], float32, in currency.
        expected_value: E[value | state, decision]. Shape [N].
        expected_opened, expected_clicked, expected_visited, expected_purchased, expected_unsubscribed:
            probabilities given state and decision. Shape [N].
    """

    @property
    def opened(self) -> Tensor: ...  # noqa: D102
    @property
    def clicked(self) -> Tensor: ...  # noqa: D102
    @property
    def visited(self) -> Tensor: ...  # noqa: D102
    @property
    def purchased(self) -> Tensor: ...  # noqa: D102
    @property
    def unsubscribed(self) -> Tensor: ...  # noqa: D102
    @property
    def value(self) -> Tensor: ...  # noqa: D102
    @property
    def expected_value(self) -> Tensor: ...  # noqa: D102
    @property
    def expected_opened(self) -> Tensor: ...  # noqa: D102
    @property
    def expected_clicked(self) -> Tensor: ...  # noqa: D102
    @property
    def expected_visited(self) -> Tensor: ...  # noqa: D102
    @property
    def expected_purchased(self) -> Tensor: ...  # noqa: D102
    @property
    def expected_unsubscribed(self) -> Tensor: ...  # noqa: D102


@dataclass(frozen=True)
class Outcome:
    """The fields of `SlotOutcome`."""

    opened: Tensor
    clicked: Tensor
    visited: Tensor
    purchased: Tensor
    unsubscribed: Tensor
    value: Tensor
    expected_value: Tensor
    expected_opened: Tensor
    expected_clicked: Tensor
    expected_visited: Tensor
    expected_purchased: Tensor
    expected_unsubscribed: Tensor


State = TypeVar("State")


class World(Protocol[State]):
    """N customers who answer decisions.

    Attributes:
        clock: the grid.
        pool: customers that episodes draw from, nobody held out.
        catalogue: the K contents.
        guardrails: what a policy may do there.
        first_slot: slot in which an episode starts.
        noise_columns: M, uniforms that a step needs for each customer.
    """

    @property
    def clock(self) -> SlotClock: ...  # noqa: D102
    @property
    def pool(self) -> Population: ...  # noqa: D102
    @property
    def catalogue(self) -> Catalogue: ...  # noqa: D102
    @property
    def guardrails(self) -> Guardrails: ...  # noqa: D102
    @property
    def first_slot(self) -> int: ...  # noqa: D102

    @property
    def noise_columns(self) -> int:
        """M, how many uniforms a step needs for each customer."""
        ...

    def to(self, device: torch.device | str) -> World[State]:
        """The same world on another device, where its episodes then live."""
        ...

    def begin(self, customers: Tensor, *generators: torch.Generator) -> State:
        """The state of an episode's start for the pool's customers at `customers` ([N], int64).

        What is drawn for them comes from the generators, of each for as many customers, in their order.
        """
        ...

    def restore(self, stored: dict[str, Any]) -> State:
        """A state of this world from what its `tensors()` kept."""
        ...

    def observe(self, state: State) -> Observation:
        """What a policy may see before it decides."""
        ...

    def population_of(self, state: State) -> Population:
        """The N customers of the state."""
        ...

    def step(
        self, state: State, decision: Tensor, noise: Tensor, seen: Observation | None = None
    ) -> tuple[State, SlotOutcome]:
        """One slot.

        Args:
            state: before the decisions.
            decision: HOLD or 1 + content index. Shape [N], int64. Unreachable customers are held.
            noise: uniforms in [0, 1). Shape [N, M].
            seen: `observe(state)`, where the caller has it already.
        """
        ...


def happenings(outcome: SlotOutcome, decision: Tensor) -> Happenings:
    """What history sees of an outcome: everything in the slot of the decision, credited to what was sent."""
    return Happenings(
        outcome.opened, outcome.clicked, outcome.visited, outcome.purchased, outcome.unsubscribed, decision
    )


def slot_reward(
    objective: Objective, outcome: SlotOutcome, decision: Tensor, catalogue: Catalogue, expected: bool
) -> Tensor:
    """What the slot earned under the objective, drawn or in expectation. Shape [N].

    The expectation is conditional on state and decision, under the law that the draws use: it has the same mean
    and a much smaller variance, since purchases are rare and baskets large.
    """
    cost = decision_costs(catalogue)[decision]
    if objective.outcome in {"value", "revenue"}:
        earned = outcome.expected_value if expected else outcome.value
    else:
        name = f"expected_{objective.outcome}" if expected else objective.outcome
        earned = getattr(outcome, name).float()
    lost = outcome.expected_unsubscribed if expected else outcome.unsubscribed.float()
    return reward(objective, earned, cost, lost)
