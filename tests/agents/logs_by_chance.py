"""Logs that a uniformly random policy wrote, where the best policy is known."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import torch
from torch import Tensor

from agents.logged_states import FIRST_DAYPART, LoggedStates, collect_states
from campaigns.grid import DecisionGrid
from campaigns.guardrails import NO_GUARDRAILS
from envs.market import Market
from evaluation.market_log import write_market_log
from evaluation.rollout import rollout
from policies.chooser import Chooser
from policies.rules import CapDaypartContent, Never, Random
from tests.envs.hand_made import hand_made_market, its_objective
from tests.worlds import Serves, small_world

DAYS, CUSTOMERS = 4, 300
DISCOUNT = 0.9


@cache
def market() -> Market:
    """`good` sells in the evening alone, `bad` puts people off, `dull` changes nothing."""
    return hand_made_market(days=DAYS)


@cache
def random_grid() -> DecisionGrid:
    """What hold and three contents, each a quarter of the time, brought in the market."""
    slots = DAYS * market().clock.slots_per_day
    return write_market_log(market(), Serves(Random(0.75)), CUSTOMERS, slots, seed=3).grid


@cache
def random_log() -> LoggedStates:
    """The same as learners read it."""
    world, rows = market(), torch.arange(CUSTOMERS)
    people = small_world().population.take(rows)
    people = replace(people, consent=torch.ones_like(people.consent))
    return collect_states(
        random_grid(), people, world.catalogue, world.clock, NO_GUARDRAILS, its_objective(DAYS), 1.0, seed=0
    )


def recovered(chooser: Chooser) -> float:
    """Share of the best policy's gain over never sending."""

    def worth(one: Chooser) -> float:
        return float(rollout(market(), Serves(one), its_objective(DAYS), 200, seed=9).value.mean())

    best, idle = worth(CapDaypartContent(DAYS * 6, "evening", "good")), worth(Never())
    return (worth(chooser) - idle) / (best - idle)


FRESH, WORN = 0, 1
BEST = {
    (FRESH, 0): 5.0,
    (FRESH, 1): 1.0 + DISCOUNT * 0.9 / 0.28,
    (WORN, 0): 0.9 / 0.28,
    (WORN, 1): DISCOUNT * 0.9 / 0.28,
}
"""Q* of `wearing_log` by state and decision: V(fresh) = .5 / (1 - .9), V(worn) = .9 (.2 V(fresh) + .8 V(worn))."""


def wearing_log(customers: int = 800, slots: int = 20, seed: int = 0) -> LoggedStates:
    """Sending to the fresh pays at once and wears them out, so that holding is better in the long run.

    Fresh: hold earns 0.5, a send earns 1 and makes worn. Worn: nothing earns; who is not sent to is fresh again with
    chance 0.2.
    """
    generator = torch.Generator().manual_seed(seed)
    worn = torch.rand(customers, generator=generator) < 0.5
    states, decisions, rewards = [], [], []
    for _ in range(slots):
        send = torch.rand(customers, generator=generator) < 0.5
        states.append(worn)
        decisions.append(send.long())
        rewards.append(torch.where(worn, 0.0, torch.where(send, 1.0, 0.5)))
        rested = torch.rand(customers, generator=generator) < 0.2
        worn = torch.where(worn, send | ~rested, send)
    return made_log(
        states_of(torch.stack(states, dim=1)), torch.stack(decisions, dim=1), torch.stack(rewards, dim=1),
        torch.ones(1, 1),
    )  # fmt: skip


def states_of(worn: Tensor) -> Tensor:
    """State features that tell fresh from worn. Shape [..., Fs]."""
    state = torch.zeros(*worn.shape, FIRST_DAYPART + 4)
    state[..., 0], state[..., 1], state[..., FIRST_DAYPART] = (~worn).float(), worn.float(), 1.0
    return state


def made_log(state: Tensor, decision: Tensor, reward: Tensor, contents: Tensor) -> LoggedStates:
    """A log in which everybody is alike, everything is open and nothing is relative to a content."""
    rows, slots = decision.shape
    count = len(contents)
    return LoggedStates(
        torch.zeros(rows, 1), contents, state, torch.zeros(rows, slots, count, 1),
        torch.ones(rows, slots, 1 + count, dtype=torch.bool), decision, reward,
        torch.ones(rows, slots, dtype=torch.bool),
    )  # fmt: skip


def rising_log(seed: int = 0) -> LoggedStates:
    """One slot; a send earns the content's only attribute, and the log never tried the third content."""
    generator = torch.Generator().manual_seed(seed)
    decision = torch.randint(0, 3, (2000, 1), generator=generator)
    contents = torch.tensor([[0.1], [0.6], [1.2]])
    earned = torch.cat([torch.zeros(1), contents.flatten()])[decision]
    noise = 0.1 * torch.randn(decision.shape, generator=generator)
    return made_log(states_of(torch.zeros(2000, 1, dtype=torch.bool)), decision, earned + noise, contents)
