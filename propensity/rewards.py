"""What every decision would earn now, by a fitted model: the myopic view that greedy rules and DR share."""

from __future__ import annotations

import torch
from torch import Tensor

from campaigns.audience import decision_costs
from campaigns.objective import NO_CHARGE, Objective, Prices, reward
from campaigns.observation import Observation
from propensity.response_model import ResponseModel

ROWS_AT_ONCE = 4096
"""Customers in one pass, which bounds memory at ROWS_AT_ONCE x K x members x width numbers."""


@torch.no_grad()
def expected_rewards(
    model: ResponseModel, observation: Observation, objective: Objective, prices: Prices = NO_CHARGE
) -> Tensor:
    """E[reward | state, decision] of the slot for hold and every content.

    Args:
        model: averaged over its members.
        observation: of N customers.
        objective: outcome and costs.
        prices: charged beyond them.
    Returns:
        Shape [N, 1 + K], in the objective's unit.
    """
    catalogue, people = observation.catalogue, observation.population.features
    projected = model.project_customers(people)
    cost = decision_costs(catalogue)
    parts = []
    for begin in range(0, len(observation), ROWS_AT_ONCE):
        rows = slice(begin, begin + ROWS_AT_ONCE)
        response = model.respond_all(
            projected[rows], observation.state[rows], catalogue.features, observation.candidates[rows]
        )
        earned = reward(objective, response.expected(objective.outcome), cost, response.unsubscribe)
        parts.append(earned if prices == NO_CHARGE else earned - prices.charge(cost, response.unsubscribe))
    return torch.cat(parts)
