"""Many customers' episodes at once, on the device: what agents train on and the Gymnasium environments wrap.

Every row lives one customer's horizon; when it ends, a new customer of the pool moves in with another ensemble
member. Rows are out of step with each other, so that every batch holds all phases of an episode.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from campaigns.features import STATE_FEATURES, candidate_names
from campaigns.history import HOLD
from campaigns.objective import Objective
from campaigns.observation import Observation
from envs.world import SlotOutcome, World, slot_reward

STRIDE = 1_000_000
"""Between the seeds of agents that learn side by side, so that they are no neighbouring run's."""


def seed_of(seed: int, agent: int) -> int:
    """The seed of one of the agents that learn side by side from `seed`; the first has this seed itself."""
    return seed + STRIDE * agent


@dataclass(frozen=True)
class Transition:
    """What one slot of all rows brought.

    Attributes:
        reward: of the slot, in the objective's unit. Shape [N].
        done: rows whose episode ended. Shape [N], bool.
        terminated: rows after which nothing follows (the others that are done were only cut). Shape [N], bool.
        ended: the E rows in `done`, ascending. Shape [E], int64.
        final: their observation vectors before new episodes began. Shape [E, F].
        outcome: what happened.
    """

    reward: Tensor
    done: Tensor
    terminated: Tensor
    ended: Tensor
    final: Tensor
    outcome: SlotOutcome


def observation_width(market: World[Any]) -> int:
    """F: customer features, state features, share of the horizon left, K x Fc candidate features."""
    told = len(candidate_names(market.catalogue.tells_channels))
    return market.pool.features.shape[1] + len(STATE_FEATURES) + 1 + len(market.catalogue) * told


