"""Finds the numbers of the uplift rules in a market: a threshold for gains, or the price at which a budget is spent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from agents.lesson import Lesson
from agents.uplift_settings import UpliftKnapsackSettings, UpliftThresholdSettings
from campaigns.history import HOLD
from campaigns.objective import Objective
from campaigns.observation import Observation
from campaigns.replay import replay
from envs.world import World, slot_reward
from policies.chooser import best_allowed
from policies.greedy import PropensityGreedy
from policies.knapsack import UpliftKnapsack, spends

UNPAYABLE = 1e9
"""Price at which nothing that costs anything is sent."""


def learn_threshold(lesson: Lesson) -> PropensityGreedy:
    """The least gain over a hold from which on sending earns most over the horizon: a send that gains little now may
    cost more later."""
    settings: UpliftThresholdSettings = lesson.settings
    market, rule = lesson.market(), PropensityGreedy(lesson.network(), lesson.objective)
    candidates = gain_levels(market, rule, settings.candidates, settings.customers, lesson.seed)
    value, _ = play(
        market, lesson.objective, rule, candidates, torch.zeros_like(candidates), False, settings.customers,
        lesson.seed + 1, lesson.progress.update,
    )  # fmt: skip
    return PropensityGreedy(rule.model, rule.objective, float(candidates[value.argmax()]))


def learn_price(lesson: Lesson) -> UpliftKnapsack:
    """The lowest price at which a customer spends no more than the budget, on average."""
    settings: UpliftKnapsackSettings = lesson.settings
    rule, by_cost = PropensityGreedy(lesson.network(), lesson.objective), settings.unit == "currency"
    log = lesson.log()
    if log.one_shot:
        seen = next(iter(replay(log.grid, log.population, log.catalogue, log.clock, guardrails=lesson.guardrails)))
        gains = rule.gains(seen.observation)
        levels = quantiles((gains / spends(seen.observation, by_cost).clamp(min=1e-6)).flatten(), settings.candidates)

        def spending(prices: Tensor) -> Tensor:
            return torch.stack([
                spent(seen.observation, decide(seen.observation, gains, torch.zeros(len(gains)),
                      price.expand(len(gains)), by_cost), by_cost).mean() for price in prices
            ])  # fmt: skip
    else:
        market = lesson.market()
        levels = gain_levels(market, rule, settings.candidates, settings.customers, lesson.seed)
        if by_cost:
            levels = levels / market.catalogue.cost.clamp(min=1e-6).min()

        def spending(prices: Tensor) -> Tensor:
            return play(
                market, lesson.objective, rule, torch.zeros_like(prices), prices, by_cost, settings.customers,
                lesson.seed + 1, lesson.progress.update,
            )[1]  # fmt: skip

    price = price_of(spending, levels, settings.budget, settings.candidates)
    return UpliftKnapsack(rule.model, rule.objective, price, by_cost)


def price_of(spending: Callable[[Tensor], Tensor], levels: Tensor, budget: float, candidates: int) -> float:
    """The lowest price found whose spending is within the budget.

    Args:
        spending: what is spent at prices; falls with them. Shape [V] to [V].
        levels: prices to begin with, rising from 0. Shape [V].
        budget: what may be spent.
        candidates: prices of the second round, between the two that enclose the budget.
    """
    kept = spending(levels) <= budget
    if bool(kept[0]):
        return 0.0
    if budget == 0:
        return UNPAYABLE
    if not bool(kept.any()):
        low, high = float(levels[-1]), 10 * float(levels[-1]) + 1e-6
    else:
        first = int(kept.float().argmax())
        low, high = float(levels[first - 1]), float(levels[first])
    finer = torch.linspace(low, high, candidates + 1)[1:]
    within = spending(finer) <= budget
    return float(finer[int(within.float().argmax())]) if bool(within.any()) else UNPAYABLE


@torch.no_grad()
def gain_levels(market: World[Any], rule: PropensityGreedy, count: int, customers: int, seed: int) -> Tensor:
    """Thresholds worth trying: 0, and quantiles of the gains that are to be had where sends are free. Shape [count]."""
    generator = torch.Generator().manual_seed(seed)
    state = market.begin(torch.randint(len(market.pool), (customers,), generator=generator), generator)
    best = []
    for _ in range(min(market.clock.slots_in(7), rule.objective.slots(market.clock))):
        seen = market.observe(state)
        gains = rule.gains(seen)
        decision = decide(seen, gains, torch.zeros(customers), torch.zeros(customers), False)
        best.append(gains.masked_fill(~seen.allowed[:, 1:], -torch.inf).amax(dim=1))
        noise = torch.rand(customers, market.noise_columns, generator=generator)
        state, _ = market.step(state, decision, noise, seen)
    return quantiles(torch.cat(best), count)


def quantiles(gains: Tensor, count: int) -> Tensor:
    """0 and quantiles of what is above it, denser towards the top. Shape [count]."""
    above = gains[(gains > 0) & gains.isfinite()]
    if not len(above) or count == 1:
        return torch.zeros(count)
    at = 1 - torch.linspace(1, 0, count - 1).square()
    return torch.cat([torch.zeros(1), torch.quantile(above[:1_000_000], at)])


@torch.no_grad()
def play(
    market: World[Any],
    objective: Objective,
    rule: PropensityGreedy,
    thresholds: Tensor,
    prices: Tensor,
    by_cost: bool,
    customers: int,
    seed: int,
    progress: Callable[[int, int], None],
) -> tuple[Tensor, Tensor]:
    """Lets V variants of a rule act at once, each on the same customers with the same noise.

    Returns:
        Value and spending a customer over the horizon. Shape [V] each.
    """
    variants, horizon = len(prices), objective.slots(market.clock)
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randint(len(market.pool), (customers,), generator=generator)
    state = market.begin(chosen, generator).take(torch.arange(customers).repeat(variants))
    threshold, price = (numbers.repeat_interleave(customers) for numbers in (thresholds, prices))
    value, paid = torch.zeros(variants * customers), torch.zeros(variants * customers)
    for slot in range(horizon):
        noise = torch.rand(customers, market.noise_columns, generator=generator).repeat(variants, 1)
        seen = market.observe(state)
        decision = decide(seen, rule.gains(seen), threshold, price, by_cost)
        state, outcome = market.step(state, decision, noise, seen)
        value += slot_reward(objective, outcome, decision, market.catalogue, expected=True)
        paid += spent(seen, decision, by_cost)
        progress(slot + 1, horizon)
    return value.view(variants, -1).double().mean(dim=1), paid.view(variants, -1).double().mean(dim=1)


def decide(seen: Observation, gains: Tensor, threshold: Tensor, price: Tensor, by_cost: bool) -> Tensor:
    """The best content less its price where that clears the threshold; each row has its own. Shape [N], int64."""
    net = gains - price.unsqueeze(1) * spends(seen, by_cost)
    return best_allowed(torch.cat([threshold.unsqueeze(1), net], dim=1), seen.allowed)


def spent(seen: Observation, decision: Tensor, by_cost: bool) -> Tensor:
    """What decisions take from the budget. Shape [N]."""
    each = spends(seen, by_cost)[(decision - 1).clamp(min=0)]
    return torch.where(decision > HOLD, each, 0.0)
