"""Reading a log: faults are set aside with their reason, or named in one clear message."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from campaigns.errors import CampaignError
from campaigns.grid import make_grid
from campaigns.history import ABSENT, HOLD
from campaigns.logs import CampaignLog, LogSettings, make_log, read_log, write_log

Tables = dict[str, pd.DataFrame]


@pytest.fixture
def tables() -> Tables:
    """Four customers, three contents, two days of four-hour slots."""
    times = pd.date_range("2025-03-03", periods=12, freq="4h")
    users = pd.DataFrame({"user_id": ["007", "7", "Zoë", "名前🙂"], "age": [30, 40, 50, 60], "consent_push": True})
    contents = pd.DataFrame({"content_id": ["a", "b", "c"], "category": ["x", "x", "y"], "discount": [0.0, 0.2, 0.1]})
    decisions = pd.MultiIndex.from_product([users["user_id"], times], names=["user_id", "time"]).to_frame(index=False)
    generator = np.random.default_rng(0)
    decisions["content_id"] = generator.choice(np.array([None, "a", "b", "c"], dtype=object), len(decisions))
    sent = decisions["content_id"].notna()
    decisions["action_prob"] = 0.25
    decisions["opened"] = (sent & (generator.random(len(decisions)) < 0.5)).astype(int)
    decisions["clicked"] = 0
    decisions["purchased"] = (generator.random(len(decisions)) < 0.3).astype(int)
    decisions["value"] = decisions["purchased"] * generator.normal(5, 10, len(decisions))
    decisions["unsubscribed"] = 0
    return {"users": users, "contents": contents, "decisions": decisions}


def read(tables: Tables, **settings: object) -> CampaignLog:
    """Reads tables, tolerating faults unless the test says otherwise."""
    return make_log(tables, LogSettings(**{"max_rejected": 1.0, **settings}))  # type: ignore[arg-type]


def reasons(log: CampaignLog) -> set[tuple[str, str]]:
    """Column and reason of everything set aside."""
    return set(zip(log.rejected["column"], log.rejected["reason"], strict=True))


def test_a_clean_log_loses_nothing(tables: Tables) -> None:
    log = read(tables, max_rejected=0.0)
    assert len(log.decisions) == 48
    assert log.rejected.empty
    assert (make_grid(log).decision != ABSENT).all()


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_csv_with_any_separator_and_mark_reads_like_parquet(
    tables: Tables, tmp_path: Path, separator: str, mark: str
) -> None:
    for name, table in tables.items():
        (tmp_path / f"{name}.csv").write_text(mark + table.to_csv(index=False, sep=separator), encoding="utf-8")
    from_csv = read_log(tmp_path, LogSettings())
    write_log(tables, tmp_path / "parquet")
    from_parquet = read_log(tmp_path / "parquet", LogSettings())
    assert list(from_csv.users["user_id"]) == ["007", "7", "Zoë", "名前🙂"]
    np.testing.assert_array_equal(make_grid(from_csv).decision, make_grid(from_parquet).decision)
    np.testing.assert_allclose(
        make_grid(from_csv).outcomes["value"], make_grid(from_parquet).outcomes["value"], rtol=1e-5
    )


def test_a_written_log_reads_back_the_same(tables: Tables, tmp_path: Path) -> None:
    first = read(tables)
    again = read_log(write_log(first, tmp_path / "log"), LogSettings())
    np.testing.assert_array_equal(make_grid(first).decision, make_grid(again).decision)
    assert (tmp_path / "log" / "rejected.parquet").is_file()


def test_a_missing_table_is_named_with_what_is_there(tables: Tables, tmp_path: Path) -> None:
    del tables["contents"]
    write_log(tables, tmp_path)
    with pytest.raises(CampaignError, match=r"table 'contents' is missing.*decisions\.parquet, users\.parquet"):
        read_log(tmp_path, LogSettings())


def test_a_missing_column_is_named_with_the_nearest_one(tables: Tables, tmp_path: Path) -> None:
    tables["decisions"] = tables["decisions"].rename(columns={"content_id": "contentid"})
    write_log(tables, tmp_path)
    with pytest.raises(CampaignError, match=r"decisions\.parquet: column 'content_id' is missing.*'contentid'"):
        read_log(tmp_path, LogSettings())


def test_a_truncated_parquet_file_is_named(tables: Tables, tmp_path: Path) -> None:
    write_log(tables, tmp_path)
    file = tmp_path / "decisions.parquet"
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(CampaignError, match=r"decisions\.parquet: not a readable Parquet file"):
        read_log(tmp_path, LogSettings())


def test_an_empty_log_is_refused(tables: Tables) -> None:
    tables["decisions"] = tables["decisions"].head(0)
    with pytest.raises(CampaignError, match="decisions: the table is empty"):
        read(tables)


def test_unknown_contents_and_users_cost_their_rows_alone(tables: Tables) -> None:
    tables["decisions"].loc[3, "content_id"] = "unheard of"
    tables["decisions"].loc[5, "user_id"] = "nobody"
    log = read(tables)
    assert len(log.decisions) == 46
    assert ("content_id", "not in contents; the row is left out") in reasons(log)
    assert ("user_id", "not in users; the row is left out") in reasons(log)


def test_the_first_of_two_decisions_in_a_slot_is_kept(tables: Tables) -> None:
    again = tables["decisions"].iloc[[0]].assign(content_id="c")
    tables["decisions"] = pd.concat([tables["decisions"], again], ignore_index=True)
    log = read(tables)
    assert len(log.decisions) == 48
    first = tables["decisions"]["content_id"].iloc[0]
    kept = log.decisions["content_id"].iloc[0]
    assert kept == first or (pd.isna(kept) and pd.isna(first))


def test_order_does_not_matter(tables: Tables) -> None:
    shuffled = {**tables, "decisions": tables["decisions"].sample(frac=1, random_state=1)}
    np.testing.assert_array_equal(make_grid(read(shuffled)).decision, make_grid(read(tables)).decision)


def test_times_off_the_grid_move_to_their_slots_start(tables: Tables) -> None:
    tables["decisions"]["time"] += pd.Timedelta(minutes=37)
    log = read(tables)
    assert (log.decisions["time"].dt.hour % 4 == 0).all()
    assert any("off the grid" in warning for warning in log.report["warnings"])


def test_aware_times_are_converted_and_naive_ones_taken_as_they_are(tables: Tables) -> None:
    aware = tables["decisions"].assign(
        time=tables["decisions"]["time"].dt.tz_localize("Europe/Berlin").dt.tz_convert("UTC")
    )
    as_text = aware.assign(time=aware["time"].dt.strftime("%Y-%m-%dT%H:%M:%SZ"))
    naive = make_grid(read(tables, timezone="Europe/Berlin"))
    for table in (aware, as_text):
        grid = make_grid(read({**tables, "decisions": table}, timezone="Europe/Berlin"))
        assert grid.first_slot == naive.first_slot
        np.testing.assert_array_equal(grid.decision, naive.decision)


def test_text_dates_are_parsed_and_unreadable_ones_set_aside(tables: Tables) -> None:
    times = tables["decisions"]["time"].dt.strftime("%Y-%m-%d %H:%M").astype(object)
    times.iloc[2] = "the day before yesterday"
    log = read({**tables, "decisions": tables["decisions"].assign(time=times)})
    assert len(log.decisions) == 47
    assert ("time", "not a time stamp; the row is left out") in reasons(log)


@pytest.mark.parametrize("probability", [0.0, -0.1, 1.5, np.inf, "often"])
def test_an_impossible_probability_is_set_aside_but_its_row_stays(tables: Tables, probability: object) -> None:
    tables["decisions"]["action_prob"] = tables["decisions"]["action_prob"].astype(object)
    tables["decisions"].loc[4, "action_prob"] = probability
    log = read(tables)
    assert len(log.decisions) == 48
    assert log.decisions["action_prob"].isna().sum() == 1
    assert set(log.rejected["column"]) == {"action_prob"}


def test_opens_and_clicks_without_a_send_are_set_aside(tables: Tables) -> None:
    held = tables["decisions"].index[tables["decisions"]["content_id"].isna()][0]
    tables["decisions"].loc[held, ["opened", "clicked"]] = 1
    log = read(tables)
    assert reasons(log) == {("opened", "opened without a send"), ("clicked", "clicked without a send")}
    assert np.isnan(log.decisions.loc[held, "opened"])


def test_negative_values_and_organic_purchases_are_data(tables: Tables) -> None:
    held = tables["decisions"]["content_id"].isna()
    tables["decisions"].loc[held, ["purchased", "value"]] = [1, -3.5]
    log = read(tables, max_rejected=0.0)
    assert log.rejected.empty
    assert (log.decisions.loc[log.decisions["content_id"].isna(), "value"] == -3.5).all()


def test_infinite_and_missing_features_do_not_stop_a_log(tables: Tables) -> None:
    tables["users"]["income"] = [np.inf, np.nan, 1.0, 2.0]
    tables["users"]["same"] = 1
    log = read(tables)
    assert ("income", "infinite") in reasons(log)
    assert any("users.same: constant" in warning for warning in log.report["warnings"])


def test_unknown_zones_fall_back_and_unreadable_consent_protects(tables: Tables) -> None:
    tables["users"]["timezone"] = ["Europe/Berlin", "Mars/Olympus", None, "UTC"]
    tables["users"]["consent_push"] = pd.Series([True, "maybe", None, False], dtype=object)
    log = read(tables)
    assert log.users["timezone"].isna().sum() == 2
    assert log.users["consent_push"].tolist()[:2] == [True, False]
    assert any("taken as given" in warning for warning in log.report["warnings"])


def test_a_tenth_of_garbage_is_refused_with_the_reasons(tables: Tables) -> None:
    bad = tables["decisions"].index[::10]
    tables["decisions"]["value"] = tables["decisions"]["value"].astype(object)
    tables["decisions"].loc[bad, "value"] = "###"
    with pytest.raises(
        CampaignError, match=r"5 of 48 rows.*value: not a number \(5 times, first in rows \[0, 10, 20\]"
    ):
        read(tables, max_rejected=0.05)
    assert len(read(tables).decisions) == 48


@pytest.mark.parametrize(
    ("change", "warning"),
    [
        (lambda d: d.assign(content_id=None, opened=0), "nothing was ever sent"),
        (lambda d: d[d["content_id"].notna()], "every row is a send"),
        (lambda d: d.assign(purchased=0, value=0.0), "purchased: never happened"),
    ],
)
def test_one_sided_logs_read_with_a_warning(tables: Tables, change: object, warning: str) -> None:
    tables["decisions"] = change(tables["decisions"])  # type: ignore[operator]
    assert any(warning in text for text in read(tables).report["warnings"])


def test_one_customer_and_one_content_read_with_a_warning(tables: Tables) -> None:
    one = {name: table.head(1) if name != "decisions" else table for name, table in tables.items()}
    one["decisions"] = one["decisions"][one["decisions"]["content_id"].fillna("a") == "a"]
    log = read(one)
    assert {
        "users: only one customer; nothing can be said about others.",
        "contents: only one content; which content to send cannot be learned.",
    } <= set(log.report["warnings"])


def test_implied_holds_fill_the_grid_after_the_first_row(tables: Tables) -> None:
    sends = tables["decisions"][tables["decisions"]["content_id"].notna()]
    grid = make_grid(read({**tables, "decisions": sends}, holds="implied"))
    for row in grid.decision:
        began = int(np.argmax(row != ABSENT))
        assert (row[began:] != ABSENT).all()
    assert (grid.decision == HOLD).any()


def test_value_comes_from_revenue_where_it_is_missing(tables: Tables) -> None:
    decisions = tables["decisions"].drop(columns="value").assign(revenue=10.0)
    log = make_log({**tables, "decisions": decisions}, LogSettings(), margin_rate=0.25)
    assert (log.decisions["value"] == 2.5).all()
    assert any("assumed" in warning for warning in log.report["warnings"])
