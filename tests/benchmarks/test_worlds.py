"""The exploitation gaps of `benchmarks.worlds`, from gains that are known."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.worlds import TRAINING, TRUTH, gaps_of, table_of


def gains(training: float, judged: float, truth: float, spread: float) -> dict[str, np.ndarray]:
    """Gains of 400 customers a world, and of 800 in the truth, around these means."""
    chance = np.random.default_rng(0).standard_normal(400) * spread
    noise = np.concatenate([chance, -chance])
    return {
        TRAINING: training + noise[:400],
        "gbdt": judged + noise[400:],
        TRUTH: truth + noise,
    }


def test_a_gap_is_the_share_of_the_training_gain_that_is_lost() -> None:
    share, over = gaps_of(gains(10.0, 8.0, 7.0, spread=0.0), seed=0)["gbdt"]
    assert share is not None
    assert (share.value, share.low, share.high) == pytest.approx((0.2, 0.2, 0.2))
    assert (over.value, over.low, over.high) == pytest.approx((1.0, 1.0, 1.0))


def test_intervals_of_a_difference_are_those_of_two_samples() -> None:
    found = gains(10.0, 8.0, 7.0, spread=4.0)
    _, over = gaps_of(found, seed=0)["gbdt"]
    error = np.sqrt(found["gbdt"].var() / 400 + found[TRUTH].var() / 800)
    assert over.high - over.low == pytest.approx(2 * 1.96 * error, rel=0.1)


def test_no_share_is_told_of_a_gain_that_may_be_nothing() -> None:
    found = gains(0.1, 0.2, 0.3, spread=4.0)
    assert gaps_of(found, seed=0)["gbdt"][0] is None
    assert "| as it is | - |" in table_of({"as it is": (found, None)}, seed=0)
