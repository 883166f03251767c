"""Many customers' episodes at once, on the device: what agents train on and the Gymnasium environments wrap.

Every row lives one customer's horizon; when it ends, a new customer of the pool moves in with another ensemble
member. Rows are out of step with each other, so that every batch holds all phases of an episode.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from campaigns.history import HOLD
from campaigns.objective import Objective
from campaigns.observation import Observation
from envs.world import SlotOutcome, World, slot_reward


@dataclass(frozen=True)
class Transition:
    """What one slot of all rows brought.

    Attributes:
        reward: of the slot, in the objective's unit. Shape [N].
        done: rows whose episode ended. Shape [N], bool.
        terminated: rows after which nothing follows (the others that are done were only cut). Shape [N], bool.
        final: observation vector of the ended episodes before the new ones began. Shape [N, F]; only the rows in
            `done` differ from the next observation.
        outcome: what happened.
    """

    reward: Tensor
    done: Tensor
    terminated: Tensor
    final: Tensor
    outcome: SlotOutcome


class Episodes:
    """A batch of running episodes in a market.

    Whether an episode's end terminates or truncates it is the objective's `terminal`: after `zero` nothing
    follows, after `continue` the value of the final observation does.

    Args:
        market: the learned market, or another world to train in.
        objective: rewards and horizon.
        rows: N, how many customers act at once.
        seed: of customers, members and noise.
        expected: reward conditional expectations instead of draws.
        device: where everything lives.
        staggered: let first episodes end at different slots.
    """

    def __init__(
        self,
        market: World[Any],
        objective: Objective,
        rows: int,
        seed: int,
        *,
        expected: bool = True,
        device: torch.device | str = "cpu",
        staggered: bool = True,
    ) -> None:
        self.market = market
        self.objective = objective
        self.rows = rows
        self.expected = expected
        self.device = torch.device(device)
        self.horizon = objective.slots(market.clock)
        self.staggered = staggered
        self.generator = torch.Generator(device=self.device)
        self.reset(seed)

    @property
    def terminates(self) -> bool:
        """Whether the world ends with the horizon (else it goes on and is only cut)."""
        return self.objective.terminal == "zero"

    def reset(self, seed: int) -> Tensor:
        """Starts all rows anew. Returns the observation vectors, shape [N, F]."""
        self.generator.manual_seed(seed)
        self.state = self._newcomers()
        self.age = torch.zeros(self.rows, dtype=torch.int64, device=self.device)
        self.limit = torch.full_like(self.age, self.horizon)
        if self.staggered:
            self.limit = torch.randint(1, self.horizon + 1, (self.rows,), generator=self.generator, device=self.device)
        self.seen = self.market.observe(self.state)
        return self.vector(self.seen, self.remaining)

    def step(self, decision: Tensor) -> tuple[Tensor, Transition]:
        """One slot for every row.

        Args:
            decision: HOLD or 1 + content index. Shape [N], int64. What `masks` forbids is answered as a hold, so
                that also learners that know no masks send nothing that a guardrail rules out.
        Returns:
            The next observation vectors, shape [N, F], and the transition.
        """
        allowed = self.masks().gather(1, decision.unsqueeze(1)).squeeze(1)
        decision = torch.where(allowed, decision, HOLD)
        noise = torch.rand(self.rows, self.market.noise_columns, generator=self.generator, device=self.device)
        state, outcome = self.market.step(self.state, decision, noise, self.seen)
        reward = slot_reward(self.objective, outcome, decision, self.market.catalogue, self.expected)
        self.age = self.age + 1
        done = self.age >= self.limit
        # An episode shortened by staggering is cut: the customer's horizon went on.
        terminated = done & (self.limit == self.horizon) if self.terminates else torch.zeros_like(done)
        self.state = state
        self.seen = self.market.observe(state)
        final = following = self.vector(self.seen, self.remaining)
        if bool(done.any()):
            self.state = state.where(done, self._newcomers())
            self.age = torch.where(done, 0, self.age)
            self.limit = torch.where(done, self.horizon, self.limit)
            self.seen = self.market.observe(self.state)
            following = self.vector(self.seen, self.remaining)
        return following, Transition(reward, done, terminated, final, outcome)

    def masks(self) -> Tensor:
        """Decisions allowed now. Shape [N, 1 + K], bool."""
        return self.seen.allowed

    def vector(self, seen: Observation, remaining: Tensor) -> Tensor:
        """Flattens an observation: customer, state, share of the horizon left, then K x Fc candidate features."""
        return torch.cat(
            [seen.population.features, seen.state, remaining.unsqueeze(1), seen.candidates.flatten(1)], dim=1
        )

    @property
    def remaining(self) -> Tensor:
        """Share of the horizon that is left, also where staggering will cut an episode. Shape [N], float32."""
        return (self.horizon - self.age).float() / self.horizon

    def state_dict(self) -> dict[str, Any]:
        """Everything that the rest of the episodes depends on, as tensors."""
        return {
            "state": self.state.tensors(),
            "age": self.age,
            "limit": self.limit,
            "generator": self.generator.get_state(),
        }

    def load_state_dict(self, stored: dict[str, Any]) -> None:
        """The inverse of `state_dict`, for episodes in the same market."""
        self.state = self.market.restore(stored["state"])
        self.age, self.limit = stored["age"], stored["limit"]
        self.generator.set_state(stored["generator"].cpu())
        self.seen = self.market.observe(self.state)

    def _newcomers(self) -> Any:
        customers = torch.randint(len(self.market.pool), (self.rows,), generator=self.generator, device=self.device)
        return self.market.begin(customers, self.generator)
