"""`campaigns/Plan-v0`: weekly plans in a learned market, as a single and a vector Gymnasium environment.

The same market as `campaigns/Push-v0`, a week a step: an action is how often, in which part of the day and what to
send. Masks of the three parts cannot say everything, since the guardrails bind them jointly; `campaigns/FlatPlan-v0`
numbers the plans instead, so that its mask is exact.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from campaigns.objective import Objective
from campaigns.plan_masks import marginal_masks
from campaigns.plans import PlanMenu
from envs.gymnasium_face import CustomerEnv, CustomersVectorEnv
from envs.market import Market
from envs.plan_episodes import PlanEpisodes


class FlatPlanEnv(CustomerEnv):
    """One customer's weeks, with plans numbered as `campaigns.plans.PlanMenu` numbers them: 0 sends nothing.

    Rewards are sums over the week's slots, undiscounted. A plan that `action_masks` forbids sends nothing. The info
    holds the `plan_mask` [P] besides, the `sends` of the week, and whether the customer `unsubscribed`.

    Args:
        market: the learned market.
        objective: rewards and horizon.
        menu: of the plans.
        expected: reward conditional expectations instead of draws.
    """

    def __init__(
        self, market: Market, objective: Objective, menu: PlanMenu | None = None, expected: bool = False
    ) -> None:
        episodes = PlanEpisodes(market, objective, menu or PlanMenu(), rows=1, seed=0, expected=expected)
        super().__init__(episodes, self._actions(episodes))

    def action_masks(self) -> np.ndarray:
        """Plans open now. Shape [P], bool."""
        return self.plan_masks()

    def plan_masks(self) -> np.ndarray:
        """Plans open now, by number. Shape [P], bool."""
        masks: np.ndarray = self._episodes.masks()[0].numpy()
        return masks

    def _masks(self) -> dict[str, Any]:
        return super()._masks() | {"plan_mask": self.plan_masks()}

    def _told(self, transition: Any) -> dict[str, Any]:
        return {"sends": int(transition.sends[0]), "unsubscribed": bool(transition.unsubscribed[0])}

    def _actions(self, episodes: PlanEpisodes) -> spaces.Space[Any]:
        return spaces.Discrete(episodes.decisions)


class PlanEnv(FlatPlanEnv):
    """As `FlatPlanEnv`, with the plan's parts as the action: frequency (0 sends nothing), daypart, content.

    `action_masks` holds the three parts' masks one after the other, as sb3-contrib expects; what they leave and the
    joint `plan_mask` does not is answered with nothing.
    """

    def action_masks(self) -> np.ndarray:
        """Parts that some open plan has. Shape [1 + F + D + K + 2], bool."""
        masks: np.ndarray = _parts_mask(self._episodes)[0]
        return masks

    def _actions(self, episodes: PlanEpisodes) -> spaces.Space[Any]:
        return _parts_space(episodes)

    def _decisions(self, actions: np.ndarray) -> Tensor:
        return _numbers(self._episodes, actions)


class PlanVectorEnv(CustomersVectorEnv):
    """N customers' weeks in one batch; actions and infos as of `PlanEnv`.

    Args:
        market, objective, menu, expected: as for `PlanEnv`.
        num_envs: N.
    """

    def __init__(
        self,
        market: Market,
        objective: Objective,
        num_envs: int,
        menu: PlanMenu | None = None,
        expected: bool = False,
    ) -> None:
        episodes = PlanEpisodes(market, objective, menu or PlanMenu(), num_envs, seed=0, expected=expected)
        super().__init__(episodes, _parts_space(episodes))

    def action_masks(self) -> np.ndarray:
        """Parts that some open plan has. Shape [N, 1 + F + D + K + 2], bool."""
        return _parts_mask(self._episodes)

    def _masks(self) -> dict[str, Any]:
        return super()._masks() | {"plan_mask": self._episodes.masks().numpy()}

    def _told(self, transition: Any) -> dict[str, Any]:
        return {"sends": transition.sends.numpy(), "unsubscribed": transition.unsubscribed.numpy()}

    def _decisions(self, actions: np.ndarray) -> Tensor:
        return _numbers(self._episodes, actions)


def _parts_space(episodes: PlanEpisodes) -> spaces.MultiDiscrete:
    frequencies, dayparts, choices = episodes.menu.shape(len(episodes.market.catalogue))
    return spaces.MultiDiscrete([1 + frequencies, dayparts, choices])


def _parts_mask(episodes: PlanEpisodes) -> np.ndarray:
    parts = marginal_masks(episodes.masks(), episodes.menu, len(episodes.market.catalogue))
    masks: np.ndarray = torch.cat(parts, dim=1).numpy()
    return masks


def _numbers(episodes: PlanEpisodes, actions: np.ndarray) -> Tensor:
    frequency, daypart, choice = torch.as_tensor(actions, dtype=torch.int64).unbind(dim=1)
    return episodes.menu.number(frequency, daypart, choice, len(episodes.market.catalogue))


gymnasium.register("campaigns/Plan-v0", entry_point="envs.plan:PlanEnv", vector_entry_point="envs.plan:PlanVectorEnv")
gymnasium.register("campaigns/FlatPlan-v0", entry_point="envs.plan:FlatPlanEnv")
