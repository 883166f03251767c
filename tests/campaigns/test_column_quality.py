"""What is said of a column is right, and no value of few customers is named."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from campaigns.column_quality import column_quality


def test_numbers_flags_levels_and_what_is_missing_are_counted() -> None:
    generator = np.random.default_rng(0)
    income = generator.normal(100, 10, 2000)
    income[:3] = 1e6
    income[3:203] = np.nan
    city = generator.choice(["Oslo", "Rome"], 2000, p=[0.7, 0.3]).astype(object)
    city[:4] = "Ulm"
    users = pd.DataFrame(
        {
            "user_id": range(2000), "income": income, "city": city, "loyal": generator.integers(0, 2, 2000),
            "since": pd.Timestamp("2024-01-01"), "tags": [["a"]] * 2000, "consent_push": True,
        }
    )  # fmt: skip
    rows = {row["column"]: row for row in column_quality(users, "users")}
    json.dumps(list(rows.values()), allow_nan=False)
    assert list(rows) == ["income", "city", "loyal", "since", "tags"]
    assert [row["kind"] for row in rows.values()] == ["number", "category", "flag", "time", "list"]
    assert rows["income"]["missing"] == pytest.approx(0.1)
    assert rows["income"]["far"] == 3
    assert rows["income"]["low"] == pytest.approx(100 - 2.33 * 10, abs=2)
    assert rows["city"]["top"] == "Oslo"
    assert rows["city"]["top_share"] == pytest.approx(0.7, abs=0.05)
    assert rows["city"]["rare"] == 1


def test_what_few_customers_have_is_not_named() -> None:
    users = pd.DataFrame({"user_id": range(60), "name": [f"Ms {i}" for i in range(60)], "age": range(60)})
    name, age = column_quality(users, "users")
    assert name["top"] is None
    assert "Ms" not in json.dumps(name)
    assert (age["low"], age["high"]) == (None, None)


@pytest.mark.parametrize("column", [[], [None, None], [np.nan, np.nan]])
def test_empty_columns_are_whole(column: list[object]) -> None:
    (row,) = column_quality(pd.DataFrame({"user_id": range(len(column)), "x": column}), "users")
    assert row["missing"] == (1.0 if column else 0.0)
