"""Policies that choose a plan for every customer's week and keep to it.

The plan is chosen once a week, in the first slot of the week that is asked about, from what is known then; it is
carried until the week is over, whatever happens or is corrected meanwhile.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from campaigns.guardrails import Guardrails
from campaigns.observation import Observation
from campaigns.plan_masks import allowed_plans
from campaigns.plans import PlanMenu, planned_decisions, week_of
from policies.chooser import Chooser, best_allowed, carrying, one_hot, rows_of

PLAN, WEEK_NUMBER = range(2)
"""Columns of what is carried."""


class PlanChooser(Chooser):
    """Chooses a plan a week, the best by its scores; what it does in a slot is then without chance.

    Args:
        menu: of the plans.
        guardrails: under which plans have to be kept.
    """

    carries = True

    def __init__(self, menu: PlanMenu, guardrails: Guardrails) -> None:
        self.menu = menu
        self.guardrails = guardrails

    @abstractmethod
    def scores(self, observation: Observation) -> Tensor:
        """Of every plan. Shape [N, P]."""

    @torch.no_grad()
    def best_plans(self, observation: Observation) -> Tensor:
        """The open plan with the highest score, the earliest of equals. Shape [N], int64."""
        return best_allowed(self.scores(observation), allowed_plans(observation, self.menu, self.guardrails))

    def carry(self, observation: Observation) -> Tensor:
        """Plan and week of every customer; a plan is chosen for those who have none for this week. Shape [N, 2]."""
        week = week_of(observation.clock, observation.slot)
        carried = observation.carried
        if carried is None:
            return torch.stack([self.best_plans(observation), week], dim=1)
        rows = torch.nonzero(carried[:, WEEK_NUMBER] != week).squeeze(1)
        if not len(rows):
            return carried
        return carried.index_copy(0, rows, self.carry(carrying(rows_of(observation, rows), None)))

    def probabilities(self, observation: Observation) -> Tensor:
        """1 for what the plan does now; where none is carried, the one that would be chosen now. Shape [N, 1 + K]."""
        carried = self.carry(observation) if observation.carried is None else observation.carried
        decision = planned_decisions(observation, self.menu, carried[:, PLAN])
        return one_hot(decision, observation.allowed.shape[1])

    def settings(self) -> dict[str, Any]:
        """JSON-able settings."""
        return {"frequencies": list(self.menu.frequencies), "guardrails": asdict(self.guardrails)}


def menu_behind(chooser: Chooser) -> PlanMenu | None:
    """The menu of what chooses plans, restrained or not; None for what decides slot by slot."""
    inner = getattr(chooser, "chooser", chooser)
    return inner.menu if isinstance(inner, PlanChooser) else None


def menu_of(settings: Mapping[str, Any]) -> tuple[PlanMenu, Guardrails]:
    """What `PlanChooser.settings` keeps."""
    return PlanMenu(tuple(settings["frequencies"])), Guardrails(**settings["guardrails"])
