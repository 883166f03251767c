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
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from torch import Tensor

from campaigns.objective import Objective
from campaigns.plan_masks import marginal_masks
from campaigns.plans import PlanMenu
from envs.market import Market
from envs.plan_episodes import PlanEpisodes


class FlatPlanEnv(gymnasium.Env[np.ndarray, Any]):
    """One customer's weeks, with plans numbered as `campaigns.plans.PlanMenu` numbers them: 0 sends nothing.

    Rewards are sums over the week's slots, undiscounted. A plan that `action_masks` forbids sends nothing and is
    flagged in `info["forbidden"]`. The end of an episode is told as by `campaigns/Push-v0`.

    Args:
        market: the learned market.
        objective: rewards and horizon.
        menu: of the plans.
        expected: reward conditional expectations instead of draws.
    """

    metadata = {"render_modes": []}  # noqa: RUF012 - Gymnasium's own class attribute
    action_space: spaces.Space[Any]

    def __init__(
        self, market: Market, objective: Objective, menu: PlanMenu | None = None, expected: bool = False
    ) -> None:
        self._episodes = PlanEpisodes(market, objective, menu or PlanMenu(), rows=1, seed=0, expected=expected)
        self.observation_space = spaces.Box(-np.inf, np.inf, (self._episodes.width,), np.float32)
        self.action_space = self._actions()
        self._needs_reset = True

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """A new customer moves in. Returns the observation [F] and an info with `action_mask` and `plan_mask` [P]."""
        super().reset(seed=seed)
        observation = self._episodes.reset(int(self.np_random.integers(2**31)))
        self._needs_reset = False
        return observation[0].numpy(), self._masks()

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """One week; the info also tells the `sends` and whether the customer `unsubscribed`."""
        if self._needs_reset:
            raise gymnasium.error.ResetNeeded("the episode has ended; call reset() first")
        plan = self._plan(np.asarray(action)[None])
        allowed = bool(self._episodes.masks()[0, int(plan[0])])
        vectors, transition = self._episodes.step(plan)
        done = bool(transition.done[0])
        self._needs_reset = done
        terminated, truncated = (done, False) if self._episodes.terminates else (False, done)
        told = {"sends": int(transition.sends[0]), "unsubscribed": bool(transition.unsubscribed[0])}
        observation = transition.final[0] if done else vectors[0]
        info = self._masks() | told | {"forbidden": not allowed}
        return observation.numpy(), float(transition.reward[0]), terminated, truncated, info

    def action_masks(self) -> np.ndarray:
        """Plans open now. Shape [P], bool."""
        return self.plan_masks()

    def plan_masks(self) -> np.ndarray:
        """Plans open now, by number. Shape [P], bool."""
        masks: np.ndarray = self._episodes.masks()[0].numpy()
        return masks

    def _masks(self) -> dict[str, Any]:
        return {"action_mask": self.action_masks(), "plan_mask": self.plan_masks()}

    def _actions(self) -> spaces.Space[Any]:
        return spaces.Discrete(self._episodes.decisions)

    def _plan(self, actions: np.ndarray) -> Tensor:
        """Numbers of the plans that actions [N, ...] mean. Shape [N], int64."""
        return torch.as_tensor(actions, dtype=torch.int64)


class PlanEnv(FlatPlanEnv):
    """As `FlatPlanEnv`, with the plan's parts as the action: frequency (0 sends nothing), daypart, content.

    `action_masks` holds the three parts' masks one after the other, as sb3-contrib expects; what they leave and the
    joint `plan_mask` does not is answered with nothing.
    """

    def action_masks(self) -> np.ndarray:
        """Parts that some open plan has. Shape [1 + F + D + K + 2], bool."""
        masks: np.ndarray = _parts_mask(self._episodes)[0]
        return masks

    def _actions(self) -> spaces.Space[Any]:
        return _parts_space(self._episodes)

    def _plan(self, actions: np.ndarray) -> Tensor:
        return _numbers(self._episodes, actions)


class PlanVectorEnv(VectorEnv[np.ndarray, np.ndarray, np.ndarray]):
    """N customers' weeks in one batch, reset in the step in which they end (`SAME_STEP`); actions as of `PlanEnv`.

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
        self._episodes = PlanEpisodes(market, objective, menu or PlanMenu(), num_envs, seed=0, expected=expected)
        self.metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}
        self.num_envs = num_envs
        self.single_observation_space = spaces.Box(-np.inf, np.inf, (self._episodes.width,), np.float32)
        self.single_action_space = _parts_space(self._episodes)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """New customers in all rows. Returns observations [N, F] and an info with the masks."""
        chosen = seed[0] if isinstance(seed, list) else seed
        super().reset(seed=chosen)
        observations = self._episodes.reset(int(self.np_random.integers(2**31)))
        return observations.numpy(), self._masks()

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """One week for every row."""
        plan = _numbers(self._episodes, actions)
        allowed = self._episodes.masks().gather(1, plan.unsqueeze(1)).squeeze(1)
        observations, transition = self._episodes.step(plan)
        done = transition.done.numpy()
        nothing = np.zeros_like(done)
        terminated, truncated = (done, nothing) if self._episodes.terminates else (nothing, done)
        told = {"sends": transition.sends.numpy(), "unsubscribed": transition.unsubscribed.numpy()}
        info = self._masks() | told | {"forbidden": ~allowed.numpy()}
        if done.any():
            final = np.empty(self.num_envs, dtype=object)
            for row, vector in zip(transition.ended.tolist(), transition.final, strict=True):
                final[row] = vector.numpy()
            info |= {"final_obs": final, "_final_obs": done}
        return observations.numpy(), transition.reward.numpy(), terminated, truncated, info

    def action_masks(self) -> np.ndarray:
        """Parts that some open plan has. Shape [N, 1 + F + D + K + 2], bool."""
        return _parts_mask(self._episodes)

    def _masks(self) -> dict[str, Any]:
        return {"action_mask": self.action_masks(), "plan_mask": self._episodes.masks().numpy()}


def _parts_space(episodes: PlanEpisodes) -> spaces.MultiDiscrete:
    frequencies, dayparts, choices = episodes.menu.shape(len(episodes.market.catalogue))
    return spaces.MultiDiscrete([1 + frequencies, dayparts, choices])


def _parts_mask(episodes: PlanEpisodes) -> np.ndarray:
    parts = marginal_masks(episodes.masks(), episodes.menu, len(episodes.market.catalogue))
    masks: np.ndarray = torch.cat(parts, dim=1).numpy()
    return masks


def _numbers(episodes: PlanEpisodes, actions: np.ndarray) -> Tensor:
    frequency, daypart, choice = torch.as_tensor(np.asarray(actions), dtype=torch.int64).unbind(dim=1)
    return episodes.menu.number(frequency, daypart, choice, len(episodes.market.catalogue))


gymnasium.register("campaigns/Plan-v0", entry_point="envs.plan:PlanEnv", vector_entry_point="envs.plan:PlanVectorEnv")
gymnasium.register("campaigns/FlatPlan-v0", entry_point="envs.plan:FlatPlanEnv")
