"""`campaigns/Push-v0`: slot decisions in a learned market, as a single and a vector Gymnasium environment."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from campaigns.objective import Objective
from envs.episodes import Episodes
from envs.gymnasium_face import CustomerEnv, CustomersVectorEnv
from envs.market import Market

EVENTS = ("opened", "clicked", "visited", "purchased", "unsubscribed")


class PushEnv(CustomerEnv):
    """One customer's episode: hold or send one content, slot by slot.

    The action is 0 for hold and 1 + k for content k; what `action_masks` forbids is answered as a hold. The info tells
    what was drawn: EVENTS and `value`.

    Args:
        market: the learned market.
        objective: rewards and horizon.
        expected: reward conditional expectations instead of draws.
    """

    def __init__(self, market: Market, objective: Objective, expected: bool = False) -> None:
        episodes = Episodes(market, objective, rows=1, seed=0, expected=expected, staggered=False)
        super().__init__(episodes, spaces.Discrete(episodes.decisions))

    def action_masks(self) -> np.ndarray:
        """Actions allowed now. Shape [1 + K], bool."""
        masks: np.ndarray = self._episodes.masks()[0].numpy()
        return masks

    def _told(self, transition: Any) -> dict[str, Any]:
        outcome = transition.outcome
        return {name: bool(getattr(outcome, name)[0]) for name in EVENTS} | {"value": float(outcome.value[0])}


class PushVectorEnv(CustomersVectorEnv):
    """N customers' episodes in one batch; actions as of `PushEnv`.

    Args:
        market, objective, expected: as for `PushEnv`.
        num_envs: N.
    """

    def __init__(self, market: Market, objective: Objective, num_envs: int, expected: bool = False) -> None:
        episodes = Episodes(market, objective, num_envs, seed=0, expected=expected, staggered=False)
        super().__init__(episodes, spaces.Discrete(episodes.decisions))

    def action_masks(self) -> np.ndarray:
        """Actions allowed now. Shape [N, 1 + K], bool."""
        masks: np.ndarray = self._episodes.masks().numpy()
        return masks


gymnasium.register("campaigns/Push-v0", entry_point="envs.push:PushEnv", vector_entry_point="envs.push:PushVectorEnv")
