"""What a session learns on the way is exact: as replay would have it, in whatever order it comes."""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd
import pytest
import torch

from campaigns.errors import CampaignError
from campaigns.grid import make_grid
from campaigns.guardrails import NO_GUARDRAILS, Guardrails
from campaigns.history import OPEN, ORGANIC, PURCHASE, SEND
from campaigns.logs import LogSettings, make_log
from campaigns.replay import replay
from policies.policy import Policy
from policies.rules import Never, Random
from policies.session import Session
from tests.policies.conftest import make_policy
from tests.policies.test_tables import tables
from tests.worlds import small_world

MORNING, NOON, EVENING = "2025-03-05T08:00", "2025-03-05T12:00", "2025-03-05T16:00"


def same_histories(one: Session, other: Session) -> None:
    """Every counter and time stamp of both is the same."""
    for name, tensor in one.ledger.current.tensors().items():
        assert torch.equal(tensor, other.ledger.current.tensors()[name]), name


def started(policy: Policy | None = None, **changes: object) -> Session:
    """A session of forty customers, to all of whom a random policy may send."""
    return (policy or make_policy(chooser=Random(0.7))).start(*tables(), **changes)  # type: ignore[arg-type]


def report(user: object, time: str = NOON, **columns: object) -> pd.DataFrame:
    """One row of outcomes."""
    return pd.DataFrame({"user_id": [user], "time": [time], **{name: [value] for name, value in columns.items()}})


def test_a_logs_decisions_as_history_give_the_states_of_its_replay() -> None:
    world = small_world()
    last = list(replay(world.grid, world.population, world.catalogue, world.log.clock))[-1]
    past = world.log.decisions[world.log.decisions["slot"] < world.grid.first_slot + last.column]
    session = make_policy().start(world.log.users, world.log.contents, history=past.sample(frac=1, random_state=0))
    for name, tensor in last.observation.history.tensors().items():
        assert torch.equal(tensor, session.ledger.current.tensors()[name]), name


def with_events() -> dict[str, pd.DataFrame]:
    """The small world's log with its outcomes as events at their own times, some a slot after the decision."""
    world = small_world()
    decisions = world.log.decisions[["user_id", "time", "content_id"]]
    parts = []
    for event, column, hours in (
        ("open", "opened", 1),
        ("click", "clicked", 5),
        ("visit", "visited", 2),
        ("purchase", "purchased", 9),
        ("unsubscribe", "unsubscribed", 6),
    ):
        rows = decisions[(world.log.decisions[column] == 1) & decisions["content_id"].notna()]
        parts.append(rows.assign(event=event, time=rows["time"] + pd.Timedelta(hours=hours)))
    events = pd.concat(parts, ignore_index=True)
    return {"users": world.log.users, "contents": world.log.contents, "decisions": decisions, "events": events}


@pytest.mark.parametrize("named", [True, False], ids=["naming their content", "naming none"])
def test_a_logs_events_as_history_give_the_states_of_its_replay(named: bool) -> None:
    given = with_events()
    if not named:  # then the latest send within the window is credited, in training as in serving
        given["events"] = given["events"].drop(columns="content_id")
    log = make_log(given, LogSettings())
    grid, world = make_grid(log), small_world()
    last = list(replay(grid, world.population, world.catalogue, log.clock))[-1]
    end = log.clock.times([grid.first_slot + last.column])[0]
    past = {name: given[name][given[name]["time"] < end] for name in ("decisions", "events")}
    session = make_policy().start(given["users"], given["contents"], history=past)
    assert int(session.ledger.current.total[:, OPEN].sum()) > 50
    for name, tensor in last.observation.history.tensors().items():
        assert torch.equal(tensor, session.ledger.current.tensors()[name]), name


