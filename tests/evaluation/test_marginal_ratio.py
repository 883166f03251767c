"""Truncated doubly robust estimates against worlds whose values are known exactly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from evaluation.estimators import LoggedSequences, WeightedPerDecisionIS
from evaluation.fqe import fit_linear_fqe, log_moments
from evaluation.marginal_ratio import (
    bellman_errors,
    choose_window,
    corrected,
    estimate_windows,
    window_ratios,
)
from tests.evaluation.bandit_worlds import z_score
from tests.evaluation.markov_worlds import LOGGER, TARGET, MarkovLog, markov_log, tired_world

SLOTS = 5
WORLD = tired_world()
TRUTH = WORLD.value(TARGET, SLOTS)


def estimate(logged: MarkovLog, window: int, wrong: float = 0.0) -> float:
    """The estimate with one window; `wrong` is added to every Q."""
    fitted = fit_linear_fqe(logged.log, log_moments(logged.log), logged.expected)
    values = fitted.of(logged.expected, logged.log.fold)[0] + wrong
    taken = fitted.of(logged.log.taken, logged.log.fold)[0] + wrong
    errors, known = bellman_errors(logged.log, values, taken)
    return float(corrected(values[:, 0], errors, known, window_ratios(logged.weights, window)).mean())


def z_of(estimates: list[float]) -> float:
    return z_score(np.array(estimates), TRUTH)


def test_a_window_multiplies_the_weights_of_this_slot_and_those_before() -> None:
    weights = torch.tensor([[2.0, 3.0, 5.0, 7.0]])
    assert window_ratios(weights, 0).tolist() == [[1, 1, 1, 1]]
    assert window_ratios(weights, 1).tolist() == [[2, 3, 5, 7]]
    assert window_ratios(weights, 2).tolist() == [[2, 6, 15, 35]]
    assert window_ratios(weights, 99).tolist() == [[2, 6, 30, 210]]


def test_unbiased_where_the_weights_are_right_and_the_model_is_not() -> None:
    blind = [markov_log(WORLD, 2_000, SLOTS, seed, tabular=False) for seed in range(30)]
    assert abs(z_of([estimate(log, SLOTS) for log in blind])) < 3.5
    assert abs(z_of([estimate(log, SLOTS, wrong=5.0) for log in blind])) < 3.5
    assert abs(z_of([estimate(log, 0) for log in blind])) > 10  # FQE alone is wrong


def test_unbiased_where_the_model_is_right_and_the_weights_are_not() -> None:
    logs = [markov_log(WORLD, 2_000, SLOTS, seed) for seed in range(30)]
    wrong = [replace(log, weights=log.weights**0.5) for log in logs]
    assert abs(z_of([estimate(log, SLOTS) for log in wrong])) < 3.5
    blind = [markov_log(WORLD, 2_000, SLOTS, seed, tabular=False) for seed in range(30)]
    assert abs(z_of([estimate(replace(log, weights=torch.ones(2_000, SLOTS)), SLOTS) for log in blind])) > 5


def test_without_a_model_it_is_weighted_per_decision_importance_sampling() -> None:
    logged = markov_log(WORLD, 500, SLOTS, seed=0)
    nothing = torch.zeros(500, SLOTS)
    errors, known = bellman_errors(logged.log, nothing, nothing)
    mine = corrected(nothing[:, 0], errors, known, window_ratios(logged.weights, SLOTS)).mean()
    sequences = LoggedSequences(
        logged.actions, logged.log.reward.double().numpy(), LOGGER[logged.states, logged.actions],
        np.ones((500, SLOTS), dtype=bool),
    )  # fmt: skip
    theirs = WeightedPerDecisionIS().contributions(sequences, TARGET[logged.states])
    assert mine == pytest.approx(theirs.value, rel=1e-5)


def test_the_logging_policy_is_worth_what_was_logged_whatever_the_model() -> None:
    logged = markov_log(WORLD, 500, SLOTS, seed=1)
    nonsense = torch.randn(500, SLOTS, generator=torch.Generator().manual_seed(0))
    errors, known = bellman_errors(logged.log, nonsense, nonsense)
    found = corrected(nonsense[:, 0], errors, known, torch.ones(500, SLOTS)).mean()
    assert found == pytest.approx(float(logged.log.reward.sum(dim=1).mean()), rel=1e-4)


def test_censoring_by_chance_leaves_it_unbiased() -> None:
    estimates = []
    for seed in range(30):
        lengths = np.random.default_rng(1000 + seed).integers(1, SLOTS + 1, size=4_000)
        known = np.arange(SLOTS) < lengths[:, None]
        estimates.append(estimate(markov_log(WORLD, 4_000, SLOTS, seed, known=known), SLOTS))
    assert abs(z_of(estimates)) < 3.5


def test_the_shortest_window_that_no_longer_one_contradicts_is_chosen() -> None:
    noise = np.random.default_rng(0).normal(size=(4, 1000))
    scales = np.array([0.1, 0.15, 0.5, 3.0])[:, None]
    alike = choose_window(noise * scales)
    assert alike[0] == 0
    assert alike[1] == 1  # as precise within a factor of two; the next is not
    biased = noise * scales + np.array([2.0, 0.0, 0.0, 0.0])[:, None]
    assert choose_window(biased)[0] == 1


def test_windows_whose_weights_leave_too_little_are_not_used() -> None:
    logged = markov_log(WORLD, 1_000, 40, seed=2)
    fitted = fit_linear_fqe(logged.log, log_moments(logged.log), logged.expected)
    values, taken = (fitted.of(f, logged.log.fold)[0] for f in (logged.expected, logged.log.taken))
    near = estimate_windows(logged.log, values, taken, 0.9 + 0.1 * logged.weights)
    far = estimate_windows(logged.log, values, taken, logged.weights)
    assert near.windows[-1] > far.windows[-1]
    assert far.usable
    assert (far.effective_share[:-1] >= 0.2).all()
    hopeless = estimate_windows(logged.log, values, taken, 40.0 * (torch.rand(1_000, 40) < 0.025).float())
    assert not hopeless.usable
    assert hopeless.windows == (1,)
