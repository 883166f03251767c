"""What a rollout says: exact in a market whose truth is known, paired between policies, and of what really was sent."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from campaigns.guardrails import NO_GUARDRAILS, Guardrails
from campaigns.observation import Observation
from envs.market import Market
from evaluation.rollout import Rollout, rollout
from policies.chooser import one_hot
from policies.rules import CapDaypartContent, Never
from tests.envs.hand_made import BAD, DULL, GOOD, Law, hand_made_market, its_objective
from tests.worlds import Serves

DAYS, CUSTOMERS = 4, 200


class Always:
    """Sends one decision in every slot, whatever is allowed."""

    def __init__(self, decision: int) -> None:
        self.decision = decision

    def probabilities_of(self, observation: Observation) -> torch.Tensor:
        return one_hot(torch.full((len(observation),), self.decision), observation.allowed.shape[1])


def run(market: Market, policy: Always | Serves, customers: int = CUSTOMERS, seed: int = 3) -> Rollout:
    return rollout(market, policy, its_objective(DAYS), customers, seed)


def test_values_are_what_the_law_says_to_the_cent() -> None:
    law, cost = Law(), 0.2
    market, slots = hand_made_market(law, days=DAYS, cost=cost), DAYS * 6
    idle = run(market, Serves(Never()))
    np.testing.assert_allclose(idle.value, slots * law.purchase() * law.basket, rtol=1e-5)
    bad = run(market, Always(BAD))
    np.testing.assert_allclose(bad.value, slots * (law.purchase(-law.gain) * law.basket - cost), rtol=1e-4)
    assert bad.expected["opened"] == pytest.approx(CUSTOMERS * slots * law.opens, rel=1e-5)
    assert bad.sends.tolist() == [slots] * CUSTOMERS
    good = run(market, Serves(CapDaypartContent(16, "evening", "good")))
    evenings = good.sends  # it sends in every evening slot, which depend on the customer's zone
    gained = evenings * ((law.purchase(law.gain) - law.purchase()) * law.basket - cost)
    np.testing.assert_allclose(good.value, idle.value + gained, rtol=1e-4)
    assert DAYS - 1 <= evenings.min() <= evenings.max() <= 2 * DAYS


def test_drawn_values_have_the_mean_of_the_expected_ones() -> None:
    result = run(hand_made_market(days=DAYS), Always(GOOD), customers=1500)
    error = result.drawn - result.value
    assert abs(error.mean()) < 4 * error.std() / len(error) ** 0.5
    assert result.drawn.std() > 2 * result.value.std()


def test_policies_meet_the_same_luck_so_that_their_difference_is_sharp() -> None:
    cost = 0.2
    market = hand_made_market(Law(idle=(0.02, 0.3)), days=DAYS, cost=cost)
    idle, dull = run(market, Serves(Never())), run(market, Always(DULL))
    # A content that changes nothing costs its sends and not a purchase more or less, customer by customer.
    assert idle.purchases.tolist() == dull.purchases.tolist()
    np.testing.assert_allclose(dull.drawn - idle.drawn, -cost * dull.sends, atol=1e-4)
    np.testing.assert_allclose(dull.value - idle.value, -cost * dull.sends, atol=1e-4)
    assert idle.value.std() > 10 * (dull.value - idle.value).std()
    other = run(market, Serves(Never()), seed=4)
    assert other.purchases.tolist() != idle.purchases.tolist()
    assert run(market, Serves(Never())).drawn.tolist() == idle.drawn.tolist()


def test_what_cannot_reach_a_customer_is_neither_sent_nor_paid_for() -> None:
    market = hand_made_market(days=DAYS, cost=1.0)
    people = market.pool
    refused = torch.arange(len(people)) % 2 == 0
    market = replace(market, pool=replace(people, consent=people.consent & ~refused.unsqueeze(1)))
    idle, sent = run(market, Serves(Never())), run(market, Always(DULL))
    barred = refused.numpy()[np.arange(CUSTOMERS) % len(people)]
    assert not sent.sends[barred].any()
    assert not sent.contents[barred].any()
    np.testing.assert_array_equal(sent.value[barred], idle.value[barred])
    assert sent.sends[~barred].min() == DAYS * 6


def test_who_opts_out_is_counted_once_and_sent_nothing_more() -> None:
    market = hand_made_market(Law(leaves=0.2), days=DAYS)
    result = run(market, Always(GOOD))
    assert result.opted_out.mean() == pytest.approx(1 - 0.8 ** (DAYS * 6), abs=0.02)
    # The first opt-out ends the sends: their number is geometric.
    expected = sum(0.8**slot for slot in range(DAYS * 6))
    assert abs(result.sends.mean() - expected) < 4 * result.sends.std() / CUSTOMERS**0.5


def test_tables_of_when_and_what_add_up_to_the_sends() -> None:
    result = run(hand_made_market(days=DAYS), Serves(CapDaypartContent(16, "evening", "good")))
    total = result.sends.sum()
    assert total > 0
    assert result.heatmap.sum() == total
    assert result.heatmap[:, 18:].sum() == total  # the customers' own evening, in all zones
    assert result.contents[:, GOOD - 1].sum() == total
    assert result.by_daypart[:, 0].sum() == CUSTOMERS * DAYS * 6
    assert result.by_daypart[3, 1] == total
    assert result.by_daypart[:, 5].sum() == pytest.approx(result.value.sum(), rel=1e-5)


def test_held_back_slots_are_told_by_the_rule_that_holds() -> None:
    rules = Guardrails("night", 0, 24, 0, 0, 0.0, 0.0, 0, 0, 0.0)
    market = hand_made_market(guardrails=rules, days=DAYS)
    result = rollout(market, Serves(Never()), its_objective(DAYS), 50, 0, guardrails=rules)
    assert result.held_because == {"quiet_hours": pytest.approx(1.0)}
    free = rollout(hand_made_market(days=DAYS), Serves(Never()), its_objective(DAYS), 50, 0, guardrails=NO_GUARDRAILS)
    assert free.held_because == {}


def test_more_customers_than_the_pool_has_are_the_pool_again_with_other_luck() -> None:
    market = hand_made_market(days=DAYS)
    pool = len(market.pool)
    result = run(market, Always(GOOD), customers=2 * pool)
    np.testing.assert_allclose(result.value[:pool], result.value[pool:], rtol=1e-5)
    assert result.purchases[:pool].tolist() != result.purchases[pool:].tolist()
