"""How surely the opt-outs of a policy are known: what the few of a log leave open, along the policy's own path.

The model says with which covariance its weights are known (`PropensityModel.doubt`). To first order the logarithm of
all opt-outs that it foretells moves with the weights by their pull, the gradient added up over the path's decisions.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import torch
from torch import Tensor

from campaigns.history import HOLD
from campaigns.observation import Observation
from envs.market import Market
from propensity.model import PropensityModel

EXPECTED = 0.5
"""The confidence at which a bound is what is expected."""


class OptOutDoubt:
    """Watches a rollout (`evaluation.rollout.rollout(watch=...)`).

    Args:
        model: of the market in which is played.
    """

    def __init__(self, model: PropensityModel) -> None:
        self.model = model
        self.pull = torch.zeros(0 if model.doubt is None else len(model.doubt), dtype=torch.float64)
        self.total = 0.0

    def __call__(self, seen: Observation, decision: Tensor) -> None:
        """Counts the decisions [N] of a slot."""
        rows = torch.nonzero(decision > HOLD).squeeze(1)
        if not len(self.pull) or not len(rows):
            return
        content = (decision - 1).clamp(min=0)
        pull, total = self.model.optout_pull(
            seen.population.features[rows], seen.state[rows], seen.catalogue.features[content[rows]],
            seen.candidate(content)[rows],
        )  # fmt: skip
        self.pull += pull
        self.total += total

    @property
    def spread(self) -> float:
        """Standard deviation of the logarithm of all opt-outs; 0 where nothing is known of it."""
        if not self.total or self.model.doubt is None:
            return 0.0
        pull = self.pull / self.total
        return math.sqrt(max(0.0, float(pull @ self.model.doubt.double().cpu() @ pull)))

    def factor(self, confidence: float) -> float:
        """What the expected opt-outs are multiplied by for a bound that holds in this share of logs."""
        return math.exp(NormalDist().inv_cdf(confidence) * self.spread)


def optout_doubt(world: object) -> OptOutDoubt | None:
    """Of a learned market; None of a truth, whose opt-outs are known."""
    if not isinstance(world, Market) or not isinstance(world.model, PropensityModel):
        return None
    return OptOutDoubt(world.model)
