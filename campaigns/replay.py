"""Replays a log through the history: the rows that networks learn from, with states as they were at the time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from campaigns import history as past
from campaigns.audience import Catalogue, Population
from campaigns.clock import SlotClock
from campaigns.grid import DecisionGrid
from campaigns.guardrails import NO_GUARDRAILS, Guardrails
from campaigns.history import ABSENT, HOLD, Happenings, History
from campaigns.observation import Observation, make_calendar, observe

BINARY_OUTCOMES = ("opened", "clicked", "visited", "purchased", "unsubscribed")


@dataclass(frozen=True)
class ReplayStep:
    """One slot of a log, all customers at once.

    Attributes:
        column: of the grid.
        observation: what was known before the decision, and what guardrails and the log's eligibility allowed.
        decision: ABSENT, HOLD or 1 + content index. Shape [N], int64.
    """

    column: int
    observation: Observation
    decision: Tensor


@dataclass(frozen=True)
class DecisionRows:
    """R decisions as a network sees them.

    Attributes:
        customer: row of the population. Shape [R], int64.
        slot: when. Shape [R], int64.
        decision: HOLD or 1 + content index. Shape [R], int64.
        state: state features. Shape [R, Fs], float32.
        candidate: candidate features of the content sent, 0 on hold. Shape [R, Fc], float32.
        outcomes: attributed outcomes by name, NaN where unknown. Shape [R] each, float32.
        weight: how many rows of the log each stands for (holds are subsampled). Shape [R], float32.
        one_shot: whether their log decides on every customer once.
    """

    customer: Tensor
    slot: Tensor
    decision: Tensor
    state: Tensor
    candidate: Tensor
    outcomes: dict[str, Tensor]
    weight: Tensor
    one_shot: bool = False

    def __len__(self) -> int:
        return int(self.customer.shape[0])

    def take(self, rows: Tensor) -> DecisionRows:
        """The rows at `rows` (int64 or bool mask)."""
        return DecisionRows(
            self.customer[rows],
            self.slot[rows],
            self.decision[rows],
            self.state[rows],
            self.candidate[rows],
            {name: values[rows] for name, values in self.outcomes.items()},
            self.weight[rows],
            self.one_shot,
        )


def replay(
    grid: DecisionGrid,
    population: Population,
    catalogue: Catalogue,
    clock: SlotClock,
    history: History | None = None,
    respect_eligible: bool = True,
    guardrails: Guardrails = NO_GUARDRAILS,
) -> Iterator[ReplayStep]:
    """Goes through a log slot by slot.

    Args:
        grid: N customers by T slots.
        population, catalogue, clock: of the same log.
        history: what was known before the log; nothing by default.
        guardrails: that the observations' masks respect, besides consent and opt-out.
        respect_eligible: whether what the log calls ineligible is masked in the observations.
    Yields:
        What was known before each slot's decisions, and the decisions. Memory: one slot.
    """
    state = past.start(len(population), catalogue) if history is None else history
    calendar = make_calendar(clock, population.zones, grid.first_slot, grid.decision.shape[1])
    nobody = torch.zeros(len(population), dtype=torch.bool)
    for column in range(grid.decision.shape[1]):
        slot = torch.full((len(population),), grid.first_slot + column, dtype=torch.int64)
        eligible = torch.from_numpy(grid.eligible[:, column].copy()) if respect_eligible else None
        decision = torch.from_numpy(grid.decision[:, column].astype(np.int64))
        seen = observe(state, slot, calendar, population, catalogue, clock, guardrails, eligible)
        yield ReplayStep(column, seen, decision)
        state = past.record_decision(state, decision, slot, seen.daypart, catalogue)
        flags = {
            name: torch.from_numpy(grid.happened[name][:, column].copy()) if name in grid.happened else nobody
            for name in BINARY_OUTCOMES
        }
        content = decision.clamp(min=HOLD)
        for name in ("purchased", "clicked", "opened"):
            if name in grid.happened_content:
                credited = torch.from_numpy(grid.happened_content[name][:, column].astype(np.int64))
                content = torch.where(credited > HOLD, credited, content)
        left = flags["unsubscribed"]
        if "unsubscribed" in grid.happened_content and bool(left.any()):
            # An opt-out closes the channel of its own content, whatever else happened in the slot.
            own = torch.from_numpy(grid.happened_content["unsubscribed"][:, column].astype(np.int64))
            alone = {name: left if name == "unsubscribed" else nobody for name in flags}
            state = past.record_happenings(state, Happenings(**alone, content=own), slot, seen.daypart, catalogue)
            flags["unsubscribed"] = nobody
        state = past.record_happenings(state, Happenings(**flags, content=content), slot, seen.daypart, catalogue)


def history_before(
    grid: DecisionGrid, population: Population, catalogue: Catalogue, clock: SlotClock, column: int
) -> History:
    """What is known of every customer before the slot in a column of the grid; after its last slot, at its end.

    Args:
        grid, population, catalogue, clock: of one log.
        column: of the grid, from 0; slots after the grid's last add nothing.
    """
    if column <= 0:
        return past.start(len(population), catalogue)
    before = grid.columns(0, min(column, grid.slots))
    nothing = np.full((len(population), 1), ABSENT, dtype=before.decision.dtype)
    # One empty slot more, so that what the last one brought is recorded before it is looked at.
    ended = replace(
        before,
        decision=np.concatenate([before.decision, nothing], axis=1),
        eligible=np.pad(before.eligible, ((0, 0), (0, 1))),
        happened={name: np.pad(values, ((0, 0), (0, 1))) for name, values in before.happened.items()},
        happened_content={name: np.pad(values, ((0, 0), (0, 1))) for name, values in before.happened_content.items()},
    )
    for step in replay(ended, population, catalogue, clock):
        state = step.observation.history
    return state


def decision_rows(
    grid: DecisionGrid,
    population: Population,
    catalogue: Catalogue,
    clock: SlotClock,
    hold_share: float = 0.1,
    seed: int = 0,
) -> DecisionRows:
    """The log's labelled decisions with the states in which they were taken.

    Every send and every hold with an outcome is kept; of the other holds a share, weighted up, so that weighted
    sums are unbiased.

    Args:
        grid, population, catalogue, clock: of one log.
        hold_share: share of the uneventful holds that is kept.
        seed: of the subsampling.
    """
    generator = np.random.default_rng(seed)
    parts: list[DecisionRows] = []
    for step in replay(grid, population, catalogue, clock):
        decision = step.decision.numpy()
        outcomes = {name: table[:, step.column] for name, table in grid.outcomes.items()}
        eventful = np.zeros(len(decision), dtype=bool)
        for values in outcomes.values():
            eventful |= np.nan_to_num(values) != 0
        thinned = (decision == HOLD) & ~eventful
        kept = (decision != ABSENT) & grid.labelled[:, step.column]
        kept &= ~thinned | (generator.random(len(decision)) < hold_share)
        rows = torch.from_numpy(np.flatnonzero(kept))
        if not len(rows):
            continue
        seen, sent = step.observation, step.decision[rows] > HOLD
        candidate = seen.candidate((step.decision - 1).clamp(min=0))[rows] * sent.unsqueeze(1)
        weight = torch.where(torch.from_numpy(thinned)[rows], 1.0 / hold_share, 1.0)
        parts.append(
            DecisionRows(
                rows,
                seen.slot[rows],
                step.decision[rows],
                seen.state[rows],
                candidate,
                {name: torch.from_numpy(values[kept].astype(np.float32)) for name, values in outcomes.items()},
                weight,
            )
        )
    return DecisionRows(
        torch.cat([p.customer for p in parts]),
        torch.cat([p.slot for p in parts]),
        torch.cat([p.decision for p in parts]),
        torch.cat([p.state for p in parts]),
        torch.cat([p.candidate for p in parts]),
        {name: torch.cat([p.outcomes[name] for p in parts]) for name in parts[0].outcomes},
        torch.cat([p.weight for p in parts]),
        grid.is_one_shot,
    )
