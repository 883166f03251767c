"""The learned market: customers whose answers come from a fitted model and whose clocks are rules.

Only responses are learned. History, calendar, consent and guardrails are the product's own definitions, so a
market's state is exactly what a replay of its log gives back.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from campaigns import history as past
from campaigns.audience import Catalogue, Population
from campaigns.clock import SlotClock
from campaigns.guardrails import Guardrails
from campaigns.history import HOLD, History
from campaigns.observation import Calendar, Observation, make_calendar, observe
from campaigns.rowwise import overwrite_rows
from envs.world import Outcome, happenings
from propensity.response import NOISE_COLUMNS, draw
from propensity.response_model import ResponseModel


@dataclass(frozen=True)
class MarketState:
    """N customers in the middle of an episode.

    Attributes:
        history: what is known of them.
        slot: the slot to be decided. Shape [N], int64.
        member: ensemble member in which each customer lives for the episode. Shape [N], int64.
        population: the N customers.
        projected: what their features contribute to the model's answers, computed once an episode.
    """

    history: History
    slot: Tensor
    member: Tensor
    population: Population
    projected: Tensor

    def __len__(self) -> int:
        return int(self.slot.shape[0])

    def take(self, rows: Tensor) -> MarketState:
        """The customers at `rows` [M], int64, each as often as it is named."""
        return MarketState(
            self.history.take(rows),
            self.slot[rows],
            self.member[rows],
            self.population.take(rows),
            self.projected[rows],
        )

    def overwrite(self, rows: Tensor, others: MarketState) -> None:
        """Puts `others` into `rows`; see `campaigns.rowwise`."""
        self.history.overwrite(rows, others.history)
        self.population.overwrite(rows, others.population)
        overwrite_rows(self, rows, others, ("slot", "member", "projected"))

    def tensors(self) -> dict[str, Any]:
        """Everything that `Market.restore` needs."""
        people = self.population
        return {
            "history": self.history.tensors(),
            "population": {n: getattr(people, n) for n in ("features", "zone", "consent", "holdout")},
            "slot": self.slot,
            "member": self.member,
            "projected": self.projected,
        }


@dataclass(frozen=True)
class Market:
    """A world made of one fitted model and a pool of customers.

    Attributes:
        model: the fitted model, of any family.
        pool: customers that episodes draw from, nobody held out.
        catalogue: the K contents.
        clock: the grid.
        guardrails: what a policy may do here, already narrowed by what the log supports.
        first_slot: slot in which an episode starts.
        calendar: the customers' clocks from `first_slot` on.
        pessimism: lambda: expectations (not draws) are worse by this many standard deviations between members:
            opt-outs more likely, everything else less; 0 in worlds that judge.
        start: histories of the pool's customers at an episode's start; nothing known by default.
    """

    model: ResponseModel
    pool: Population
    catalogue: Catalogue
    clock: SlotClock
    guardrails: Guardrails
    first_slot: int
    calendar: Calendar
    pessimism: float = 0.0
    start: History | None = None

    @property
    def noise_columns(self) -> int:
        """M, uniforms a customer and slot."""
        return NOISE_COLUMNS

    def to(self, device: torch.device | str) -> Market:
        """The same market on another device, where its episodes then live."""
        return replace(
            self,
            model=self.model.to(device),
            pool=self.pool.to(device),
            catalogue=self.catalogue.to(device),
            calendar=self.calendar.to(device),
            start=None if self.start is None else self.start.to(device),
        )

    def begin(self, customers: Tensor, *generators: torch.Generator) -> MarketState:
        """An episode's start for the pool's customers at `customers`; each is given one member at random."""
        device, each = customers.device, (len(customers) // len(generators),)
        drawn = [torch.randint(self.model.members, each, generator=one, device=one.device) for one in generators]
        member = torch.cat(drawn).to(device)
        people = self.pool.take(customers)
        history = (
            past.start(len(customers), self.catalogue, device) if self.start is None else self.start.take(customers)
        )
        slot = torch.full_like(customers, self.first_slot)
        return MarketState(history, slot, member, people, self.model.project_customers(people.features))

    def restore(self, stored: dict[str, Any]) -> MarketState:
        """The inverse of `MarketState.tensors`, for a state of this market."""
        people = Population(**stored["population"], zones=self.pool.zones)
        history = History.from_tensors(stored["history"])
        return MarketState(history, stored["slot"], stored["member"], people, stored["projected"])

    def population_of(self, state: MarketState) -> Population:
        """The N customers of the state."""
        return state.population

    def observe(self, state: MarketState) -> Observation:
        """What a policy may see before it decides."""
        return observe(
            state.history, state.slot, self.calendar, state.population, self.catalogue, self.clock, self.guardrails
        )

    def step(
        self, state: MarketState, decision: Tensor, noise: Tensor, seen: Observation | None = None
    ) -> tuple[MarketState, Outcome]:
        """One slot; see `envs.world.World.step`.

        Args:
            state, decision, noise: as there.
            seen: this state's observation, where the caller has it already.
        """
        seen = self.observe(state) if seen is None else seen
        content = (decision - 1).clamp(min=0)
        channel = self.catalogue.channel[content].unsqueeze(1)
        reachable = (state.population.consent & ~state.history.opted_out).gather(1, channel).squeeze(1)
        sent = (decision > HOLD) & reachable
        decision = torch.where(sent, decision, HOLD)

        response = self.model.respond(
            state.population.features,
            seen.state,
            self.catalogue.features.index_select(0, content),
            seen.candidate(content),
            sent,
            member=state.member,
            projected=state.projected,
        )
        drawn = draw(response, noise)
        expected_value = response.expected_value
        outcome = Outcome(
            drawn.opened,
            drawn.clicked,
            drawn.visited,
            drawn.purchased,
            drawn.unsubscribed,
            drawn.value,
            expected_value,
            response.opened,
            response.clicked,
            response.visited,
            response.purchase,
            response.unsubscribe,
        )
        if self.pessimism:
            outcome = self._doubted(outcome, state, seen, content, sent)
        history = past.record_decision(state.history, decision, state.slot, seen.daypart, self.catalogue)
        history = past.record_happenings(
            history, happenings(outcome, decision), state.slot, seen.daypart, self.catalogue
        )
        return replace(state, history=history, slot=state.slot + 1), outcome

    def _doubted(
        self, outcome: Outcome, state: MarketState, seen: Observation, content: Tensor, sent: Tensor
    ) -> Outcome:
        """The outcome with expectations lowered by `pessimism` times the members' standard deviation."""
        members = self.model.respond_members(
            state.population.features, seen.state, self.catalogue.features[content], seen.candidate(content), sent
        )

        def doubt(expected: Tensor, answers: Tensor, sign: float = -1.0) -> Tensor:
            return expected + sign * self.pessimism * answers.std(dim=1, correction=0)

        return replace(
            outcome,
            expected_value=doubt(outcome.expected_value, members.expected_value),
            expected_opened=doubt(outcome.expected_opened, members.opened).clamp(min=0.0),
            expected_clicked=doubt(outcome.expected_clicked, members.clicked).clamp(min=0.0),
            expected_visited=doubt(outcome.expected_visited, members.visited).clamp(min=0.0),
            expected_purchased=doubt(outcome.expected_purchased, members.purchase).clamp(min=0.0),
            expected_unsubscribed=doubt(outcome.expected_unsubscribed, members.unsubscribe, 1.0).clamp(max=1.0),
        )


def make_market(
    model: ResponseModel,
    pool: Population,
    catalogue: Catalogue,
    clock: SlotClock,
    guardrails: Guardrails,
    first_slot: int,
    slots: int,
    pessimism: float = 0.0,
    start: History | None = None,
) -> Market:
    """A market whose episodes run for at most `slots` slots from `first_slot`; see `Market` for the rest."""
    calendar = make_calendar(clock, pool.zones, first_slot, slots + 1, pool.features.device)
    return Market(model, pool.without_holdout(), catalogue, clock, guardrails, first_slot, calendar, pessimism, start)
