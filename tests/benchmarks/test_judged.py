"""Ranks, regrets and gaps of `benchmarks.judged`, from values that are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from benchmarks.judged import JUDGED, agreement, figures_of, regrets
from benchmarks.worlds import TRAINING, TRUTH, interval_of, replicates

TRUE = {"incumbent": 4.0, "never": 0.0, "rule": 6.0, "agent": 8.0}


def values_of(means: dict[str, dict[str, float]], spread: float = 0.0) -> dict[str, dict[str, np.ndarray]]:
    """What 200 customers earn, by policy and world, with these means."""
    chance = np.random.default_rng(0).standard_normal((3, 200)) * spread
    chance -= chance.mean(axis=1, keepdims=True)
    return {
        name: {where: mean + noise for (where, mean), noise in zip(found.items(), chance, strict=True)}
        for name, found in means.items()
    }


def test_agreement_is_spearmans_draw_by_draw() -> None:
    generator = np.random.default_rng(1)
    judged, true = generator.integers(0, 5, (2, 8, 6)).astype(float)  # with ties
    expected = [spearmanr(judged[:, draw], true[:, draw])[0] for draw in range(6)]
    assert agreement(judged, true) == pytest.approx(expected)


def test_a_regret_is_what_the_choice_falls_short_of_the_best() -> None:
    true = np.array(list(TRUE.values()))[:, None].repeat(3, axis=1)
    judged = true.copy()
    judged[2, 1] = 9.0  # the rule is thought best
    judged[1, 2] = 9.0  # sending nothing is
    of_gain, of_range = regrets(judged, true, incumbent=0)
    assert of_gain == pytest.approx([0.0, 0.5, 2.0])
    assert of_range == pytest.approx([0.0, 0.25, 1.0])


def test_without_anything_better_than_the_incumbent_no_share_of_a_gain_is_told() -> None:
    true = np.array([[4.0], [0.0]])
    of_gain, of_range = regrets(true, true, incumbent=0)
    assert np.isnan(of_gain[0])
    assert of_range[0] == 0.0


def test_a_policy_that_only_the_training_world_likes_shows_in_every_figure() -> None:
    means = {name: {TRAINING: value, JUDGED: value, TRUTH: value} for name, value in TRUE.items()}
    means["agent"] |= {TRAINING: 14.0, JUDGED: 9.0}
    found = figures_of(values_of(means, spread=1.0), ["agent"], seed=0)
    assert found["spearman"]["value"] == pytest.approx(1.0)
    assert found["regret"]["chosen"] == found["regret"]["truly_best"] == "agent"
    assert found["regret"]["of_best_gain"]["value"] == 0.0
    assert found["policies"]["agent"][TRAINING]["value"] == pytest.approx(10.0)
    assert set(found["agents"]) == {"agent"}
    assert found["others"]["rule"]["exploitation_gap"]["value"] == pytest.approx(0.0)
    agent = found["agents"]["agent"]
    assert agent["exploitation_gap"]["value"] == pytest.approx(0.5)
    assert agent["judged_minus_truth"]["value"] == pytest.approx(1.0)
    assert agent["judged_minus_truth_share"]["value"] == pytest.approx(0.1)


def test_replicates_draw_the_same_customers_for_every_row() -> None:
    chance = np.random.default_rng(2).standard_normal(400)
    found = replicates(np.stack([chance, chance + 1.0]), seed=0)
    assert np.ptp(found[1] - found[0]) < 1e-9
    drawn = interval_of(found[0])
    assert drawn.value == pytest.approx(chance.mean())
    assert drawn.high - drawn.low == pytest.approx(2 * 1.96 * chance.std() / 20, rel=0.1)
