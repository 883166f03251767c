"""Quantiles and tail means of value per customer under a policy that never ran."""

from __future__ import annotations

import numpy as np
import pytest

from campaigns.errors import CampaignError
from evaluation.value_distribution import value_distribution


def test_with_equal_weights_they_are_the_samples_own() -> None:
    values = np.random.default_rng(0).permutation(100).astype(float)
    found = value_distribution(values, np.ones(100))
    assert found.quantile(0.5) == 49
    assert found.quantile(0.1) == 9
    assert found.quantile(1.0) == 99
    assert found.tail_mean(0.1) == pytest.approx(4.5)
    assert found.tail_mean(1.0) == pytest.approx(values.mean())
    assert found.tail_mean(0.005) == 0  # half a customer: the worst one


def test_weights_count_as_customers() -> None:
    values, weights = np.array([1.0, 2.0, 5.0]), np.array([2.0, 0.0, 3.0])
    found, spread = value_distribution(values, weights), value_distribution(np.array([1.0, 1, 5, 5, 5]), np.ones(5))
    for share in (0.2, 0.4, 0.5, 0.9, 1.0):
        assert found.quantile(share) == spread.quantile(share)
        assert found.tail_mean(share) == pytest.approx(spread.tail_mean(share))


def truth_and_log(generator: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Contents 0 and 1 give N(0, 1) and N(1, 2); logged half and half, the policy takes 1 with .8."""
    action = generator.integers(0, 2, rows)
    values = np.where(action == 1, generator.normal(1, 2, rows), generator.normal(0, 1, rows))
    return values, np.where(action == 1, 1.6, 0.4)


def test_a_policy_that_never_ran_is_told_with_intervals_that_cover() -> None:
    generator = np.random.default_rng(1)
    ran = np.where(generator.random(2_000_000) < 0.8, generator.normal(1, 2, 2_000_000), 0)
    ran = np.where(ran == 0, generator.normal(0, 1, 2_000_000), ran)
    truth = (np.quantile(ran, 0.1), np.sort(ran)[:200_000].mean())
    hits: list[tuple[bool, bool]] = []
    for seed in range(200):
        found = value_distribution(*truth_and_log(generator, 500))
        quantile = found.quantile_interval(0.1, draws=200, seed=seed)
        tail = found.tail_mean_interval(0.1, draws=200, seed=seed)
        hits.append((quantile.low <= truth[0] <= quantile.high, tail.low <= truth[1] <= tail.high))
    assert (np.mean(hits, axis=0) >= 0.89).all()
    assert (np.mean(hits, axis=0) <= 0.99).all()
    large = value_distribution(*truth_and_log(generator, 400_000))
    assert (large.quantile(0.1), large.tail_mean(0.1)) == pytest.approx(truth, abs=0.03)
    unweighted = value_distribution(truth_and_log(generator, 400_000)[0], np.ones(400_000))
    assert abs(unweighted.tail_mean(0.1) - truth[1]) > 0.2  # so that the test can fail


def test_intervals_of_one_customer_are_unknown() -> None:
    interval = value_distribution(np.ones(1), np.ones(1)).tail_mean_interval(0.5)
    assert interval.value == 1
    assert np.isnan(interval.low)


def test_bad_input_is_named() -> None:
    with pytest.raises(CampaignError, match="one shape"):
        value_distribution(np.ones(3), np.ones(2))
    with pytest.raises(CampaignError, match="must be finite"):
        value_distribution(np.array([np.nan]), np.ones(1))
    with pytest.raises(CampaignError, match="not below 0"):
        value_distribution(np.ones(1), -np.ones(1))
    with pytest.raises(CampaignError, match="never decides as logged"):
        value_distribution(np.ones(2), np.zeros(2))
    for share in (0.0, 1.1):
        with pytest.raises(CampaignError, match=r"must lie in \(0, 1\]"):
            value_distribution(np.ones(2), np.ones(2)).quantile(share)


def test_pairs_who_are_copies_of_each_other_tell_no_more_than_one_of_them() -> None:
    values, weights = truth_and_log(np.random.default_rng(2), 400)
    pair = np.arange(400).repeat(2)
    apart = value_distribution(values.repeat(2), weights.repeat(2)).tail_mean_interval(0.5)
    together = value_distribution(values.repeat(2), weights.repeat(2), pair).tail_mean_interval(0.5)
    assert (together.high - together.low) / (apart.high - apart.low) == pytest.approx(2**0.5, rel=0.15)
    couple = value_distribution(np.ones(2), np.ones(2), np.zeros(2, dtype=np.int64)).tail_mean_interval(0.5)
    assert np.isnan(couple.low)
