"""Rollout storage on the device: allocated once, filled in place, read in shuffled minibatches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor


class TensorRolloutBuffer:
    """T slots of N rows, in S blocks of equal size: one for each agent that learns.

    Most decisions are none: quiet hours and caps leave only the hold. Candidates are kept of the others alone, one
    after the other in the order in which they were added.

    Args:
        slots: T.
        rows: N.
        width: F, of a moment; see `tower_policy.moments`.
        contents: K.
        candidate_width: Fc.
        device: where it lives. Memory: T x N x (F + 1 + K + 9) numbers, and up to T x N x K x Fc of candidates.
        seeds: of the order of each agent's minibatches. Length S.
    """

    def __init__(
        self,
        slots: int,
        rows: int,
        width: int,
        contents: int,
        candidate_width: int,
        device: torch.device | str,
        seeds: Sequence[int],
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
        self.generators = [torch.Generator(device=device).manual_seed(seed) for seed in seeds]

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

    def by_agent(self, table: Tensor) -> Tensor:
        """A table's blocks. Shape [T, N] -> [T, S, N / S], on the same memory."""
        return table.view(len(table), len(self.generators), -1)

    def explained_variance(self) -> Tensor:
        """Share of the returns' variance that the predicted values explain, on average over the agents; NaN where
        returns do not vary. Shape []."""
        returns = self.by_agent(self.returns_)
        spread, left = returns.var(dim=(0, 2)), (returns - self.by_agent(self.values_)).var(dim=(0, 2))
        return torch.where(spread > 0, 1 - left / spread, torch.nan).mean()

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

    def minibatches(
        self, batch_size: int, forced_share: float = 1.0, even: bool = False
    ) -> Iterator[tuple[Tensor, ...]]:
        """Every decision that was one, once, and a share of the forced holds, shuffled.

        Args:
            batch_size: decisions of an agent at a time, at most.
            forced_share: of the forced holds, drawn anew each time.
            even: whether all agents get as many. Those that had fewer decisions get more of their forced holds.
        Yields:
            Of each of the S agents, their numbers slot x N + row. Shape [B] each, int64; every agent has as many parts.
        """
        orders = [self._shuffled(agent, forced_share) for agent in range(len(self.generators))]
        counts = [int(kept.sum()) for _, kept in orders]
        parts = -(-max(counts) // batch_size)
        # In parts of equal size: one decision alone would have no spread to be normalised by.
        least, split = max(counts) if even else 2 * parts, []
        for (order, kept), count in zip(orders, counts, strict=True):
            more = (~kept).cumsum(0) <= least - count if count < least else kept
            split.append(order[kept | more].tensor_split(parts))
        yield from zip(*split, strict=True)

    def _shuffled(self, agent: int, forced_share: float) -> tuple[Tensor, Tensor]:
        """An agent's decisions in random order, and which of them are taken. Shape [T x N / S] each."""
        slots, rows = self.actions.shape
        own, generator = rows // len(self.generators), self.generators[agent]
        order = torch.randperm(slots * own, generator=generator, device=generator.device)
        if own < rows:  # from places in the agent's block to places in the table
            order += (order // own) * (rows - own) + agent * own
        if forced_share == 1:
            return order, torch.ones_like(order, dtype=torch.bool)
        kept = torch.rand(len(order), generator=generator, device=generator.device) < forced_share
        kept |= self.place.flatten()[order] >= 0
        return order, kept if int(kept.sum()) > 1 else torch.ones_like(kept)


def _write(table: Tensor, slot: int | Tensor, value: Tensor) -> None:
    """Puts `value` [N, ...] into a slot of `table` [T, N, ...]; see `TensorRolloutBuffer.put`."""
    if isinstance(slot, int):
        table[slot] = value
    else:
        table.index_copy_(0, slot, value.to(table.dtype).unsqueeze(0))
