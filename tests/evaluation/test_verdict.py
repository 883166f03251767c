"""Four words, and what stands behind each."""

from __future__ import annotations

import numpy as np
import pytest

from evaluation.diagnostics import diagnose, diagnose_weights
from evaluation.estimators import (
    DR,
    LoggedDecisions,
    mean_contributions,
)
from evaluation.intervals import Interval, bootstrap
from evaluation.verdict import judge, verdict
from tests.evaluation.bandit_worlds import bandit_world

MILD = np.tile([0.5, 1.5], 500)
FIT = diagnose_weights(MILD)
REFUSED = diagnose_weights(np.full(1000, 2.0))
UNSUPPORTED = diagnose_weights(MILD, unsupported=0.3)


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [(0.1, 0.3, "better"), (-0.3, -0.1, "worse"), (-0.1, 0.3, "cannot tell"), (0.0, 0.3, "cannot tell")],
)
def test_the_interval_of_the_difference_decides(low: float, high: float, word: str) -> None:
    found = judge(Interval((low + high) / 2, low, high), FIT, "mail men", "mail none")
    assert found.word == word
    assert "mail men" in found.sentence
    assert "mail none" in found.sentence
    assert f"{low:+.4g} to {high:+.4g}" in found.sentence


def test_a_refused_estimate_cannot_tell_and_says_why() -> None:
    found = judge(Interval(1.0, 0.9, 1.1), REFUSED)
    assert found.word == "cannot tell"
    assert "mean weight is 2" in found.sentence


def test_a_policy_that_decides_as_was_logged_is_not_worse_by_rounding() -> None:
    found = judge(Interval(-5e-11, -8e-11, -3e-11), diagnose_weights(np.full(1000, 1 - 1e-8)), "random")
    assert found.word == "cannot tell"
    assert "random decides as the log did" in found.sentence


def test_what_was_never_logged_is_not_identifiable() -> None:
    found = judge(Interval(1.0, 0.9, 1.1), UNSUPPORTED, "the timing policy")
    assert found.word == "not identifiable"
    assert "30% of what the timing policy would decide" in found.sentence


def test_a_little_unsupported_probability_is_tolerated() -> None:
    assert verdict(Interval(1.0, 0.9, 1.1), diagnose_weights(MILD, unsupported=0.1)) == "better"


@pytest.mark.parametrize("difference", [None, Interval(1.0, float("nan"), float("nan"))])
def test_without_an_interval_nothing_can_be_told(difference: Interval | None) -> None:
    assert verdict(difference, FIT) == "cannot tell"


def test_estimates_without_weights_need_no_diagnostics() -> None:
    assert verdict(Interval(1.0, 0.9, 1.1), None) == "better"


def test_holds_that_were_never_logged_make_never_sending_not_identifiable() -> None:
    generator = np.random.default_rng(0)
    logged = LoggedDecisions(np.arange(500), generator.integers(1, 3, 500), np.ones(500), np.full(500, 0.5))
    never = np.tile([1.0, 0.0, 0.0], (500, 1))
    assert verdict(Interval(-1.0, -1.1, -0.9), diagnose(logged, never)) == "not identifiable"


def test_words_are_right_in_a_known_world() -> None:
    world = bandit_world(2)
    best, worst = (np.eye(4)[world.mean.argmax(axis=1)], np.eye(4)[world.mean.argmin(axis=1)])
    log, context = world.log(5000, np.random.default_rng(0))
    model = world.mean[context]
    found = {"incumbent": mean_contributions(log.reward)}
    for name, policy in (("best", best), ("worst", worst), ("same", world.logging)):
        found[name] = DR().contributions(log, policy[context], model)
    result = bootstrap(found, log.customer)
    words = {
        name: verdict(result.difference(name, "incumbent"), diagnose(log, policy[context]))
        for name, policy in (("best", best), ("worst", worst), ("same", world.logging))
    }
    assert words == {"best": "better", "worst": "worse", "same": "cannot tell"}


def test_better_is_rarely_said_of_a_policy_that_is_not() -> None:
    world, generator = bandit_world(3), np.random.default_rng(1)
    said = 0
    for seed in range(200):
        log, context = world.log(500, generator)
        found = {
            "same": DR().contributions(log, world.logging[context], world.mean[context]),
            "incumbent": mean_contributions(log.reward),
        }
        result = bootstrap(found, log.customer, draws=200, seed=seed)
        said += verdict(result.difference("same", "incumbent"), diagnose(log, world.logging[context])) == "better"
    assert said <= 12  # 2.5 % of 200, and three standard deviations
