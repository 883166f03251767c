"""The uplift rules: a budget is met by the price that is found, and a threshold keeps what pays."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from agents.lesson import Lesson
from agents.uplift import UNPAYABLE, learn_price, learn_threshold, price_of
from agents.uplift_settings import UpliftKnapsackSettings, UpliftThresholdSettings
from campaigns.errors import CampaignError
from evaluation.rollout import rollout
from policies.rules import CapDaypartContent, Never, Random
from tests.agents.one_shot_world import lesson_of, one_shot_world
from tests.envs.hand_made import BAD, Law, hand_made_market, hand_made_model, its_objective
from tests.worlds import Serves

DAYS = 3
LAW = Law(taste=1.5)


def lesson(settings: object) -> Lesson:
    market = hand_made_market(LAW, days=DAYS)
    model = hand_made_model(LAW, market.pool)
    made = lesson_of(replace(one_shot_world().log, one_shot=False), settings)
    return replace(made, objective=its_objective(DAYS), market=lambda: market, network=lambda: model)


@pytest.mark.parametrize(("budget", "unit"), [(1.5, "sends"), (0.3, "currency")])
def test_a_budget_is_spent_on_those_who_gain_most(budget: float, unit: str) -> None:
    given = lesson(UpliftKnapsackSettings(budget=budget, unit=unit, candidates=8, customers=150))
    market, objective = given.market(), given.objective
    played = rollout(market, Serves(learn_price(given)), objective, 300, seed=9)
    sends = played.sends.mean() * (0.2 if unit == "currency" else 1.0)
    # Customers of the same kind gain alike: the price lets in all of them or none, and leaves a part unspent.
    assert 0.6 * budget < sends < 1.1 * budget
    assert played.contents[:, BAD - 1].sum() == 0
    idle = rollout(market, Serves(Never()), objective, 300, seed=9).value.mean()
    rule = rollout(market, Serves(CapDaypartContent(16, "evening", "good")), objective, 300, seed=9)
    per_send = (played.value.mean() - idle) / played.sends.mean()
    assert per_send > 1.05 * (rule.value.mean() - idle) / rule.sends.mean()
    assert rollout(market, Serves(Random()), objective, 300, seed=9).value.mean() < idle < played.value.mean()


def test_prices_follow_the_budget() -> None:
    def spending(prices: torch.Tensor) -> torch.Tensor:
        return (10 - prices).clamp(min=0)

    levels = torch.tensor([0.0, 3.0, 6.0, 9.0])
    assert price_of(spending, levels, 12.0, 30) == 0.0
    assert price_of(spending, levels, 5.0, 30) == pytest.approx(5.0, abs=0.11)
    assert spending(torch.tensor([price_of(spending, levels, 0.5, 30)])) <= 0.5
    assert price_of(spending, levels, 0.0, 30) == UNPAYABLE


def test_nothing_is_sent_on_a_budget_of_zero() -> None:
    given = lesson(UpliftKnapsackSettings(budget=0, candidates=3, customers=20))
    assert rollout(given.market(), Serves(learn_price(given)), given.objective, 50, seed=1).sends.sum() == 0


def test_the_threshold_that_earns_most_is_kept() -> None:
    given = lesson(UpliftThresholdSettings(candidates=5, customers=80))
    market, objective = given.market(), given.objective
    rule = learn_threshold(given)
    best, found, idle = (
        rollout(market, Serves(chooser), objective, 200, seed=9).value.mean()
        for chooser in (CapDaypartContent(16, "evening", "good"), rule, Never())
    )
    assert (found - idle) / (best - idle) > 0.9


def test_settings_out_of_range_are_refused_by_name() -> None:
    with pytest.raises(CampaignError, match=r"agent\.uplift_knapsack\.unit='euro'"):
        UpliftKnapsackSettings(unit="euro")
    with pytest.raises(CampaignError, match=r"agent\.uplift_knapsack\.budget=-1"):
        UpliftKnapsackSettings(budget=-1)
