"""The neural-linear bandit (Riquelme, Tucker and Snoek 2018), batched."""

from __future__ import annotations

import torch
from torch import Tensor

from agents.bandit_lessons import STREAM, learn_bandit
from agents.bandit_settings import NeuralLinearSettings
from agents.lesson import Lesson
from agents.ridge import RidgeStatistics
from campaigns.audience import Catalogue, Population
from campaigns.features import STATE_FEATURES, candidate_names
from campaigns.observation import Observation
from policies.chooser import best_allowed
from policies.neural_linear import (
    NeuralLinearVotes,
    RewardNetwork,
    RewardNetworkSpec,
    decided_inputs,
    network_inputs,
)

LEAST_DECISIONS = 256
"""Decisions below which the network is not trained yet."""


class NeuralLinear:
    """Acts by Thompson sampling on a network's last layer; the network is trained anew on all that was seen, and the
    regression on its last layer with it, every `train_slots` slots.

    Args:
        people, catalogue: whose sizes the network takes.
        settings: how it learns.
        seed: of weights and minibatches.
    """

    def __init__(self, people: Population, catalogue: Catalogue, settings: NeuralLinearSettings, seed: int) -> None:
        self.settings = settings
        self.generator = torch.Generator().manual_seed(seed + STREAM)
        moment = people.features.shape[1] + len(STATE_FEATURES)
        send = catalogue.features.shape[1] + len(candidate_names(catalogue.tells_channels))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed + STREAM)
            self.network = RewardNetwork(RewardNetworkSpec(moment, send, settings.width, settings.last))
        self.head = RidgeStatistics(settings.last + 1, settings.ridge)
        self.seen: list[tuple[Tensor, Tensor, Tensor]] = []
        self.untrained = 0

    def describe(self, seen: Observation, decision: Tensor) -> Tensor:
        """Inputs of the network for what was decided. Shape [N, 2 Fm + 1 + Fx]."""
        return decided_inputs(seen, decision)

    def decide(self, seen: Observation, generator: torch.Generator) -> Tensor:
        """The best by each customer's own draw from the posterior. Shape [N], int64."""
        drawn = self.head.draws(len(seen), self.settings.scale, generator)
        scores = torch.einsum("nkd,nd->nk", self.network.features(*network_inputs(seen)), drawn)
        return best_allowed(scores, seen.allowed)

    def update(self, features: Tensor, reward: Tensor, weight: Tensor | None = None) -> None:
        """Adds B decisions; the network itself changes in `renew` alone."""
        weights = torch.ones_like(reward) if weight is None else weight
        self.seen.append((features, reward, weights))
        self.untrained += 1
        self.head.update(self._last_layer(features), reward, weights)

    def renew(self) -> None:
        """Trains the network on all that was seen, where there is enough of it that is new."""
        decisions = sum(len(reward) for _, reward, _ in self.seen)
        first = self.untrained == len(self.seen)
        if decisions < LEAST_DECISIONS or not (first or self.untrained >= self.settings.train_slots):
            return
        inputs, reward, weight = (torch.cat(parts) for parts in zip(*self.seen, strict=True))
        self.seen, self.untrained = [(inputs, reward, weight)], 0
        with torch.enable_grad():
            self._train(inputs, reward, weight)
        self.head = RidgeStatistics(self.settings.last + 1, self.settings.ridge)
        for part in torch.arange(len(reward)).split(1 << 16):
            self.head.update(self._last_layer(inputs[part]), reward[part], weight[part])

    def chooser(self, seed: int) -> NeuralLinearVotes:
        """The posterior as a policy: a choice between estimates that are drawn once, here."""
        generator = torch.Generator().manual_seed(seed + STREAM)
        return NeuralLinearVotes(self.network, self.head.draws(self.settings.draws, self.settings.scale, generator))

    @torch.no_grad()
    def _last_layer(self, inputs: Tensor) -> Tensor:
        return self.network.features(*self._parts(inputs))

    def _parts(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        moment = self.network.spec.moment
        return inputs[:, :moment], inputs[:, moment:]

    def _train(self, inputs: Tensor, reward: Tensor, weight: Tensor) -> None:
        """Weighted squared error of standardised rewards, from the weights that it has."""
        settings = self.settings
        mean = float((weight * reward).sum() / weight.sum())
        deviation = float((weight * (reward - mean).square()).sum() / weight.sum()) ** 0.5
        target = (reward - mean) / max(deviation, 1e-6)
        optimiser = torch.optim.Adam(self.network.parameters(), settings.learning_rate)
        for batch in range(settings.train_batches):
            for group in optimiser.param_groups:
                group["lr"] = settings.learning_rate * (1 - 0.9 * batch / settings.train_batches)
            rows = torch.randint(len(reward), (settings.batch_size,), generator=self.generator)
            miss = self.network(*self._parts(inputs[rows])) - target[rows]
            loss = (weight[rows] * miss.square()).sum() / weight[rows].sum().clamp(min=1e-6)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()


def learn_neural_linear(lesson: Lesson) -> NeuralLinearVotes:
    """Learns from a lesson."""
    log = lesson.log()
    learner = NeuralLinear(log.population, log.catalogue, lesson.settings, lesson.seed)
    learn_bandit(learner, lesson, log)
    return learner.chooser(lesson.seed)
