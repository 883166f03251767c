"""Many customers' weeks at once: a plan is chosen for each, and carried out slot by slot in any world.

All rows are in step: an episode is one customer's horizon, cut at the grid's Mondays, so that its first and last week
may be short. When it ends, new customers move in everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from campaigns.features import candidate_names
from campaigns.history import HOLD
from campaigns.objective import Objective
from campaigns.observation import Observation
from campaigns.plan_features import PLAN_FEATURES, plan_features
from campaigns.plan_masks import allowed_plans
from campaigns.plans import NO_PLAN, PlanMenu, planned_decisions, week_of, week_start
from envs.world import World, slot_reward


@dataclass(frozen=True)
class PlanTransition:
    """What one week of all rows brought.

    Attributes:
        reward: of the week, in the objective's unit, undiscounted. Shape [N].
        done: whether the episodes ended; all do together. Shape [N], bool.
        terminated: whether nothing follows (else they were only cut). Shape [N], bool.
        ended: the rows in `done`. Shape [E], int64.
        final: their observation vectors before new episodes began. Shape [E, F].
        sends: of the week. Shape [N], int64.
        unsubscribed: whether the customer opted out of anything in the week. Shape [N], bool.
    """

    reward: Tensor
    done: Tensor
    terminated: Tensor
    ended: Tensor
    final: Tensor
    sends: Tensor
    unsubscribed: Tensor


def week_lengths(market: World[Any], slots: int) -> list[int]:
    """Slots of each week of an episode of `slots` slots, from the world's first slot on."""
    clock, begin, last = market.clock, market.first_slot, market.first_slot + slots
    lengths = []
    while begin < last:
        following = int(week_start(clock, week_of(clock, torch.tensor(begin)) + 1))
        lengths.append(min(following, last) - begin)
        begin += lengths[-1]
    return lengths


class PlanEpisodes:
    """A batch of running episodes in a world, a week a step.

    Args:
        market: the learned market, or another world to train in.
        objective: rewards and horizon.
        menu: of the plans.
        rows: N, how many customers live at once.
        seed: of customers, members and noise.
        expected: reward conditional expectations instead of draws.
        device: where everything lives.
    """

    def __init__(
        self,
        market: World[Any],
        objective: Objective,
        menu: PlanMenu,
        rows: int,
        seed: int,
        *,
        expected: bool = True,
        device: torch.device | str = "cpu",
    ) -> None:
        self.market = market
        self.objective = objective
        self.menu = menu
        self.rows = rows
        self.expected = expected
        self.device = torch.device(device)
        self.weeks = week_lengths(market, objective.slots(market.clock))
        contents = len(market.catalogue)
        self.decisions = menu.size(contents)
        told = len(candidate_names(market.catalogue.tells_channels))
        self.width = market.pool.features.shape[1] + len(PLAN_FEATURES) + 1 + contents * told
        self.generator = torch.Generator(device=self.device)
        self.week = 0
        self.state: Any = None
        self.seen: Observation
        self.reset(seed)

    @property
    def terminates(self) -> bool:
        """Whether the world ends with the horizon (else it goes on and is only cut)."""
        return self.objective.terminal == "zero"

    def reset(self, seed: int) -> Tensor:
        """Starts all rows anew. Returns the observation vectors, shape [N, F]."""
        self.generator.manual_seed(seed)
        self._begin()
        return self.vector()

    def step(self, plan: Tensor) -> tuple[Tensor, PlanTransition]:
        """A week for every row.

        Args:
            plan: number in the menu. Shape [N], int64. What `masks` forbids is answered with nothing.
        Returns:
            The next observation vectors, shape [N, F], and the transition.
        """
        allowed = self.masks().gather(1, plan.unsqueeze(1)).squeeze(1)
        plan = torch.where(allowed, plan, NO_PLAN)
        reward = torch.zeros(self.rows, device=self.device)
        sends = torch.zeros(self.rows, dtype=torch.int64, device=self.device)
        left = torch.zeros(self.rows, dtype=torch.bool, device=self.device)
        for _ in range(self.weeks[self.week]):
            decision = planned_decisions(self.seen, self.menu, plan)
            noise = torch.rand(self.rows, self.market.noise_columns, generator=self.generator, device=self.device)
            self.state, outcome = self.market.step(self.state, decision, noise, self.seen)
            reward += slot_reward(self.objective, outcome, decision, self.market.catalogue, self.expected)
            sends += decision > HOLD
            left |= outcome.unsubscribed
            self.seen = self.market.observe(self.state)
        self.week += 1
        over = self.week == len(self.weeks)
        done = torch.full_like(left, over)
        vectors = self.vector()
        ended, final = torch.nonzero(done).squeeze(1), vectors[:0]
        if over:
            final = vectors
            self._begin()
            vectors = self.vector()
        terminated = done if self.terminates else torch.zeros_like(done)
        return vectors, PlanTransition(reward, done, terminated, ended, final, sends, left)

    def masks(self) -> Tensor:
        """Plans open now, jointly. Shape [N, P], bool."""
        return allowed_plans(self.seen, self.menu, self.market.guardrails)

    def vector(self) -> Tensor:
        """Customer, what a plan is chosen by, share of the horizon left, then K x Fc candidate features."""
        seen = self.seen
        left = sum(self.weeks[self.week :]) / sum(self.weeks)
        remaining = torch.full((self.rows, 1), left, device=self.device)
        return torch.cat([seen.population.features, plan_features(seen), remaining, seen.candidates.flatten(1)], dim=1)

    def state_dict(self) -> dict[str, Any]:
        """Everything that the rest of the episodes depends on, as tensors."""
        return {"state": self.state.tensors(), "week": self.week, "generator": self.generator.get_state()}

    def load_state_dict(self, stored: dict[str, Any]) -> None:
        """The inverse of `state_dict`, in the same world."""
        self.state = self.market.restore(stored["state"])
        self.seen = self.market.observe(self.state)
        self.week = int(stored["week"])
        self.generator.set_state(stored["generator"].cpu())

    def _begin(self) -> None:
        customers = torch.randint(len(self.market.pool), (self.rows,), generator=self.generator, device=self.device)
        self.state = self.market.begin(customers, self.generator)
        self.seen = self.market.observe(self.state)
        self.week = 0