class Episodes:
    """A batch of running episodes in a market.

    Whether an episode's end terminates or truncates it is the objective's `terminal`: after `zero` nothing
    follows, after `continue` the value of the final observation does.

    Which rows end in which slot is known once the first episodes are cut to length, so that no step has to ask a tensor
    for it: on a GPU nothing waits for the host.

    Args:
        market: the learned market, or another world to train in.
        objective: rewards and horizon.
        rows: N, how many customers act at once.
        seed: of customers, members and noise.
        expected: reward conditional expectations instead of draws.
        device: where everything lives.
        staggered: let first episodes end at different slots.
        agents: S, how many agents share the rows, in blocks of equal size. What an agent's block meets is what it would
            meet if the agent were alone, with `seed_of` it.
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
        agents: int = 1,
    ) -> None:
        self.market = market
        self.objective = objective
        self.rows = rows
        self.expected = expected
        self.device = torch.device(device)
        self.horizon = objective.slots(market.clock)
        self.width = observation_width(market)
        self.decisions = 1 + len(market.catalogue)
        self.staggered = staggered
        self.generators = [torch.Generator(device=self.device) for _ in range(agents)]
        self._seen: Observation | None = None
        self.reset(seed)

    @property
    def terminates(self) -> bool:
        """Whether the world ends with the horizon (else it goes on and is only cut)."""
        return self.objective.terminal == "zero"

    def reset(self, seed: int) -> Tensor:
        """Starts all rows anew. Returns the observation vectors, shape [N, F]."""
        for agent, generator in enumerate(self.generators):
            generator.manual_seed(seed_of(seed, agent))
        self.state = self._newcomers(self.rows)
        self.age = torch.zeros(self.rows, dtype=torch.int64, device=self.device)
        self.limit = torch.full_like(self.age, self.horizon)
        if self.staggered:  # in equal numbers, so that every slot sees as many customers come and go
            own = self.rows // len(self.generators)
            self.limit = 1 + torch.arange(self.rows, device=self.device) % own * self.horizon // own
        self._schedule()
        self._seen = None
        return self.vector(self.seen, self.remaining)

    @property
    def seen(self) -> Observation:
        """What a policy may see before it decides for the running episodes."""
        if self._seen is None:
            self._seen = self.market.observe(self.state)
        return self._seen

    def step(self, decision: Tensor) -> tuple[Tensor, Transition]:
        """One slot for every row; see `advance`. Returns the next observation vectors, shape [N, F], as well."""
        transition = self.advance(decision)
        return self.vector(self.seen, self.remaining), transition

    def advance(self, decision: Tensor) -> Transition:
        """One slot for every row; what follows is seen in `seen`.

        Args:
            decision: HOLD or 1 + content index. Shape [N], int64. What `masks` forbids is answered as a hold, so
                that also learners that know no masks send nothing that a guardrail rules out.
        """
        ended = self.ending()
        return self.take_slot(decision, ended)

    def ending(self) -> Tensor:
        """Counts one slot, and returns the rows whose episodes end in it. Shape [E], int64."""
        ended = self.ends[self.slots_done % self.horizon]
        self.slots_done += 1
        return ended

    def take_slot(self, decision: Tensor, ended: Tensor) -> Transition:
        """As `advance`, where `ending` said which rows end: tensors alone, as a CUDA graph can record them."""
        allowed = self.masks().gather(1, decision.unsqueeze(1)).squeeze(1)
        decision = torch.where(allowed, decision, HOLD)
        noise = self.uniforms(self.market.noise_columns)
        self.state, outcome = self.market.step(self.state, decision, noise, self.seen)
        reward = slot_reward(self.objective, outcome, decision, self.market.catalogue, self.expected)
        self.age = self.age + 1
        done = self.age >= self.limit
        # An episode shortened by staggering is cut: the customer's horizon went on.
        terminated = done & (self.limit == self.horizon) if self.terminates else torch.zeros_like(done)
        final = reward.new_empty(0, self.width)
        if len(ended):
            final = self.vector(self.market.observe(self.state.take(ended)), self.remaining[ended])
            self.state.overwrite(ended, self._newcomers(len(ended)))
            self.age = torch.where(done, 0, self.age)
            self.limit = torch.where(done, self.horizon, self.limit)
        self._seen = None
        return Transition(reward, done, terminated, ended, final, outcome)

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

    def uniforms(self, *columns: int) -> Tensor:
        """Random numbers in [0, 1). Shape [N, *columns]."""
        own = self.rows // len(self.generators)
        return _joined([torch.rand(own, *columns, generator=one, device=self.device) for one in self.generators])

    def running(self) -> dict[str, Any]:
        """The tensors that the episodes run on, not copied."""
        return {"state": self.state.tensors(), "age": self.age, "limit": self.limit}

    def resume(self, running: dict[str, Any]) -> None:
        """Lets the episodes run on other tensors, in the midst of the same slots; see `running`."""
        self.state = self.market.restore(running["state"])
        self.age, self.limit = running["age"], running["limit"]
        self._seen = None

    def state_dict(self) -> dict[str, Any]:
        """Everything that the rest of the episodes depends on, as tensors."""
        return _copied(self.running() | {"generator": torch.stack([one.get_state() for one in self.generators])})

    def load_state_dict(self, stored: dict[str, Any]) -> None:
        """The inverse of `state_dict`, for episodes in the same market."""
        stored = _copied(stored)
        self.resume(stored)
        self._schedule()
        self.draw_from(stored["generator"])

    def draw_from(self, states: Tensor) -> None:
        """Lets random numbers go on from what a `state_dict` held of their generators."""
        for generator, state in zip(self.generators, states, strict=True):
            generator.set_state(state.cpu().clone())  # it reads from the start of the storage

    def _schedule(self) -> None:
        """Notes for each slot of a horizon, from now on, which rows end in it; see `Transition.ended`."""
        left = (self.limit - self.age).cpu()
        self.slots_done = 0
        self.ends = [torch.nonzero(left == 1 + slot).squeeze(1).to(self.device) for slot in range(self.horizon)]

    def _newcomers(self, count: int) -> Any:
        own, pool = count // len(self.generators), len(self.market.pool)
        drawn = [torch.randint(pool, (own,), generator=one, device=self.device) for one in self.generators]
        return self.market.begin(_joined(drawn), *self.generators)


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return torch.cat(list(parts)) if len(parts) > 1 else parts[0]


def _copied(stored: dict[str, Any]) -> dict[str, Any]:
    """The same tree with tensors of its own, since running episodes write into theirs."""
    return {name: _copied(part) if isinstance(part, dict) else part.clone() for name, part in stored.items()}
