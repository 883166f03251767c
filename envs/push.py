"""`campaigns/Push-v0`: slot decisions in a learned market, as a single and a vector Gymnasium environment.

Numpy lives here, at the edge; training on the device uses `envs.episodes` directly.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from campaigns.objective import Objective
from envs.episodes import Episodes, observation_width
from envs.market import Market
from envs.world import World


def observation_space(market: World[Any]) -> spaces.Box:
    """All of an observation vector's numbers, float32; see `Episodes.vector`."""
    return spaces.Box(-np.inf, np.inf, (observation_width(market),), np.float32)


class PushEnv(gymnasium.Env[np.ndarray, np.int64]):
    """One customer's episode: hold or send one content, slot by slot.

    The action is 0 for hold and 1 + k for content k. An action that `action_masks` forbids is answered as a hold
    and flagged in `info["forbidden"]`. With `objective.terminal=zero` an episode ends `terminated` at the
    horizon (there is no value after it); with `continue` it ends `truncated` (bootstrap from the last
    observation).

    Args:
        market: the learned market.
        objective: rewards and horizon.
        expected: reward conditional expectations instead of draws.
    """

    metadata = {"render_modes": []}  # noqa: RUF012 - Gymnasium's own class attribute

    def __init__(self, market: Market, objective: Objective, expected: bool = False) -> None:
        self.observation_space = observation_space(market)
        self.action_space = spaces.Discrete(1 + len(market.catalogue))
        self._episodes = Episodes(market, objective, rows=1, seed=0, expected=expected, staggered=False)
        self._needs_reset = True

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """A new customer moves in. Returns the observation [F] and an info with `action_mask` [1 + K]."""
        super().reset(seed=seed)
        observation = self._episodes.reset(int(self.np_random.integers(2**31)))
        self._needs_reset = False
        return observation[0].numpy(), {"action_mask": self.action_masks()}

    def step(self, action: np.int64 | int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """One slot; see the class for what ends an episode and how."""
        if self._needs_reset:
            raise gymnasium.error.ResetNeeded("the episode has ended; call reset() first")
        allowed = bool(self._episodes.masks()[0, int(action)])
        observations, transition = self._episodes.step(torch.tensor([int(action)]))
        done = bool(transition.done[0])
        self._needs_reset = done
        terminated, truncated = (done, False) if self._episodes.terminates else (False, done)
        info = {"action_mask": self.action_masks(), "forbidden": not allowed, **_events(transition.outcome, 0)}
        observation = transition.final[0] if done else observations[0]
        return observation.numpy(), float(transition.reward[0]), terminated, truncated, info

    def action_masks(self) -> np.ndarray:
        """Actions allowed now, as sb3-contrib's MaskablePPO expects. Shape [1 + K], bool."""
        masks: np.ndarray = self._episodes.masks()[0].numpy()
        return masks


class PushVectorEnv(VectorEnv[np.ndarray, np.ndarray, np.ndarray]):
    """N customers' episodes in one batch, reset in the step in which they end (`SAME_STEP`).

    `infos["final_obs"]` keeps the true last observation of an ended episode, `infos["_final_obs"]` marks its rows.

    Args:
        market, objective, expected: as for `PushEnv`.
        num_envs: N.
    """

    def __init__(self, market: Market, objective: Objective, num_envs: int, expected: bool = False) -> None:
        self.metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}
        self.num_envs = num_envs
        self.single_observation_space = observation_space(market)
        self.single_action_space = spaces.Discrete(1 + len(market.catalogue))
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._episodes = Episodes(market, objective, num_envs, seed=0, expected=expected, staggered=False)

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """New customers in all rows. Returns observations [N, F] and an info with `action_mask` [N, 1 + K]."""
        chosen = seed[0] if isinstance(seed, list) else seed
        super().reset(seed=chosen)
        observations = self._episodes.reset(int(self.np_random.integers(2**31)))
        return observations.numpy(), {"action_mask": self.action_masks()}

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """One slot for every row; forbidden actions are answered as holds."""
        wanted = torch.as_tensor(np.asarray(actions), dtype=torch.int64)
        allowed = self._episodes.masks().gather(1, wanted.unsqueeze(1)).squeeze(1)
        observations, transition = self._episodes.step(wanted)
        done = transition.done.numpy()
        nothing = np.zeros_like(done)
        terminated, truncated = (done, nothing) if self._episodes.terminates else (nothing, done)
        info: dict[str, Any] = {"action_mask": self.action_masks(), "forbidden": ~allowed.numpy()}
        if done.any():
            final = np.empty(self.num_envs, dtype=object)
            for row, vector in zip(transition.ended.tolist(), transition.final, strict=True):
                final[row] = vector.numpy()
            info |= {"final_obs": final, "_final_obs": done}
        return observations.numpy(), transition.reward.numpy(), terminated, truncated, info

    def action_masks(self) -> np.ndarray:
        """Actions allowed now. Shape [N, 1 + K], bool."""
        masks: np.ndarray = self._episodes.masks().numpy()
        return masks


def _events(outcome: Any, row: int) -> dict[str, Any]:
    names = ("opened", "clicked", "visited", "purchased", "unsubscribed")
    return {name: bool(getattr(outcome, name)[row]) for name in names} | {"value": float(outcome.value[row])}


gymnasium.register("campaigns/Push-v0", entry_point="envs.push:PushEnv", vector_entry_point="envs.push:PushVectorEnv")
