"""The actor of weekly plans and its critic behind SB3's policy interface."""

from __future__ import annotations

from typing import Any

from agents.tower_policy import TowerPolicy
from campaigns.plans import PlanMenu
from policies.actor import Actor
from policies.plan_actor import PlanActor


class PlanTowerPolicy(TowerPolicy):
    """As `TowerPolicy`, over the plans of a menu; observation vectors are those of `envs.plan_episodes`.

    Args:
        frequencies: of the menu.
    """

    def __init__(self, *args: Any, frequencies: tuple[int, ...], **kwargs: Any) -> None:
        self.menu = PlanMenu(frequencies)
        super().__init__(*args, **kwargs)

    def make_actor(self) -> Actor:
        """An untrained actor."""
        return PlanActor(self.spec, self.menu)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return super()._get_constructor_parameters() | {"frequencies": self.menu.frequencies}
