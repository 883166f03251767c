"""A log in parts gives what it gives in one, and intervals draw whole customers although their rows lie apart."""

from __future__ import annotations

import numpy as np
import pytest

from campaigns.errors import CampaignError
from evaluation.diagnostics import diagnose
from evaluation.estimators import DM, DR, IPS, SNDR, SNIPS, ClippedIPS, Contributions, Estimator, LoggedDecisions
from evaluation.intervals import GROUPS, bootstrap
from evaluation.log_sums import INCUMBENT, LogSums, customer_groups
from evaluation.tuning import LEAST_BIASED, Slope
from tests.evaluation.bandit_worlds import bandit_world

TUNED = Slope(tuple(ClippedIPS(threshold) for threshold in (np.inf, 3.0, 1.5, 0.5)), "clipped IPS (SLOPE)")
PANEL: tuple[Estimator, ...] = (DM(), IPS(), SNIPS(), DR(), SNDR(), TUNED)


def long_log(
    customers: int = 2000, rows: int = 5, seed: int = 0
) -> tuple[LoggedDecisions, np.ndarray, np.ndarray, np.ndarray]:
    """A log in which a customer's rewards are alike; its rows in random order. With target, predictions and truth."""
    world, generator = bandit_world(), np.random.default_rng(seed)
    flat, context = world.log(customers * rows, generator)
    customer = generator.permutation(np.repeat(np.arange(customers), rows) * 7919)
    taste = generator.normal(0, 1, customers)[customer // 7919]
    logged = LoggedDecisions(customer, flat.action, flat.reward + taste, flat.logged_prob)
    predicted = world.mean[context] + 0.1
    return logged, world.target[context], predicted, taste


def summed(
    logged: LoggedDecisions, target: np.ndarray, predicted: np.ndarray, cuts: list[int], seed: int = 0
) -> LogSums:
    sums = LogSums(PANEL, seed)
    for rows in np.split(np.arange(len(logged)), cuts):
        part = LoggedDecisions(*(getattr(logged, f)[rows] for f in ("customer", "action", "reward", "logged_prob")))
        sums.add(part, target[rows], predicted[rows])
    return sums


@pytest.mark.parametrize("cuts", [[1], [17, 5000, 9999], list(range(500, 10_000, 500))])
def test_how_a_log_is_cut_changes_nothing(cuts: list[int]) -> None:
    logged, target, predicted, _ = long_log()
    whole, parts = (summed(logged, target, predicted, c) for c in ([], cuts))
    one, other = whole.bootstrap(200), parts.bootstrap(200)
    assert one.points.keys() == other.points.keys() == {INCUMBENT, TUNED.name + LEAST_BIASED, *(e.name for e in PANEL)}
    for name in one.points:
        assert other.points[name] == pytest.approx(one.points[name], rel=1e-9)
        np.testing.assert_allclose(other.replicates[name], one.replicates[name], rtol=1e-9)
    assert parts.chosen() == whole.chosen()
    ours, theirs = (sums.diagnostics("DR").to_dict() for sums in (parts, whole))
    for key, value in ours.items():
        assert value == pytest.approx(theirs[key], rel=1e-9) if isinstance(value, float) else value == theirs[key]


def test_points_and_diagnostics_are_those_of_the_log_in_memory() -> None:
    logged, target, predicted, _ = long_log()
    sums = summed(logged, target, predicted, [123, 4567])
    points = sums.bootstrap(100).points
    for estimator in PANEL:
        expected = estimator.contributions(logged, target, predicted).value
        assert points[estimator.name] == pytest.approx(expected, rel=1e-9)
    assert points[INCUMBENT] == pytest.approx(logged.reward.mean(), rel=1e-9)
    # unclipped IPS is the widest and has the least bias
    assert points[TUNED.name + LEAST_BIASED] == pytest.approx(points["IPS"], rel=1e-9)
    assert sums.chosen()["clipped IPS (SLOPE)"] == TUNED.chosen(logged, target, predicted)
    ours = sums.diagnostics("IPS").to_dict()
    theirs = diagnose(logged, target, contributions=IPS().contributions(logged, target)).to_dict()
    theirs["top_share"] = pytest.approx(theirs["top_share"], rel=0.5)  # now and then two customers share a group
    for key, value in theirs.items():
        assert ours[key] == (pytest.approx(value, rel=1e-9) if isinstance(value, float) else value)


def test_intervals_are_those_of_a_bootstrap_of_customers_not_of_rows() -> None:
    logged, target, predicted, _ = long_log(customers=3000)
    found = summed(logged, target, predicted, list(range(1000, 15_000, 1000))).bootstrap(4000)
    estimates: dict[str, Contributions] = {
        e.name: e.contributions(logged, target, predicted) for e in PANEL if not isinstance(e, Slope)
    }
    by_customer = bootstrap(estimates, logged.customer, 4000, seed=1)
    by_row = bootstrap(estimates, np.arange(len(logged)), 4000, seed=1)
    # a standard error of 4,000 draws is known to 1.1 %; shared groups add 1 % or so
    for name in estimates:
        assert found.standard_error(name) == pytest.approx(by_customer.standard_error(name), rel=0.06)
    paired, theirs = found.difference("SNIPS", "IPS"), by_customer.difference("SNIPS", "IPS")
    assert paired.high - paired.low == pytest.approx(theirs.high - theirs.low, rel=0.1)
    assert by_row.standard_error("SNIPS") < 0.85 * by_customer.standard_error("SNIPS")  # so that rows would not do


def test_a_customer_is_in_one_group_in_every_part_and_groups_are_even() -> None:
    customers = np.arange(50 * GROUPS)
    groups = customer_groups(customers, seed=3)
    np.testing.assert_array_equal(groups[::-1], customer_groups(customers[::-1], seed=3))
    counts = np.bincount(groups, minlength=GROUPS)
    assert len(counts) == GROUPS
    assert counts.var() / counts.mean() == pytest.approx(1.0, abs=0.05)  # as Poisson counts
    other = customer_groups(customers, seed=4)
    assert (groups == other).mean() < 3 / GROUPS
    same, also = (np.bincount(g, minlength=GROUPS) - 50.0 for g in (groups, other))
    assert abs(np.corrcoef(same, also)[0, 1]) < 0.02
    assert len(np.unique(customer_groups(np.array([-1, 0, 2**62, -(2**62)]), 0))) == 4


def test_sums_of_parts_read_apart_add_up() -> None:
    logged, target, predicted, _ = long_log()
    whole = summed(logged, target, predicted, [])
    halves = []
    for rows in (np.arange(4000), np.arange(4000, 10_000)):
        part = LoggedDecisions(*(getattr(logged, f)[rows] for f in ("customer", "action", "reward", "logged_prob")))
        half = LogSums(PANEL)
        half.add(part, target[rows], predicted[rows])
        halves.append(half)
    empty = LogSums(PANEL)
    for half in halves:
        empty.merge(half)
    assert empty.rows == len(logged)
    np.testing.assert_allclose(empty.bootstrap(100).replicates["DR"], whole.bootstrap(100).replicates["DR"], rtol=1e-9)
    with pytest.raises(CampaignError, match="same estimators and seed"):
        empty.merge(LogSums(PANEL, seed=1))


def test_one_customer_has_no_interval_and_an_empty_log_is_refused() -> None:
    sums = LogSums((IPS(),))
    with pytest.raises(CampaignError, match="no decision"):
        sums.bootstrap(100)
    with pytest.raises(CampaignError, match="names of their own"):
        LogSums((IPS(), IPS()))
    logged, target, _, _ = long_log(customers=1, rows=6)
    sums.add(logged, target)
    assert np.isnan(sums.bootstrap(100).interval("IPS").low)
