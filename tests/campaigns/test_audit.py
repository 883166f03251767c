"""The audit sees what is there, says when it cannot tell, and raises no alarm over chance."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from campaigns.audit import audit_log, drift_check, hardly_by_chance
from campaigns.grid import DecisionGrid, make_grid
from campaigns.history import HOLD
from envs.reference.simulate import simulate
from envs.reference.variants import find_variant
from tests.campaigns.logs_on_disk import clean_tables, read_tolerantly

WEEK = 42


def grid_of(rate: np.ndarray, customers: int = 400, seed: int = 0, spread: float = 0.0) -> DecisionGrid:
    """A grid whose purchase rate is `rate` [T], times a factor that differs between customers by `spread`."""
    generator = np.random.default_rng(seed)
    shape = (customers, len(rate))
    taste = np.exp(spread * generator.normal(size=(customers, 1)))
    taste /= taste.mean()
    bought = (generator.random(shape) < rate[None, :] * taste).astype(np.float32)
    sent = generator.random(shape) < 0.1
    return DecisionGrid(
        first_slot=0,
        decision=np.where(sent, 1, HOLD).astype(np.int32),
        action_prob=np.where(sent, 0.1, 0.9).astype(np.float32),
        eligible=np.ones(shape, dtype=bool),
        labelled=np.ones(shape, dtype=bool),
        outcomes={"purchased": bought},
        happened={},
        happened_content={},
    )


def test_a_rate_that_doubles_over_the_weeks_drifts_and_the_note_says_from_where_to_where() -> None:
    found = drift_check(grid_of(np.linspace(0.05, 0.10, 4 * WEEK)), WEEK)
    assert found["passed"] is False
    assert "purchased rose from" in found["note"]
    assert "sends" not in found["note"]
    trend = found["rates"]["purchased"]
    assert trend["first"] == pytest.approx(0.056, abs=0.005)
    assert trend["last"] == pytest.approx(0.094, abs=0.005)
    assert trend["z"] > 4


def test_a_steady_rate_that_goes_up_and_down_within_each_day_and_week_does_not_drift() -> None:
    slots = np.arange(4 * WEEK + 20)  # an unfinished week at the end, all of it weekday
    rate = 0.05 * (1 + 0.6 * np.sin(slots * 2 * np.pi / 6)) * np.where(slots % WEEK >= 30, 2.0, 1.0)
    assert drift_check(grid_of(rate), WEEK)["passed"] is True


def test_a_clear_but_small_change_is_not_called_drift() -> None:
    found = drift_check(grid_of(np.linspace(0.49, 0.51, 4 * WEEK), customers=20_000), WEEK)
    assert found["rates"]["purchased"]["z"] > 4
    assert found["passed"] is True


def test_the_error_is_between_customers_so_that_a_few_heavy_buyers_raise_no_alarm() -> None:
    # All purchases of a buyer fall into one of the weeks: 60 buyers, not 2,520 purchases, tell of time.
    generator = np.random.default_rng(1)
    grid = grid_of(np.full(4 * WEEK, 0.0), customers=600)
    alarms = 0
    for _ in range(50):
        bought = np.zeros((600, 4, WEEK), dtype=np.float32)
        bought[np.arange(60), generator.integers(0, 4, 60)] = 1.0
        grid.outcomes["purchased"] = bought.reshape(600, 4 * WEEK)
        alarms += drift_check(grid, WEEK)["passed"] is False
    assert alarms <= 1


def test_false_alarms_are_rare_and_the_z_score_has_unit_spread() -> None:
    z = []
    for seed in range(120):
        grid = grid_of(np.full(3 * WEEK, 0.05), customers=200, seed=seed, spread=1.0)
        z.append(drift_check(grid, WEEK)["rates"]["purchased"]["z"])
    assert np.std(z) == pytest.approx(1.0, abs=0.2)
    assert abs(np.mean(z)) < 0.3


@pytest.mark.parametrize(("slots", "customers", "words"), [(2 * WEEK - 1, 100, "shorter than two whole weeks"),
                                                           (3 * WEEK, 5, "no rate could be followed")])  # fmt: skip
def test_what_cannot_be_tested_is_said(slots: int, customers: int, words: str) -> None:
    found = drift_check(grid_of(np.full(slots, 0.1), customers=customers), WEEK)
    assert found["passed"] is None
    assert words in found["note"]


def test_outcomes_of_unlabelled_decisions_do_not_count() -> None:
    grid = grid_of(np.full(3 * WEEK, 0.1))
    grid.outcomes["purchased"][:, 2 * WEEK :] = 0.0  # not yet known, though it reads as 0
    assert drift_check(grid, WEEK)["passed"] is False
    grid.labelled[:, 2 * WEEK :] = False
    assert drift_check(grid, WEEK)["passed"] is True


@pytest.mark.parametrize(("claimed", "passed"), [(0.25, True), (0.10, False), (0.60, False)])
def test_sends_more_or_less_frequent_than_claimed_fail_the_randomisation_audit(claimed: float, passed: bool) -> None:
    tables = clean_tables(customers=200)
    sent = tables["decisions"]["content_id"].notna()
    tables["decisions"]["action_prob"] = np.where(sent, claimed / 3, 1 - claimed)
    log = read_tolerantly(tables, max_rejected=0.0)
    audit = audit_log(log, make_grid(log))
    assert audit["randomisation"]["passed"] is passed
    json.dumps(audit, allow_nan=False)


@pytest.mark.parametrize(("exploration", "low", "high"), [(1.0, 0.97, 0.99), (0.05, 0.05, 0.1)])
def test_the_share_of_sends_that_chance_decided_is_told(exploration: float, low: float, high: float) -> None:
    """A habit's send has p = .95 and more, a drawn one hardly any: .05 x .95 + .04 x 1 are by chance."""
    log = read_tolerantly(simulate(find_variant("ecommerce", exploration), 300, 7, 0), max_rejected=0.0)
    audit = audit_log(log, make_grid(log))
    assert low < audit["randomisation"]["by_chance"] < high
    assert (hardly_by_chance(audit) is None) == (exploration == 1.0)


