"""Shifts that were planted are found, and chance is not called a shift."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from campaigns.grid import make_grid
from campaigns.stability import index_by_chance, stability_check, stability_index
from tests.campaigns.logs_on_disk import Tables, clean_tables, read_tolerantly


def check(tables: Tables) -> dict[str, object]:
    """The check of a log in memory."""
    log = read_tolerantly(tables, max_rejected=0.0)
    found = stability_check(log, make_grid(log))
    json.dumps(found, allow_nan=False)
    return found


def shifted(found: dict[str, object]) -> set[str]:
    """Names of the columns that shift."""
    return {row["column"] for row in found["columns"] if row["shifts"]}  # type: ignore[attr-defined]


def test_a_steady_log_passes() -> None:
    found = check(clean_tables(customers=300, days=4))
    assert found["passed"] is True
    assert shifted(found) == set()
    assert found["adversarial"]["low"] < 0.5 < found["adversarial"]["high"]  # type: ignore[index]
    names = {row["column"] for row in found["columns"]}  # type: ignore[attr-defined]
    assert {"users.age", "users.segment", "decisions.sends", "decisions.content of sends", "decisions.purchased",
            "decisions.value, if any"} <= names  # fmt: skip
    assert "users.user_id" not in names


def test_newcomers_unlike_the_old_customers_shift_their_columns_and_are_told_apart() -> None:
    tables = clean_tables(customers=300, days=4)
    new = tables["users"]["user_id"].iloc[150:]
    tables["users"].loc[150:, "income"] += 30.0
    decisions = tables["decisions"]
    tables["decisions"] = decisions[~decisions["user_id"].isin(new) | (decisions["time"] >= "2025-03-05")]
    found = check(tables)
    assert found["passed"] is False
    assert "users.income" in shifted(found)
    assert "users.age" not in shifted(found)
    assert found["adversarial"]["auc"] > 0.6  # type: ignore[index]
    assert "users.income" in str(found["note"])


@pytest.mark.parametrize("what", ["content", "rate", "value"])
def test_what_is_done_and_what_comes_of_it_may_shift_too(what: str) -> None:
    tables = clean_tables(customers=300, days=4)
    decisions = tables["decisions"]
    late = decisions["time"] >= "2025-03-05"
    if what == "content":
        decisions.loc[late & decisions["content_id"].notna(), "content_id"] = "a"
    elif what == "rate":
        decisions.loc[late, "purchased"] = (np.random.default_rng(0).random(int(late.sum())) < 0.6).astype(int)
        decisions.loc[late, "value"] = decisions["purchased"][late] * 12.5
    else:
        decisions.loc[late, "value"] = (3 * decisions["value"][late]).round(2)
    name = {"content": "content of sends", "rate": "purchased", "value": "value, if any"}[what]
    assert f"decisions.{name}" in shifted(check(tables))


@pytest.mark.parametrize("change", ["one slot", "few customers"])
def test_what_cannot_be_compared_is_said(change: str) -> None:
    tables = clean_tables(customers=15 if change == "few customers" else 60)
    if change == "one slot":
        tables["decisions"] = tables["decisions"][tables["decisions"]["time"] == pd.Timestamp("2025-03-03")]
    found = check(tables)
    assert found["passed"] is None
    assert "not compared" in str(found["note"])


def test_the_index_is_nothing_for_equal_shares_symmetric_and_stays_below_its_chance_limit() -> None:
    a, b = np.array([100.0, 300.0, 600.0]), np.array([500.0, 300.0, 200.0])
    assert stability_index(a, 2 * a) == pytest.approx(0, abs=1e-6)
    assert stability_index(a, b) == pytest.approx(stability_index(b, a))
    assert stability_index(a, b) == pytest.approx(0.4 * np.log(5) + 0.4 * np.log(3), rel=0.02)
    generator = np.random.default_rng(0)
    limit = index_by_chance(3, 1000, 1000)
    above = [stability_index(*generator.multinomial(1000, [0.2, 0.3, 0.5], 2)) > limit for _ in range(2000)]
    assert 0.002 < np.mean(above) < 0.025
