"""Bounds under hidden confounding of known strength: they hold the truth at that strength, and not without."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from campaigns.errors import CampaignError
from evaluation.estimators import SNIPS, LoggedDecisions
from evaluation.sensitivity import (
    MOST_GAMMA,
    SensitivityProblem,
    difference_bounds,
    largest_ratio,
    sensitivity,
    weight_bounds,
)

CONFOUNDING = 3.0
SENT = 0.4
"""What a send is worth beside the hidden trait, which is worth 1."""


def confounded(rows: int, seed: int, gamma: float = CONFOUNDING, effect: float = SENT) -> SensitivityProblem:
    """Half of the customers are keen, which the log does not hold; the logger sends to them more often.

    Sends have probability 1/2 on average; their odds are exactly `gamma` times larger for the keen, and smaller for
    the others. The policy sends always.
    """
    generator = np.random.default_rng(seed)
    keen = generator.random(rows) < 0.5
    chance = np.where(keen, gamma / (1 + gamma), 1 / (1 + gamma))
    sent = generator.random(rows) < chance
    reward = keen + effect * sent + generator.normal(0, 0.3, rows)
    return SensitivityProblem(
        np.zeros(rows), reward, reward, sent.astype(np.float64), np.full(rows, 0.5), np.arange(rows)
    )


def truth(problem: SensitivityProblem, effect: float = SENT) -> float:
    """Of always sending, against what was done (a send in half of the cases)."""
    return 0.5 + effect - float(problem.logged.mean())


def test_at_the_true_strength_the_interval_covers_and_at_one_it_does_not() -> None:
    held = dict.fromkeys((1.0, 1.5, CONFOUNDING), 0)
    for seed in range(60):
        problem = confounded(2000, seed)
        for gamma in held:
            low, high = difference_bounds(problem, gamma)
            held[gamma] += low <= truth(problem) <= high
    assert held[1.0] == 0
    assert held[1.5] == 0
    assert held[CONFOUNDING] >= 56


def test_without_confounding_the_interval_at_one_covers_as_it_says() -> None:
    held = 0
    for seed in range(1000):
        problem = confounded(800, seed, gamma=1.0)
        low, high = difference_bounds(problem, 1.0)
        # Half of the customers got a send already.
        held += low <= SENT / 2 <= high
    assert 0.925 < held / 1000 < 0.97


def test_at_one_the_bound_is_snips() -> None:
    problem = confounded(500, 0)
    low, high = weight_bounds(problem.target_prob, problem.logged_prob, 1.0)
    np.testing.assert_allclose(low, high)
    logged = LoggedDecisions(np.arange(500), problem.target_prob.astype(np.int64), problem.logged, problem.logged_prob)
    always = np.tile([0.0, 1.0], (500, 1))
    found, _ = largest_ratio(problem.logged, low, high)
    assert found == pytest.approx(SNIPS().contributions(logged, always).value)


def test_sorting_finds_the_largest_ratio_of_all_choices() -> None:
    generator = np.random.default_rng(0)
    for _ in range(50):
        values = generator.normal(size=8)
        low = generator.random(8) * (generator.random(8) < 0.8)
        high = low + generator.random(8)
        best = max(
            float((w * values).sum() / w.sum())
            for choice in product([0, 1], repeat=8)
            if (w := np.where(choice, high, low)).sum() > 0
        )
        found, weights = largest_ratio(values, low, high)
        assert found == pytest.approx(best)
        assert float((weights * values).sum() / weights.sum()) == pytest.approx(best)
    assert np.isnan(largest_ratio(np.ones(3), np.zeros(3), np.zeros(3))[0])


def test_a_certain_decision_cannot_be_confounded() -> None:
    low, high = weight_bounds(np.array([1.0, 0.5]), np.array([1.0, 1.0]), 10.0)
    np.testing.assert_array_equal(low, high)


def test_over_slots_odds_may_be_off_in_each() -> None:
    low, high = weight_bounds(np.ones((1, 2)), np.full((1, 2), 0.5), 2.0)
    assert (low[0], high[0]) == pytest.approx((1.5**2, 3.0**2))


def test_the_verdict_turns_where_the_interval_meets_zero() -> None:
    problem = confounded(4000, 1, gamma=1.0, effect=1.0)
    found = sensitivity(problem)
    assert found.word == "better"
    assert found.breakdown is not None
    assert 1 < found.breakdown < MOST_GAMMA
    assert difference_bounds(problem, found.breakdown)[0] == pytest.approx(0, abs=0.01)
    assert difference_bounds(problem, 1.1 * found.breakdown)[0] < 0
    widths = [high - low for _, low, high in found.curve]
    assert widths == sorted(widths)
    stronger = sensitivity(confounded(4000, 1, gamma=1.0, effect=2.0)).breakdown
    assert stronger is not None
    assert stronger > found.breakdown


def test_where_there_is_no_verdict_nothing_turns() -> None:
    found = sensitivity(confounded(500, 2, gamma=1.0, effect=0.0))
    assert (found.word, found.breakdown) == ("cannot tell", None)
    far = confounded(500, 3, gamma=1.0, effect=0.0)
    assert sensitivity(replace(far, ahead=far.ahead + 5)).breakdown == MOST_GAMMA


def test_gamma_below_one_is_refused() -> None:
    with pytest.raises(CampaignError, match="Gamma must be at least 1"):
        weight_bounds(np.ones(2), np.ones(2), 0.5)