def test_a_small_group_held_out_of_one_mailing_is_chance_enough() -> None:
    """One decision each, 95 of 100 customers sent to at random: a usual experiment."""
    tables = clean_tables(customers=400, days=2)
    decisions = tables["decisions"]
    once = decisions[decisions["time"] == decisions["time"].min()].reset_index(drop=True)
    sent = np.arange(len(once)) % 20 > 0
    once["content_id"], once["action_prob"] = np.where(sent, "a", None), np.where(sent, 0.95, 0.05)
    once["opened"] = once["opened"].where(sent, 0)
    log = read_tolerantly(tables | {"decisions": once}, max_rejected=0.0)
    audit = audit_log(log, make_grid(log))
    assert audit["slots"] == 1
    assert audit["randomisation"]["by_chance"] == pytest.approx(0.05)
    assert hardly_by_chance(audit) is None
    assert hardly_by_chance(audit | {"slots": 2}) == pytest.approx(0.05)


def test_nothing_is_said_of_chance_without_probabilities() -> None:
    tables = clean_tables()
    tables["decisions"] = tables["decisions"].drop(columns="action_prob")
    log = read_tolerantly(tables, max_rejected=0.0)
    assert hardly_by_chance(audit_log(log, make_grid(log))) is None


@pytest.mark.parametrize("change", ["all holds", "all sends", "one customer", "one slot", "no probabilities"])
def test_one_sided_logs_are_audited_without_a_fault(change: str) -> None:
    tables = clean_tables()
    decisions = tables["decisions"]
    tables["decisions"] = {
        "all holds": lambda: decisions.assign(content_id=None, opened=0),
        "all sends": lambda: decisions[decisions["content_id"].notna()],
        "one customer": lambda: decisions[decisions["user_id"] == "u000"],
        "one slot": lambda: decisions[decisions["time"] == pd.Timestamp("2025-03-03")],
        "no probabilities": lambda: decisions.drop(columns="action_prob"),
    }[change]()
    log = read_tolerantly(tables, max_rejected=0.0)
    audit = audit_log(log, make_grid(log))
    assert audit["drift"]["passed"] is None
    assert (audit["randomisation"]["passed"] is None) == (change in ("all holds", "all sends", "no probabilities"))
    json.dumps(audit, allow_nan=False)
