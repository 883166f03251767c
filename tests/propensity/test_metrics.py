"""Metrics of one probability against worlds whose probabilities are known."""

from __future__ import annotations

import numpy as np
import pytest

from propensity.metrics import head_metrics, value_by_content


def known(size: int = 50_000) -> tuple[np.ndarray, np.ndarray]:
    """Chances of mean .1 that differ, and what came of them."""
    generator = np.random.default_rng(0)
    chance = generator.beta(1, 9, size)
    return chance, (generator.random(size) < chance).astype(float)


def test_a_blind_model_gains_nothing_over_the_constant_and_a_right_one_what_theory_says() -> None:
    chance, happened = known()
    weight = np.ones(len(chance))
    blind, right = (
        head_metrics(np.full(len(chance), happened.mean()), happened, weight),
        head_metrics(chance, happened, weight),
    )
    assert blind["log_loss_gain"] == pytest.approx(0, abs=1e-9)
    assert blind["brier"] == pytest.approx(blind["brier_constant"])
    assert blind["pr_auc"] == pytest.approx(blind["base_rate"])
    entropy = float(-(chance * np.log(chance) + (1 - chance) * np.log(1 - chance)).mean())
    assert right["log_loss_gain"] == pytest.approx(1 - entropy / right["log_loss_constant"], abs=0.01)
    assert right["brier"] == pytest.approx(float((chance * (1 - chance)).mean()), abs=0.002)
    assert right["pr_auc"] > 2 * right["base_rate"]
    assert right["accuracy"] < right["accuracy_constant"]  # a rare outcome: say always no


def test_a_model_that_is_sure_and_wrong_loses_to_the_constant() -> None:
    chance, happened = known(5000)
    wrong = head_metrics(1 - chance, happened, np.ones(5000))
    assert wrong["log_loss_gain"] < -1
    assert wrong["brier"] > wrong["brier_constant"]
    assert wrong["calibration_slope"] < 0


def test_weights_count_as_rows() -> None:
    chance, happened = known(4000)
    weight = np.where(happened == 0, 3.0, 1.0)
    repeat = weight.astype(int)
    thinned = head_metrics(chance, happened, weight)
    whole = head_metrics(chance.repeat(repeat), happened.repeat(repeat), np.ones(repeat.sum()))
    for name in ("auc", "pr_auc", "log_loss", "log_loss_gain", "brier", "accuracy", "f1"):
        assert thinned[name] == pytest.approx(whole[name]), name


def test_intervals_of_a_contents_value_cover_its_true_mean_where_customers_differ() -> None:
    """Each customer has 8 decisions and a liking of its own, so rows taken as independent would promise too much."""
    generator = np.random.default_rng(1)
    customer = np.arange(150).repeat(8)
    decision = np.tile([0, 0, 0, 0, 1, 1, 1, 1], 150)
    weight = np.where(decision == 0, 2.0, 1.0)
    covered, narrow = 0, 0
    for _ in range(400):
        liking = generator.exponential(1.0, 150)[customer]
        earned = np.where(decision == 1, 3 + liking, 1.0) + generator.normal(0, 1, len(customer))
        hold, sent = value_by_content(earned, earned, decision, weight, customer, ["sale", "never sent"])
        assert (hold["content"], hold["customers"], hold["count"], sent["content"]) == ("hold", 150, 1200.0, "sale")
        covered += sent["low"] <= 4.0 <= sent["high"]
        half = 1.96 * earned[decision == 1].std() / 600**0.5
        narrow += abs(sent["observed"] - 4.0) <= half
    assert 0.92 <= covered / 400 <= 0.98
    assert narrow / 400 < 0.85


def test_one_customer_gives_no_interval() -> None:
    (only,) = value_by_content(np.ones(3), np.arange(3.0), np.zeros(3), np.ones(3), np.zeros(3), [])
    assert (only["observed"], only["low"], only["high"]) == (1.0, None, None)
