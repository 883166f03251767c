"""Finds the best cap x daypart x content rule in a market: every rule at once, the promising ones again."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agents.rule_settings import RuleSearchSettings
from campaigns.audience import Catalogue, decision_costs
from campaigns.clock import DAYPARTS
from campaigns.objective import Objective
from campaigns.plans import ANY, FAVOURED, FAVOURITE, ROTATE, ROTATED
from envs.world import World, slot_reward
from evaluation.limits import BUDGET, limits_of
from policies.rules import CapDaypartContent, rule_decisions

CAPS = (1, 2, 3, 4, 5, 7, 10)
"""Sends a week that are tried."""


@torch.no_grad()
def search_rule(
    market: World[Any],
    objective: Objective,
    settings: RuleSearchSettings,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> CapDaypartContent:
    """The rule with the highest expected value in the market, of those that keep to the objective's limits.

    All rules of a round act at once, each on the same customers with the same noise; the best go on to the next,
    with more customers.

    Args:
        market, objective: where and for what.
        settings: customers a rule and rules that go on.
        seed: of customers and noise.
        progress: called with slots done and slots in all.
    """
    rules = candidate_rules(market)
    horizon = objective.slots(market.clock)
    rounds = ((settings.first_customers, settings.kept), (settings.last_customers, 1))
    total, done = horizon * len(rounds), 0
    for number, (customers, kept) in enumerate(rounds):

        def count(_: int) -> None:
            nonlocal done
            done += 1
            if progress is not None:
                progress(done, total)

        sums = _scores(market, objective, rules, customers, horizon, seed + number, count)
        best = np.argsort(-sums.numpy(), kind="stable")[:kept]
        rules = [rules[i] for i in best]
    return rules[0]


def candidate_rules(market: World[Any]) -> list[CapDaypartContent]:
    """Every combination that the guardrails leave room for."""
    cap = market.guardrails.max_per_week
    caps = [c for c in CAPS if not cap or c <= cap] or [cap]
    contents = [ROTATE, FAVOURITE, *(str(i) for i in market.catalogue.ids)]
    return [CapDaypartContent(c, d, x) for c, d, x in product(caps, (*DAYPARTS[1:], ANY), contents)]


def _scores(
    market: World[Any],
    objective: Objective,
    rules: list[CapDaypartContent],
    customers: int,
    horizon: int,
    seed: int,
    count: Callable[[int], None],
) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randint(len(market.pool), (customers,), generator=generator)
    state = market.begin(chosen, generator).take(torch.arange(customers).repeat(len(rules)))
    cap, daypart, choice = (column.repeat_interleave(customers) for column in _columns(rules, market.catalogue))
    value = torch.zeros(len(rules) * customers)
    limits, cost = limits_of(objective), decision_costs(market.catalogue)
    used = {limit: torch.zeros_like(value) for limit in limits}
    there = torch.ones_like(value)
    for slot in range(horizon):
        noise = torch.rand(customers, market.noise_columns, generator=generator).repeat(len(rules), 1)
        seen = market.observe(state)
        decision = rule_decisions(seen, cap, daypart, choice)
        state, outcome = market.step(state, decision, noise, seen)
        value += slot_reward(objective, outcome, decision, market.catalogue, expected=True)
        for limit in limits:
            used[limit] += cost[decision] if limit.name == BUDGET else outcome.expected_unsubscribed * there
        if limits:
            there *= ~outcome.unsubscribed
        count(slot)
    score = _by_rule(value, rules)
    over = torch.zeros_like(score)
    for limit, total in used.items():
        over += (_by_rule(total, rules) - limit.most).clamp(min=0.0)
    # What breaks a limit comes after all that keep to it, the worse the later.
    return torch.where(over > 0, score.min() - 1.0 - over, score)


def _by_rule(totals: Tensor, rules: list[CapDaypartContent]) -> Tensor:
    """Mean a customer of each rule. `totals` [R x N]; shape [R], float64."""
    return totals.view(len(rules), -1).double().mean(dim=1)


def _columns(rules: list[CapDaypartContent], catalogue: Catalogue) -> tuple[Tensor, Tensor, Tensor]:
    ids = [str(i) for i in catalogue.ids]
    special = {ROTATE: ROTATED, FAVOURITE: FAVOURED}
    return (
        torch.tensor([rule.cap for rule in rules]),
        torch.tensor([-1 if rule.daypart == ANY else DAYPARTS.index(rule.daypart) for rule in rules]),
        torch.tensor([special[rule.content] if rule.content in special else ids.index(rule.content) for rule in rules]),
    )
