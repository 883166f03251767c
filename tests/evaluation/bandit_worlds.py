"""Worlds of which every policy's value is known exactly: a bandit, and a chain of a few slots."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evaluation.estimators import LoggedDecisions, LoggedSequences


@dataclass(frozen=True)
class BanditWorld:
    """Contexts are uniform, rewards Bernoulli.

    Attributes:
        mean: P(reward) by context and decision. Shape [C, 1 + K].
        logging, target: probabilities by context. Shape [C, 1 + K].
    """

    mean: np.ndarray
    logging: np.ndarray
    target: np.ndarray

    @property
    def value(self) -> float:
        """Of the target policy."""
        return float((self.target * self.mean).sum(axis=1).mean())

    @property
    def logging_value(self) -> float:
        return float((self.logging * self.mean).sum(axis=1).mean())

    def log(self, rows: int, generator: np.random.Generator) -> tuple[LoggedDecisions, np.ndarray]:
        """A log of one row a customer, and its contexts."""
        context = generator.integers(0, len(self.mean), rows)
        action = (generator.random(rows)[:, None] > self.logging[context].cumsum(axis=1)[:, :-1]).sum(axis=1)
        reward = (generator.random(rows) < self.mean[context, action]).astype(np.float64)
        return LoggedDecisions(np.arange(rows), action, reward, self.logging[context, action]), context


def bandit_world(seed: int = 0, contexts: int = 8, decisions: int = 4) -> BanditWorld:
    generator = np.random.default_rng(seed)
    return BanditWorld(
        generator.uniform(0.05, 0.6, (contexts, decisions)),
        0.5 * generator.dirichlet(np.ones(decisions), contexts) + 0.5 / decisions,
        generator.dirichlet(np.ones(decisions), contexts),
    )


@dataclass(frozen=True)
class ChainWorld:
    """Two states, three decisions, H slots; the decision moves the state, so that slots depend on earlier ones.

    Attributes:
        mean: reward by state and decision. Shape [2, 3].
        move: P(next state is 1) by state and decision. Shape [2, 3].
        logging, target: probabilities by state. Shape [2, 3].
        slots: H.
    """

    mean: np.ndarray
    move: np.ndarray
    logging: np.ndarray
    target: np.ndarray
    slots: int = 3

    def action_values(self) -> np.ndarray:
        """Q of the target policy by backward induction. Shape [H, 2, 3]."""
        values, ahead = [], np.zeros(2)
        for _ in range(self.slots):
            q = self.mean + (1 - self.move) * ahead[0] + self.move * ahead[1]
            ahead = (self.target * q).sum(axis=1)
            values.append(q)
        return np.stack(values[::-1])

    @property
    def value(self) -> float:
        """Of the target policy from state 0."""
        return float((self.target[0] * self.action_values()[0, 0]).sum())

    def log(self, customers: int, generator: np.random.Generator) -> tuple[LoggedSequences, np.ndarray]:
        """A log, and the states that it passed. Shape [N, H]."""
        state = np.zeros(customers, dtype=np.int64)
        actions, rewards, probs, states = [], [], [], []
        for _ in range(self.slots):
            action = (generator.random(customers)[:, None] > self.logging[state].cumsum(axis=1)[:, :-1]).sum(axis=1)
            states.append(state)
            actions.append(action)
            rewards.append(self.mean[state, action] + generator.normal(0, 0.5, customers))
            probs.append(self.logging[state, action])
            state = (generator.random(customers) < self.move[state, action]).astype(np.int64)
        stacked = [np.stack(part, axis=1) for part in (actions, rewards, probs, states)]
        return LoggedSequences(*stacked[:3], np.ones((customers, self.slots), dtype=bool)), stacked[3]


def chain_world() -> ChainWorld:
    return ChainWorld(
        mean=np.array([[0.2, 1.0, 0.4], [0.1, 0.3, 1.5]]),
        move=np.array([[0.2, 0.6, 0.8], [0.9, 0.5, 0.1]]),
        logging=np.array([[0.4, 0.3, 0.3], [0.3, 0.4, 0.3]]),
        target=np.array([[0.1, 0.3, 0.6], [0.6, 0.2, 0.2]]),
    )


def z_score(estimates: np.ndarray, truth: float) -> float:
    """Distance of the mean of replications from the truth, in its standard errors."""
    return float((np.mean(estimates) - truth) / (np.std(estimates, ddof=1) / len(estimates) ** 0.5))
