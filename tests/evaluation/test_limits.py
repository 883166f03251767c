"""What a policy uses of its limits: exact where the law is known, and a verdict only where the interval allows one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from campaigns.errors import CampaignError
from campaigns.objective import Objective, Prices
from evaluation.limits import BROKEN, KEPT, OPTOUT_CEILING, UNSURE, Limit, limits_of, use_of
from evaluation.rollout import rollout
from policies.rules import CapDaypartContent, Never, Random
from tests.envs.hand_made import Law, hand_made_market, its_objective
from tests.worlds import Serves


def test_spend_is_what_the_sends_cost() -> None:
    market = hand_made_market(cost=0.2)
    sure = rollout(market, Serves(CapDaypartContent(3, "any", "good")), its_objective(), 50, seed=1)
    np.testing.assert_allclose(sure.spent, 0.2 * sure.sends, rtol=1e-5)
    drawn = rollout(market, Serves(Random(0.3)), its_objective(), 300, seed=1)
    np.testing.assert_allclose(drawn.spent, 24 * 0.3 * 0.2, rtol=1e-5)
    assert 0.2 * drawn.sends.mean() == pytest.approx(drawn.spent.mean(), rel=0.1)
    assert drawn.sends.std() > 1


def test_chances_of_a_first_opt_out_sum_to_the_share_who_opt_out() -> None:
    # Everybody may leave in every slot, sent to or not, with one chance: a geometric law over 24 slots.
    chance = 0.03
    result = rollout(hand_made_market(Law(leaves=chance)), Serves(Never()), its_objective(), 3000, seed=1)
    truth = 1 - (1 - chance) ** 24
    assert result.opted_out.mean() == pytest.approx(truth, abs=0.03)
    assert result.lost.mean() == pytest.approx(truth, abs=0.03)


@pytest.mark.parametrize(("used", "verdict"), [(0.8, KEPT), (1.2, BROKEN), (1.02, UNSURE)])
def test_a_verdict_needs_the_whole_interval(used: float, verdict: str) -> None:
    spent = used + np.random.default_rng(0).normal(0, 0.5, 400)
    found = use_of(Limit("budget", 1.0), {"spent": spent})
    assert found.verdict == verdict
    assert found.share == pytest.approx(spent.mean())


def test_an_objective_names_the_limits_that_it_sets() -> None:
    assert limits_of(Objective()) == ()
    assert limits_of(Objective(budget=0.0)) == (Limit("budget", 0.0),)
    both = limits_of(Objective(budget=2.0, optout_ceiling=0.1))
    assert both == (Limit("budget", 2.0), Limit(OPTOUT_CEILING, 0.1))


def test_prices_charge_what_they_price() -> None:
    cost, lost = torch.tensor([0.0, 0.5]), torch.tensor([0.1, 0.2])
    assert Prices(money=2.0).charge(cost, lost).tolist() == pytest.approx([0.0, 1.0])
    assert Prices(optout=10.0).charge(cost, lost).tolist() == pytest.approx([1.0, 2.0])


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        ({"budget": -1.0}, r"objective\.budget=-1\.0: must be at least 0"),
        ({"budget": float("nan")}, r"objective\.budget=nan: must be a finite number"),
        ({"optout_ceiling": 1.5}, r"objective\.optout_ceiling=1\.5: must be at least 0 and at most 1"),
        ({"optout_ceiling": -0.1}, r"objective\.optout_ceiling=-0\.1: must be at least 0 and at most 1"),
    ],
)
def test_limits_out_of_range_are_refused_by_name(limits: dict[str, float], told: str) -> None:
    with pytest.raises(CampaignError, match=told):
        Objective(**limits)
