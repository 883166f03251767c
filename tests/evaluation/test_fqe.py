"""Linear FQE against worlds whose values are known exactly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from evaluation.fqe import LinearFQE, feature_support, fit_linear_fqe, log_moments
from tests.evaluation.markov_worlds import LOGGER, TARGET, MarkovLog, markov_log, tired_world

SLOTS = 12
WORLD = tired_world()


def fitted(logged: MarkovLog, shares: tuple[float, ...] = (1.0,)) -> LinearFQE:
    return fit_linear_fqe(logged.log, log_moments(logged.log, 1e-6), logged.expected, shares)


def value(logged: MarkovLog) -> float:
    found = fitted(logged).of(logged.expected, logged.log.fold)[0, :, 0]
    return float(found[logged.log.known[:, 0]].mean())


def test_a_tabular_fqe_recovers_the_value_where_rewards_are_exact() -> None:
    logged = markov_log(replace(WORLD, noise=0.0), 20_000, SLOTS, seed=0)
    assert value(logged) == pytest.approx(WORLD.value(TARGET, SLOTS), abs=0.06)
    assert abs(WORLD.value(TARGET, SLOTS) - WORLD.value(LOGGER, SLOTS)) > 1.0


def test_q_of_every_state_and_decision_is_that_of_dynamic_programming() -> None:
    logged = markov_log(replace(WORLD, noise=0.0), 20_000, SLOTS, seed=1)
    to_go = np.zeros(4)
    for _ in range(SLOTS):
        q = WORLD.rewards + WORLD.moves @ to_go
        to_go = (TARGET * q).sum(axis=1)
    found = fitted(logged).of(logged.log.taken, logged.log.fold)[0, :, 0].numpy()
    expected = q[logged.states[:, 0], logged.actions[:, 0]]
    np.testing.assert_allclose(found, expected, atol=0.12)


def test_histories_matter_a_model_that_sees_no_state_is_wrong() -> None:
    blind = markov_log(replace(WORLD, noise=0.0), 20_000, SLOTS, seed=0, tabular=False)
    assert abs(value(blind) - WORLD.value(TARGET, SLOTS)) > 0.5


def test_sequences_of_unequal_length_and_censored_ones_leave_the_value_where_it_is() -> None:
    lengths = np.random.default_rng(3).integers(1, SLOTS + 1, size=20_000)
    known = np.arange(SLOTS) < lengths[:, None]
    logged = markov_log(replace(WORLD, noise=0.0), 20_000, SLOTS, seed=2, known=known)
    assert value(logged) == pytest.approx(WORLD.value(TARGET, SLOTS), abs=0.1)
    unread = replace(logged.log, reward=torch.where(logged.log.known, logged.log.reward, 99.0))
    assert value(replace(logged, log=unread)) == pytest.approx(value(logged), abs=1e-6)


def test_a_log_shorter_than_the_horizon_is_continued() -> None:
    logged = markov_log(replace(WORLD, noise=0.0), 20_000, 5, seed=4, horizon=30)
    assert value(logged) == pytest.approx(WORLD.value(TARGET, 30), rel=0.02)


def test_a_blend_is_the_policy_that_draws_its_decisions_from_both() -> None:
    logged = markov_log(replace(WORLD, noise=0.0), 20_000, SLOTS, seed=5)
    shares = (0.0, 0.3, 1.0)
    taken, own = (fitted(logged, shares).of(f, logged.log.fold)[:, :, 0] for f in (logged.log.taken, logged.expected))
    for place, share in enumerate(shares):
        found = float(((1 - share) * taken[place] + share * own[place]).mean())
        truth = WORLD.value((1 - share) * LOGGER + share * TARGET, SLOTS)
        assert found == pytest.approx(truth, abs=0.08)


def test_a_customers_value_does_not_depend_on_what_that_customer_earned() -> None:
    logged = markov_log(WORLD, 200, SLOTS, seed=6)
    mine = logged.log.fold == 0
    richer = logged.log.reward + 50.0 * mine.unsqueeze(1)
    before = fitted(logged).of(logged.expected, logged.log.fold)[0]
    # the ridge of rewards is chosen on all folds; with one choice left nothing of the fold's own rewards is used
    after = fitted(replace(logged, log=replace(logged.log, reward=richer))).of(logged.expected, logged.log.fold)[0]
    assert float((after - before)[~mine].abs().max()) > 10
    assert float((after - before)[mine].abs().max()) < 2


def test_noisy_rewards_are_shrunk_to_what_a_reward_model_expects() -> None:
    exact = torch.from_numpy(WORLD.rewards.ravel()).float()
    prior = torch.cat([exact[:1], exact[1:] - exact[0]])  # the first cell has no column of its own
    truth = WORLD.value(TARGET, SLOTS) - WORLD.value(LOGGER, SLOTS)
    errors: dict[bool, list[float]] = {True: [], False: []}
    for seed in range(12):
        logged = markov_log(replace(WORLD, noise=20.0), 300, SLOTS, seed=seed)
        for helped, found_errors in errors.items():
            log = replace(logged.log, prior=prior) if helped else logged.log
            found = fit_linear_fqe(log, log_moments(log), logged.expected, (0.0, 1.0))
            before, after = found.of(log.taken, log.fold)[0, :, 0], found.of(logged.expected, log.fold)[1, :, 0]
            found_errors.append(float((after - before).mean()) - truth)
    assert np.square(errors[True]).mean() < 0.5 * np.square(errors[False]).mean()


def test_support_falls_with_the_distance_from_the_log() -> None:
    logged = markov_log(WORLD, 5_000, SLOTS, seed=8)
    moments = log_moments(logged.log)
    shares = (0.0, 0.5, 1.0)
    found = feature_support(logged.log, fit_linear_fqe(logged.log, moments, logged.expected, shares), moments)
    assert found[0] > found[1] > found[2]
    assert 0.5 < found[0] <= 1.0
