"""What customers of whom no past is known would do: probabilities across members, and the effect of sending."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from campaigns import history as past
from campaigns.audience import Catalogue, Population
from campaigns.clock import SlotClock
from campaigns.guardrails import NO_GUARDRAILS
from campaigns.history import HOLD
from campaigns.observation import Observation, make_calendar, observe
from propensity.response_model import ResponseModel

ROWS_AT_ONCE = 16_384


@dataclass(frozen=True)
class Prediction:
    """Probabilities of a purchase in one slot. Members of all models in the last dimension, k together.

    Attributes:
        held: where nothing is sent. Shape [N, k].
        sent: for each content asked about. Shape [N, K, k].
    """

    held: Tensor
    sent: Tensor

    @property
    def effect(self) -> Tensor:
        """What sending changes: each member's own difference. Shape [N, K, k]."""
        return self.sent - self.held.unsqueeze(1)


@torch.no_grad()
def predict_cold(
    models: Sequence[ResponseModel],
    population: Population,
    catalogue: Catalogue,
    contents: Sequence[int],
    clock: SlotClock,
    slot: int,
) -> Prediction:
    """Asks models about customers without a history.

    Args:
        models: fitted with the same encoders; their members count alike.
        population: N customers.
        catalogue: contents as the models know them.
        contents: index of each content to ask about.
        clock, slot: when.
    """
    calendar = make_calendar(clock, population.zones, slot, 1)
    held, sent = [], []
    for begin in range(0, len(population), ROWS_AT_ONCE):
        people = population.take(torch.arange(begin, min(begin + ROWS_AT_ONCE, len(population))))
        now = torch.full((len(people),), slot, dtype=torch.int64)
        nothing = past.start(len(people), catalogue)
        seen = observe(nothing, now, calendar, people, catalogue, clock, NO_GUARDRAILS)

        def ask(decision: int, people: Population = people, seen: Observation = seen) -> Tensor:
            content = torch.full((len(people),), max(decision - 1, 0), dtype=torch.int64)
            sends = torch.full((len(people),), decision > HOLD)
            gate = sends.unsqueeze(1)
            attributes, candidate = catalogue.features[content] * gate, seen.candidate(content) * gate
            parts = [m.respond_members(people.features, seen.state, attributes, candidate, sends) for m in models]
            return torch.cat([part.purchase for part in parts], dim=1)

        held.append(ask(HOLD))
        each = [ask(1 + content) for content in contents]
        sent.append(torch.stack(each, dim=1) if each else held[-1].new_zeros(len(people), 0, held[-1].shape[1]))
    return Prediction(torch.cat(held), torch.cat(sent))