def test_all_events_of_a_slot_count_not_the_last_alone() -> None:
    user = tables()[0]["user_id"].iloc[0]
    events = pd.DataFrame(
        {
            "user_id": [user] * 3,
            "time": ["2025-03-02T12:10", "2025-03-02T13:30", "2025-03-02T13:30"],
            "event": ["Unsubscribe", "visit", "refund"],
        }
    )
    decisions = pd.DataFrame({"user_id": [user], "time": ["2025-03-02T08:00"], "content_id": [None]})
    session = started(history={"decisions": decisions, "events": events})
    assert session.decide(NOON)["reason"][0] == "opted_out"


def test_an_opt_out_in_the_decisions_binds_also_beside_events() -> None:
    user = tables()[0]["user_id"].iloc[0]
    decisions = pd.DataFrame(
        {"user_id": [user], "time": ["2025-03-02T08:00"], "content_id": [None], "unsubscribed": [True]}
    )
    events = pd.DataFrame({"user_id": [], "time": [], "event": []})
    assert started(history={"decisions": decisions, "events": events}).decide(NOON)["reason"][0] == "opted_out"


@pytest.mark.parametrize(
    ("content", "closed"), [("first", {"push"}), (None, {"push", "sms"}), ("not listed", {"push", "sms"})]
)
def test_an_opt_out_closes_its_contents_channel_and_on_a_hold_all(content: str | None, closed: set[str]) -> None:
    users, contents = tables()
    contents = contents.assign(channel=["push", *["sms"] * (len(contents) - 1)])
    named = contents["content_id"].iloc[0] if content == "first" else content
    past = pd.DataFrame(
        {"user_id": users["user_id"][:1], "time": "2025-03-02T08:00", "content_id": [named], "unsubscribed": 1}
    )
    session = make_policy().start(users, contents, history=past)
    opted = session.ledger.current.opted_out[0]
    channels = session.roster.catalogue.channels
    assert {channel for channel, out in zip(channels, opted.tolist(), strict=True) if out} == closed


@pytest.mark.parametrize(
    ("history", "message"),
    [
        ({"events": pd.DataFrame()}, "give a decisions table"),
        ({"decisions": pd.DataFrame(), "users": pd.DataFrame()}, "give a decisions table"),
        ([1], "history: got list"),
        (pd.DataFrame({"user_id": [], "time": []}), "'content_id' is missing"),
        (pd.DataFrame({"user_id": ["c000"], "time": [5], "content_id": [None]}), "readable as a time stamp"),
        (pd.DataFrame({"user_id": ["c000"], "time": [None], "content_id": [None]}), "readable as a time stamp"),
    ],
)
def test_a_history_that_cannot_be_read_is_named(history: object, message: str) -> None:
    with pytest.raises(CampaignError, match=message):
        started(history=history)


def test_an_unknown_kind_of_event_is_named() -> None:
    past = {
        "decisions": pd.DataFrame({"user_id": [], "time": [], "content_id": []}),
        "events": pd.DataFrame({"user_id": ["c000"], "time": [NOON], "event": ["unsubscribed"]}),
    }
    with pytest.raises(CampaignError, match=r"'unsubscribed' in row 0 must be one of open, click"):
        started(history=past)


def test_an_empty_history_is_no_history() -> None:
    empty = pd.DataFrame({"user_id": [], "time": [], "content_id": []})
    pd.testing.assert_frame_equal(started(history=empty).decide(NOON), started().decide(NOON))


def test_history_reaches_back_further_than_what_is_kept() -> None:
    user, content = tables()[0]["user_id"].iloc[0], tables()[1]["content_id"].iloc[0]
    times = pd.date_range("2024-01-01T08:00", "2025-03-04T08:00", freq="D")
    past = pd.DataFrame({"user_id": user, "time": times, "content_id": content, "opened": 1})
    session = started(history=past)
    assert session.ledger.current.total[0, [SEND, OPEN]].tolist() == [len(times)] * 2
    assert len(session.ledger.records) <= 29


