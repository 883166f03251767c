"""The reference truth behind the same face as the learned market: what a policy sees is the product's history."""

from __future__ import annotations

from dataclasses import dataclass, replace

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
from envs.reference.market import TruthState
from envs.reference.world import ReferenceWorld
from envs.world import SlotOutcome, happenings


@dataclass(frozen=True)
class ObservedState:
    """The truth's own state, and what an observer knows of it.

    Attributes:
        truth: latent state of the reference market.
        history: what is known of the customers.
        slot: the slot to be decided. Shape [N], int64.
    """

    truth: TruthState
    history: History
    slot: Tensor


@dataclass(frozen=True)
class Truth:
    """A reference world as policies see it. All its customers take part in every episode.

    Attributes:
        world: the written-down truth.
        population, catalogue: its customers and contents, encoded as the policy knows them.
        clock: the grid.
        guardrails: what a policy may do.
        first_slot: slot in which an episode starts.
        calendar: the customers' clocks.
    """

    world: ReferenceWorld
    population: Population
    catalogue: Catalogue
    clock: SlotClock
    guardrails: Guardrails
    first_slot: int
    calendar: Calendar

    @property
    def noise_columns(self) -> int:
        """M, uniforms a customer and slot."""
        return self.world.noise_columns

    def begin(self, customers: Tensor, generator: torch.Generator) -> ObservedState:
        """An episode's start; `customers` must be all of them, in order (the truth's people are one draw)."""
        if len(customers) != len(self.population):
            raise ValueError(f"the truth holds {len(self.population)} customers, asked for {len(customers)}")
        slot = torch.full((len(self.population),), self.first_slot, dtype=torch.int64)
        return ObservedState(self.world.initial_state(), past.start(len(self.population), self.catalogue), slot)

    def population_of(self, state: ObservedState) -> Population:
        """The N customers."""
        return self.population

    def observe(self, state: ObservedState) -> Observation:
        """What a policy may see before it decides."""
        return observe(
            state.history, state.slot, self.calendar, self.population, self.catalogue, self.clock, self.guardrails
        )

    def step(
        self, state: ObservedState, decision: Tensor, noise: Tensor, seen: Observation | None = None
    ) -> tuple[ObservedState, SlotOutcome]:
        """One slot; see `envs.world.World.step`."""
        seen = self.observe(state) if seen is None else seen
        reachable = (self.population.consent & ~state.history.opted_out)[:, self.catalogue.channel]
        sent = (decision > HOLD) & reachable.gather(1, (decision - 1).clamp(min=0).unsqueeze(1)).squeeze(1)
        decision = torch.where(sent, decision, HOLD)
        truth, outcome = self.world.step(state.truth, decision, noise)
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
