"""Whole logged sequences as tensors: what was seen, decided and earned in every slot, and what policies would decide.

One replay serves every estimator of a month: a policy is asked once a slot, whatever is done with its answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from campaigns.audience import Catalogue, Population
from campaigns.clock import SlotClock
from campaigns.grid import DecisionGrid
from campaigns.guardrails import Guardrails
from campaigns.history import HOLD
from campaigns.objective import Objective
from campaigns.replay import replay
from evaluation.offline import (
    LEAST_PROBABILITY,
    LogsDecisions,
    as_logged,
    known_slots,
    logged_rewards,
    outcome_known,
)
from policies.following import Decides, following
from propensity.response_model import ResponseModel
from propensity.rewards import expected_rewards

MEMORY_DAYS = 7
"""The longest count of recent sends among state features and caps."""


@dataclass(frozen=True)
class Sequences:
    """N customers over T slots. Histories are the state: what is seen depends on all that came before.

    Attributes:
        people: features of the customers. Shape [N, Fu].
        contents: features of the contents. Shape [K, Fx].
        state: state features. Shape [N, T, Fs].
        candidates: candidate-relative features. Shape [N, T, K, Fc].
        open: share of the contents that the log's own eligibility leaves. Shape [N, T].
        immediate: a model's expected reward of every decision in its own slot. Shape [N, T, 1 + K].
        action: HOLD or 1 + content index. Shape [N, T], int64.
        reward: in the objective's unit, 0 where not known. Shape [N, T].
        logged_prob: of the decision taken. Shape [N, T].
        known: slots before the customer's first that is missing or unlabelled. Shape [N, T], bool.
        target: by policy, its probabilities. Shape [N, T, 1 + K] each.
        horizon: slots over which value is counted, H; T may be shorter or longer.
        group: of customers who are drawn together, such as a household; None where each stands alone. Shape [N].
        memory: slots over which counts, and with them caps and features, remember what was decided; 0 = not known.
    """

    people: Tensor
    contents: Tensor
    state: Tensor
    candidates: Tensor
    open: Tensor
    immediate: Tensor
    action: Tensor
    reward: Tensor
    logged_prob: Tensor
    known: Tensor
    target: dict[str, Tensor]
    horizon: int
    group: Tensor | None = None
    memory: int = 0

    @property
    def units(self) -> Tensor:
        """What intervals draw and folds hold as one: groups, or else single customers. Shape [N], int64."""
        return torch.arange(len(self)) if self.group is None else self.group

    def __len__(self) -> int:
        return int(self.action.shape[0])

    def take(self, rows: Tensor) -> Sequences:
        """The customers at `rows` (int64 or bool mask), in that order."""
        parts = {
            name: getattr(self, name)[rows]
            for name in ("people", "state", "candidates", "open", "immediate", "action", "reward", "logged_prob")
        }
        target = {name: chances[rows] for name, chances in self.target.items()}
        group = None if self.group is None else self.group[rows]
        return replace(self, **parts, known=self.known[rows], target=target, group=group)

    def weights(self, name: str) -> Tensor:
        """pi / mu of what was decided; 1 where nothing is known. Shape [N, T]."""
        chosen = self.target[name].gather(2, self.action.unsqueeze(2)).squeeze(2)
        return torch.where(self.known, chosen / self.logged_prob, 1.0)


@torch.no_grad()
def collect_sequences(
    grid: DecisionGrid,
    population: Population,
    catalogue: Catalogue,
    clock: SlotClock,
    guardrails: Guardrails,
    objective: Objective,
    policies: Mapping[str, Decides],
    model: ResponseModel,
    logging_policy: LogsDecisions,
    progress: Callable[[int], None] | None = None,
    first: int = 0,
    horizon: int | None = None,
) -> Sequences:
    """Replays a log over a horizon, by default the objective's, and asks every policy in every slot.

    Arguments as of `evaluation.offline.collect_slots`; `model` must not have seen these customers. `horizon` is in
    slots. Memory: about 4 (Fs + K Fc + (1 + policies) (1 + K)) bytes a customer and slot.
    """
    horizon = objective.slots(clock) if horizon is None else horizon
    slots = min(horizon, grid.slots - first)
    part = grid.columns(first, slots)
    size, contents = len(population), len(catalogue)
    action = torch.from_numpy(np.clip(part.decision.astype(np.int64), HOLD, contents))
    logged_prob = torch.from_numpy(part.action_prob.astype(np.float32).copy())
    known = torch.from_numpy(known_slots(part, contents, slots))
    opened = torch.zeros(size, slots)
    immediate = torch.zeros(size, slots, 1 + contents)
    target = {name: torch.zeros(size, slots, 1 + contents) for name in policies}
    state, candidates = None, None
    asking = {name: following(policy) for name, policy in policies.items()}
    for step in replay(grid, population.without_holdout(), catalogue, clock, guardrails=guardrails):
        column = step.column - first
        if column >= slots:
            break
        if column < 0:
            continue
        seen = step.observation
        logged = as_logged(seen, part.eligible[:, column])
        if state is None or candidates is None:
            state = torch.zeros(size, slots, seen.state.shape[1])
            candidates = torch.zeros(size, slots, *seen.candidates.shape[1:])
        state[:, column], candidates[:, column] = seen.state, seen.candidates
        opened[:, column] = logged.allowed[:, 1:].float().mean(dim=1)
        immediate[:, column] = expected_rewards(model, seen, objective)
        for name, policy in asking.items():
            chances = policy.probabilities_of(seen)
            target[name][:, column] = chances / chances.sum(dim=1, keepdim=True)
        missing = known[:, column] & logged_prob[:, column].isnan()
        if bool(missing.any()):
            own = logging_policy.probabilities(logged).gather(1, action[:, column : column + 1]).squeeze(1)
            logged_prob[:, column] = torch.where(missing, own.clamp(LEAST_PROBABILITY, 1.0), logged_prob[:, column])
        if progress is not None:
            progress(column + 1)
    assert state is not None
    assert candidates is not None
    logged_prob = torch.where(known, logged_prob, 1.0)
    reward = torch.from_numpy(logged_rewards(part, catalogue, objective, slots)).float()
    # A field set aside is not a 0: the prediction for what was decided leaves the estimate where it would be.
    taken = immediate.gather(2, action.unsqueeze(2)).squeeze(2)
    reward = torch.where(torch.from_numpy(outcome_known(part, objective, slots)), reward, taken)
    reward = torch.where(known, reward, 0.0)
    return Sequences(
        population.features, catalogue.features, state, candidates, opened, immediate, action, reward, logged_prob,
        known, target, horizon, population.group, clock.slots_in(MEMORY_DAYS),
    )  # fmt: skip