def test_a_column_that_is_missing_says_nothing() -> None:
    one, other = started(), started()
    frame = one.decide(NOON)
    other.decide(NOON)
    user = frame.loc[frame["content_id"].notna(), "user_id"].iloc[0]
    one.observe(report(user, opened=1, unsubscribed=1))
    one.observe(report(user, purchased=1, opened=None))
    other.observe(report(user, opened=1, purchased=1, unsubscribed=1))
    same_histories(one, other)
    one.observe(report(user, unsubscribed=0))
    other.observe(report(user, opened=1, purchased=1, unsubscribed=0))
    same_histories(one, other)
    assert not one.ledger.current.opted_out.any()


def test_of_repeated_rows_in_one_table_the_last_counts() -> None:
    one, other = started(), started()
    frame = one.decide(NOON)
    other.decide(NOON)
    user = frame.loc[frame["content_id"].notna(), "user_id"].iloc[0]
    one.observe(pd.concat([report(user, opened=1, visited=1), report(user, opened=0, visited=1)]))
    other.observe(report(user, visited=1))
    same_histories(one, other)


def test_a_report_told_twice_counts_once() -> None:
    one, other = started(), started()
    frame = one.decide(NOON)
    other.decide(NOON)
    outcomes = frame.assign(time=NOON, opened=frame["content_id"].notna(), purchased=1)
    for session, times in ((one, 3), (other, 1)):
        for _ in range(times):
            session.observe(outcomes[["user_id", "time", "content_id", "opened", "purchased"]])
    same_histories(one, other)


def test_another_content_than_reserved_is_what_was_sent() -> None:
    session = started(make_policy(chooser=Random(1.0)))
    frame = session.decide(NOON)
    contents = session.roster.contents.series
    reserved = contents[contents == frame["content_id"][0]].index[0]
    other = (reserved + 1) % len(contents)
    session.observe(report(frame["user_id"][0], content_id=contents[other]))
    recent = session.ledger.current.content_recent[0, :, 0]
    assert recent[other] == session.policy.clock.slot(NOON)
    assert recent[reserved] < 0
    assert session.ledger.current.total[0, SEND] == 1


def test_a_release_takes_opens_with_it_and_opens_without_a_send_are_left_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    session = started(make_policy(chooser=Random(1.0)))
    user = session.decide(NOON)["user_id"][0]
    session.observe(report(user, opened=1, visited=1))
    session.observe(report(user, content_id=None))
    assert session.ledger.current.total[0].tolist() == [0, 0, 0, 1, 0, 0]
    with caplog.at_level(logging.WARNING, "campaign"):
        session.observe(report(user, clicked=1))
    assert session.ledger.current.total[0].tolist() == [0, 0, 0, 1, 0, 0]
    assert "1 opens or clicks without a send are left out" in caplog.text


def test_a_click_is_an_open_and_an_amount_a_purchase() -> None:
    session = started(make_policy(chooser=Random(1.0)))
    user = session.decide(NOON)["user_id"][0]
    session.observe(report(user, clicked="yes", value=-2.5))
    assert session.ledger.current.total[0].tolist() == [1, 1, 1, 0, 1, 0]


def test_reports_before_the_first_decision_count() -> None:
    session = started()
    user, content = tables()[0]["user_id"].iloc[0], tables()[1]["content_id"].iloc[0]
    session.observe(report(user, MORNING, content_id=content, opened=1))
    assert session.decide(NOON)["reason"][0] == "cap_day"
    assert session.ledger.current.total[0].tolist() == [1, 1, 0, 0, 0, 0]


def test_an_opt_out_of_the_slot_itself_binds_and_is_not_forgotten() -> None:
    session = started(make_policy(NO_GUARDRAILS, chooser=Random(1.0)))
    user = tables()[0]["user_id"].iloc[0]
    session.observe(report(user, unsubscribed=1, content_id=None))
    assert session.decide(NOON)["reason"][0] == "opted_out"
    session.observe(report(user, visited=1))
    assert session.decide(EVENING)["reason"][0] == "opted_out"


