"""A slot of a rollout as a CUDA graph: recorded once, then replayed without the host's hundred small launches.

A graph reads and writes the same memory at every replay, so the episodes' state stays where it is and is written over.
Random numbers are not frozen: the episodes' generators are known to the graph, which moves them on at every replay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from envs.episodes import Episodes

WARM_UP = 3
"""Slots that are taken before one is recorded, so that libraries have set themselves up."""


class SlotGraphs:
    """One graph for each number of episodes that end in a slot; with staggered episodes there are two such numbers.

    Args:
        episodes: on a CUDA device; nobody else moves them on meanwhile.
        take: decides for all rows and moves them on by a slot. Called with the slot's place in the rollout, shape [1],
            and the rows that end in it, shape [E]; both int64. It may not wait for the device.
    """

    def __init__(self, episodes: Episodes, take: Callable[[Tensor, Tensor], object]) -> None:
        self.episodes, self.take = episodes, take
        self.slot = torch.zeros(1, dtype=torch.int64, device=episodes.device)
        self.recorded: dict[int, tuple[torch.cuda.CUDAGraph, Tensor]] = {}
        self.home = episodes.running()

    def play(self, slot: int, ended: Tensor) -> None:
        """Takes a slot: what `take` does, at places given by value.

        Args:
            slot: 0..T-1.
            ended: from `Episodes.ending`. Shape [E], int64.
        """
        if self.episodes.age is not self.home["age"]:  # somebody has put other episodes there
            self.home, self.recorded = self.episodes.running(), {}
        if len(ended) not in self.recorded:
            self.recorded[len(ended)] = self._record(ended)
        graph, rows = self.recorded[len(ended)]
        self.slot.fill_(slot)
        rows.copy_(ended)
        graph.replay()
        self.episodes.resume(self.home)

    def _record(self, ended: Tensor) -> tuple[torch.cuda.CUDAGraph, Tensor]:
        episodes, rows = self.episodes, ended.clone()
        before = episodes.state_dict()
        # Recording has to happen beside the stream that everything else runs in, and so has what precedes it.
        beside = torch.cuda.Stream(episodes.device)
        beside.wait_stream(torch.cuda.current_stream(episodes.device))
        with torch.cuda.stream(beside):
            for _ in range(WARM_UP):
                self._take_in_place(rows)
        torch.cuda.current_stream(episodes.device).wait_stream(beside)
        graph = torch.cuda.CUDAGraph()
        for generator in episodes.generators:
            graph.register_generator_state(generator)
        with torch.cuda.graph(graph):
            self._take_in_place(rows)
        for place, value in zip(_leaves(self.home), _leaves(before), strict=True):
            place.copy_(value)
        episodes.draw_from(before["generator"])
        return graph, rows

    def _take_in_place(self, rows: Tensor) -> None:
        """Takes a slot from the state at home and writes the new one over it, where the next replay reads it."""
        self.episodes.resume(self.home)
        self.take(self.slot, rows)
        for place, value in zip(_leaves(self.home), _leaves(self.episodes.running()), strict=True):
            if place is not value:
                place.copy_(value)


def _leaves(tree: dict[str, Any]) -> Iterator[Tensor]:
    """The tensors of a tree, in its order; the generator's state is none of them."""
    for name, part in tree.items():
        if name != "generator":
            yield from _leaves(part) if isinstance(part, dict) else (part,)
