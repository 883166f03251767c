"""Of very many policies the few that matter have a row, and the others are counted."""

from __future__ import annotations

import pytest

from review.selection import BEST, MOST, WORST, Entry, select, select_policies
from scripts.pipeline.table import print_values


def items(count: int, known: int) -> dict[str, float | None]:
    """Rules that send one item to everybody, the first `known` of them with a figure: 0, 1, 2, ..."""
    return {f"item {i:02d} to all": float(i) if i < known else None for i in range(count)}


def test_a_few_are_all_shown() -> None:
    shown = select([Entry(str(i), None) for i in range(MOST)])
    assert len(shown.names) == MOST
    assert shown.others("policies", "are refused") == ""


def test_of_many_the_best_and_the_worst_are_shown_and_others_counted_by_reason() -> None:
    shown = select_policies({"incumbent": 0.0, "linucb": None, "random": 5.0, **items(80, known=30)}, "item 15 to all")
    best, worst = (f"item {29 - i:02d} to all" for i in range(BEST)), (f"item {i:02d} to all" for i in range(WORST))
    assert shown.names == {"incumbent", "linucb", "random", "item 15 to all", *best, *worst}
    assert shown.without == 50
    assert shown.between == 30 - BEST - WORST - 1
    assert shown.others("policies", "are refused") == (
        "Not shown: 69 policies, of which 50 are refused and 19 lie between the best and the worst."
    )


def test_where_all_are_refused_the_sentence_says_just_that() -> None:
    shown = select_policies({"incumbent": 0.0, **items(80, known=0)}, "incumbent")
    assert shown.names == {"incumbent"}
    assert shown.others("policies", "are refused by the log") == "Not shown: 80 policies that are refused by the log."


def test_the_table_of_a_run_shows_the_same_few(capsys: pytest.CaptureFixture[str]) -> None:
    worth = {"incumbent": None, "random": 0.5, **items(80, known=2)}
    policies = [
        {"name": name, "kind": "rule", "offline": value if value is None else {"value": value, "low": 0.0, "high": 1.0}}
        for name, value in worth.items()
    ]
    objective = {"outcome": "clicked"}
    print_values(
        {"market": None, "objective": objective, "policies": policies, "chosen": "incumbent", "recommended": False,
         "reason": ""}
    )  # fmt: skip
    said = capsys.readouterr().out
    assert [f"item {i:02d} to all" in said for i in (0, 1, 2, 79)] == [True, True, False, False]
    assert "Not shown: 78 policies that are refused by the log. summary.json has all." in said
