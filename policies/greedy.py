"""Sends what the propensity model says gains most now, where it gains anything: myopic, but hard to beat."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from campaigns.objective import NO_CHARGE, Objective, Prices
from campaigns.observation import Observation
from policies.chooser import Chooser, best_allowed, one_hot, register
from propensity.kinds import restore_model
from propensity.response_model import ResponseModel
from propensity.rewards import expected_rewards


@register
class PropensityGreedy(Chooser):
    """Compares the expected reward of every content with that of holding, and sends the best above a threshold.

    Args:
        model: the propensity model, of any family.
        objective: what is earned.
        threshold: least expected gain of a send over a hold, in the objective's unit.
        prices: what sends and opt-outs are charged beyond the objective; with one on money this is the knapsack rule,
            which sends where the gain for a unit of cost is highest.
    """

    kind = "propensity_greedy"

    def __init__(
        self, model: ResponseModel, objective: Objective, threshold: float = 0.0, prices: Prices = NO_CHARGE
    ) -> None:
        self.model = model
        self.objective = objective
        self.threshold = threshold
        self.prices = prices

    def at_prices(self, prices: Prices) -> PropensityGreedy:
        """The same rule at other prices."""
        other = copy(self)
        other.prices = prices
        return other

    def gains(self, observation: Observation) -> Tensor:
        """Expected reward of each content now over that of holding, after prices. Shape [N, K]."""
        rewards = expected_rewards(self.model, observation, self.objective, self.prices)
        return rewards[:, 1:] - rewards[:, :1]

    def probabilities(self, observation: Observation) -> Tensor:
        """1 for the best decision. Shape [N, 1 + K]."""
        gains = self.gains(observation)
        scores = torch.cat([torch.full_like(gains[:, :1], self.threshold), gains], dim=1)
        return one_hot(best_allowed(scores, observation.allowed), scores.shape[1])

    def settings(self) -> dict[str, Any]:
        """JSON-able settings."""
        return {
            "model": self.model.settings(),
            "objective": asdict(self.objective),
            "threshold": self.threshold,
            "prices": asdict(self.prices),
        }

    def tensors(self) -> dict[str, Tensor]:
        """The model's tensors."""
        return self.model.tensors()

    @classmethod
    def restore(cls, settings: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> PropensityGreedy:
        """The inverse of `settings` and `tensors`."""
        model = restore_model(settings["model"], tensors)
        prices = Prices(**settings.get("prices", {}))
        return cls(model, Objective(**settings["objective"]), settings["threshold"], prices)
