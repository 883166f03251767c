"""Linear Thompson sampling (Agrawal and Goyal 2013), batched: every customer and slot gets an estimate of its own."""

from __future__ import annotations

import torch
from torch import Tensor

from agents.bandit_lessons import STREAM, learn_bandit
from agents.bandit_settings import ThompsonSettings
from agents.lesson import Lesson
from agents.ridge import RidgeStatistics
from campaigns.observation import Observation
from policies.bandit import bandit_features, decided_features, feature_width
from policies.chooser import best_allowed
from policies.votes import LinearVotes


class LinearThompson(RidgeStatistics):
    """Acts greedily on estimates drawn from the posterior of a ridge regression.

    Args:
        width: D, of the joint features.
        settings: how it learns.
    """

    def __init__(self, width: int, settings: ThompsonSettings) -> None:
        super().__init__(width, settings.ridge)
        self.settings = settings

    def describe(self, seen: Observation, decision: Tensor) -> Tensor:
        """Joint features of what was decided. Shape [N, D]."""
        return decided_features(seen, decision)

    def decide(self, seen: Observation, generator: torch.Generator) -> Tensor:
        """The best by each customer's own draw from the posterior. Shape [N], int64."""
        drawn = self.draws(len(seen), self.settings.scale, generator)
        scores = torch.einsum("nkd,nd->nk", bandit_features(seen), drawn)
        return best_allowed(scores, seen.allowed)

    def renew(self) -> None:
        """Nothing to do: every draw is from all that it has seen."""

    def chooser(self, seed: int) -> LinearVotes:
        """The posterior as a policy: a choice between estimates that are drawn once, here."""
        generator = torch.Generator().manual_seed(seed + STREAM)
        return LinearVotes(self.draws(self.settings.draws, self.settings.scale, generator))


def learn_thompson(lesson: Lesson) -> LinearVotes:
    """Learns from a lesson."""
    log = lesson.log()
    learner = LinearThompson(feature_width(log.population, log.catalogue), lesson.settings)
    learn_bandit(learner, lesson, log)
    return learner.chooser(lesson.seed)
