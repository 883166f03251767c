"""Four words, and what stands behind each."""

from __future__ import annotations

import numpy as np
import pytest

from evaluation.diagnostics import diagnose, diagnose_weights
from evaluation.estimators import (
    DR,
    SNIPS,
    Contributions,
    LoggedDecisions,
    PerDecisionIS,
    cumulative_weights,
    importance_weights,
    mean_contributions,
)
from evaluation.intervals import Interval, bootstrap
from evaluation.verdict import judge, largest_blend, safe_blend, verdict
from tests.evaluation.bandit_worlds import ChainWorld, bandit_world, chain_world

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


# --- blends ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("estimator", [DR(), SNIPS()], ids=lambda e: e.name)
def test_with_one_slot_a_clear_winner_may_have_all_and_a_loser_nothing(estimator: DR | SNIPS) -> None:
    world = bandit_world(2)
    log, context = world.log(5000, np.random.default_rng(0))
    incumbent = mean_contributions(log.reward)
    shares = []
    for policy in (np.eye(4)[world.mean.argmax(axis=1)], np.eye(4)[world.mean.argmin(axis=1)]):
        target = policy[context]
        found = estimator.contributions(log, target, world.mean[context])
        shares.append(safe_blend(found, incumbent, importance_weights(log, target), log.customer, 500, 0))
    assert shares == [1.0, 0.0]


def test_a_small_share_does_not_make_a_refused_estimate_safe() -> None:
    rows = np.arange(1000)
    weights = np.where(rows == 0, 1000.0, 0.0)
    lucky = mean_contributions(1.0 + weights)
    incumbent = mean_contributions(np.zeros(1000))
    assert safe_blend(lucky, incumbent, weights, rows, 500, 0) == 0

    def blend(share: float) -> tuple[Contributions, np.ndarray]:
        return mean_contributions(share * lucky.numerator), 1 + share * (weights - 1)

    assert diagnose_weights(blend(0.01)[1]).refused is None  # the blend's own weights look harmless
    assert largest_blend(blend, incumbent, rows, shares=(0.01, 0.1, 1.0)) == 0


def test_over_slots_a_blend_is_safe_where_the_whole_policy_is_not() -> None:
    world, good = chain_world(), np.array([[0.1, 0.7, 0.2], [0.1, 0.1, 0.8]])
    world = ChainWorld(world.mean, world.move, world.logging, good, slots=10)
    log, states = world.log(3000, np.random.default_rng(0))
    incumbent = mean_contributions(log.reward.sum(axis=1))

    def blend(share: float) -> tuple[Contributions, np.ndarray]:
        target = (1 - share) * world.logging[states] + share * world.target[states]
        return PerDecisionIS().contributions(log, target), cumulative_weights(log, target)[:, -1]

    whole = diagnose_weights(cumulative_weights(log, world.target[states])[:, -1])
    share = largest_blend(blend, incumbent, np.arange(len(log)))
    assert whole.refused
    assert 0 < share < 1
