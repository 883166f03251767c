"""Estimators that tame large weights, and the choice of their settings."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from campaigns.errors import CampaignError
from evaluation.estimators import (
    DM,
    DR,
    IPS,
    SNDR,
    ClippedDR,
    ClippedIPS,
    DRos,
    LoggedDecisions,
    ShrunkEstimator,
    SubGaussianDR,
    SubGaussianIPS,
    SwitchDR,
)
from evaluation.intervals import bootstrap
from evaluation.tuning import LEAST_BIASED, LeastError, Slope, tuned_estimators, tuned_interval
from tests.evaluation.bandit_worlds import BanditWorld, bandit_world, z_score

WEIGHTS = np.array([0.0, 0.5, 2.0, 8.0])
INF = float("inf")


def poor_overlap() -> BanditWorld:
    """Weights up to about 40."""
    world = bandit_world(5)
    sharp = world.logging**3
    return BanditWorld(world.mean, 0.9 * sharp / sharp.sum(axis=1, keepdims=True) + 0.025, world.target)


@pytest.mark.parametrize(
    ("estimator", "expected"),
    [
        (ClippedIPS(2.0), [0, 0.5, 2, 2]),
        (ClippedDR(1.0), [0, 0.5, 1, 1]),
        (SwitchDR(2.0), [0, 0.5, 2, 0]),
        (DRos(4.0), [0, 2 / 4.25, 1, 32 / 68]),
        (DRos(0.0), [0, 0, 0, 0]),
        (SubGaussianIPS(0.5), [0, 0.5 / 0.75, 2 / 1.5, 8 / 4.5]),
        (SubGaussianDR(1.0), [0, 1, 1, 1]),
    ],
    ids=lambda value: value.name if hasattr(value, "name") else "",
)
def test_weights_by_hand(estimator: ShrunkEstimator, expected: list[float]) -> None:
    assert estimator.shrunk(WEIGHTS) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("estimator", "limit"),
    [
        (ClippedIPS(INF), IPS()),
        (SubGaussianIPS(0.0), IPS()),
        (ClippedDR(INF), DR()),
        (SwitchDR(INF), DR()),
        (DRos(INF), DR()),
        (SubGaussianDR(0.0), DR()),
        (SwitchDR(0.0), DM()),
        (DRos(0.0), DM()),
        (ClippedDR(0.0), DM()),
    ],
    ids=lambda value: value.name,
)
def test_at_the_ends_of_their_settings_they_are_ips_dr_or_dm(estimator: ShrunkEstimator, limit: IPS) -> None:
    world = bandit_world()
    log, context = world.log(300, np.random.default_rng(0))
    arguments = (log, world.target[context], 0.8 * world.mean[context])
    found, expected = estimator.contributions(*arguments), limit.contributions(*arguments)
    assert found.numerator == pytest.approx(expected.numerator)


def test_sndr_by_hand() -> None:
    log = LoggedDecisions(np.arange(2), np.array([0, 1]), np.array([1.0, 3.0]), np.array([0.5, 0.25]))
    target, model = np.array([[0.5, 0.5], [0.5, 0.5]]), np.array([[1.0, 2.0], [1.0, 2.0]])
    # weights 1 and 2, residuals 0 and 1: 1.5 + 2 / 3
    assert SNDR().contributions(log, target, model).value == pytest.approx(1.5 + 2 / 3)


def test_sndr_is_consistent_with_a_wrong_model_and_follows_a_constant_in_it() -> None:
    world = bandit_world()
    log, context = world.log(400_000, np.random.default_rng(2))
    target, model = world.target[context], 1 - world.mean[context]
    found = SNDR().contributions(log, target, model).value
    assert found == pytest.approx(world.value, abs=0.005)
    assert abs(DM().contributions(log, target, model).value - world.value) > 0.02
    # a constant in the model cancels exactly, which DR's does only in expectation
    assert SNDR().contributions(log, target, model + 5).value == pytest.approx(found, abs=1e-9)
    assert abs(DR().contributions(log, target, model + 5).value - DR().contributions(log, target, model).value) > 1e-4


FAMILIES: list[Callable[[float], ShrunkEstimator]] = [ClippedIPS, SwitchDR, DRos]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_tighter_setting_trades_variance_for_bias(family: Callable[[float], ShrunkEstimator]) -> None:
    world, generator = poor_overlap(), np.random.default_rng(1)
    model = np.full_like(world.mean, 0.3)
    loose: list[float] = []
    tight: list[float] = []
    for _ in range(200):
        log, context = world.log(300, generator)
        for setting, values in ((INF, loose), (2.0, tight)):
            values.append(family(setting).contributions(log, world.target[context], model[context]).value)
    assert np.std(tight) < 0.8 * np.std(loose)
    assert abs(z_score(np.array(loose), world.value)) < 3.5
    assert abs(z_score(np.array(tight), world.value)) > 7


def test_tuning_by_slope_is_better_than_the_worst_ends_and_near_the_best() -> None:
    world, generator = poor_overlap(), np.random.default_rng(2)
    grid = (INF, 30.0, 10.0, 3.0, 1.0, 0.3)
    estimators = {**{str(x): ClippedIPS(x) for x in grid}, "slope": Slope(tuple(ClippedIPS(x) for x in grid))}
    errors: dict[str, list[float]] = {name: [] for name in estimators}
    for _ in range(150):
        log, context = world.log(300, generator)
        for name, estimator in estimators.items():
            errors[name].append((estimator.contributions(log, world.target[context]).value - world.value) ** 2)
    mean = {name: float(np.mean(values)) for name, values in errors.items()}
    fixed = [mean[str(x)] for x in grid]
    assert mean["slope"] < 0.5 * max(fixed)
    assert mean["slope"] < 3 * min(fixed)


def test_slope_goes_tight_only_while_the_estimates_agree() -> None:
    rows = 4000
    log = LoggedDecisions(np.arange(rows), np.arange(rows) % 2, np.ones(rows), np.full(rows, 0.5))
    target = np.tile([0.0, 1.0], (rows, 1))  # weights 0 and 2; clipped at 1 the value halves
    tuner = Slope((ClippedIPS(INF), ClippedIPS(1.0)))
    assert tuner.chosen(log, target) == ClippedIPS(INF)
    noisy = LoggedDecisions(log.customer, log.action, np.random.default_rng(0).normal(0, 1, rows), log.logged_prob)
    assert tuner.chosen(noisy, target) == ClippedIPS(1.0)


def test_slope_counts_customers_not_rows() -> None:
    generator = np.random.default_rng(3)
    customer = np.repeat(np.arange(40), 50)
    action = np.repeat(generator.integers(0, 2, 40), 50)
    log = LoggedDecisions(customer, action, np.repeat(generator.normal(1, 0.8, 40), 50), np.full(2000, 0.5))
    target = np.tile([0.0, 1.0], (2000, 1))
    tuner = Slope((ClippedIPS(INF), ClippedIPS(1.0)))
    by_row = LoggedDecisions(np.arange(2000), log.action, log.reward, log.logged_prob)
    assert tuner.chosen(by_row, target) == ClippedIPS(INF)
    assert tuner.chosen(log, target) == ClippedIPS(1.0)


def test_least_error_keeps_the_weights_where_the_bias_is_plain() -> None:
    world = poor_overlap()
    log, context = world.log(20_000, np.random.default_rng(4))
    tuner = LeastError((DRos(INF), DRos(0.0)), bounded=False)
    wrong = np.full_like(world.mean, 0.9)[context]
    assert tuner.chosen(log, world.target[context], wrong) == DRos(INF)


def test_least_error_shrinks_where_that_costs_no_bias() -> None:
    rows = np.arange(1000)
    log = LoggedDecisions(rows, np.zeros(1000, dtype=np.int64), np.where(rows % 2, 1.0, -1.0), np.full(1000, 0.1))
    target = np.tile([1.0, 0.0], (1000, 1))
    assert LeastError((ClippedIPS(INF), ClippedIPS(1.0))).chosen(log, target) == ClippedIPS(1.0)


def test_the_ready_made_tuned_estimators_work() -> None:
    world = poor_overlap()
    log, context = world.log(2000, np.random.default_rng(5))
    for tuner in tuned_estimators():
        value = tuner.contributions(log, world.target[context], world.mean[context]).value
        assert value == pytest.approx(world.value, abs=0.1)
    assert len({tuner.name for tuner in tuned_estimators()}) == 3


def test_intervals_of_tuned_estimates_hold_the_bias_that_tuning_brings() -> None:
    """The chosen candidate's own misses the truth far too often; stretched to the least biased one's it holds."""
    world, generator = poor_overlap(), np.random.default_rng(6)
    tuner = Slope(tuple(DRos(root**2) for root in (INF, 10.0, 3.0, 1.0, 0.3)), "DRos (SLOPE)")
    wrong, own, stretched = world.mean[:, ::-1], [], []
    for seed in range(120):
        log, context = world.log(600, generator)
        found = [c.contributions(log, world.target[context], wrong[context]) for c in tuner.candidates]
        chosen, loose = tuner.choice(found, log.customer), tuner.least_biased(found, log.customer)
        drawn = bootstrap(
            {tuner.name: found[chosen], tuner.name + LEAST_BIASED: found[loose]}, log.customer, 200, seed=seed
        )
        for intervals, interval in ((own, drawn.interval(tuner.name)), (stretched, tuned_interval(drawn, tuner.name))):
            assert interval.low <= drawn.points[tuner.name] <= interval.high
            intervals.append(interval.low <= world.value <= interval.high)
    assert np.mean(own) < 0.85
    assert np.mean(stretched) > 0.9


def test_one_customer_gets_the_first_candidate() -> None:
    log = LoggedDecisions(np.zeros(4), np.array([0, 1, 0, 1]), np.ones(4), np.full(4, 0.5))
    assert Slope((ClippedIPS(3.0), ClippedIPS(1.0))).chosen(log, np.full((4, 2), 0.5)) == ClippedIPS(3.0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ClippedIPS(-1.0), "threshold of clipped IPS must lie in"),
        (lambda: SwitchDR(float("nan")), "threshold of SWITCH-DR"),
        (lambda: DRos(-0.1), "shrinkage of DRos"),
        (lambda: SubGaussianIPS(1.1), r"mixing of sub-Gaussian IPS must lie in \[0, 1\]"),
        (lambda: Slope(()), "at least one candidate"),
        (lambda: Slope((IPS(),), delta=1.0), "delta of SLOPE"),
        (lambda: LeastError((ClippedIPS(1.0),), delta=0.0), "delta of least error"),
    ],
)
def test_settings_out_of_range_are_named(make: Callable[[], object], message: str) -> None:
    with pytest.raises(CampaignError, match=message):
        make()


@pytest.mark.parametrize("estimator", [SNDR(), SwitchDR(3.0), DRos(3.0), ClippedDR(3.0), SubGaussianDR(0.5)])
def test_doubly_robust_ones_ask_for_a_model_and_for_probabilities(estimator: ShrunkEstimator) -> None:
    log = LoggedDecisions(np.arange(2), np.array([0, 1]), np.ones(2), np.full(2, 0.5))
    with pytest.raises(CampaignError, match=f"{estimator.name} needs a reward model"):
        estimator.contributions(log, np.full((2, 2), 0.5))
    with pytest.raises(CampaignError, match="sum to 1"):
        estimator.contributions(log, np.full((2, 2), 0.6), np.zeros((2, 2)))
