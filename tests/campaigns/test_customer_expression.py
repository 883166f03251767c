"""Whom a campaign is for: expressions that select customers, and that can do nothing else."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from campaigns.customer_expression import select_customers
from campaigns.errors import CampaignError

USERS = pd.DataFrame(
    {
        "user_id": [f"u{i}" for i in range(6)],
        "age": [20.0, 30.0, 40.0, 50.0, np.nan, 60.0],
        "segment": pd.Series(["gold", "silver", "gold", None, "silver", "blue"], dtype="string"),
        "member": [True, False, True, True, False, False],
        "vip": ["yes", "no", None, "yes", "no", "no"],
        "joined": pd.to_datetime(["2024-01-01", "2024-06-01", None, "2025-01-01", "2025-02-01", "2025-03-01"]),
        "past orders": [0, 1, 2, 3, 4, 5],
        "level": pd.Categorical([1, 2, 1, 2, 1, 2]),
    }
)


@pytest.mark.parametrize(
    ("expression", "chosen"),
    [
        ("age > 30", [2, 3, 5]),
        ("not age > 30", [0, 1, 4]),
        ("30 <= age < 60", [1, 2, 3]),
        ("30 < age", [2, 3, 5]),
        ("age != 30", [0, 2, 3, 5]),
        ('segment == "gold" or segment == "blue"', [0, 2, 5]),
        ('segment in ["gold", "blue"]', [0, 2, 5]),
        ('segment not in ("gold",)', [1, 4, 5]),
        ("member and vip", [0, 3]),
        ("not vip", [1, 2, 4, 5]),
        ('joined >= "2025-01-01"', [3, 4, 5]),
        ("`past orders` >= 4", [4, 5]),
        ("age > -5 and age < `past orders` or member", [0, 2, 3]),
        ("level == 2", [1, 3, 5]),
        ("True", [0, 1, 2, 3, 4, 5]),
    ],
)
def test_an_expression_selects_whom_it_is_true_of(expression: str, chosen: list[int]) -> None:
    assert np.flatnonzero(select_customers(expression, USERS)).tolist() == chosen


@pytest.mark.parametrize(
    "expression",
    [
        "__import__('os').system('true')",
        "open('file')",
        "age.__class__",
        "(lambda: True)()",
        "[x for x in age]",
        "age ** 9 > 3",
        "age + 1 > 3",
        "segment[0] == 'g'",
        "f'{age}' == '1'",
        "(a := age) > 3",
        "age if member else vip",
        "age is None",
        "member and print(1)",
        "not open('x')",
        "age > len(segment)",
        "segment in open('x')",
        "segment in [open('x')]",
    ],
)
def test_code_is_refused_before_it_can_run(expression: str) -> None:
    with pytest.raises(CampaignError, match=r"is not allowed|cannot be read|needs a list|needs the name"):
        select_customers(expression, USERS)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("agee > 3", r"column 'agee', which users does not have; did you mean 'age'\? It has user_id, age"),
        ("`past order` > 3", "did you mean 'past orders'"),
        ("age >", "cannot be read"),
        ("age > 3; age", "cannot be read"),
        ("", "cannot be read"),
        ("age > 'old'", "cannot compare age with 'old': the one is a number, the other str"),
        ("segment", "column segment is not yes or no"),
        ("joined > 'soon'", "'soon' is no time"),
        ("3 > 2", "needs the name of a column"),
        ("age > 200", "is true of none of the 6 customers. Ask for less"),
        ('segment == "golden"', "Column segment never is 'golden'; did you mean 'gold'"),
        ("age > 1 and " * 300 + "age > 1", "longer than 2000 characters"),
        ("(" * 900 + "member" + ")" * 900, "cannot be read"),
    ],
)
def test_what_selects_nobody_or_cannot_be_read_is_said(expression: str, message: str) -> None:
    with pytest.raises(CampaignError, match=message):
        select_customers(expression, USERS)
