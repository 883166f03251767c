"""Actors and critics of several seeds behind SB3's policy interface, with one optimizer, for `agents.ppo`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from agents.stacked_layers import clip_gradients, stacked, view_of
from agents.tower_policy import TowerPolicy, Towers
from policies.actor import Actor


class StackedPolicy(TowerPolicy):
    """As `TowerPolicy`, for S agents that learn side by side: rows of a batch come in S blocks, one an agent.

    Args:
        seeds: of the agents' first weights, each of which is drawn as if it were alone. Length S.
    """

    def __init__(self, *args: Any, seeds: Sequence[int], **kwargs: Any) -> None:
        self.seeds = list(seeds)
        super().__init__(*args, **kwargs)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return super()._get_constructor_parameters() | {"seeds": self.seeds}

    def make_towers(self) -> tuple[Actor, nn.Sequential]:
        """Untrained actors and critics."""
        actors, critics = [], []
        for seed in self.seeds:
            torch.manual_seed(seed)
            actor, critic = super().make_towers()
            actors.append(actor)
            critics.append(critic)
        return stacked(actors), stacked(critics)

    def towers(self) -> Towers:
        """All networks as one."""
        return Towers(self.actor, self.critic, self.contents.expand(len(self.seeds), -1, -1))

    @cached_property
    def _views(self) -> list[Towers]:
        return [
            Towers(view_of(self.actor, place), view_of(self.critic, place), self.contents)
            for place in range(len(self.seeds))
        ]

    def each(self) -> Sequence[Towers]:
        """The networks of each agent, on the memory of all."""
        return self._views

    def apart(self) -> bool:
        """Whether agents are asked one after the other: on a processor, to which batched products bring nothing."""
        return self.contents.device.type == "cpu"

    def values(self, moment: Tensor) -> Tensor:
        """What the critics expect of moments, in S blocks of equal size. Shape [N, F] -> [N]."""
        blocks = moment.view(len(self.seeds), -1, moment.shape[1])
        if self.apart():
            found = [one.critic(block) for one, block in zip(self.each(), blocks, strict=True)]
            return torch.cat(found).squeeze(1)
        value: Tensor = self.critic(blocks)
        return value.flatten()

    def logits(self, customers: Tensor, state: Tensor, candidates: Tensor, counts: Sequence[int] | None) -> Tensor:
        """The actors' logits; see `TowerPolicy.logits`. Shape [N, 1 + K]."""
        parts = (customers, state, candidates)
        if self.apart():
            sizes = [len(customers) // len(self.seeds)] * len(self.seeds) if counts is None else list(counts)
            blocks = zip(*(part.split(sizes) for part in parts), strict=True)
            return torch.cat(
                [
                    one.actor(its_customers, its_state, one.contents, its_candidates)
                    for one, (its_customers, its_state, its_candidates) in zip(self.each(), blocks, strict=True)
                ]
            )
        whole = self.towers()
        people, moment, offers = (part.view(len(self.seeds), -1, *part.shape[1:]) for part in parts)
        logits: Tensor = whole.actor(people, moment, whole.contents, offers)
        return logits.flatten(0, 1)

    def make_gradients(self) -> None:
        """As there; the agents' own parameters have theirs on the same memory."""
        super().make_gradients()
        for place, one in enumerate(self.each() if self.apart() else ()):
            for whole, single in ((self.actor, one.actor), (self.critic, one.critic)):
                for all_of_them, its in zip(whole.parameters(), single.parameters(), strict=True):
                    assert all_of_them.grad is not None
                    its.grad = all_of_them.grad[place]

    def clip_gradients(self, most: float) -> None:
        """Shortens the gradient of each agent to a norm of at most `most`."""
        clip_gradients(list(self.parameters()), most)
