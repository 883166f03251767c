"""Times are read as people write them, and refused where day and month cannot be told apart."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from campaigns.clock import SlotClock
from campaigns.errors import CampaignError
from campaigns.times import far_from_the_rest, read_times

BERLIN = SlotClock("Europe/Berlin")


def read(*values: object, clock: SlotClock = BERLIN) -> list[str | None]:
    """Each value as ISO text, None where it is not read."""
    times = read_times(pd.Series(list(values), dtype=object), clock, "decisions.time").times
    return [None if pd.isna(time) else time.isoformat() for time in times]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2025-03-31", "2025-03-31T00:00:00"),
        ("2025-03-31 16:00", "2025-03-31T16:00:00"),
        ("2025-03-31T16", "2025-03-31T16:00:00"),
        (" 2025-03-31T16:00:05.250 ", "2025-03-31T16:00:05.250000"),
        ("2025-03-31T16:00Z", "2025-03-31T18:00:00"),
        ("2025-03-31 16:00:00 UTC", "2025-03-31T18:00:00"),
        ("2025-03-31 16:00:00+00", "2025-03-31T18:00:00"),
        ("2025-03-31T16:00:00-0500", "2025-03-31T23:00:00"),
        ("2025-03-31 16:00:00.123456 +02:00", "2025-03-31T16:00:00.123456"),
        ("31.03.2025 16:00", "2025-03-31T16:00:00"),
        ("1.2.2025", "2025-02-01T00:00:00"),
        ("31.03.2025, 16.00 Uhr", "2025-03-31T16:00:00"),
        ("2025/3/1 4:05 PM", "2025-03-01T16:05:00"),
        ("31/03/2025 12:30 am", "2025-03-31T00:30:00"),
        ("03/31/2025 16:00", "2025-03-31T16:00:00"),
        ("31 Mar 2025", "2025-03-31T00:00:00"),
        ("March 31, 2025 4:00 pm", "2025-03-31T16:00:00"),
    ],
)
def test_a_known_way_of_writing_is_read(text: str, expected: str) -> None:
    assert read(text) == [expected]


@pytest.mark.parametrize(
    "text",
    ["now", "today", "2025", "20250331", "31.03.25", "2025-02-30", "31.13.2025", "2025-03-31 25:00", "16:00",
     "0001-01-01", "1970-01-01 00:00", "9999-12-31", "31 Foo 2025", "", "2025-03-31 16:00 CET", "13:00 PM 31.03.2025"],
)  # fmt: skip
def test_what_is_no_time_is_not_guessed(text: str) -> None:
    assert read(text, "2025-03-31") == [None, "2025-03-31T00:00:00"]


def test_numbers_are_not_times() -> None:
    assert read_times(pd.Series([1743436800, 20250331]), BERLIN, "decisions.time").times.isna().all()


def test_days_beyond_the_twelfth_tell_the_order_of_the_whole_column() -> None:
    assert read("03/04/2025", "13/04/2025") == ["2025-04-03T00:00:00", "2025-04-13T00:00:00"]
    assert read("03/04/2025", "04/13/2025") == ["2025-03-04T00:00:00", "2025-04-13T00:00:00"]
    assert read("04/04/2025") == ["2025-04-04T00:00:00"]
    notes = read_times(pd.Series(["03/04/2025", "13/04/2025"]), BERLIN, "decisions.time").notes
    assert "day/month/year" in notes[0]


def test_ambiguous_and_contradictory_orders_are_refused() -> None:
    with pytest.raises(CampaignError, match=r"decisions\.time: '03/04/2025' may be day/month or month/day"):
        read("03/04/2025", "05/06/2025")
    with pytest.raises(CampaignError, match=r"'13/04/2025' puts the day first and '04/14/2025' the month"):
        read("13/04/2025", "04/14/2025")


def test_mixed_types_in_one_column_are_each_read_and_a_mix_of_zones_is_told() -> None:
    values = [
        pd.Timestamp("2025-03-31 16:00"),
        pd.Timestamp("2025-03-31 16:00", tz="UTC"),
        dt.datetime(2025, 3, 31, 16, tzinfo=dt.timezone(dt.timedelta(hours=9))),
        dt.date(2025, 3, 31),
        np.datetime64("2025-03-31T16:00"),
        "2025-03-31 16:00",
        None,
    ]
    assert read(*values) == [
        "2025-03-31T16:00:00", "2025-03-31T18:00:00", "2025-03-31T09:00:00", "2025-03-31T00:00:00",
        "2025-03-31T16:00:00", "2025-03-31T16:00:00", None,
    ]  # fmt: skip
    notes = read_times(pd.Series(values, dtype=object), BERLIN, "decisions.time").notes
    assert any("some times have a zone" in note for note in notes)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.datetimes(dt.datetime(1990, 1, 1), dt.datetime(2100, 12, 31)), min_size=1, max_size=8))
def test_every_way_of_writing_gives_the_same_minute(times: list[dt.datetime]) -> None:
    times = [time.replace(second=0, microsecond=0) for time in times]
    expected = [time.isoformat() for time in times]
    for form in ("%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S", "%d.%m.%Y %H:%M", "%Y/%m/%d %I:%M %p", "%d %b %Y %H:%M"):
        assert read(*(time.strftime(form) for time in times)) == expected
    days = [time.replace(day=31, month=12) for time in times]
    for form in ("%d/%m/%Y %H:%M", "%m-%d-%Y %H:%M"):
        assert read(*(time.strftime(form) for time in days)) == [time.isoformat() for time in days]


def test_only_a_few_rows_beyond_a_gap_of_a_year_are_stray() -> None:
    slots = np.concatenate([[0], np.arange(50_000, 50_500), [90_000]])
    assert np.flatnonzero(far_from_the_rest(slots, 2196)).tolist() == [0, 501]
    assert not far_from_the_rest(np.concatenate([np.arange(100), np.arange(5000, 5100)]), 2196).any()
    assert not far_from_the_rest(np.array([0, 5000]), 2196).any()
    assert not far_from_the_rest(np.zeros(0, dtype=np.int64), 2196).any()
