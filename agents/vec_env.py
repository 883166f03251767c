"""The market as an SB3 `VecEnv`: the numpy face that lets any SB3 algorithm train in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv

from envs.episodes import Episodes
from envs.plan_episodes import PlanEpisodes


class MarketVecEnv(VecEnv):
    """N running episodes; `action_masks` is supported as sb3-contrib expects.

    Args:
        episodes: the running episodes, of slots or of weekly plans; learners that stay on the device use them directly.
    """

    def __init__(self, episodes: Episodes | PlanEpisodes) -> None:
        self.episodes = episodes
        numbers = spaces.Box(-np.inf, np.inf, (episodes.width,), np.float32)
        super().__init__(episodes.rows, numbers, spaces.Discrete(episodes.decisions))
        self._seed = 0
        self._actions = np.zeros(episodes.rows, dtype=np.int64)

    def reset(self) -> np.ndarray:
        """Starts all rows anew. Shape [N, F]."""
        vectors: np.ndarray = self.episodes.reset(self._seed).cpu().numpy()
        return vectors

    def seed(self, seed: int | None = None) -> list[int | None]:
        """Seeds the next reset."""
        self._seed = 0 if seed is None else seed
        return [seed] * self.num_envs

    def step_async(self, actions: np.ndarray) -> None:
        """Keeps the actions for `step_wait`."""
        self._actions = actions

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """One slot; an ended episode's true last observation is in its info."""
        actions = torch.as_tensor(self._actions, dtype=torch.int64, device=self.episodes.device)
        vectors, transition = self.episodes.step(actions)
        done = transition.done.cpu().numpy()
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        terminated = transition.terminated.cpu().numpy()
        for row, vector in zip(transition.ended.tolist(), transition.final.cpu().numpy(), strict=True):
            infos[row] = {"terminal_observation": vector, "TimeLimit.truncated": not bool(terminated[row])}
        return vectors.cpu().numpy(), transition.reward.cpu().numpy(), done, infos

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> list[Any]:
        """`action_masks` of every row; nothing else is offered."""
        if method_name != "action_masks":
            raise AttributeError(method_name)
        return list(self.episodes.masks().cpu().numpy())

    def has_attr(self, attr_name: str) -> bool:
        """Whether rows offer the attribute."""
        return attr_name == "action_masks"

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Rows have no attributes of their own but `render_mode`."""
        if attr_name == "render_mode":
            return [None] * self.num_envs
        raise AttributeError(attr_name)

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Rows have no attributes of their own."""
        raise AttributeError(attr_name)

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """Rows are never wrapped."""
        return [False] * self.num_envs

    def close(self) -> None:
        """Nothing to close."""

    def get_images(self) -> Sequence[np.ndarray | None]:
        """Nothing to draw."""
        return [None] * self.num_envs
