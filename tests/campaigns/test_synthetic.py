"""Drawn customers: of the real ones' shape, and none of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from campaigns.errors import CampaignError
from campaigns.synthetic import LEAST_SHARED, synthetic_users
from tests.worlds import small_world

USERS = small_world().log.users
COLUMNS = [str(name) for name in USERS.columns if name != "user_id"]


def rows_of(frame: pd.DataFrame, columns: list[str]) -> set[tuple[str, ...]]:
    return {tuple(map(str, row)) for row in frame[columns].astype(object).itertuples(index=False)}


def test_no_drawn_row_is_a_real_customers_and_no_id_is() -> None:
    drawn = synthetic_users(USERS, COLUMNS, 2000, seed=0)
    assert list(drawn.columns) == ["user_id", *COLUMNS]
    assert drawn["user_id"].is_unique
    assert not set(drawn["user_id"]) & set(USERS["user_id"])
    assert not rows_of(drawn, COLUMNS) & rows_of(USERS, COLUMNS)


def test_rows_of_whole_numbers_that_would_often_fall_together_are_drawn_again() -> None:
    generator = np.random.default_rng(0)
    users = pd.DataFrame(
        {"user_id": range(400), "age": generator.integers(20, 80, 400), "visits": generator.poisson(8, 400)}
    )
    drawn = synthetic_users(users, ["age", "visits"], 300, seed=1)
    assert not rows_of(drawn, ["age", "visits"]) & rows_of(users, ["age", "visits"])


def test_means_shares_and_correlations_stay() -> None:
    generator = np.random.default_rng(1)
    size = generator.normal(size=3000)
    users = pd.DataFrame(
        {
            "user_id": [f"u{i}" for i in range(3000)],
            "income": np.exp(10 + 0.4 * size + 0.2 * generator.normal(size=3000)),
            "basket": 20 + 5 * size + 3 * generator.normal(size=3000),
            "tier": np.where(generator.random(3000) < 0.2, "gold", "new"),
        }
    )
    users.loc[::10, "basket"] = np.nan
    drawn = synthetic_users(users, ["income", "basket", "tier"], 4000, seed=0)
    assert drawn["income"].median() == pytest.approx(users["income"].median(), rel=0.05)
    assert drawn["basket"].isna().mean() == pytest.approx(0.1, abs=0.02)
    assert (drawn["tier"] == "gold").mean() == pytest.approx(0.2, abs=0.03)
    real, made = (np.corrcoef(np.log(f["income"]), f["basket"].fillna(20))[0, 1] for f in (users, drawn))
    assert made == pytest.approx(real, abs=0.08)
    assert made > 0.5


def test_names_that_only_few_share_and_extreme_values_are_never_drawn() -> None:
    users = pd.DataFrame({"user_id": range(500), "income": np.linspace(0, 500, 500) ** 1.1, "city": "Rome"})
    users.loc[: LEAST_SHARED - 2, "city"] = "Hamlet"
    users.loc[0, "income"] = 1e9
    drawn = synthetic_users(users, ["income", "city"], 3000, seed=0)
    assert "Hamlet" not in set(drawn["city"])
    assert drawn["city"].isna().any()
    assert drawn["income"].max() <= users["income"].quantile(0.99)


def test_the_same_seed_draws_the_same_and_another_does_not() -> None:
    first, again, other = (synthetic_users(USERS, COLUMNS, 50, seed) for seed in (3, 3, 4))
    pd.testing.assert_frame_equal(first, again)
    assert not first.equals(other)


def test_a_table_in_which_nobody_can_hide_is_refused() -> None:
    users = pd.DataFrame({"user_id": range(100), "age": np.tile([30, 31], 50)})
    with pytest.raises(CampaignError, match="still equal a real one in age"):
        synthetic_users(users, ["age"], 50, seed=0)
    with pytest.raises(CampaignError, match="too few to draw others from"):
        synthetic_users(users.head(10), ["age"], 50, seed=0)


def test_categories_that_many_share_name_nobody_and_are_drawn() -> None:
    users = pd.DataFrame({"user_id": range(300), "tier": np.tile(["gold", "new", "old"], 100)})
    assert set(synthetic_users(users, ["tier"], 200, seed=0)["tier"]) == {"gold", "new", "old"}


def test_customers_without_features_are_only_new_ids() -> None:
    assert list(synthetic_users(USERS, [], 5, seed=0)["user_id"]) == [f"synthetic-{i}" for i in range(5)]