def test_a_send_reported_of_the_slot_itself_is_not_doubled() -> None:
    session = started(make_policy(NO_GUARDRAILS, chooser=Random(1.0)))
    user, content = tables()[0]["user_id"].iloc[0], tables()[1]["content_id"].iloc[0]
    session.observe(report(user, content_id=content))
    frame = session.decide(NOON)
    assert frame.loc[0, ["content_id", "action_prob", "reason"]].tolist() == [None, 1.0, "already_sent"]
    assert session.ledger.current.total[0, SEND] == 1
    assert session.probabilities(NOON)[0, 0] == 1.0


def test_reports_of_slots_to_come_do_not_disturb_the_order() -> None:
    one, other = started(), started()
    user, content = tables()[0]["user_id"].iloc[1], tables()[1]["content_id"].iloc[0]
    late = report(user, "2025-03-07T08:00", content_id=content, opened=1)
    one.observe(late)
    frame = one.decide(NOON)
    assert frame["content_id"][1] is None  # a send that is known to come spaces those before it
    other.decide(NOON, eligible=np.arange(40) != 1)
    other.observe(late)
    same_histories(one, other)


def test_slots_that_were_never_decided_take_organic_rows() -> None:
    session = started(make_policy(chooser=Never()))
    session.decide(MORNING)
    user = tables()[0]["user_id"].iloc[0]
    for time in ("2025-03-05T12:37", "2025-03-05T13:05", "2025-03-06T02:00"):  # the first two share a slot
        session.observe(report(user, time, content_id=None, purchased=1))
    assert session.ledger.current.total[0, [PURCHASE, ORGANIC]].tolist() == [2, 2]


def test_outcomes_that_come_in_any_order_give_the_same_decisions() -> None:
    policy = make_policy(Guardrails(holdout=0.0), chooser=Random(0.6))
    one, other = started(policy), started(policy)
    generator = np.random.default_rng(0)
    held_back = []
    times = pd.date_range("2025-03-05", periods=30, freq="4h")
    for time in times:
        frame = one.decide(time)
        outcomes = frame.assign(
            time=time,
            opened=frame["content_id"].notna() & (generator.random(40) < 0.5),
            purchased=generator.random(40) < 0.1,
            unsubscribed=generator.random(40) < 0.002,
        )
        columns = ["user_id", "time", "content_id", "opened", "purchased", "unsubscribed"]
        one.observe(outcomes[columns])
        held_back.append(outcomes[columns])
    other.observe(pd.concat(held_back).sample(frac=1, random_state=0))
    same_histories(one, other)
    after = times[-1] + pd.Timedelta(hours=4)
    pd.testing.assert_frame_equal(one.decide(after), other.decide(after))


def test_what_cannot_be_taken_in_changes_nothing() -> None:
    session = started(make_policy(NO_GUARDRAILS))
    for day in pd.date_range("2025-03-05T12:00", periods=40, freq="D"):
        session.decide(day)
    user = tables()[0]["user_id"].iloc[0]
    before = session.ledger.current.total.clone()
    with pytest.raises(CampaignError, match="more than 28 days"):
        session.observe(pd.concat([report(user, "2025-04-13T12:00", visited=1), report(user, visited=1)]))
    assert torch.equal(before, session.ledger.current.total)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"opened": 2}, r"observe\.opened: .*2.* in row 0 is neither 0 nor 1"),
        ({"revenue": "a lot"}, r"observe\.revenue: 'a lot' in row 0 is not a number"),
    ],
)
def test_outcomes_that_cannot_be_read_are_named(columns: dict[str, object], message: str) -> None:
    session = started()
    session.decide(NOON)
    with pytest.raises(CampaignError, match=message):
        session.observe(report(tables()[0]["user_id"].iloc[0], **columns))
    with pytest.raises(CampaignError, match="observe: got dict"):
        session.observe({"user_id": []})  # type: ignore[arg-type]
