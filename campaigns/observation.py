"""What a policy may look at before it decides: the same for replay, market, training and serving."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from campaigns.audience import Catalogue, Population
from campaigns.clock import SlotClock, local_calendar
from campaigns.features import candidate_features, daypart_of, state_features
from campaigns.guardrails import Guardrails, allowed_decisions
from campaigns.history import History


@dataclass(frozen=True)
class Calendar:
    """The customers' clocks as tensors.

    Attributes:
        first_slot: slot number of column 0.
        minute: local minute of the day at each slot's start. Shape [Z, T], int64.
        weekday: local day of the week, Monday = 0. Shape [Z, T], int64.
    """

    first_slot: int
    minute: Tensor
    weekday: Tensor

    def to(self, device: torch.device | str) -> Calendar:
        """The same clocks on another device."""
        return replace(self, minute=self.minute.to(device), weekday=self.weekday.to(device))

    def at(self, zone: Tensor, slot: Tensor) -> tuple[Tensor, Tensor]:
        """Local minute and weekday of customers in `zone` [N] at `slot` [N]; each of shape [N]."""
        column = slot - self.first_slot
        return self.minute[zone, column], self.weekday[zone, column]


@dataclass(frozen=True)
class Observation:
    """N customers and K contents just before a decision.

    Attributes:
        clock: the grid.
        population: the N customers.
        catalogue: the K contents.
        history: what is known of each customer.
        slot: slot of the decision. Shape [N], int64.
        minute, weekday: the customers' own clocks. Shape [N], int64.
        allowed: decisions that the guardrails leave. Shape [N, 1 + K], bool, column 0 (hold) always true.
        carried: what the policy itself carries for each customer from slot to slot, such as the week's plan. Shape
            [N, C], int64; None where it carries nothing.
    """

    clock: SlotClock
    population: Population
    catalogue: Catalogue
    history: History
    slot: Tensor
    minute: Tensor
    weekday: Tensor
    allowed: Tensor
    carried: Tensor | None = None

    def __len__(self) -> int:
        return int(self.slot.shape[0])

    @property
    def daypart(self) -> Tensor:
        """The customers' own daypart, 0..3. Shape [N], int64."""
        return daypart_of(self.minute)

    @cached_property
    def state(self) -> Tensor:
        """State features. Shape [N, Fs], float32."""
        return state_features(self.history, self.slot, self.minute, self.weekday, self.clock.slot_hours)

    @cached_property
    def candidates(self) -> Tensor:
        """Candidate-relative features of every content. Shape [N, K, Fc], float32."""
        turned = self._candidates.flatten(0, 1).t().contiguous()
        return turned.view(len(self), len(self.catalogue), -1)

    @cached_property
    def candidate_range(self) -> Tensor:
        """Mean, maximum and minimum of each candidate feature over the contents. Shape [N, 3 Fc], float32."""
        return torch.cat([self._candidates.mean(0), self._candidates.amax(0), self._candidates.amin(0)]).t()

    @cached_property
    def _candidates(self) -> Tensor:
        """As `candidates`, with customers last. Shape [K, Fc, N]."""
        return candidate_features(self.history, self.slot, self.catalogue, self.clock.slot_hours)

    def candidate(self, content: Tensor) -> Tensor:
        """Candidate-relative features of one content index a customer ([N], int64). Shape [N, Fc], float32."""
        if "candidates" in vars(self):
            return self.candidates[torch.arange(len(self), device=content.device), content]
        found = candidate_features(self.history, self.slot, self.catalogue, self.clock.slot_hours, content)
        return found.squeeze(0).t().contiguous()


def make_calendar(
    clock: SlotClock, zones: tuple[str, ...], first_slot: int, slots: int, device: torch.device | str = "cpu"
) -> Calendar:
    """Local time for `slots` slots from `first_slot` in each of Z zones."""
    local = local_calendar(clock, zones, first_slot, slots)
    return Calendar(first_slot, torch.from_numpy(local.minute).to(device), torch.from_numpy(local.weekday).to(device))


def observe(
    history: History,
    slot: Tensor,
    calendar: Calendar,
    population: Population,
    catalogue: Catalogue,
    clock: SlotClock,
    guardrails: Guardrails,
    eligible: Tensor | None = None,
) -> Observation:
    """What can be seen at `slot` [N] before the decision; see `Observation` and `allowed_decisions`."""
    minute, weekday = calendar.at(population.zone, slot)
    allowed = allowed_decisions(guardrails, history, slot, minute, population, catalogue, clock, eligible)
    return Observation(clock, population, catalogue, history, slot, minute, weekday, allowed)
