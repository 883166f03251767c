"""How far one customer moves an estimate: the formula against leaving each out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from evaluation.estimators import DR, SNDR, SNIPS, Contributions, LoggedDecisions, mean_contributions
from evaluation.one_customer import most_telling_customer, without_each
from tests.evaluation.bandit_worlds import bandit_world


@pytest.mark.parametrize("estimator", [DR(), SNIPS(), SNDR()], ids=lambda e: e.name)
def test_the_formula_is_what_leaving_each_customer_out_gives(estimator) -> None:  # type: ignore[no-untyped-def]
    world = bandit_world()
    log, context = world.log(60, np.random.default_rng(0))
    customer = np.arange(60) // 3  # three rows each
    log = LoggedDecisions(customer, log.action, log.reward, log.logged_prob)
    made = estimator.contributions(log, world.target[context], world.mean[context])
    by_hand = [
        Contributions(made.numerator[customer != c], made.denominator[customer != c]).value for c in range(20)
    ]  # fmt: skip
    np.testing.assert_allclose(without_each(made, customer), by_hand)


def test_one_customer_who_carries_all_the_value_is_told_of() -> None:
    policy = mean_contributions(np.array([1000.0, 0.0, 0.0, 0.0, 0.0]))
    incumbent = mean_contributions(np.array([0.0, 1.0, 1.0, 1.0, 1.0]))
    found = most_telling_customer(policy, incumbent, np.arange(5))
    assert found is not None
    assert found.value == 0
    assert found.change == -200
    assert found.difference == -1
    assert found.turns


def test_where_all_are_alike_nobody_moves_anything() -> None:
    found = most_telling_customer(mean_contributions(np.ones(9)), mean_contributions(np.zeros(9)), np.arange(9))
    assert found is not None
    assert found.change == pytest.approx(0)
    assert not found.turns


def test_an_only_customer_cannot_be_left_out() -> None:
    alone = mean_contributions(np.ones(3))
    assert most_telling_customer(alone, alone, np.zeros(3, dtype=np.int64)) is None
