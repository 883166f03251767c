"""A log as a learner of values reads it: every logged state with all decisions that were open in it.

Nothing here asks a model or a market: states, decisions and rewards are the log's own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from campaigns.audience import Catalogue, Population
from campaigns.clock import DAYPARTS, SlotClock
from campaigns.errors import CampaignError
from campaigns.features import STATE_FEATURES, candidate_names
from campaigns.grid import DecisionGrid
from campaigns.guardrails import Guardrails
from campaigns.history import ABSENT, HOLD
from campaigns.objective import Objective
from campaigns.replay import replay
from evaluation.offline import logged_rewards, outcome_known

FIRST_DAYPART = STATE_FEATURES.index(DAYPARTS[0])
BYTES = 4
"""Of a float32."""


@dataclass(frozen=True)
class LoggedStates:
    """N customers over T slots. Histories are the state: what is seen depends on all that came before.

    Memory: about 4 (Fs + K Fc) + K + 13 bytes a customer and slot, in `collect_states` and on the device.

    Attributes:
        people: features of the customers. Shape [N, Fu].
        contents: features of the contents. Shape [K, Fx].
        state: state features. Shape [N, T, Fs].
        candidates: candidate-relative features. Shape [N, T, K, Fc].
        allowed: decisions that the guardrails and the log's eligibility left. Shape [N, T, 1 + K], bool.
        decision: HOLD or 1 + content index. Shape [N, T], int64.
        reward: in the objective's unit, 0 where not known. Shape [N, T].
        usable: slots whose decision and outcome are known. Shape [N, T], bool.
    """

    people: Tensor
    contents: Tensor
    state: Tensor
    candidates: Tensor
    allowed: Tensor
    decision: Tensor
    reward: Tensor
    usable: Tensor

    def __len__(self) -> int:
        return int(self.decision.shape[0])

    @property
    def onward(self) -> Tensor:
        """Usable slots whose next slot is usable too. Shape [N, T], bool."""
        onward = torch.zeros_like(self.usable)
        onward[:, :-1] = self.usable[:, :-1] & self.usable[:, 1:]
        return onward

    @property
    def daypart(self) -> Tensor:
        """The customers' own daypart, 0..3. Shape [N, T], int64."""
        return self.state[..., FIRST_DAYPART : FIRST_DAYPART + len(DAYPARTS)].argmax(dim=-1)

    def to(self, device: torch.device | str) -> LoggedStates:
        """The same log on another device."""
        return LoggedStates(**{f.name: getattr(self, f.name).to(device) for f in fields(self)})


def discount(objective: Objective, clock: SlotClock, gamma: float) -> float:
    """What a unit of value a slot later counts for.

    Who serves a policy cannot know how much of a horizon is left, so no served value depends on it. With
    `terminal=zero` the world therefore ends after each slot with chance 1 / H, which on average is after H slots;
    with `continue` it goes on, and `gamma` alone counts.
    """
    goes_on = 1.0 - 1.0 / objective.slots(clock) if objective.terminal == "zero" else 1.0
    return gamma * goes_on


def customers_within(memory_gib: float, slots: int, contents: int, told: int, beside: int = 0) -> int:
    """Customers whose log of `slots` slots and K `contents` takes no more than `memory_gib`; at least two.

    `told`: candidate-relative features of each content. `beside`: numbers that the learner keeps of each slot besides.
    """
    a_slot = BYTES * (len(STATE_FEATURES) + contents * told + beside) + contents + 14
    return max(2, int(memory_gib * 2**30 / (a_slot * slots)))


@torch.no_grad()
def collect_states(
    grid: DecisionGrid,
    population: Population,
    catalogue: Catalogue,
    clock: SlotClock,
    guardrails: Guardrails,
    objective: Objective,
    memory_gib: float,
    seed: int,
    beside: int = 0,
    progress: Callable[[int], None] | None = None,
) -> LoggedStates:
    """Replays a log and keeps every slot of it.

    Args:
        grid, population, catalogue, clock: of one log.
        guardrails: within which the policy will serve: its values look ahead to nothing that they forbid.
        objective: what counts.
        memory_gib: what the log may take; of customers beyond it a part is left out at random.
        seed: of that part.
        beside: numbers that the learner keeps of each slot besides; they count too.
        progress: called with slots done.
    Raises:
        CampaignError: where no decision has a known outcome.
    """
    told = len(candidate_names(catalogue.tells_channels))
    room = customers_within(memory_gib, grid.slots, len(catalogue), told, beside)
    if room < len(population):
        order = np.random.default_rng(seed).permutation(len(population))
        kept = np.sort(order[:room])
        grid, population = grid.take(kept), population.take(torch.from_numpy(kept))
    contents, shape = len(catalogue), (len(population), grid.slots)
    state = torch.zeros(*shape, len(STATE_FEATURES))
    candidates = torch.zeros(*shape, contents, told)
    allowed = torch.zeros(*shape, 1 + contents, dtype=torch.bool)
    for step in replay(grid, population.without_holdout(), catalogue, clock, guardrails=guardrails):
        seen, column = step.observation, step.column
        state[:, column], candidates[:, column], allowed[:, column] = seen.state, seen.candidates, seen.allowed
        if progress is not None:
            progress(column + 1)
    usable = (grid.decision != ABSENT) & (grid.decision <= contents) & grid.labelled
    usable &= outcome_known(grid, objective, grid.slots)
    if not usable.any():
        raise CampaignError(
            f"decisions: no row has a known {objective.outcome}, so there is nothing to learn from the log alone; "
            "leave cql and fqi out of the panel."
        )
    reward = np.where(usable, logged_rewards(grid, catalogue, objective, grid.slots), 0.0)
    decision = np.clip(grid.decision.astype(np.int64), HOLD, contents)
    return LoggedStates(
        population.features, catalogue.features, state, candidates, allowed, torch.from_numpy(decision),
        torch.from_numpy(reward).float(), torch.from_numpy(usable),
    )  # fmt: skip
