"""What a careless or hostile log holds is named, set aside and counted; nothing else is lost or misread."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from campaigns.audience import make_catalogue, make_population
from campaigns.encoding import fit_encoder
from campaigns.errors import CampaignError
from campaigns.grid import make_grid
from campaigns.history import ABSENT, HOLD
from campaigns.logs import LogSettings, make_log
from campaigns.objective import Objective
from campaigns.stability import stability_check
from tests.campaigns.logs_on_disk import Tables, clean_tables, faults, read_tolerantly


def warned(tables: Tables, words: str, **how: object) -> bool:
    """Whether reading warns in these words."""
    return any(words in text for text in read_tolerantly(tables, **how).report["warnings"])


# Ids


def as_integers(ids: pd.Series) -> list[object]:
    """u007 as 7."""
    return [None if pd.isna(i) else int(str(i).removeprefix("u")) for i in ids]


@pytest.mark.parametrize(
    "written",
    [
        lambda ids: pd.Series(ids, dtype="int64"),
        lambda ids: pd.Series(ids, dtype="float64"),
        lambda ids: pd.Series([str(i) for i in ids]),
        lambda ids: pd.Series([f" {i} " for i in ids]),
        lambda ids: pd.Series([f"{i}.0" for i in ids]),
        lambda ids: pd.Series([str(i) if k % 2 else i for k, i in enumerate(ids)], dtype=object),
        lambda ids: pd.Series(ids, dtype="int64").astype("category"),
    ],
)
def test_ids_of_another_type_are_the_same_ids(written: Callable[[list[object]], pd.Series]) -> None:
    tables = clean_tables()
    expected = make_grid(read_tolerantly(tables)).decision
    tables["users"]["user_id"] = pd.Series(as_integers(tables["users"]["user_id"]), dtype="int64")
    tables["decisions"]["user_id"] = written(as_integers(tables["decisions"]["user_id"])).to_numpy()
    log = read_tolerantly(tables, max_rejected=0.0)
    np.testing.assert_array_equal(make_grid(log).decision, expected)
    assert log.decisions["user_id"].dtype == log.users["user_id"].dtype == "int64"


def test_content_ids_that_a_null_made_floats_are_found_in_either_table() -> None:
    numbers = {"a": 1, "b": 2, "c": 3}
    tables = clean_tables()
    expected = make_grid(read_tolerantly(tables)).decision
    floats = tables["decisions"]["content_id"].map(numbers).astype(float)
    for contents, decisions in (
        (pd.Series([1, 2, 3]), floats),
        (pd.Series(["1", "2", "3"]), floats),
        (pd.Series([1, 2, 3]), floats.map(str)),  # "1.0", and "nan" where nothing was sent
        (pd.Series(["1.0", "2.0", "3.0"]), floats),
    ):
        changed = {**tables, "contents": tables["contents"].assign(content_id=contents)}
        changed["decisions"] = tables["decisions"].assign(content_id=decisions.astype(object))
        np.testing.assert_array_equal(make_grid(read_tolerantly(changed, max_rejected=0.0)).decision, expected)


def test_words_for_missing_that_a_table_of_text_holds_are_missing() -> None:
    tables = clean_tables()
    expected = make_grid(read_tolerantly(tables)).decision
    tables["decisions"]["content_id"] = tables["decisions"]["content_id"].fillna("None")
    assert warned(tables, "'None' or the like is read as missing")
    np.testing.assert_array_equal(make_grid(read_tolerantly(tables, max_rejected=0.0)).decision, expected)
    tables["contents"].loc[2, "content_id"] = "nan"
    assert faults(read_tolerantly(tables))["contents", "content_id", "missing id; the row is left out"] == 1


def test_ids_that_lost_digits_or_are_lists_are_refused() -> None:
    tables = clean_tables()
    tables["decisions"]["user_id"] = 9.1e15
    with pytest.raises(CampaignError, match=r"decisions\.user_id: .* lost digits; write ids as integers or text"):
        read_tolerantly(tables)
    tables["decisions"]["user_id"] = [["u000"]] * len(tables["decisions"])
    with pytest.raises(CampaignError, match=r"decisions\.user_id: ids must be text or whole numbers, not lists"):
        read_tolerantly(tables)


def test_repeated_and_missing_users_are_counted_by_their_row_in_the_file() -> None:
    tables = clean_tables()
    tables["users"]["user_id"] = tables["users"]["user_id"].astype(object)
    tables["users"].loc[3, "user_id"] = None
    tables["users"].loc[5, "user_id"] = "u004"
    tables["users"].loc[9, "income"] = np.inf
    log = read_tolerantly(tables)
    rows = log.rejected[log.rejected["table"] == "users"].set_index("reason")["row"].to_dict()
    assert rows == {"missing id; the row is left out": 3, "repeated id; the first row is kept": 5, "infinite": 9}
    assert len(log.users) == 28
    assert faults(log)["decisions", "user_id", "not in users; the row is left out"] == 36


# Columns


def test_names_in_another_case_or_with_spaces_are_read_and_told() -> None:
    tables = clean_tables()
    expected = make_grid(read_tolerantly(tables))
    tables["users"] = tables["users"].rename(columns={"user_id": " User ID", "consent_push": "Consent-Push"})
    tables["decisions"] = tables["decisions"].rename(columns={"action_prob": "Action_Prob", "opened": "OPENED"})
    log = read_tolerantly(tables, max_rejected=0.0)
    np.testing.assert_array_equal(make_grid(log).outcomes["opened"], expected.outcomes["opened"])
    np.testing.assert_array_equal(make_grid(log).action_prob, expected.action_prob)
    assert log.users["consent_push"].all()
    assert any("'OPENED' is read as 'opened'" in text for text in log.report["warnings"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda t: t["decisions"].rename(columns={"opened": "open"}),
            r"column 'open' is not known; did you mean 'opened'",
        ),
        (lambda t: t["decisions"].assign(User_ID="x"), r"'user_id' and 'User_ID' are the same name"),
        (lambda t: t["decisions"].drop(columns="time"), r"decisions: column 'time' is missing"),
        (
            lambda t: pd.concat([t["decisions"], t["decisions"][["time"]]], axis=1),
            r"column 'time' occurs more than once",
        ),
        (lambda t: pd.DataFrame(), r"column 'user_id' is missing\. The table has: no columns"),
    ],
)
def test_names_that_cannot_be_right_are_refused(change: Callable[[Tables], pd.DataFrame], message: str) -> None:
    tables = clean_tables()
    tables["decisions"] = change(tables)
    with pytest.raises(CampaignError, match=message):
        read_tolerantly(tables)


def test_columns_that_nothing_reads_are_told() -> None:
    tables = clean_tables()
    tables["decisions"]["campaign"] = "spring"
    assert warned(tables, "decisions: not used: campaign")
    tables["users"]["push_consent"] = 0
    assert warned(tables, "'push_consent' is taken as a feature; consent binds only in columns named consent_CHANNEL")


# Consent


def test_consent_binds_whatever_the_case_of_its_channel_and_however_it_is_written() -> None:
    tables = clean_tables()
    tables["contents"]["channel"] = ["Push", " push", "e-mail"]
    given = pd.Series(["yes", "NO", "1", "0.0", "maybe", None] * 5, dtype=object)
    tables["users"] = tables["users"].drop(columns="consent_push").assign(Consent_PUSH=given)
    log = read_tolerantly(tables)
    assert faults(log) == {("users", "consent_push", "unreadable consent; none assumed"): 5}
    assert any("no consent_e-mail column" in text for text in log.report["warnings"])
    catalogue = make_catalogue(log.contents, fit_encoder(log.contents, "contents"), Objective())
    assert catalogue.channels == ("e-mail", "push")
    for users in (log.users, tables["users"].rename(columns={" User ID": "user_id"})):  # as read, and as served
        people = make_population(users, fit_encoder(users, "users"), catalogue.channels, "UTC", 0.0)
        assert people.consent[:6, 1].tolist() == [True, False, True, False, False, True]
        assert people.consent[:, 0].all()


def test_a_consent_for_a_channel_that_no_content_has_is_told() -> None:
    tables = clean_tables()
    tables["users"]["consent_sms"] = False
    assert warned(tables, "users.consent_sms: no content goes by this channel")


# Fields


def test_a_tenth_of_garbage_in_every_table_is_counted_and_nothing_else_is_lost() -> None:
    tables = clean_tables(customers=100)
    generator = np.random.default_rng(5)
    hit: dict[tuple[str, str], np.ndarray] = {}
    for table, columns in (
        ("users", ["age", "income", "consent_push"]),
        ("decisions", ["action_prob", "opened", "purchased", "value", "unsubscribed"]),
    ):
        for column in columns:
            rows = generator.choice(len(tables[table]), len(tables[table]) // 10, replace=False)
            values = tables[table][column].astype(object)
            values.iloc[rows] = generator.choice(np.array(["###", "?", "Ωmega", "1;2"], dtype=object), len(rows))
            tables[table][column] = values
            hit[table, column] = np.sort(rows)
    log = read_tolerantly(tables)
    assert len(log.decisions) == len(tables["decisions"])
    for (table, column), rows in hit.items():
        found = log.rejected[(log.rejected["table"] == table) & (log.rejected["column"] == column)]
        assert sorted(found["row"]) == rows.tolist(), (table, column)
        kept = getattr(log, table)[column].drop(index=rows).astype(float)
        assert kept.notna().all(), (table, column)
        if column not in ("consent_push",):
            assert getattr(log, table)[column].iloc[rows].isna().all(), (table, column)
    assert len(log.rejected) == sum(len(rows) for rows in hit.values())
    with pytest.raises(CampaignError, match=r"more than data\.max_rejected=5\.0% allows"):
        make_log(tables, LogSettings())


def test_text_that_holds_few_numbers_stays_a_category() -> None:
    tables = clean_tables()
    tables["users"]["size"] = ["S", "M", "38"] * 10
    tables["users"]["postcode"] = ["01067", "80331", "10115"] * 10
    log = read_tolerantly(tables, max_rejected=0.0)
    assert set(log.users["size"]) == {"S", "M", "38"}
    assert set(log.users["postcode"]) == {"01067", "80331", "10115"}


def test_eligibility_can_be_written_in_words_and_a_send_refutes_it() -> None:
    tables = clean_tables()
    held = tables["decisions"]["content_id"].isna()
    first, second = tables["decisions"].index[held][:2]
    sent = tables["decisions"].index[~held][0]
    eligible = pd.Series(True, index=tables["decisions"].index, dtype=object)
    eligible[first], eligible[second], eligible[sent] = "No", "perhaps", "false"
    log = read_tolerantly({**tables, "decisions": tables["decisions"].assign(eligible=eligible)})
    assert not log.decisions["eligible"][first]
    assert log.decisions["action_prob"][first] == 1.0
    assert log.decisions["eligible"][[second, sent]].all()
    assert faults(log) == {
        ("decisions", "eligible", "neither 0 nor 1; taken as eligible"): 1,
        ("decisions", "eligible", "sent although not eligible"): 1,
    }


def test_costs_that_cannot_be_are_set_aside() -> None:
    tables = clean_tables()
    tables["contents"]["cost"] = pd.Series([0.02, -1, "free"], dtype=object)
    log = read_tolerantly(tables)
    assert log.contents["cost"].tolist()[0] == 0.02
    assert log.contents["cost"].isna().tolist() == [False, True, True]
    catalogue = make_catalogue(log.contents, fit_encoder(log.contents, "contents"), Objective(send_cost=0.5))
    assert catalogue.cost.tolist() == pytest.approx([0.02, 0.5, 0.5])


def test_refunds_negative_values_and_organic_purchases_are_data() -> None:
    tables = clean_tables()
    tables["decisions"].loc[0, ["purchased", "value"]] = [0, -20.0]
    log = read_tolerantly(tables, max_rejected=0.0)
    assert log.decisions["value"][0] == -20.0
    assert log.rejected.empty


def test_a_value_without_a_purchase_is_kept_and_told() -> None:
    tables = clean_tables()
    tables["decisions"].loc[0, ["purchased", "value"]] = [0, 20.0]
    log = read_tolerantly(tables, max_rejected=0.0)
    assert log.decisions["value"][0] == 20.0
    assert any("1 rows have a value above 0 but no purchase" in text for text in log.report["warnings"])


# Times and the grid


def test_a_stray_year_does_not_stretch_the_grid() -> None:
    tables = clean_tables()
    slots = make_grid(read_tolerantly(tables)).slots
    tables["decisions"].loc[7, "time"] = pd.Timestamp("2002-01-01")
    tables["decisions"].loc[8, "time"] = pd.Timestamp("2055-01-01")
    log = read_tolerantly(tables)
    assert make_grid(log).slots == slots
    assert faults(log) == {("decisions", "time", "more than a year from the rest of the log; the row is left out"): 2}


def test_a_log_that_no_memory_holds_is_refused() -> None:
    tables = clean_tables()
    half = len(tables["decisions"]) // 2
    tables["decisions"].loc[:half, "time"] = pd.Timestamp("1990-01-01") + pd.to_timedelta(np.arange(half + 1), "h")
    tables["users"] = pd.DataFrame({"user_id": [*tables["users"]["user_id"], *range(10_000)]})
    with pytest.raises(CampaignError, match=r"decisions\.time: from 1990-01-01 to 2025-03-05 are .* slots"):
        read_tolerantly(tables, slot_hours=1)


def test_epoch_seconds_are_refused_with_a_remedy() -> None:
    tables = clean_tables()
    tables["decisions"]["time"] = tables["decisions"]["time"].astype("int64") // 10**6
    with pytest.raises(CampaignError, match=r"no usable row is left\. time: a number, not a time stamp such as 2025"):
        read_tolerantly(tables)


def test_features_taken_after_a_customers_own_first_decision_are_told() -> None:
    tables = clean_tables()
    first = tables["decisions"].groupby("user_id")["time"].transform("min")
    later = tables["decisions"]["user_id"] == "u001"
    tables["decisions"] = tables["decisions"][~later | (tables["decisions"]["time"] > first + pd.Timedelta("1D"))]
    tables["users"]["as_of"] = "2025-03-03T00:00"
    tables["users"].loc[[0, 1], "as_of"] = "2025-03-04T00:00"  # u000 began before that, u001 after
    assert warned(tables, "users.as_of: 1 customers' features were taken after their first decision")
    tables["users"]["as_of"] = "2025-03-01"
    assert not warned(tables, "users.as_of")
    tables["users"].loc[2, "as_of"] = "recently"
    assert faults(read_tolerantly(tables)) == {("users", "as_of", "not a time stamp"): 1}


def test_implied_holds_complete_the_grid_for_everyone() -> None:
    tables = clean_tables()
    sends = tables["decisions"][tables["decisions"]["content_id"].notna()]
    sends = sends[sends["user_id"] != "u003"]  # never sent anything
    log = read_tolerantly({**tables, "decisions": sends}, holds="implied")
    grid = make_grid(log)
    assert (grid.decision != ABSENT).all()
    assert (grid.decision[3] == HOLD).all()
    assert int((grid.decision > HOLD).sum()) == len(sends)
    assert np.isnan(grid.action_prob[3]).all()
    assert any("1 customers have no row" in text for text in log.report["warnings"])


def test_absent_holds_are_said_to_hide_timing() -> None:
    tables = clean_tables()
    assert warned(tables, "rows are holds although data.holds=absent", holds="absent")
    tables["decisions"] = tables["decisions"][tables["decisions"]["content_id"].notna()]
    assert warned(tables, "timing and hold are not identifiable, only content is", holds="absent")
    assert (make_grid(read_tolerantly(tables, holds="absent")).decision == HOLD).sum() == 0


def test_one_slot_a_customer_is_a_log_of_one_slot() -> None:
    tables = clean_tables()
    tables["decisions"] = tables["decisions"].groupby("user_id").head(1)
    assert make_grid(read_tolerantly(tables, slot_hours=24)).slots == 1


GARBAGE = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=8), st.binary(max_size=4),
    st.sampled_from(["inf", "NaN", "2025-03-03", "1,5", "0", "yes", "\x00", "🙂", "a", "u001"]),
)  # fmt: skip


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    place=st.sampled_from(
        [("users", c) for c in ("user_id", "age", "segment", "consent_push", "timezone", "as_of")]
        + [("contents", c) for c in ("content_id", "category", "discount", "channel", "cost")]
        + [("decisions", c) for c in ("user_id", "time", "content_id", "action_prob", "eligible", "opened", "value")]
    ),
    values=st.lists(GARBAGE, min_size=1, max_size=3),
)
def test_any_garbage_in_any_column_is_read_or_refused_by_name(place: tuple[str, str], values: list[object]) -> None:
    table, column = place
    tables = clean_tables(customers=4, days=1)
    frame = tables[table]
    series = frame[column].astype(object) if column in frame.columns else pd.Series([None] * len(frame), dtype=object)
    for row, value in enumerate(values):
        series.iloc[row] = value
    tables[table] = frame.assign(**{column: series})
    try:
        log = read_tolerantly(tables)
    except CampaignError as error:
        assert table in str(error) or column in str(error)  # noqa: PT017 - either outcome is right
        return
    grid = make_grid(log)
    for values_ in (*grid.outcomes.values(), grid.action_prob):
        assert not np.isinf(values_).any()
    encoder = fit_encoder(log.users, "users")
    assert np.isfinite(encoder.encode(log.users)).all()
    catalogue = make_catalogue(log.contents, fit_encoder(log.contents, "contents"), Objective())
    make_population(log.users, encoder, catalogue.channels, "UTC", 0.0)


def test_an_outcome_with_one_answer_alone_is_named() -> None:
    tables = clean_tables()
    decisions = tables["decisions"]
    sent = decisions["content_id"].notna()
    always = {**tables, "decisions": decisions.assign(opened=sent.astype(float), clicked=0.0)}
    assert warned(always, "decisions.opened: happened whenever it could; its model can only say the rate is near 1.")
    assert warned(always, "decisions.clicked: never happened")
    assert not warned(tables, "happened whenever it could")


def test_an_outcome_without_any_value_counts_as_not_logged() -> None:
    tables = clean_tables()
    unknown = {**tables, "decisions": tables["decisions"].assign(unsubscribed=np.nan)}
    assert warned(unknown, "decisions.unsubscribed: empty, no row has a value; taken as not logged.")
    log = read_tolerantly(unknown)
    assert "unsubscribed" not in log.decisions.columns
    # Trees refuse a column without values: it would end the audit of a log of which this is true.
    assert stability_check(log, make_grid(log))["adversarial"] is not None


def test_a_column_without_any_value_is_called_empty_and_not_constant() -> None:
    tables = clean_tables()
    tables["users"] = tables["users"].assign(age=np.nan)
    tables["contents"] = tables["contents"].assign(category=None, text=" ")
    assert warned(tables, "users.age: empty, no row has a value; not used.")
    assert warned(tables, "contents.category: empty, no row has a value; not used.")
    assert warned(tables, "contents.text: empty, no row has a value; not used.")
    assert not warned(tables, "users.age: constant")
