"""When a weighted estimate is refused, and what is said."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaigns.errors import CampaignError
from evaluation.diagnostics import (
    PROBABILITIES,
    check_logged_probabilities,
    diagnose,
    diagnose_weights,
    effective_sample_size,
    reliability,
    top_customer_share,
    unsupported_mass,
)
from evaluation.estimators import DR, IPS, Contributions, LoggedDecisions, mean_contributions
from tests.evaluation.bandit_worlds import bandit_world


def uniform_log(rows: int, decisions: int, seed: int = 0) -> LoggedDecisions:
    generator = np.random.default_rng(seed)
    action = generator.integers(0, decisions, rows)
    return LoggedDecisions(np.arange(rows), action, generator.random(rows), np.full(rows, 1 / decisions))


def always(rows: int, decisions: int, decision: int) -> np.ndarray:
    target = np.zeros((rows, decisions))
    target[:, decision] = 1
    return target


def test_effective_sample_size_is_kishs() -> None:
    assert effective_sample_size(np.array([1.0, 1.0, 1.0])) == 3
    assert effective_sample_size(np.array([5.0, 0.0, 0.0])) == 1
    assert effective_sample_size(np.array([1.0, 2.0, 3.0])) == pytest.approx(36 / 14)
    assert effective_sample_size(np.zeros(3)) == 0
    assert effective_sample_size(np.array([1e-200, 1e-200])) == 2


@given(st.lists(st.floats(0.001, 1000), min_size=1, max_size=30), st.floats(0.001, 1000))
def test_effective_sample_size_lies_between_one_and_n_and_ignores_scale(weights: list[float], scale: float) -> None:
    found = effective_sample_size(np.array(weights))
    assert 1 - 1e-9 <= found <= len(weights) + 1e-9
    assert effective_sample_size(scale * np.array(weights)) == pytest.approx(found)


def test_on_policy_nothing_is_refused() -> None:
    logged = uniform_log(1000, 4)
    found = diagnose(logged, np.full((1000, 4), 0.25))
    assert found.effective == 1000
    assert (found.mean_weight, found.mean_weight_error, found.largest_weight) == (1, 0, 1)
    assert found.refused is None
    assert found.notes == ()


def test_a_greedy_policy_on_a_uniform_log_keeps_its_share() -> None:
    found = diagnose(uniform_log(6000, 3), always(6000, 3, 1))
    assert found.effective_share == pytest.approx(1 / 3, abs=0.03)
    assert found.mean_weight == pytest.approx(1, abs=4 * found.mean_weight_error)
    assert found.mean_weight_error == pytest.approx((2 / 6000) ** 0.5, rel=0.05)
    assert found.largest_weight == 3
    assert found.refused is None


@pytest.mark.parametrize("rows", [20, 1000, 50_000])
def test_a_probability_of_one_in_a_million_is_refused_in_plain_words(rows: int) -> None:
    logged = uniform_log(rows, 2)
    probs = logged.logged_prob.copy()
    first = int(np.argmax(logged.action == 1))
    probs[first] = 1e-6
    found = diagnose(replace(logged, logged_prob=probs), always(rows, 2, 1))
    assert found.largest_weight == pytest.approx(1e6)
    assert found.refused is not None
    assert "worth only" in found.refused
    assert "decides too differently from what was logged" in found.refused
    assert f"{rows:,} logged rows" in found.refused


def test_a_policy_that_never_decides_as_was_logged_is_refused_without_figures() -> None:
    log = LoggedDecisions(np.arange(600), np.ones(600, dtype=np.int64), np.ones(600), np.full(600, 0.5))
    found = diagnose(log, always(600, 3, 2))
    assert found.effective == 0
    assert found.refused is not None
    assert found.refused.startswith("In none of the 600 logged rows was decided what this policy would decide")
    assert "weights" not in found.refused


def test_less_than_one_in_a_hundred_effective_rows_is_refused() -> None:
    weights = np.zeros(100_000)
    weights[:999] = 100_000 / 999
    assert diagnose_weights(weights).refused is not None
    weights[:1001] = 100_000 / 1001
    assert diagnose_weights(weights).refused is None


@pytest.mark.parametrize(("mean", "refused"), [(1.21, True), (1.19, False), (0.81, False), (0.79, True), (0.0, True)])
def test_a_mean_weight_off_one_by_more_than_a_fifth_is_refused(mean: float, refused: bool) -> None:
    found = diagnose_weights(np.full(1000, mean))
    assert (found.refused is not None) is refused
    if found.refused and mean:
        assert "mean weight" in found.refused


def test_decisions_never_logged_are_unsupported() -> None:
    logged = uniform_log(1000, 3)
    target = np.tile([0.2, 0.2, 0.2, 0.4], (1000, 1))
    found = diagnose(logged, target)
    assert found.unsupported == pytest.approx(0.4)
    assert any("40%" in note for note in found.notes)
    assert found.mean_weight == pytest.approx(0.6, abs=4 * found.mean_weight_error + 1e-9)


def test_decisions_logged_hardly_ever_are_unsupported() -> None:
    logged = LoggedDecisions(np.arange(4), np.array([0, 1, 1, 0]), np.zeros(4), np.array([0.9, 1e-4, 1e-5, 0.9]))
    assert unsupported_mass(logged, np.tile([0.3, 0.7], (4, 1))) == pytest.approx(0.7)
    assert unsupported_mass(logged, np.tile([0.3, 0.7], (4, 1)), floor=1e-4) == 0


def test_with_all_probabilities_known_support_is_judged_row_by_row() -> None:
    logged = LoggedDecisions(np.arange(2), np.array([0, 1]), np.zeros(2), np.array([1.0, 0.5]))
    logging, target = np.array([[1.0, 0.0], [0.5, 0.5]]), np.array([[0.2, 0.8], [0.2, 0.8]])
    assert unsupported_mass(logged, target, logging) == pytest.approx(0.4)
    with pytest.raises(CampaignError, match="logging probabilities have shape"):
        unsupported_mass(logged, target, logging[:, :1])


def test_the_top_customers_share_counts_all_rows_of_a_customer() -> None:
    found = mean_contributions(np.array([1.0, 1.0, 1.0, 1.0]))
    assert top_customer_share(found, np.array([5, 5, 6, 7])) == 0.5
    assert top_customer_share(mean_contributions(np.zeros(3)), np.arange(3)) == 0
    ratio = Contributions(np.array([[1.0, 9.0], [1.0, 1.0]]), np.ones((2, 2)))
    assert top_customer_share(ratio, np.arange(2)) == pytest.approx(10 / 12)


def test_one_great_spender_is_noted() -> None:
    logged = uniform_log(1000, 2)
    reward = np.where(np.arange(1000) == int(np.argmax(logged.action)), 1e6, 1.0)
    spent = replace(logged, reward=reward)
    target = always(1000, 2, 1)
    found = diagnose(spent, target, contributions=IPS().contributions(spent, target))
    assert found.top_share > 0.9
    assert any("One customer carries" in note for note in found.notes)
    assert np.isnan(diagnose(spent, target).top_share)


def test_diagnostics_are_json_able() -> None:
    logged = uniform_log(100, 2)
    target = np.full((100, 2), 0.5)
    found = diagnose(logged, target, contributions=DR().contributions(logged, target, np.zeros((100, 2))))
    assert json.loads(json.dumps(found.to_dict()))["effective"] == 100


def test_honest_probabilities_are_not_contradicted_and_wrong_ones_are() -> None:
    world = bandit_world()
    log, _ = world.log(20_000, np.random.default_rng(0))
    honest = check_logged_probabilities(log, 4)
    assert not honest.contradicted.any()
    assert np.abs(honest.mean_inverse - 1).max() < 4 * honest.error.max()
    assert honest.taken.sum() == 20_000
    halved = np.where(log.action == 2, log.logged_prob / 2, log.logged_prob)
    wrong = check_logged_probabilities(replace(log, logged_prob=halved), 4)
    assert wrong.contradicted.tolist() == [False, False, True, False]
    assert wrong.mean_inverse[2] == pytest.approx(2, abs=0.2)


def test_reliability_shows_a_fitted_logging_policy_that_is_off() -> None:
    world = bandit_world()
    log, context = world.log(50_000, np.random.default_rng(1))
    right = reliability(world.logging[context], log.action)
    flat = np.full((len(log), 4), 0.25)
    flat[context == 0] = [0.85, 0.05, 0.05, 0.05]
    off = reliability(flat, log.action)
    assert right.count.sum() == 4 * len(log)
    assert right.error < 0.01
    assert off.error > 3 * right.error


@pytest.mark.parametrize("factor", [0.5, 0.8, 0.95, 1.3])
def test_probabilities_off_by_a_constant_factor_are_caught(factor: float) -> None:
    """Too small ones are contradicted by the decisions; too large ones show in the mean weight alone."""
    world = bandit_world()
    log, context = world.log(20_000, np.random.default_rng(2))
    wrong = replace(log, logged_prob=np.minimum(factor * log.logged_prob, 1.0))
    for target in (world.target[context], world.logging[context]):
        found = diagnose(wrong, target)
        assert diagnose(log, target).refused is None
        assert diagnose(log, target).notes == ()
        assert found.refused is not None, factor
        assert "logged probabilities" in found.refused


def test_probabilities_a_little_too_large_are_noted() -> None:
    world = bandit_world()
    log, context = world.log(20_000, np.random.default_rng(2))
    found = diagnose(replace(log, logged_prob=np.minimum(1.1 * log.logged_prob, 1.0)), world.target[context])
    assert any("more than chance allows" in note for note in found.notes)


def test_shuffled_probabilities_are_caught() -> None:
    generator = np.random.default_rng(3)
    world = bandit_world()
    shares = np.tile([0.6, 0.2, 0.1, 0.1], (8, 1))
    world = replace(world, logging=shares)
    log, context = world.log(20_000, generator)
    shuffled = replace(log, logged_prob=generator.permutation(log.logged_prob))
    found = diagnose(shuffled, world.target[context])
    assert diagnose(log, world.target[context]).refused is None
    assert found.refused is not None
    assert "times as often as its probabilities say" in found.refused
    assert found.refused_by == PROBABILITIES


def test_honest_logs_are_hardly_ever_accused() -> None:
    """Also where probabilities are small, so that their inverses are skewed."""
    generator = np.random.default_rng(4)
    accused = 0
    for _ in range(300):
        logging = generator.dirichlet(np.full(10, 0.3)) * 0.99 + 0.001
        action = (generator.random(2000)[:, None] > logging.cumsum()[None, :-1]).sum(axis=1)
        log = LoggedDecisions(np.arange(2000), action, np.zeros(2000), logging[action])
        accused += diagnose(log, np.tile(logging, (2000, 1))).refused is not None
    assert accused <= 3


def test_one_weight_of_twenty_thousand_is_refused() -> None:
    logged = uniform_log(20_000, 2)
    first = int(np.argmax(logged.action == 1))
    probs = np.where(np.arange(20_000) == first, 1e-6, logged.logged_prob)
    target = np.full((20_000, 2), 0.5)
    target[first] = [0.98, 0.02]  # a weight of 20,000
    found = diagnose(replace(logged, logged_prob=probs), target)
    assert found.largest_weight == pytest.approx(20_000)
    assert found.effective < 5
    assert found.refused is not None
    assert "weights up to 20,000" in found.refused


def test_a_log_that_was_lucky_is_refused_where_the_loggers_probabilities_are_known() -> None:
    """The policy always takes what is logged once in a thousand; a log without such a row looks calm."""
    logging, target = np.tile([0.999, 0.001], (300, 1)), np.tile([0.9, 0.1], (300, 1))
    log = LoggedDecisions(np.arange(300), np.zeros(300, dtype=np.int64), np.zeros(300), np.full(300, 0.999))
    assert diagnose(log, target).refused is None
    found = diagnose(log, target, logging)
    assert found.refused is not None
    assert found.effective == pytest.approx(300 / (0.81 / 0.999 + 0.01 / 0.001))
    world = bandit_world()
    large, context = world.log(50_000, np.random.default_rng(5))
    sampled = diagnose(large, world.target[context])
    expected = diagnose(large, world.target[context], world.logging[context])
    assert expected.effective == pytest.approx(sampled.effective, rel=0.02)
    assert expected.refused is None
