"""Limits are kept on customers and noise that no search saw, and what is given up for them is what earns least."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from agents.dual_ascent import DualAscent
from agents.ppo import train_ppo
from agents.ppo_settings import PPOSettings
from agents.restraint import Restraint, restrain, restrained
from agents.rule_search import search_rule
from agents.rule_settings import RuleSearchSettings
from campaigns.guardrails import NO_GUARDRAILS
from campaigns.objective import Objective
from envs.market import Market
from evaluation.limits import TOLERANCE, Limit
from evaluation.optout_doubt import optout_doubt
from evaluation.rollout import Rollout, rollout
from policies.chooser import Chooser
from policies.greedy import PropensityGreedy
from policies.policy import Policy, load_policy
from policies.restrained import Restrained
from policies.rules import CapDaypartContent, Random
from propensity.model import PropensityModel
from tests.envs.hand_made import GOOD, Law, hand_made_market, its_objective
from tests.worlds import small_market, small_world

COST = 0.2
FEW = 600
BUDGET = Limit("budget", 0.0)


def policy_of(chooser: Chooser, **limits: float) -> Policy:
    """A policy for four days that explores nothing."""
    w = small_world()
    objective = replace(its_objective(), **limits)  # type: ignore[arg-type]
    return Policy("p", chooser, None, w.users, w.contents, NO_GUARDRAILS, objective, w.log.clock, exploration=0.0)


def play(market: Market, policy: Policy, customers: int = 1500, seed: int = 999) -> Rollout:
    """With noise that no search met, and each customer several times."""
    return rollout(market, policy, policy.objective, customers, seed)


@pytest.mark.parametrize("chooser", [Random(0.3), CapDaypartContent(10, "any", "rotate")])
def test_half_the_spend_is_met_within_two_per_cent(chooser: Chooser) -> None:
    market = hand_made_market(cost=COST)
    free = play(market, policy_of(chooser)).spent.mean()
    policy, (found,) = restrain(policy_of(chooser, budget=float(free) / 2), market, seed=0, customers=FEW)
    spent = play(market, policy).spent.mean()
    assert spent == pytest.approx(free / 2, rel=TOLERANCE)
    assert found.before == pytest.approx(free, rel=TOLERANCE)
    assert found.strength > 0


def test_half_the_opt_outs_are_met() -> None:
    market = small_market()
    everyone = Random(0.5)
    free = play(market, policy_of(everyone)).lost.mean()
    limits = {"optout_ceiling": float(free) / 2, "optout_confidence": 0.5}
    policy, (found,) = restrain(policy_of(everyone, **limits), market, seed=0, customers=FEW)
    assert found.after == found.surely == pytest.approx(free / 2, rel=0.01)
    assert play(market, policy).lost.mean() == pytest.approx(free / 2, rel=0.1)  # what opt-outs so rare allow


def test_where_the_level_of_opt_outs_is_doubtful_room_is_left_for_it() -> None:
    market = small_market()
    assert isinstance(market.model, PropensityModel)
    market = replace(market, model=replace(market.model, doubt=torch.tensor([[0.2**2]])))
    free = float(play(market, policy_of(Random(0.5))).lost.mean())
    limits = {"optout_ceiling": free / 2, "optout_confidence": 0.975}
    _, (found,) = restrain(policy_of(Random(0.5), **limits), market, seed=0, customers=FEW)
    assert found.surely == pytest.approx(free / 2, rel=0.01)
    # A logit that moves by .2 moves a chance p by .2 p (1 - p).
    assert found.surely / found.after == pytest.approx(math.exp(1.96 * 0.2), rel=0.01)


def test_a_truth_is_not_doubted_and_a_budget_is_its_own_bound() -> None:
    assert optout_doubt(small_market()) is not None
    assert optout_doubt(object()) is None
    _, (found,) = restrain(policy_of(Random(0.3), budget=0.5), hand_made_market(cost=COST), seed=0, customers=FEW)
    assert found.surely == found.after


def test_a_policy_within_its_limits_is_left_alone() -> None:
    before = policy_of(Random(0.1), budget=100.0, optout_ceiling=1.0)
    after, found = restrain(before, hand_made_market(), seed=0, customers=50)
    assert after is before
    assert [(part.strength, part.price) for part in found] == [(0.0, 0.0), (0.0, 0.0)]


def test_more_restraint_never_spends_more() -> None:
    market = hand_made_market(cost=COST)
    strengths = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
    spends = [play(market, policy_of(restrained(Random(0.5), BUDGET, s)), 300).spent.mean() for s in strengths]
    assert spends == sorted(spends, reverse=True)
    assert spends[-1] < 0.01 * spends[0]


def test_the_knapsack_keeps_what_earns_most_for_its_cost() -> None:
    # Purchases differ by a customer's first feature, so the same content gains more with some; half the spend is left.
    market = hand_made_market(Law(taste=1.0, basket=10.0), cost=COST)
    greedy = PropensityGreedy(market.model, its_objective())
    free = play(market, policy_of(greedy), 300)
    policy, (found,) = restrain(policy_of(greedy, budget=float(free.spent.mean()) / 2), market, seed=0, customers=300)
    less = play(market, policy, 300)
    assert isinstance(policy.chooser, PropensityGreedy)
    idle = play(market, policy_of(Random(0.0)), 300).value
    # The best half of the customers for the money is known: gains a send fall with distance from even odds.
    gain_a_send = (free.value - idle) / free.sends.clip(1)
    best = gain_a_send > torch.tensor(gain_a_send).median().item()
    assert less.sends[best].sum() > 0.95 * free.sends[best].sum()
    assert less.sends[~best].sum() < 0.1 * free.sends[~best].sum()
    assert found.price > 0
    # By chance alone, half the money would have earned half the gain.
    assert (less.value - idle).mean() > 1.1 * (free.value - idle).mean() / 2


def test_a_restrained_policy_is_saved_and_loaded_whole(tmp_path: Path) -> None:
    market = hand_made_market(cost=COST)
    policy = policy_of(Restrained(Random(0.4), 1.5), budget=0.5)
    again = load_policy(policy.save(tmp_path / "policy"))
    assert again.objective == policy.objective
    assert again.fingerprint == policy.fingerprint
    assert play(market, again, 50).sends.tolist() == play(market, policy, 50).sends.tolist()


def test_restraint_holds_contents_in_their_proportions() -> None:
    market = hand_made_market()
    seen = market.observe(market.begin(torch.arange(20), torch.Generator().manual_seed(0)))
    loose, tight = Random(0.6).probabilities(seen), Restrained(Random(0.6), 1.0).probabilities(seen)
    odds = (1 - loose[:, 0]) / loose[:, 0] / ((1 - tight[:, 0]) / tight[:, 0])
    torch.testing.assert_close(odds, torch.full_like(odds, 2.7182818), rtol=1e-4, atol=0)
    torch.testing.assert_close(tight[:, 1] / tight[:, 2], loose[:, 1] / loose[:, 2])
    torch.testing.assert_close(tight.sum(dim=1), torch.ones(20))


def test_exploration_that_alone_uses_too_much_is_given_up() -> None:
    policy = replace(policy_of(Random(0.2), budget=0.05), incumbent=Random(1.0), exploration=0.3)
    after, (found,) = restrain(policy, hand_made_market(cost=COST), seed=0, customers=100)
    assert found.exploration_dropped
    assert after.exploration == 0.0
    assert found.after <= 0.05


def test_the_searched_rule_is_the_best_of_those_within_the_budget() -> None:
    # Every send of `good` in the evening pays; unlimited, all evenings are best.
    market, objective = hand_made_market(cost=COST), replace(its_objective(), budget=2.2 * COST)
    rule = search_rule(market, objective, RuleSearchSettings(first_customers=20, kept=6, last_customers=100), seed=0)
    assert (rule.content, rule.daypart, rule.cap) == ("good", "evening", 2)


def test_prices_rise_while_a_limit_is_broken_and_fall_to_nothing_while_it_is_kept() -> None:
    market = hand_made_market(cost=COST)
    dual = DualAscent(Objective(budget=1.0), torch.device("cpu"))
    state = market.begin(torch.arange(50), torch.Generator().manual_seed(0))
    decision = torch.full((50,), GOOD)
    _, outcome = market.step(state, decision, torch.rand(50, market.noise_columns))
    lost = outcome.expected_unsubscribed
    assert not dual.charge(decision, lost, market.catalogue).any()
    assert dual.ascend(1.0, horizon=10) == pytest.approx([2.0])
    first = dual.now().money
    # A send costs COST, so at a price of 1 / COST its charge is the spread of what slots earn; it is neared by steps.
    assert 0.5 / COST < first < 0.6 / COST
    assert dual.charge(decision, lost, market.catalogue).tolist() == pytest.approx([first * COST] * 50)
    dual.ascend(1.0, horizon=10)
    assert dual.now().money > first
    for _ in range(3):
        dual.charge(torch.zeros_like(decision), lost, market.catalogue)
        dual.ascend(1.0, horizon=10)
    assert dual.now().money == 0.0


@pytest.fixture(scope="module")
def learned() -> tuple[Policy, Restraint]:
    """PPO for two sends a customer, where four evenings pay alike, restrained."""
    settings = PPOSettings(
        steps=128 * 12 * 36, rows=128, rollout_slots=12, batch_size=256, epochs=3, learning_rate=4e-3, width=16,
        gamma=0.9, checkpoint_updates=100,
    )  # fmt: skip
    policy = policy_of(Random(), budget=2 * COST)
    chooser = train_ppo(hand_made_market(cost=COST), policy.objective, settings, 0)
    policy, (found,) = restrain(replace(policy, chooser=chooser), hand_made_market(cost=COST), seed=0, customers=FEW)
    return policy, found


def test_ppo_within_a_budget_sends_what_pays_and_spends_it_all(learned: tuple[Policy, Restraint]) -> None:
    result = play(hand_made_market(cost=COST), learned[0])
    assert result.spent.mean() == pytest.approx(2 * COST, rel=TOLERANCE)
    by_content = result.contents.sum(axis=0)
    assert by_content[GOOD - 1] > 0.9 * by_content.sum()
    assert result.by_daypart[3, 1] > 0.9 * result.by_daypart[:, 1].sum()


def test_the_price_of_a_budget_is_what_one_more_unit_would_earn(learned: tuple[Policy, Restraint]) -> None:
    law = Law()
    gain = (law.purchase(law.gain) - law.purchase()) * law.basket - COST
    assert learned[1].price == pytest.approx(gain / COST, rel=0.1)


def test_training_under_a_limit_goes_on_bit_for_bit(tmp_path: Path) -> None:
    settings = PPOSettings(
        steps=64 * 8 * 4, rows=64, rollout_slots=8, batch_size=128, epochs=1, width=16, checkpoint_updates=2
    )
    objective, file = replace(its_objective(), budget=COST), tmp_path / "checkpoint.pt"

    def train(**kept: Any) -> dict[str, torch.Tensor]:
        return train_ppo(hand_made_market(cost=COST), objective, settings, 1, **kept).tensors()

    whole = train()

    def stop(done: int) -> None:
        if done >= 3 * 64 * 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(checkpoint=file, progress=stop)
    resumed = train(checkpoint=file)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
