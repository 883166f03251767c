"""What `campaigns/Push-v0` and `campaigns/Plan-v0` share: running episodes as Gymnasium environments.

Numpy lives here, at the edge; training on the device uses episodes directly.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from torch import Tensor

from envs.episodes import Episodes
from envs.plan_episodes import PlanEpisodes


class CustomerEnv(gymnasium.Env[np.ndarray, Any]):
    """One customer's episode.

    An action that is not allowed is answered with nothing and flagged in `info["forbidden"]`. With
    `objective.terminal=zero` an episode ends `terminated` at the horizon (there is no value after it); with `continue`
    it ends `truncated` (bootstrap from the last observation).

    Args:
        episodes: of one row.
        actions: their space.
    """

    metadata = {"render_modes": []}  # noqa: RUF012 - Gymnasium's own class attribute
    action_space: spaces.Space[Any]

    def __init__(self, episodes: Episodes | PlanEpisodes, actions: spaces.Space[Any]) -> None:
        self._episodes: Any = episodes
        self.observation_space = observation_space(episodes)
        self.action_space = actions
        self._needs_reset = True

    @abstractmethod
    def action_masks(self) -> np.ndarray:
        """Actions open now, as sb3-contrib's MaskablePPO expects."""

    @abstractmethod
    def _told(self, transition: Any) -> dict[str, Any]:
        """What the info says of a step."""

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """A new customer moves in. Returns the observation [F] and an info with `action_mask`."""
        super().reset(seed=seed)
        observation = self._episodes.reset(int(self.np_random.integers(2**31)))
        self._needs_reset = False
        return observation[0].numpy(), self._masks()

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """One step; see the class for what ends an episode and how."""
        if self._needs_reset:
            raise gymnasium.error.ResetNeeded("the episode has ended; call reset() first")
        decision = self._decisions(np.asarray(action)[None])
        allowed = bool(self._episodes.masks()[0, int(decision[0])])
        observations, transition = self._episodes.step(decision)
        done = bool(transition.done[0])
        self._needs_reset = done
        terminated, truncated = (done, False) if self._episodes.terminates else (False, done)
        info = self._masks() | self._told(transition) | {"forbidden": not allowed}
        observation = transition.final[0] if done else observations[0]
        return observation.numpy(), float(transition.reward[0]), terminated, truncated, info

    def _masks(self) -> dict[str, Any]:
        return {"action_mask": self.action_masks()}

    def _decisions(self, actions: np.ndarray) -> Tensor:
        """What actions [N, ...] mean to the episodes. Shape [N], int64."""
        return torch.as_tensor(actions, dtype=torch.int64)


class CustomersVectorEnv(VectorEnv[np.ndarray, np.ndarray, np.ndarray]):
    """N customers' episodes in one batch, reset in the step in which they end (`SAME_STEP`).

    `infos["final_obs"]` keeps the true last observation of an ended episode, `infos["_final_obs"]` marks its rows.

    Args:
        episodes: of N rows.
        actions: the space of one row's.
    """

    def __init__(self, episodes: Episodes | PlanEpisodes, actions: spaces.Space[Any]) -> None:
        self._episodes: Any = episodes
        self.metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}
        self.num_envs = episodes.rows
        self.single_observation_space = observation_space(episodes)
        self.single_action_space = actions
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)

    @abstractmethod
    def action_masks(self) -> np.ndarray:
        """Actions open now, of every row."""

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """New customers in all rows. Returns observations [N, F] and an info with `action_mask`."""
        chosen = seed[0] if isinstance(seed, list) else seed
        super().reset(seed=chosen)
        observations = self._episodes.reset(int(self.np_random.integers(2**31)))
        return observations.numpy(), self._masks()

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """One step for every row; what is not allowed is answered with nothing."""
        decision = self._decisions(np.asarray(actions))
        allowed = self._episodes.masks().gather(1, decision.unsqueeze(1)).squeeze(1)
        observations, transition = self._episodes.step(decision)
        done = transition.done.numpy()
        nothing = np.zeros_like(done)
        terminated, truncated = (done, nothing) if self._episodes.terminates else (nothing, done)
        info = self._masks() | self._told(transition) | {"forbidden": ~allowed.numpy()}
        if done.any():
            final = np.empty(self.num_envs, dtype=object)
            for row, vector in zip(transition.ended.tolist(), transition.final, strict=True):
                final[row] = vector.numpy()
            info |= {"final_obs": final, "_final_obs": done}
        return observations.numpy(), transition.reward.numpy(), terminated, truncated, info

    def _masks(self) -> dict[str, Any]:
        return {"action_mask": self.action_masks()}

    def _told(self, transition: Any) -> dict[str, Any]:
        """What the info says of a step."""
        return {}

    def _decisions(self, actions: np.ndarray) -> Tensor:
        """As of `CustomerEnv`."""
        return torch.as_tensor(actions, dtype=torch.int64)


def observation_space(episodes: Episodes | PlanEpisodes) -> spaces.Box:
    """All of an observation vector's numbers, float32; see `vector` of the episodes."""
    return spaces.Box(-np.inf, np.inf, (episodes.width,), np.float32)
