"""Planted leaks are found; honest logs, coarse columns and chance raise no alarm."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from campaigns.column_quality import column_quality
from campaigns.grid import DecisionGrid, make_grid
from campaigns.leaks import copied_customers, features_too_good, leak_checks, split_check
from campaigns.logs import CampaignLog
from campaigns.stability import stability_check
from tests.campaigns.logs_on_disk import Tables, clean_tables, read_tolerantly


def read(tables: Tables) -> tuple[CampaignLog, DecisionGrid]:
    """Tables as a log and its grid."""
    log = read_tolerantly(tables, max_rejected=0.0)
    return log, make_grid(log)


def bought(tables: Tables) -> np.ndarray:
    """Purchases of each customer, in the order of users."""
    counts = tables["decisions"].groupby("user_id")["purchased"].sum()
    return counts.reindex(tables["users"]["user_id"]).to_numpy()


def test_an_honest_log_passes_every_check() -> None:
    log, grid = read(clean_tables(customers=200))
    found = leak_checks(log, grid)
    assert found["passed"]
    assert found["warnings"] == []
    assert found["late_snapshots"] is None
    assert found["copies"]["suspected"] is False
    assert max(row["auc"] for row in found["features"]) < 0.7
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize("kind", ["total", "as text", "missing unless"])
def test_a_column_that_was_computed_from_the_outcome_is_named(kind: str) -> None:
    tables = clean_tables(customers=200)
    total = bought(tables).astype(float)
    tables["users"]["spent_later"] = {
        "total": total * 12.5 + np.random.default_rng(0).random(200),
        "as text": np.where(total > np.median(total), "active", "asleep"),
        "missing unless": np.where(total > np.median(total), 7.0, np.nan) + np.arange(200) % 2,
    }[kind]
    log, grid = read(tables)
    found = leak_checks(log, grid)
    assert found["passed"] is False
    (warning,) = found["warnings"]
    assert "users.spent_later" in warning
    assert found["features"][0]["column"] == "spent_later"


def test_a_strong_but_honest_feature_is_no_leak() -> None:
    generator = np.random.default_rng(3)
    taste = generator.normal(size=2000)
    shape = (2000, 1)
    happened = (generator.random(shape) < 1 / (1 + np.exp(-1.5 * taste))[:, None]).astype(np.float32)
    everywhere = np.ones(shape, dtype=bool)
    grid = DecisionGrid(0, np.zeros(shape, np.int32), np.ones(shape, np.float32), everywhere, everywhere,
                        {"purchased": happened}, {}, {})  # fmt: skip
    (row,) = features_too_good(pd.DataFrame({"user_id": range(2000), "taste": taste}), grid)
    assert 0.75 < row["auc"] < 0.9


def test_features_taken_after_the_decisions_fail_the_check() -> None:
    tables = clean_tables()
    tables["users"]["as_of"] = pd.Timestamp("2025-03-02")
    assert leak_checks(*read(tables))["late_snapshots"] == 0
    tables["users"].loc[:4, "as_of"] = pd.Timestamp("2025-03-04")
    found = leak_checks(*read(tables))
    assert found["late_snapshots"] == 5
    assert found["passed"] is False


def oversampled(tables: Tables, times: int) -> Tables:
    """The tables with the best fifth of customers copied under new ids."""
    best = tables["users"]["user_id"][bought(tables) >= np.quantile(bought(tables), 0.8)]
    users, decisions = [tables["users"]], [tables["decisions"]]
    for copy in range(times):
        users.append(tables["users"][tables["users"]["user_id"].isin(best)])
        decisions.append(tables["decisions"][tables["decisions"]["user_id"].isin(best)])
        users[-1] = users[-1].assign(user_id=users[-1]["user_id"] + f"_{copy}")
        decisions[-1] = decisions[-1].assign(user_id=decisions[-1]["user_id"] + f"_{copy}")
    return {**tables, "users": pd.concat(users, ignore_index=True), "decisions": pd.concat(decisions)}


def test_oversampling_before_the_split_is_found() -> None:
    tables = oversampled(clean_tables(customers=100), times=3)
    log, grid = read(tables)
    found = leak_checks(log, grid)
    assert found["copies"]["suspected"]
    assert found["copies"]["copies"] == len(log.users) - 100
    assert "copies of others" in found["warnings"][0]


def test_coarse_columns_and_rare_outcomes_are_no_copies() -> None:
    generator = np.random.default_rng(0)
    shape = (3000, 2)
    users = pd.DataFrame({"user_id": range(3000), "tier": generator.choice(["gold", "new"], 3000)})
    everywhere = np.ones(shape, dtype=bool)
    rare = (generator.random(shape) < 0.02).astype(np.float32)
    decision = (generator.random(shape) < 0.2).astype(np.int32)
    grid = DecisionGrid(0, decision, np.full(shape, 0.5, np.float32), everywhere, everywhere,
                        {"purchased": rare}, {}, {})  # fmt: skip
    found = copied_customers(users, grid)
    assert found["copies"] > 2900  # nearly all look like another
    assert found["agreement"] == pytest.approx(found["by_chance"], rel=0.1)
    assert found["suspected"] is False
    assert copied_customers(users[["user_id"]], grid)["suspected"] is False


def test_a_split_by_row_shares_customers_and_one_by_customer_does_not() -> None:
    customer = np.repeat(np.arange(50), 4)
    by_row = np.random.default_rng(0).random(200) < 0.5
    assert split_check({"train": customer[by_row], "judge": customer[~by_row]})["passed"] is False
    by_customer = customer < 25
    found = split_check({"train": customer[by_customer], "judge": customer[~by_customer]})
    assert found == {"sizes": {"train": 25, "judge": 25}, "shared": 0, "passed": True}


@pytest.mark.parametrize("change", ["all holds", "one customer", "one slot", "ids alone", "lists"])
def test_one_sided_logs_are_checked_without_a_fault(change: str) -> None:
    tables = clean_tables(customers=40)
    decisions, users = tables["decisions"], tables["users"]
    if change == "all holds":
        tables["decisions"] = decisions.assign(content_id=None, opened=0)
    elif change == "one customer":
        tables["decisions"] = decisions[decisions["user_id"] == "u000"]
        tables["users"] = users[:1]
    elif change == "one slot":
        tables["decisions"] = decisions[decisions["time"] == pd.Timestamp("2025-03-03")]
    elif change == "ids alone":
        tables["users"] = users[["user_id"]]
    else:
        tables["users"] = users.assign(tags=[["x", "y"]] * len(users))
    log, grid = read(tables)
    found = leak_checks(log, grid)
    assert found["copies"]["suspected"] is False
    json.dumps([found, stability_check(log, grid), column_quality(log.users, "users")], allow_nan=False)
