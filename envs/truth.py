"""The reference truth behind the same face as the learned market: what a policy sees is the product's history."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from campaigns import history as past
from campaigns.audience import Catalogue, Population, make_catalogue, make_population
from campaigns.clock import SlotClock
from campaigns.encoding import FeatureEncoder
from campaigns.guardrails import Guardrails
from campaigns.history import HOLD, History
from campaigns.objective import Objective
from campaigns.observation import Calendar, Observation, make_calendar, observe
from campaigns.rowwise import overwrite_rows
from envs.reference.market import Law, TruthState
from envs.reference.market import step as reference_step
from envs.reference.world import ReferenceWorld
from envs.world import SlotOutcome, happenings


@dataclass(frozen=True)
class ObservedState:
    """The truth's own state of N customers, and what an observer knows of them.

    Attributes:
        truth: latent state of the reference market.
        history: what is known of the customers.
        slot: the slot to be decided. Shape [N], int64.
        rows: which of the world's customers they are. Shape [N], int64.
        population: what is seen of them.
        law: the world's law for them.
    """

    truth: TruthState
    history: History
    slot: Tensor
    rows: Tensor
    population: Population
    law: Law

    def take(self, rows: Tensor) -> ObservedState:
        """The customers at `rows` [M], int64, each as often as it is named."""
        return ObservedState(
            self.truth.take(rows),
            self.history.take(rows),
            self.slot[rows],
            self.rows[rows],
            self.population.take(rows),
            replace(self.law, customers=self.law.customers.take(rows)),
        )

    def overwrite(self, rows: Tensor, others: ObservedState) -> None:
        """Puts `others` into `rows`; see `campaigns.rowwise`."""
        self.truth.overwrite(rows, others.truth)
        self.history.overwrite(rows, others.history)
        self.population.overwrite(rows, others.population)
        self.law.customers.overwrite(rows, others.law.customers)
        overwrite_rows(self, rows, others, ("slot", "rows"))

    def tensors(self) -> dict[str, Any]:
        """Everything that `Truth.restore` needs."""
        truth = {f.name: getattr(self.truth, f.name) for f in fields(self.truth)}
        return {"truth": truth, "history": self.history.tensors(), "slot": self.slot, "rows": self.rows}


@dataclass(frozen=True)
class Truth:
    """A reference world as policies see it, and as agents may train in it to learn what could be reached.

    Attributes:
        world: the written-down truth.
        pool, catalogue: its customers and contents, encoded as the policy knows them.
        clock: the grid.
        guardrails: what a policy may do.
        first_slot: slot in which an episode starts.
        calendar: the customers' clocks.
        start: histories of the customers at an episode's start; nothing known by default.
    """

    world: ReferenceWorld
    pool: Population
    catalogue: Catalogue
    clock: SlotClock
    guardrails: Guardrails
    first_slot: int
    calendar: Calendar
    start: History | None = None

    @property
    def noise_columns(self) -> int:
        """M, uniforms a customer and slot."""
        return self.world.noise_columns

    def to(self, device: torch.device | str) -> Truth:
        """The same world on another device, where its episodes then live."""
        return replace(
            self,
            world=self.world.to(device),
            pool=self.pool.to(device),
            catalogue=self.catalogue.to(device),
            calendar=self.calendar.to(device),
        )

    def begin(self, customers: Tensor, *generators: torch.Generator) -> ObservedState:
        """An episode's start for the world's customers at `customers`."""
        slot = torch.full_like(customers, self.first_slot)
        history = past.start(len(customers), self.catalogue, customers.device)
        if self.start is not None:
            history = self.start.take(customers)
        return self._state(self.world.initial_state().take(customers), history, slot, customers)

    def restore(self, stored: dict[str, Any]) -> ObservedState:
        """The inverse of `ObservedState.tensors`, for a state of this world."""
        history = History.from_tensors(stored["history"])
        return self._state(TruthState(**stored["truth"]), history, stored["slot"], stored["rows"])

    def _state(self, truth: TruthState, history: History, slot: Tensor, rows: Tensor) -> ObservedState:
        law = replace(self.world.law, customers=self.world.law.customers.take(rows))
        return ObservedState(truth, history, slot, rows, self.pool.take(rows), law)

    def population_of(self, state: ObservedState) -> Population:
        """The N customers."""
        return state.population

    def observe(self, state: ObservedState) -> Observation:
        """What a policy may see before it decides."""
        return observe(
            state.history, state.slot, self.calendar, state.population, self.catalogue, self.clock, self.guardrails
        )

    def step(
        self, state: ObservedState, decision: Tensor, noise: Tensor, seen: Observation | None = None
    ) -> tuple[ObservedState, SlotOutcome]:
        """One slot; see `envs.world.World.step`."""
        seen = self.observe(state) if seen is None else seen
        reachable = (state.population.consent & ~state.history.opted_out)[:, self.catalogue.channel]
        sent = (decision > HOLD) & reachable.gather(1, (decision - 1).clamp(min=0).unsqueeze(1)).squeeze(1)
        decision = torch.where(sent, decision, HOLD)
        truth, outcome = reference_step(state.law, state.truth, decision, noise)
        history = past.record_decision(state.history, decision, state.slot, seen.daypart, self.catalogue)
        history = past.record_happenings(
            history, happenings(outcome, decision), state.slot, seen.daypart, self.catalogue
        )
        return replace(state, truth=truth, history=history, slot=state.slot + 1), outcome


def make_truth(
    world: ReferenceWorld,
    user_encoder: FeatureEncoder,
    content_encoder: FeatureEncoder,
    objective: Objective,
    clock: SlotClock,
    guardrails: Guardrails,
) -> Truth:
    """Wraps a reference world, encoding its tables as a fitted policy knows them; nobody is held out."""
    catalogue = make_catalogue(world.contents, content_encoder, objective)
    population = make_population(world.users, user_encoder, catalogue.channels, clock.timezone, holdout=0.0)
    slots = objective.slots(clock)
    calendar = make_calendar(clock, population.zones, world.first_slot, slots + 1)
    return Truth(world, population, catalogue, clock, guardrails, world.first_slot, calendar)
