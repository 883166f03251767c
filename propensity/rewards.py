"""What every decision would earn now, by a fitted model: the myopic view that greedy rules and DR share."""

from __future__ import annotations

import torch
from torch import Tensor

from campaigns.objective import Objective, reward
from campaigns.observation import Observation
from propensity.response_model import ResponseModel

ROWS_AT_ONCE = 4096
"""Customers in one pass, which bounds memory at ROWS_AT_ONCE x K x members x width numbers."""


@torch.no_grad()
def expected_rewards(model: ResponseModel, observation: Observation, objective: Objective) -> Tensor:
    """E[reward | state, decision] of the slot for hold and every content.

    Args:
        model: averaged over its members.
        observation: of N customers.
        objective: outcome and costs.
    Returns:
        Shape [N, 1 + K], in the objective's unit.
    """
    catalogue, people = observation.catalogue, observation.population.features
    projected = model.project_customers(people)
    cost = torch.cat([catalogue.cost.new_zeros(1), catalogue.cost])
    parts = []
    for begin in range(0, len(observation), ROWS_AT_ONCE):
        rows = slice(begin, begin + ROWS_AT_ONCE)
        response = model.respond_all(
            projected[rows], observation.state[rows], catalogue.features, observation.candidates[rows]
        )
        parts.append(reward(objective, response.expected(objective.outcome), cost, response.unsubscribe))
    return torch.cat(parts)
