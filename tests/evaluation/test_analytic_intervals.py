"""Intervals by formula: their figures, what they cover, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

from campaigns.errors import CampaignError
from evaluation.analytic_intervals import bernstein_interval, clustered_error, student_interval
from evaluation.estimators import DR, IPS, SNDR, SNIPS, mean_contributions
from evaluation.intervals import bootstrap, mean_interval
from tests.evaluation.bandit_worlds import bandit_world


def test_with_one_row_a_customer_students_interval_is_the_usual_one() -> None:
    values = np.random.default_rng(0).exponential(size=40)
    found, usual = student_interval(mean_contributions(values), np.arange(40)), mean_interval(values)
    assert found.to_dict() == pytest.approx(usual.to_dict())


def test_bernstein_by_hand() -> None:
    found = bernstein_interval(mean_contributions(np.array([0.0, 1.0, 0.0, 1.0])), np.arange(4), (0.0, 2.0), level=0.9)
    log = np.log(40)
    half = (2 * (1 / 3) * log / 4) ** 0.5 + 7 * 2 * log / (3 * 3)
    assert found.to_dict() == pytest.approx({"value": 0.5, "low": 0.5 - half, "high": 0.5 + half})


@pytest.mark.parametrize("estimator", [DR(), SNIPS(), SNDR()], ids=lambda e: e.name)
def test_the_delta_method_agrees_with_the_bootstrap(estimator: DR) -> None:
    world = bandit_world()
    log, context = world.log(4000, np.random.default_rng(1))
    customer = np.sort(np.random.default_rng(2).integers(0, 900, 4000))
    found = estimator.contributions(log, world.target[context], 0.7 * world.mean[context])
    error, customers = clustered_error(found, customer)
    assert customers == len(np.unique(customer))
    assert error == pytest.approx(bootstrap({"a": found}, customer, draws=4000).standard_error("a"), rel=0.05)


def test_students_interval_covers_as_it_says_and_bernsteins_more() -> None:
    world, generator = bandit_world(), np.random.default_rng(3)
    largest = float((world.target / world.logging).max())
    hits: dict[str, list[bool]] = {"DR": [], "SNIPS": [], "Bernstein": []}
    for _ in range(1000):
        log, context = world.log(400, generator)
        target, model = world.target[context], world.mean[context] * 0.8
        intervals = {
            e.name: student_interval(e.contributions(log, target, model), log.customer) for e in (DR(), SNIPS())
        }
        intervals["Bernstein"] = bernstein_interval(IPS().contributions(log, target), log.customer, (0.0, largest))
        for name, interval in intervals.items():
            hits[name].append(interval.low <= world.value <= interval.high)
    assert 0.93 <= np.mean(hits["DR"]) <= 0.97
    assert 0.93 <= np.mean(hits["SNIPS"]) <= 0.97
    assert np.mean(hits["Bernstein"]) > 0.99


def test_bernstein_holds_where_students_interval_fails() -> None:
    """Fifty customers, of whom one in fifty earns 1: often nobody does, and Student's interval shrinks to nothing."""
    generator = np.random.default_rng(4)
    student, bernstein = [], []
    for _ in range(300):
        found = mean_contributions((generator.random(50) < 0.02).astype(np.float64))
        narrow = student_interval(found, np.arange(50))
        wide = bernstein_interval(found, np.arange(50), (0.0, 1.0))
        student.append(narrow.low <= 0.02 <= narrow.high)
        bernstein.append(wide.low <= 0.02 <= wide.high)
    assert np.mean(student) < 0.8
    assert np.mean(bernstein) > 0.95


def test_rows_of_a_customer_count_together() -> None:
    values = np.repeat(np.random.default_rng(5).normal(size=50), 20)
    found, customer = mean_contributions(values), np.repeat(np.arange(50), 20)
    clustered, _ = clustered_error(found, customer)
    by_row, _ = clustered_error(found, np.arange(1000))
    assert clustered == pytest.approx(by_row * 20**0.5, rel=0.03)
    bounds = (-4.0, 4.0)
    wide, narrow = (bernstein_interval(found, c, bounds) for c in (customer, np.arange(1000)))
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


def test_customers_of_any_name_and_order_are_the_same() -> None:
    values = np.random.default_rng(6).normal(size=30)
    customer = np.random.default_rng(7).integers(0, 10, 30)
    error, customers = clustered_error(mean_contributions(values), customer)
    for renamed in (customer * 10**9 - 5, np.array([f"c{c}" for c in customer]), 9 - customer):
        codes = renamed if renamed.dtype.kind == "i" else np.unique(renamed, return_inverse=True)[1]
        assert clustered_error(mean_contributions(values), codes) == pytest.approx((error, customers))


def test_one_customer_gives_a_point_and_no_interval() -> None:
    found = mean_contributions(np.ones(3))
    for interval in (student_interval(found, np.zeros(3)), bernstein_interval(found, np.zeros(3))):
        assert interval.value == 1
        assert np.isnan([interval.low, interval.high]).all()


def test_no_weight_at_all_gives_no_interval() -> None:
    log, _ = bandit_world().log(20, np.random.default_rng(8))
    never = np.eye(4)[(log.action + 1) % 4]
    assert np.isnan(student_interval(SNIPS().contributions(log, never), log.customer).low)


def test_bad_settings_are_named() -> None:
    found = mean_contributions(np.array([0.0, 5.0]))
    with pytest.raises(CampaignError, match="outside the bounds 0 and 1"):
        bernstein_interval(found, np.arange(2), (0.0, 1.0))
    with pytest.raises(CampaignError, match="level"):
        student_interval(found, np.arange(2), level=1.0)
    log, context = bandit_world().log(20, np.random.default_rng(9))
    with pytest.raises(CampaignError, match="not for self-normalised"):
        bernstein_interval(SNIPS().contributions(log, bandit_world().target[context]), log.customer)
