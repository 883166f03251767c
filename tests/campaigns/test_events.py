"""Events are credited within the stated window, organic ones are kept, and what fits nowhere is counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from campaigns.audience import make_catalogue, make_population
from campaigns.encoding import fit_encoder
from campaigns.grid import make_grid
from campaigns.history import ABSENT
from campaigns.logs import CampaignLog, LogSettings, make_log, read_log, write_log
from campaigns.objective import Objective
from campaigns.replay import replay
from tests.campaigns.logs_on_disk import faults

SLOTS = 24
TIMES = pd.date_range("2025-03-03", periods=SLOTS, freq="4h")
Event = tuple[str, float, str, str | None, float | None]


def log_of(
    events: list[Event], sends: dict[tuple[str, int], str], hours: float = 12.0, holds: str = "logged", **how: object
) -> CampaignLog:
    """Two customers, u and v; events as (customer, hours since the log's start, kind, content, value)."""
    decisions = pd.MultiIndex.from_product([["u", "v"], TIMES], names=["user_id", "time"]).to_frame(index=False)
    decisions["content_id"] = None
    for (customer, slot), content in sends.items():
        decisions.loc[(decisions["user_id"] == customer) & (decisions["time"] == TIMES[slot]), "content_id"] = content
    if holds == "implied":
        decisions = decisions[decisions["content_id"].notna()]
    table = pd.DataFrame(events, columns=["user_id", "hour", "event", "content_id", "value"])
    table["time"] = TIMES[0] + pd.to_timedelta(table["hour"].astype(float), "h")
    tables = {
        "users": pd.DataFrame({"user_id": ["u", "v"], "age": [30, 40]}),
        "contents": pd.DataFrame({"content_id": ["a", "b"], "channel": ["push", "email"]}),
        "decisions": decisions,
        "events": table.drop(columns="hour"),
    }
    return make_log(tables, LogSettings(attribution_hours=hours, holds=holds, max_rejected=1.0, **how))  # type: ignore[arg-type]


def cells(values: np.ndarray) -> list[tuple[int, int]]:
    """Customer and slot of what is not 0."""
    return [(int(row), int(column)) for row, column in zip(*np.nonzero(np.nan_to_num(values)), strict=True)]


@pytest.mark.parametrize(("hour", "credited"), [(4.0, True), (9.9, True), (10.0, False), (11.9, False), (3.9, False)])
def test_the_window_ends_to_the_minute_though_slots_are_longer(hour: float, credited: bool) -> None:
    grid = make_grid(log_of([("u", hour, "open", None, None)], {("u", 1): "a"}, hours=6.0))
    assert cells(grid.outcomes["opened"]) == ([(0, 1)] if credited else [])


def test_a_named_content_is_credited_to_its_own_send_and_an_unnamed_event_to_the_latest() -> None:
    events: list[Event] = [
        ("u", 9.0, "open", "a", None),
        ("u", 10.0, "click", None, None),
        ("u", 10.0, "open", "b", None),
    ]
    grid = make_grid(log_of(events, {("u", 1): "a", ("u", 2): "b"}))
    assert cells(grid.outcomes["opened"]) == [(0, 1), (0, 2)]
    assert cells(grid.outcomes["clicked"]) == [(0, 2)]
    assert grid.happened_content["clicked"][0, 2] == 2  # history knows which send the click answered


def test_events_before_the_first_decision_are_credited_to_nothing_but_opt_outs_bind() -> None:
    events: list[Event] = [
        ("u", -3.0, "purchase", None, 50.0), ("u", -3.0, "open", "a", None), ("v", -30.0, "unsubscribe", "a", None),
    ]  # fmt: skip
    log = log_of(events, {("u", 0): "a"})
    grid = make_grid(log)
    assert not grid.outcomes["purchased"].any()
    assert not grid.outcomes["opened"].any()
    assert not grid.outcomes["value"].any()
    assert any("3 lie before the first decision" in text for text in log.report["warnings"])
    assert closed_channels(log, 1)[1].tolist() == [False, True]


def closed_channels(log: CampaignLog, column: int) -> np.ndarray:
    """Channels (email, push) that each customer has left before the decision at `column`."""
    catalogue = make_catalogue(log.contents, fit_encoder(log.contents, "contents"), Objective())
    people = make_population(log.users, fit_encoder(log.users, "users"), catalogue.channels, "UTC", 0.0)
    for step in replay(make_grid(log), people, catalogue, log.clock):
        if step.column == column:
            return step.observation.history.opted_out.numpy()
    raise AssertionError("the log is shorter")


@pytest.mark.parametrize(
    ("content", "hour", "expected"),
    [
        ("a", 9.0, [False, True]),  # its own channel, though the slot is a hold
        ("b", 9.0, [True, False]),  # a content that was never sent has a channel too
        (None, 9.0, [False, True]),  # credited to the send two slots before
        (None, 40.0, [True, True]),  # credited to nothing: all channels
        ("unheard of", 40.0, [True, True]),
    ],
)
def test_an_opt_out_closes_the_channel_of_its_content_or_all(
    content: str | None, hour: float, expected: list[bool]
) -> None:
    log = log_of([("u", hour, "unsubscribe", content, None)], {("u", 1): "a"})
    assert closed_channels(log, int(hour // 4))[0].tolist() == [False, False]
    assert closed_channels(log, int(hour // 4) + 1)[0].tolist() == expected


def test_an_opt_out_closes_its_own_channel_whatever_else_is_opened_in_the_slot() -> None:
    events: list[Event] = [("u", 9.0, "open", "a", None), ("u", 9.5, "unsubscribe", "b", None)]
    log = log_of(events, {("u", 0): "b", ("u", 1): "a"})
    assert closed_channels(log, 3)[0].tolist() == [True, False]


def test_unknown_contents_cost_opens_their_row_and_others_their_content() -> None:
    events: list[Event] = [
        ("u", 5.0, "open", "zzz", None),
        ("u", 5.0, "purchase", "zzz", 9.0),
        ("w", 5.0, "open", "a", None),
    ]
    log = log_of(events, {("u", 1): "a"})
    grid = make_grid(log)
    assert not grid.outcomes["opened"].any()
    assert cells(grid.outcomes["value"]) == [(0, 1)]
    assert faults(log) == {
        ("events", "content_id", "not in contents; the row is left out"): 1,
        ("events", "content_id", "not in contents"): 1,
        ("events", "user_id", "not in users; the row is left out"): 1,
    }


def test_what_fits_nowhere_is_counted_by_its_reason() -> None:
    events: list[Event] = [
        ("u", 50.0, "open", None, None), ("u", 50.0, "refund", None, 5.0), ("u", 50.0, "visit", None, None),
        ("u", 400.0, "purchase", None, 5.0), ("u", 1.0, "cart", None, None),
    ]  # fmt: skip
    log = log_of(events, {("u", 1): "a"})
    warnings = " ".join(log.report["warnings"])
    assert "1 of kind open are credited to no decision: no send within 12 h" in warnings
    assert "1 of kind refund are credited to no decision: no purchase before them" in warnings
    assert "1 of kind purchase are credited to no decision" in warnings
    assert "of kind visit" not in warnings  # organic, to the hold of its slot
    assert [key[1] for key in faults(log)] == ["event"]
    assert cells(make_grid(log).outcomes["visited"]) == [(0, 12)]


def test_organic_purchases_are_kept_where_holds_are_implied(tmp_path: Path) -> None:
    events: list[Event] = [
        ("v", 41.0, "purchase", None, 30.0),
        ("u", 30.0, "visit", None, None),
        ("u", 5.0, "open", None, None),
    ]
    log = log_of(events, {("u", 1): "a", ("u", 23): "b"}, holds="implied")
    grid = make_grid(log)
    assert (grid.decision != ABSENT).all()
    assert cells(grid.outcomes["purchased"]) == [(1, 9)]  # slot 10 of the log, which begins with the first send
    assert float(np.nansum(grid.outcomes["value"])) == 30.0
    assert cells(grid.outcomes["visited"]) == [(0, 6)]
    again = make_grid(read_log(write_log(log, tmp_path), LogSettings(attribution_hours=12.0, holds="implied")))
    for name, values in grid.outcomes.items():
        np.testing.assert_array_equal(again.outcomes[name], values)
    np.testing.assert_array_equal(again.labelled, grid.labelled)


@pytest.mark.parametrize("holds", ["logged", "implied"])
def test_windows_that_the_logs_end_cuts_off_are_not_labelled_also_of_implied_holds(holds: str) -> None:
    grid = make_grid(log_of([("u", 5.0, "open", None, None)], {("u", 0): "a", ("v", 23): "b"}, holds=holds))
    assert grid.labelled[:, :22].all()
    assert not grid.labelled[:, 22:].any()


def test_a_log_that_goes_on_with_events_labels_its_last_decisions() -> None:
    grid = make_grid(log_of([("u", 4.0 * SLOTS + 9, "visit", None, None)], {("u", 23): "a"}))
    assert grid.labelled.all()


def test_an_empty_events_table_leaves_the_outcomes_of_decisions() -> None:
    log = log_of([], {("u", 0): "a"})
    assert log.events is None
    assert any("no usable row; outcomes are taken from decisions" in text for text in log.report["warnings"])


def credited_by_hand(
    events: list[Event], sends: dict[tuple[str, int], str], hours: float
) -> dict[str, set[tuple[int, int]]]:
    """Whom each event is credited to, by going through every send; a second reading of the rules."""
    found: dict[str, set[tuple[int, int]]] = {
        name: set() for name in ("opened", "clicked", "visited", "purchased", "unsubscribed")
    }
    names = {
        "open": "opened",
        "click": "clicked",
        "visit": "visited",
        "purchase": "purchased",
        "unsubscribe": "unsubscribed",
    }
    for customer, hour, kind, content, _ in events:
        if kind not in names or hour < 0:
            continue
        row = "uv".index(customer)
        fitting = [
            slot
            for (who, slot), what in sends.items()
            if who == customer and 0 <= hour - 4 * slot < hours and content in (None, what)
        ]
        if fitting:
            found[names[kind]].add((row, max(fitting)))
        elif kind in ("visit", "purchase") and hour < 4 * SLOTS:
            found[names[kind]].add((row, int(hour // 4)))
    found["opened"] |= found["clicked"]
    return found


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    events=st.lists(
        st.tuples(
            st.sampled_from("uv"), st.floats(-10, 110).map(lambda x: round(x, 1)),
            st.sampled_from(["open", "click", "visit", "purchase", "unsubscribe"]),
            st.sampled_from([None, "a", "b"]), st.just(1.0),
        ),
        min_size=1, max_size=12,
    ),
    sends=st.dictionaries(
        st.tuples(st.sampled_from("uv"), st.integers(0, SLOTS - 1)), st.sampled_from("ab"), max_size=10
    ),
    hours=st.sampled_from([3.0, 4.0, 6.5, 12.0, 24.0]),
)  # fmt: skip
def test_credit_equals_that_by_hand(events: list[Event], sends: dict[tuple[str, int], str], hours: float) -> None:
    grid = make_grid(log_of(events, sends, hours))
    for name, expected in credited_by_hand(events, sends, hours).items():
        assert set(cells(grid.outcomes[name])) == expected, name
