"""Small Markov decision processes whose values are sums of matrix products, and logs that they write."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from evaluation.fqe import LoggedFeatures
from evaluation.reward_model import customer_folds


@dataclass(frozen=True)
class MarkovWorld:
    """S states and A decisions.

    Attributes:
        start: Shape [S].
        moves: probability of the next state. Shape [S, A, S].
        rewards: mean. Shape [S, A].
        noise: standard deviation of rewards.
    """

    start: np.ndarray
    moves: np.ndarray
    rewards: np.ndarray
    noise: float = 1.0

    def value(self, policy: np.ndarray, horizon: int) -> float:
        """Expected sum of rewards of a policy [S, A] over a horizon, exactly."""
        to_go = np.zeros(len(self.start))
        for _ in range(horizon):
            to_go = (policy * (self.rewards + self.moves @ to_go)).sum(axis=1)
        return float(self.start @ to_go)

    def log(self, policy: np.ndarray, customers: int, slots: int, seed: int) -> tuple[np.ndarray, ...]:
        """States, decisions and rewards of a policy. Shapes [N, T]."""
        generator = np.random.default_rng(seed)
        state = generator.choice(len(self.start), size=customers, p=self.start)
        states, actions, rewards = [], [], []
        for _ in range(slots):
            action = _draw(policy[state], generator)
            states.append(state)
            actions.append(action)
            rewards.append(self.rewards[state, action] + self.noise * generator.normal(size=customers))
            state = _draw(self.moves[state, action], generator)
        return tuple(np.stack(part, axis=1) for part in (states, actions, rewards))


def tired_world() -> MarkovWorld:
    """Four degrees of tiredness; sending earns while rested and tires, holding rests. What is done is remembered."""
    moves = np.zeros((4, 2, 4))
    for state in range(4):
        moves[state, 0, max(state - 1, 0)] = 0.7
        moves[state, 0, state] += 0.3
        moves[state, 1, min(state + 1, 3)] = 0.9
        moves[state, 1, state] += 0.1
    rewards = np.array([[0.2, 2.0], [0.2, 1.0], [0.2, -0.5], [0.2, -2.0]])
    return MarkovWorld(np.array([0.7, 0.3, 0.0, 0.0]), moves, rewards)


LOGGER = np.array([[0.6, 0.4], [0.7, 0.3], [0.8, 0.2], [0.8, 0.2]])
TARGET = np.array([[0.2, 0.8], [0.6, 0.4], [0.9, 0.1], [0.9, 0.1]])


@dataclass(frozen=True)
class MarkovLog:
    """A log as estimators read it: features of what was taken, mean features of the target, weights."""

    log: LoggedFeatures
    expected: Tensor
    weights: Tensor
    states: np.ndarray
    actions: np.ndarray


def markov_log(
    world: MarkovWorld, customers: int, slots: int, seed: int, horizon: int | None = None, folds: int = 2,
    tabular: bool = True, known: np.ndarray | None = None,
) -> MarkovLog:  # fmt: skip
    """A log of LOGGER with features of TARGET: one column a state and decision, or the decision alone."""
    states, actions, rewards = world.log(LOGGER, customers, slots, seed)
    cells = np.eye(8)[:, 1:] if tabular else np.repeat([[0.0, 1.0]], 4, axis=0).reshape(8, 1)
    table = torch.from_numpy(np.concatenate([np.ones((8, 1)), cells], axis=1)).float()
    taken = table[torch.from_numpy(2 * states + actions)]
    chances = torch.from_numpy(TARGET[states]).float()
    both = torch.stack([table[torch.from_numpy(2 * states + a)] for a in range(2)], dim=2)
    expected = (chances.unsqueeze(3) * both).sum(dim=2)
    weights = TARGET[states, actions] / LOGGER[states, actions]
    mask = np.ones(states.shape, dtype=bool) if known is None else known
    fold = torch.from_numpy(customer_folds(np.arange(customers), folds, seed)) if folds > 1 else torch.zeros(customers)
    log = LoggedFeatures(
        taken, torch.from_numpy(np.where(mask, rewards, 0.0)).float(), torch.from_numpy(mask), horizon or slots,
        fold.long(), folds,
    )  # fmt: skip
    usable = torch.from_numpy(np.where(mask, weights, 1.0)).float()
    return MarkovLog(log, expected, usable, states, actions)


def _draw(chances: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    drawn: np.ndarray = (chances.cumsum(axis=1) < generator.random((len(chances), 1))).sum(axis=1)
    return np.minimum(drawn, chances.shape[1] - 1)
