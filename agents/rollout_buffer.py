"""Rollout storage on the device: allocated once, filled in place, read in shuffled minibatches."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor


class TensorRolloutBuffer:
    """T slots of N rows.

    Most decisions are none: quiet hours and caps leave only the hold. Candidates are kept of the others alone, one
    after the other in the order in which they were added.

    Args:
        slots: T.
        rows: N.
        width: F, of a moment; see `tower_policy.moments`.
        contents: K.
        candidate_width: Fc.
        device: where it lives. Memory: T x N x (F + 1 + K + 9) numbers, and up to T x N x K x Fc of candidates.
        seed: of the minibatches' order.
    """

    def __init__(
        self,
        slots: int,
        rows: int,
        width: int,
        contents: int,
        candidate_width: int,
        device: torch.device | str,
        seed: int,
    ) -> None:
        def table(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.zeros((slots, rows, *shape), dtype=dtype, device=device)

        self.moments = table(width)
        self.masks = table(1 + contents, dtype=torch.bool)
        self.actions = table(dtype=torch.int64)
        self.rewards, self.values_, self.log_probs = table(), table(), table()
        self.advantages, self.returns_ = table(), table()
        self.following = table()
        self.done = table(dtype=torch.bool)
        self.place = table(dtype=torch.int64)
        self.candidates = torch.empty((slots * rows, contents, candidate_width), device=device)
        self.choices = 0
        self.generator = torch.Generator(device=device).manual_seed(seed)

    def clear(self) -> None:
        """Forgets the candidates of the last rollout."""
        self.choices = 0
        self.place.fill_(-1)

    def put(self, slot: int | Tensor, **values: Tensor) -> None:
        """Fills a slot of the tables that are named.

        Args:
            slot: 0..T-1; as a tensor of shape [1], int64, where a CUDA graph is to find it at every replay.
            values: by table. Shape [N, ...].
        """
        for name, value in values.items():
            _write(getattr(self, name), slot, value)

    def put_all_candidates(self, slot: int | Tensor, chooses: Tensor, candidates: Tensor) -> None:
        """Keeps the candidates of all rows of a slot: on a GPU, which would have to wait for those that choose.

        Args:
            slot: as for `put`.
            chooses: rows that had a choice. Shape [N], bool.
            candidates: Shape [N, K, Fc].
        """
        slots, rows = self.place.shape
        table = self.candidates.view(slots, rows, *candidates.shape[1:])
        place = torch.where(chooses, torch.arange(rows, device=chooses.device) + slot * rows, -1)
        self.put(slot, place=place)
        _write(table, slot, candidates)

    def add_candidates(self, slot: int, rows: Tensor, candidates: Tensor) -> Tensor:
        """Keeps the candidates of the slot's rows that had a choice, and returns them, shape [P, K, Fc].

        Args:
            slot: 0..T-1.
            rows: Shape [P], int64.
            candidates: of all rows. Shape [N, K, Fc].
        """
        first, last = self.choices, self.choices + len(rows)
        kept = torch.index_select(candidates, 0, rows, out=self.candidates[first:last])
        self.place[slot, rows] = torch.arange(first, last, device=rows.device)
        self.choices = last
        return kept

    def explained_variance(self) -> Tensor:
        """Share of the returns' variance that the predicted values explain; NaN where returns do not vary. Shape []."""
        spread = self.returns_.var()
        return torch.where(spread > 0, 1 - (self.returns_ - self.values_).var() / spread, torch.nan)

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

    def minibatches(self, batch_size: int, forced_share: float = 1.0) -> Iterator[Tensor]:
        """Every decision that was one, once, and a share of the forced holds, shuffled.

        Args:
            batch_size: decisions at a time, at most.
            forced_share: of the forced holds, drawn anew each time.
        Yields:
            Their numbers slot x N + row. Shape [B], int64.
        """
        total, device = self.actions.numel(), self.actions.device
        shuffled = torch.randperm(total, generator=self.generator, device=device)
        if forced_share < 1:
            kept = torch.rand(total, generator=self.generator, device=device) < forced_share
            some = shuffled[kept | (self.place.flatten()[shuffled] >= 0)]
            shuffled = some if len(some) > 1 else shuffled
        # In parts of equal size: a remainder of one decision would have no spread to be normalised by.
        yield from shuffled.tensor_split(-(-len(shuffled) // batch_size))


def _write(table: Tensor, slot: int | Tensor, value: Tensor) -> None:
    """Puts `value` [N, ...] into a slot of `table` [T, N, ...]; see `TensorRolloutBuffer.put`."""
    if isinstance(slot, int):
        table[slot] = value
    else:
        table.index_copy_(0, slot, value.to(table.dtype).unsqueeze(0))
