"""The roll-out plan: the test finds what it is planned to find, and its stop rule seldom stops for nothing."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ttest_ind

from evaluation.live_test import (
    Spread,
    alpha_spent,
    customers_needed,
    exploration_floor,
    plan_test,
    spread_of,
    stop_rule,
)


def test_the_planned_test_finds_the_gain_four_times_in_five() -> None:
    size = customers_needed(0.5, 2.0)
    assert size == 252  # 2 (2.8016 x 2 / 0.5)^2 = 251.2
    generator = np.random.default_rng(0)
    found = [
        ttest_ind(generator.normal(0.5, 2.0, size), generator.normal(0.0, 2.0, size)).pvalue < 0.05
        for _ in range(2000)
    ]  # fmt: skip
    assert 0.77 < np.mean(found) < 0.83


def test_no_gain_needs_no_customers() -> None:
    assert customers_needed(0.0, 2.0) is None
    assert customers_needed(float("nan"), 2.0) is None
    assert customers_needed(-0.5, 2.0) == customers_needed(0.5, 2.0)


def test_looking_several_times_seldom_stops_a_campaign_that_changes_nothing() -> None:
    looks, customers, rate = 4, 500, 0.01
    rules = stop_rule(customers, 28, looks, rate)
    assert sum(rule["level"] for rule in rules) == pytest.approx(0.05)
    assert [rule["day"] for rule in rules] == [7, 14, 21, 28]
    assert rules[0]["z"] > rules[-1]["z"] > 1.95
    generator = np.random.default_rng(1)
    trials = 20_000
    steps = generator.normal(size=(trials, looks)).cumsum(axis=1) / np.sqrt(np.arange(1, looks + 1))
    stopped = (np.abs(steps) > [rule["z"] for rule in rules]).any(axis=1)
    assert 0.03 < stopped.mean() <= 0.052
    left = generator.poisson(customers * 7 * rate, size=(trials, looks)).cumsum(axis=1)
    lost = (left > [rule["most_opt_outs"] for rule in rules]).any(axis=1)
    assert 0.01 < lost.mean() <= 0.052


def test_error_is_spent_late() -> None:
    assert alpha_spent(1.0) == pytest.approx(0.05)
    assert alpha_spent(0.25) < 0.0002


def test_spread_is_that_of_whole_stretches() -> None:
    generator = np.random.default_rng(2)
    rewards = generator.normal(1.0, 3.0, (400, 25))
    known = np.ones_like(rewards, dtype=bool)
    known[:200, 0] = False
    found = spread_of(rewards, known, slots=6, days=1)
    assert found is not None
    assert found.stretches == 400 * 4 - 200
    assert found.deviation == pytest.approx(3.0 * 6**0.5, rel=0.06)
    assert found.mean == pytest.approx(6.0, rel=0.1)
    assert spread_of(rewards, known, slots=26, days=5) is None
    assert spread_of(rewards, np.zeros_like(known), slots=6, days=1) is None


def test_exploration_is_enough_for_every_content_within_bounds() -> None:
    assert exploration_floor(4, 2000) == pytest.approx(0.1)
    assert exploration_floor(4, 1e6) == 0.02
    assert exploration_floor(40, 2000) == 0.2
    assert exploration_floor(4, 0) == 0.02


def planned(gain: float | None, audience: int) -> dict[str, object]:
    """A plan from a log whose customers differ by 2 a day."""
    spreads = [Spread(days, 1.0 * days, 2.0 * days**0.5, 1000) for days in (1, 7, 14)]
    return plan_test(spreads, gain, "assumed", audience, 5, 0.2, 0.1, 0.001, 0.5)


def test_the_shortest_test_that_fits_the_audience_is_chosen() -> None:
    # n = 2 (2.8016 x 2 / (0.5 sqrt(days)))^2: 252 a group in a day, 36 in 7 days
    chosen = planned(0.5, 1000)["chosen"]
    assert isinstance(chosen, dict)
    assert (chosen["days"], chosen["customers"]) == (1, 252)
    fewer = planned(0.5, 100)["chosen"]
    assert isinstance(fewer, dict)
    assert (fewer["days"], fewer["customers"]) == (7, 36)
    assert planned(0.5, 20)["chosen"] is None
    assert "too few" in str(planned(0.5, 20)["words"])


def test_without_a_gain_no_test_is_planned_but_what_could_be_found_is_said() -> None:
    for gain in (None, -0.5):
        plan = planned(gain, 1000)
        assert plan["chosen"] is None
        assert "No gain is expected" in str(plan["words"])
        options = plan["options"]
        assert isinstance(options, list)
        # 450 a group: 2.8016 x 2 x sqrt(2 / 450)
        assert options[0]["detectable"] == pytest.approx(0.3735, rel=1e-3)


def test_the_holdout_is_never_below_one_in_twenty() -> None:
    assert planned(0.5, 1000)["holdout"] == 0.1
    assert plan_test([], None, "x", 100, 1, None, 0.0, None, 0.0)["holdout"] == 0.05
