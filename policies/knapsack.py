"""Sends what gains most over its price, at the price at which a budget was just spent when the rule was made.

The fractional knapsack: what gains most per unit of cost goes first, until the budget is spent. Its dual is one price
for everybody and every slot; it is found once (`agents.uplift`) and frozen here, so that serving needs no count of what
others were sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from campaigns.objective import Objective, Prices
from campaigns.observation import Observation
from policies.chooser import register
from policies.greedy import PropensityGreedy
from propensity.kinds import restore_model
from propensity.response_model import ResponseModel


@register
class UpliftKnapsack(PropensityGreedy):
    """Compares gains over holding less the price of what they spend.

    Args:
        model, objective: see `PropensityGreedy`.
        price: of one unit of budget, in the objective's unit.
        by_cost: whether a send spends its content's cost; else each spends 1.
    """

    kind = "uplift_knapsack"

    def __init__(self, model: ResponseModel, objective: Objective, price: float, by_cost: bool) -> None:
        super().__init__(model, objective)
        self.price = price
        self.by_cost = by_cost

    def gains(self, observation: Observation) -> Tensor:
        """Expected gain of each content less its price. Shape [N, K]."""
        gains = super().gains(observation)
        return gains - self.price * spends(observation, self.by_cost)

    def settings(self) -> dict[str, Any]:
        """JSON-able settings."""
        return super().settings() | {"price": self.price, "by_cost": self.by_cost}

    @classmethod
    def restore(cls, settings: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> UpliftKnapsack:
        """The inverse of `settings` and `tensors`."""
        model = restore_model(settings["model"], tensors)
        rule = cls(model, Objective(**settings["objective"]), settings["price"], settings["by_cost"])
        rule.prices = Prices(**settings.get("prices", {}))
        return rule


def spends(observation: Observation, by_cost: bool) -> Tensor:
    """What a send of each content takes from the budget. Shape [K]."""
    cost = observation.catalogue.cost
    return cost if by_cost else torch.ones_like(cost)
