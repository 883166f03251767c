"""Segments: the columns by which a policy differs, and nothing about groups of few."""

from __future__ import annotations

import numpy as np
import pandas as pd

from evaluation.segments import behaviour_by_segment

N = 600
RNG = np.random.default_rng(3)
TIER = np.where(np.arange(N) % 3 == 0, "gold", "new")
USERS = pd.DataFrame(
    {
        "user_id": [f"u{i}" for i in range(N)],
        "tier": TIER,
        "age": RNG.integers(18, 80, N),
        "timezone": "UTC",
        "rare": np.where(np.arange(N) < 4, "few", "many"),
    }
)
SENDS = np.where(TIER == "gold", 8.0, 2.0)
CONTENTS = np.stack([np.where(TIER == "gold", 6.0, 0.0), np.where(TIER == "gold", 2.0, 2.0)], axis=1)


def rows(sends: np.ndarray = SENDS, users: pd.DataFrame = USERS) -> dict[str, dict]:
    found = behaviour_by_segment(users, sends, np.zeros(len(users), bool), CONTENTS, ("offer", "news"), weeks=2.0)
    return {row["segment"]: row for row in found}


def test_the_column_that_a_policy_goes_by_comes_first_with_its_figures() -> None:
    found = rows()
    assert next(iter(found)).startswith("tier = ")
    assert found["tier = gold"] == {
        "segment": "tier = gold", "customers": 200, "sends_per_week": 4.0, "opt_out_share": 0.0,
        "top_content": "offer", "top_share": 0.75,
    }  # fmt: skip
    assert found["tier = new"]["sends_per_week"] == 1.0
    assert found["tier = new"]["top_content"] == "news"


def test_groups_of_fewer_than_ten_customers_are_left_out() -> None:
    sends = np.where(USERS["rare"] == "few", 9.0, 1.0)
    found = rows(sends)
    assert "rare = many" in found
    assert "rare = few" not in found


def test_a_policy_that_treats_all_alike_has_no_segments() -> None:
    assert rows(np.full(N, 3.0)) == {}


def test_numbers_are_cut_into_thirds_that_together_hold_everybody() -> None:
    sends = USERS["age"].to_numpy() / 10.0
    thirds = [row for name, row in rows(sends).items() if name.startswith("age = ")]
    assert len(thirds) == 3
    assert sum(row["customers"] for row in thirds) == N
    assert [row["sends_per_week"] for row in thirds] == sorted(row["sends_per_week"] for row in thirds)


def test_ids_and_zones_are_never_split_by() -> None:
    users = USERS.assign(user_id=np.where(TIER == "gold", "a", "b"), timezone=np.where(TIER == "gold", "UTC", "CET"))
    assert not [name for name in rows(users=users) if name.startswith(("user_id", "timezone"))]


def test_ranges_of_whole_numbers_do_not_overlap() -> None:
    users = pd.DataFrame({"purchases": np.arange(N) % 6, "basket": (np.arange(N) % 6) + 0.5})
    found = rows(users["purchases"].to_numpy(dtype=float), users)
    assert {"purchases = 0 to 1", "purchases = 2 to 3", "purchases = 4 to 5"} < set(found)
    assert {"basket = 0.5 to 2.17", "basket = over 2.17, to 3.83", "basket = over 3.83, to 5.5"} < set(found)
