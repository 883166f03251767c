"""Sends what the propensity network says gains most now, where it gains anything: myopic, but hard to beat."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from campaigns.objective import Objective, reward
from campaigns.observation import Observation
from policies.chooser import Chooser, best_allowed, one_hot, register
from propensity.model import PropensityModel
from propensity.response import Response


@register
class PropensityGreedy(Chooser):
    """Compares the expected reward of every content with that of holding, and sends the best above a threshold.

    Args:
        model: the propensity network.
        objective: what is earned.
        threshold: least expected gain of a send over a hold, in the objective's unit.
    """

    kind = "propensity_greedy"

    def __init__(self, model: PropensityModel, objective: Objective, threshold: float = 0.0) -> None:
        self.model = model
        self.objective = objective
        self.threshold = threshold

    @torch.no_grad()
    def gains(self, observation: Observation) -> Tensor:
        """Expected reward of each content now over that of holding. Shape [N, K]."""
        rows, contents = len(observation), len(observation.catalogue)
        model, features = self.model, observation.population.features
        projected = model.project_customers(features)
        held = torch.zeros(rows, dtype=torch.bool, device=features.device)
        blank = observation.catalogue.features.new_zeros
        hold = model.respond(
            features, observation.state, blank(rows, model.spec.contents), blank(rows, model.spec.candidates), held,
            projected=projected,
        )  # fmt: skip
        index = torch.arange(rows, device=features.device).repeat_interleave(contents)
        sent = model.respond(
            features[index],
            observation.state[index],
            observation.catalogue.features.repeat(rows, 1),
            observation.candidates.flatten(0, 1),
            torch.ones(len(index), dtype=torch.bool, device=features.device),
            projected=projected[index],
        )
        cost = observation.catalogue.cost
        return self._reward(sent, cost.repeat(rows)).view(rows, contents) - self._reward(
            hold, cost.new_zeros(rows)
        ).unsqueeze(1)

    def _reward(self, response: Response, cost: Tensor) -> Tensor:
        named = {"purchased": "purchase", "value": "expected_value", "revenue": "expected_value"}
        earned = getattr(response, named.get(self.objective.outcome, self.objective.outcome))
        return reward(self.objective, earned, cost, response.unsubscribe)

    def probabilities(self, observation: Observation) -> Tensor:
        """1 for the best decision. Shape [N, 1 + K]."""
        gains = self.gains(observation)
        scores = torch.cat([torch.full_like(gains[:, :1], self.threshold), gains], dim=1)
        return one_hot(best_allowed(scores, observation.allowed), scores.shape[1])

    def settings(self) -> dict[str, Any]:
        """JSON-able settings."""
        from dataclasses import asdict

        return {
            "model": self.model.settings(),
            "objective": asdict(self.objective),
            "threshold": self.threshold,
        }

    def tensors(self) -> dict[str, Tensor]:
        """The network's tensors."""
        return self.model.tensors()

    @classmethod
    def restore(cls, settings: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> PropensityGreedy:
        """The inverse of `settings` and `tensors`."""
        model = PropensityModel.restore(settings["model"], tensors)
        return cls(model, Objective(**settings["objective"]), settings["threshold"])
