"""LinUCB (Li et al. 2010), batched."""

from __future__ import annotations

import torch
from torch import Tensor

from agents.bandit_lessons import learn_bandit
from agents.bandit_settings import LinUCBSettings
from agents.lesson import Lesson
from agents.ridge import RidgeStatistics
from campaigns.observation import Observation
from policies.bandit import LinUCBChooser, decided_features, feature_width


class LinUCB(RidgeStatistics):
    """Acts on upper confidence bounds of a ridge regression.

    Args:
        width: D, of the joint features.
        settings: how it learns.
    """

    def __init__(self, width: int, settings: LinUCBSettings) -> None:
        super().__init__(width, settings.ridge)
        self.settings = settings
        self.acting = self.chooser()

    def describe(self, seen: Observation, decision: Tensor) -> Tensor:
        """Joint features of what was decided. Shape [N, D]."""
        return decided_features(seen, decision)

    def decide(self, seen: Observation, generator: torch.Generator) -> Tensor:
        """The allowed decision with the highest bound. Shape [N], int64."""
        return self.acting.probabilities(seen).argmax(dim=1)

    def renew(self) -> None:
        """From now on it acts by all that it has seen."""
        self.acting = self.chooser()

    def chooser(self, alpha: float | None = None) -> LinUCBChooser:
        """The policy that the statistics imply; `alpha` as in the settings by default, 0 for greedy."""
        width = self.settings.alpha if alpha is None else alpha
        inverse = torch.cholesky_inverse(self.factor)
        return LinUCBChooser(self.estimate.float(), inverse.float(), width * self.deviation)


def learn_linucb(lesson: Lesson) -> LinUCBChooser:
    """Learns from a lesson; serves the greedy policy of the final estimate."""
    log = lesson.log()
    learner = LinUCB(feature_width(log.population, log.catalogue), lesson.settings)
    learn_bandit(learner, lesson, log)
    return learner.chooser(alpha=0.0)
