"""Rollout storage on the device: allocated once, filled in place, read in shuffled minibatches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class RolloutSamples(NamedTuple):
    """One minibatch of B decisions, with the names that SB3's `train` reads."""

    observations: Tensor
    actions: Tensor
    old_values: Tensor
    old_log_prob: Tensor
    advantages: Tensor
    returns: Tensor
    action_masks: Tensor


class TensorRolloutBuffer:
    """T slots of N rows.

    Args:
        slots: T.
        rows: N.
        width: F, of an observation vector.
        decisions: 1 + K.
        device: where it lives. Memory: T x N x (F + 1 + K + 7) numbers.
        seed: of the minibatches' order.
    """

    def __init__(
        self, slots: int, rows: int, width: int, decisions: int, device: torch.device | str, seed: int
    ) -> None:
        def table(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.zeros((slots, rows, *shape), dtype=dtype, device=device)

        self.observations = table(width)
        self.masks = table(decisions, dtype=torch.bool)
        self.actions = table(dtype=torch.int64)
        self.rewards, self.values_, self.log_probs = table(), table(), table()
        self.advantages, self.returns_ = table(), table()
        self.following = table()
        self.done = table(dtype=torch.bool)
        self.generator = torch.Generator(device=device).manual_seed(seed)

    @property
    def values(self) -> np.ndarray:
        """Predicted values, for SB3's explained variance. Shape [T, N]."""
        values: np.ndarray = self.values_.cpu().numpy()
        return values

    @property
    def returns(self) -> np.ndarray:
        """Targets of the value function, for SB3's explained variance. Shape [T, N]."""
        returns: np.ndarray = self.returns_.cpu().numpy()
        return returns

    def finish(self, gamma: float, gae_lambda: float) -> None:
        """Generalised advantages (Schulman et al. 2016, eq. 16) from rewards, values and `following`.

        `following` [T, N] holds V of the true next observation: of the episode's own last observation where it
        was cut, 0 where it terminated. Advantages never flow across an episode's end.
        """
        advantage = torch.zeros_like(self.rewards[0])
        for slot in reversed(range(len(self.rewards))):
            delta = self.rewards[slot] + gamma * self.following[slot] - self.values_[slot]
            advantage = delta + gamma * gae_lambda * torch.where(self.done[slot], 0.0, advantage)
            self.advantages[slot] = advantage
        torch.add(self.advantages, self.values_, out=self.returns_)

    def get(self, batch_size: int | None) -> Iterator[RolloutSamples]:
        """Shuffled minibatches of `batch_size` decisions (all at once for None)."""
        total = self.actions.numel()
        order = torch.randperm(total, generator=self.generator, device=self.actions.device)
        observations, masks = self.observations.flatten(0, 1), self.masks.flatten(0, 1)
        columns = [t.flatten() for t in (self.actions, self.values_, self.log_probs, self.advantages, self.returns_)]
        for rows in order.split(batch_size or total):
            actions, values, log_probs, advantages, returns = (column[rows] for column in columns)
            yield RolloutSamples(observations[rows], actions, values, log_probs, advantages, returns, masks[rows])
