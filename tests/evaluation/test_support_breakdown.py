"""Where a policy decides what the log does not show: by content, daypart and segment, small groups left out."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from evaluation.diagnostics import unsupported_mass
from evaluation.estimators import LoggedDecisions
from evaluation.support_breakdown import SupportRows, support_breakdown

NAMES = ("hold", "news", "sale")


def example(rows: int = 400) -> tuple[SupportRows, pd.DataFrame, np.ndarray]:
    """`sale` is never sent in the evening (3), nor ever to the young; the policy sends it to half of all, always."""
    generator = np.random.default_rng(0)
    daypart = np.where(np.arange(rows) % 2, 3, 1)
    young = (np.arange(rows) // 2) % 4 == 0
    action = generator.integers(0, 3, rows)
    action[(action == 2) & ((daypart == 3) | young)] = 0
    users = pd.DataFrame({"age": np.where(young, "young", "old")})
    target = np.tile([0.5, 0.0, 0.5], (rows, 1))
    return SupportRows(action, np.full(rows, 0.3), np.arange(rows), daypart), users, target


def groups(users: pd.DataFrame) -> list[tuple[str, pd.Series]]:
    return [(str(name), users[name].astype("category")) for name in users]


def by_name(rows: list[dict[str, object]]) -> dict[object, dict[str, object]]:
    return {row["name"]: row for row in rows}


def test_what_is_never_sent_at_a_daypart_or_to_a_segment_is_found_there() -> None:
    rows, users, target = example()
    found = support_breakdown(target, rows, NAMES, groups(users))
    contents, parts, segments = (by_name(found[key]) for key in ("contents", "dayparts", "segments"))
    assert found["unsupported"] == pytest.approx(0.25)
    assert contents["sale"]["unsupported"] == pytest.approx(0.5)
    assert contents["hold"]["unsupported"] == 0
    assert contents["news"]["logged"] == pytest.approx(1 / 3, abs=0.07)
    assert (contents["news"]["share"], contents["news"]["unsupported"]) == (0, 0)
    assert parts["evening"]["unsupported"] == pytest.approx(0.5)
    assert parts["morning"]["unsupported"] == 0
    assert segments["age = young"]["unsupported"] == pytest.approx(0.5)
    assert segments["age = old"]["unsupported"] == pytest.approx(0.25)
    assert json.loads(json.dumps(found))["suppressed"] == 0


def test_shares_by_content_and_daypart_add_up_to_the_whole() -> None:
    rows, users, target = example()
    found = support_breakdown(target, rows, NAMES, groups(users))
    for key in ("contents", "dayparts"):
        assert sum(row["share"] * row["unsupported"] for row in found[key]) == pytest.approx(found["unsupported"])
        assert sum(row["share"] for row in found[key]) == pytest.approx(1)


def test_within_one_daypart_it_is_the_unsupported_mass_of_the_diagnostics() -> None:
    generator = np.random.default_rng(1)
    action = generator.integers(0, 3, 100)
    prob = np.where(action == 2, 1e-4, 0.5)
    target = generator.dirichlet(np.ones(3), 100)
    rows = SupportRows(action, prob, np.arange(100), np.zeros(100, dtype=np.int64))
    logged = LoggedDecisions(np.arange(100), action, np.zeros(100), prob)
    assert support_breakdown(target, rows, NAMES, [])["unsupported"] == pytest.approx(unsupported_mass(logged, target))
    logging = generator.dirichlet(np.full(3, 0.1), 100)
    known = SupportRows(action, prob, np.arange(100), np.zeros(100, dtype=np.int64), logging)
    assert support_breakdown(target, known, NAMES, [])["unsupported"] == pytest.approx(
        unsupported_mass(logged, target, logging)
    )


def test_groups_of_fewer_than_ten_customers_are_left_out() -> None:
    rows, users, target = example()
    users.loc[:8, "age"] = "nine people"
    found = support_breakdown(target, rows, NAMES, groups(users))
    assert found["suppressed"] == 1
    assert "nine people" not in json.dumps(found)
    few = SupportRows(np.where(np.arange(400) < 9, 1, 0), rows.logged_prob, rows.customer, rows.daypart)
    assert by_name(support_breakdown(target, few, NAMES, [])["contents"])["news"]["logged"] is None
