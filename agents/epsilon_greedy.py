"""The epsilon-greedy bandit: the best of a linear estimate, and now and then anything that is allowed."""

from __future__ import annotations

import torch
from torch import Tensor

from agents.bandit_lessons import learn_bandit
from agents.bandit_settings import EpsilonGreedySettings
from agents.lesson import Lesson
from agents.ridge import RidgeStatistics
from campaigns.observation import Observation
from policies.bandit import decided_features, feature_width
from policies.chooser import sample
from policies.votes import LinearVotes


class EpsilonGreedy(RidgeStatistics):
    """Acts greedily on a ridge regression, but for a share of even draws.

    Args:
        width: D, of the joint features.
        settings: how it learns.
    """

    def __init__(self, width: int, settings: EpsilonGreedySettings) -> None:
        super().__init__(width, settings.ridge)
        self.settings = settings
        self.acting = self.chooser(settings.epsilon)

    def describe(self, seen: Observation, decision: Tensor) -> Tensor:
        """Joint features of what was decided. Shape [N, D]."""
        return decided_features(seen, decision)

    def decide(self, seen: Observation, generator: torch.Generator) -> Tensor:
        """Draws from what it does while learning. Shape [N], int64."""
        return sample(self.acting.probabilities(seen), torch.rand(len(seen), generator=generator))

    def renew(self) -> None:
        """From now on it acts by all that it has seen."""
        self.acting = self.chooser(self.settings.epsilon)

    def chooser(self, epsilon: float) -> LinearVotes:
        """The policy that the statistics imply, with a share of even draws."""
        return LinearVotes(self.estimate.float().unsqueeze(0), epsilon)


def learn_epsilon_greedy(lesson: Lesson) -> LinearVotes:
    """Learns from a lesson; serves with the settings' `served_epsilon`."""
    log = lesson.log()
    settings: EpsilonGreedySettings = lesson.settings
    learner = EpsilonGreedy(feature_width(log.population, log.catalogue), settings)
    learn_bandit(learner, lesson, log)
    return learner.chooser(settings.served_epsilon)
