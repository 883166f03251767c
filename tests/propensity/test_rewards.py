"""What every decision would earn now, against a law that is known."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from campaigns.objective import Objective
from propensity import rewards
from propensity.rewards import expected_rewards
from tests.envs.hand_made import EVENING, Law, hand_made_market
from tests.worlds import small_market


def test_rewards_of_all_decisions_are_what_the_law_says() -> None:
    law = Law(idle=(0.05, 0.2), leaves=0.01)
    market = hand_made_market(law, cost=0.3)
    state = market.begin(torch.arange(60), torch.Generator().manual_seed(0))
    state = replace(state, slot=state.slot + 5)  # somewhere it is evening
    seen = market.observe(state)
    found = expected_rewards(market.model, seen, Objective(unsubscribe_cost=2.0))
    assert found.shape == (60, 4)
    assert 0 < float(seen.state[:, EVENING].sum()) < 60
    for row in range(0, 60, 7):
        lifts = (0.0, law.gain * float(seen.state[row, EVENING]), -law.gain, 0.0)
        for decision, lift in enumerate(lifts):
            bought = (law.purchase(lift, 0) + law.purchase(lift, 1)) / 2  # the members' mean
            wanted = bought * law.basket - 0.3 * (decision > 0) - 2.0 * 0.01
            assert float(found[row, decision]) == pytest.approx(wanted, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize(
    ("outcome", "on_hold"), [("opened", 0.0), ("purchased", None), ("visited", None), ("clicked", 0.0)]
)
def test_counts_cost_nothing_and_opens_need_a_send(outcome: str, on_hold: float | None) -> None:
    market = small_market()
    seen = market.observe(market.begin(torch.arange(20), torch.Generator().manual_seed(0)))
    found = expected_rewards(market.model, seen, Objective(outcome=outcome))
    assert bool(((found >= 0) & (found <= 1)).all())
    if on_hold is None:
        assert bool((found[:, 0] > 0).all())
    else:
        assert found[:, 0].tolist() == [on_hold] * 20


def test_how_many_customers_are_asked_at_once_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    market = small_market()
    seen = market.observe(market.begin(torch.arange(50), torch.Generator().manual_seed(0)))
    whole = expected_rewards(market.model, seen, Objective())
    monkeypatch.setattr(rewards, "ROWS_AT_ONCE", 7)
    torch.testing.assert_close(expected_rewards(market.model, seen, Objective()), whole, rtol=1e-5, atol=1e-6)
