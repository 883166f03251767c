"""The contract of serving, line by line."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from campaigns.errors import CampaignError
from campaigns.guardrails import NO_GUARDRAILS, Guardrails
from policies import Policy, load_policy
from policies.rules import Never, Random
from policies.session import REASONS, Session
from tests.policies.conftest import make_policy
from tests.worlds import small_world

NOON, EVENING = "2025-03-05T12:00", "2025-03-05T16:00"


def tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Users and contents of the small world."""
    return small_world().log.users, small_world().log.contents


def start(policy: Policy, **changes: object) -> Session:
    """A session with the small world's tables."""
    return policy.start(*tables(), **changes)  # type: ignore[arg-type]


def test_decide_gives_one_row_a_user_in_order(policy: Policy) -> None:
    frame = start(policy).decide(NOON)
    assert list(frame.columns) == ["user_id", "content_id", "action_prob", "reason"]
    assert isinstance(frame.index, pd.RangeIndex)
    assert frame["user_id"].tolist() == tables()[0]["user_id"].tolist()
    assert frame["action_prob"].dtype == np.float64
    assert frame["reason"].isin(REASONS).all()
    sent = frame["content_id"].notna()
    assert 0 < sent.sum() < len(frame)
    assert (frame["reason"] == "sent").tolist() == sent.tolist()


def test_a_channels_cap_binds_what_is_served_and_is_named_where_no_channel_is_left() -> None:
    users, contents = tables()
    contents = contents.assign(channel=["email" if row % 2 else "sms" for row in range(len(contents))])
    users = users.assign(consent_email=[row % 3 != 0 for row in range(len(users))])
    channel = contents.set_index("content_id")["channel"]
    rules = dataclasses.replace(NO_GUARDRAILS, channel_max_per_week={"email": 2, "sms": 1})
    session = make_policy(rules).start(users, contents)
    frames = [session.decide(time) for time in pd.date_range("2025-03-03", periods=41, freq="4h")]
    sends = pd.concat(frames).dropna(subset="content_id")
    counts = sends.groupby(["user_id", sends["content_id"].map(channel)]).size().unstack(fill_value=0)
    assert (counts.max() == pd.Series({"email": 2, "sms": 1})).all()
    refused = users.loc[~users["consent_email"], "user_id"]
    assert not counts.loc[counts.index.isin(refused), "email"].any()
    left = frames[-1].set_index("user_id")["reason"]
    assert (left == "cap_channel").sum() > len(users) / 2
    full = counts["sms"].eq(1) & (counts["email"].eq(2) | counts.index.isin(refused))
    before = pd.concat(frames[:-1]).dropna(subset="content_id").groupby("user_id").size()
    assert (left[full.index[full & (before.reindex(full.index) == counts.sum(axis=1))]] == "cap_channel").all()


def test_deciding_again_for_a_slot_gives_the_same_frame_and_reserves_nothing(policy: Policy) -> None:
    session = start(policy)
    first = session.decide(NOON)
    before = session.ledger.current.total.clone()
    pd.testing.assert_frame_equal(first, session.decide(NOON))
    assert (session.ledger.current.total == before).all()


@pytest.mark.parametrize("time", ["2025-03-05T08:00", "2025-03-04T12:00"])
def test_an_earlier_slot_is_refused(policy: Policy, time: str) -> None:
    session = start(policy)
    session.decide(NOON)
    with pytest.raises(CampaignError, match="not after the latest decision"):
        session.decide(time)


@pytest.mark.parametrize("time", ["2025-03-05T12:30", "2025-03-05T13:00"])
def test_a_time_off_the_grid_is_refused(policy: Policy, time: str) -> None:
    with pytest.raises(CampaignError, match="off the grid"):
        start(policy).decide(time)


def test_the_same_call_gives_the_same_answer_anywhere_and_a_seed_overrides(policy: Policy) -> None:
    users, contents = tables()
    first = policy.start(users, contents).decide(NOON)
    pd.testing.assert_frame_equal(first, policy.start(users, contents).decide(NOON))
    part = policy.start(users.iloc[50:80], contents).decide(NOON)
    assert part["content_id"].astype(str).tolist() == first["content_id"].iloc[50:80].astype(str).tolist()
    other = policy.start(users, contents, seed=1).decide(NOON)
    assert not other["content_id"].equals(first["content_id"])


def test_probabilities_are_what_decide_draws_from(policy: Policy) -> None:
    users, contents = tables()
    chances = policy.start(users, contents).probabilities(NOON)
    assert chances.dtype == np.float64
    assert chances.shape == (len(users), 1 + len(contents))
    np.testing.assert_allclose(chances.sum(axis=1), 1.0, atol=1e-6)
    counts = np.zeros_like(chances)
    ids = [None, *contents["content_id"]]
    draws = 300
    for seed in range(draws):
        frame = policy.start(users.head(40), contents, seed=seed).decide(NOON)
        taken = np.array([0 if pd.isna(c) else ids.index(c) for c in frame["content_id"]])
        counts[np.arange(40), taken] += 1
        np.testing.assert_allclose(frame["action_prob"], chances[np.arange(40), taken])
    z = (counts[:40] - draws * chances[:40]) / np.sqrt(draws * chances[:40] * (1 - chances[:40]) + 1e-9)
    z = z[(chances[:40] > 0.02) & (chances[:40] < 0.98)]
    assert np.abs(z).max() < 5
    assert 0.8 < z.std() < 1.2


def test_greedy_mode_serves_the_most_probable_decision() -> None:
    frame = start(make_policy(mode="greedy", chooser=Random(0.95))).decide(NOON)
    reachable = frame["reason"] == "sent"
    assert reachable.any()
    assert (frame["action_prob"] == 1.0).all()


def test_exploration_is_part_of_the_probabilities() -> None:
    policy = make_policy(chooser=Never(), incumbent=Random(1.0), exploration=0.1)
    chances = start(policy).probabilities(NOON)
    free = chances[:, 1:].sum(axis=1) > 0
    np.testing.assert_allclose(chances[free, 0], 0.9, atol=1e-6)


def test_held_out_customers_are_held_with_probability_one_but_keep_their_probabilities() -> None:
    policy = make_policy(Guardrails(holdout=0.3))
    session = start(policy)
    frame, chances = session.decide(NOON), start(policy).probabilities(NOON)
    held = (frame["reason"] == "holdout").to_numpy()
    assert 0.2 < held.mean() < 0.4
    assert frame.loc[held, "content_id"].isna().all()
    assert (frame.loc[held, "action_prob"] == 1.0).all()
    assert (chances[held, 1:].sum(axis=1) > 0).any()


def test_eligible_narrows_by_user_or_by_content(policy: Policy) -> None:
    users, contents = tables()
    nobody = np.zeros(len(users), dtype=bool)
    frame = policy.start(users, contents).decide(NOON, eligible=nobody)
    assert frame["content_id"].isna().all()
    assert (frame["reason"].isin(["not_eligible", "no_consent", "quiet_hours"])).all()
    only = np.zeros((len(users), len(contents)), dtype=bool)
    only[:, 2] = True
    frame = policy.start(users, contents).decide(NOON, eligible=only)
    assert set(frame["content_id"].dropna()) == {contents["content_id"][2]}
    with pytest.raises(CampaignError, match="eligible"):
        policy.start(users, contents).decide(NOON, eligible=np.ones(3, dtype=bool))


def test_other_customers_and_contents_are_served(policy: Policy) -> None:
    users, contents = tables()
    new = contents.head(3).assign(content_id=["n1", "n2", "n3"], category="garden", extra=1)
    strangers = users.head(5).assign(user_id=range(100, 105), region="space station", unused="x")
    frame = policy.start(strangers, new).decide(NOON)
    assert frame["user_id"].tolist() == [100, 101, 102, 103, 104]
    assert set(frame["content_id"].dropna()) <= {"n1", "n2", "n3"}


def test_missing_features_and_repeated_ids_are_refused(policy: Policy) -> None:
    users, contents = tables()
    with pytest.raises(CampaignError, match=r"users: missing feature column\(s\) age"):
        policy.start(users.drop(columns="age"), contents)
    with pytest.raises(CampaignError, match="occurs more than once"):
        policy.start(pd.concat([users, users.head(1)]), contents)
    with pytest.raises(CampaignError, match="contents: the table is empty"):
        policy.start(users, contents.head(0))


def history(rows: list[tuple[str, str, str | None]], **columns: object) -> pd.DataFrame:
    """A decisions table of the past."""
    return pd.DataFrame(rows, columns=["user_id", "time", "content_id"]).assign(**columns)


def test_history_counts_for_caps_and_ignores_other_users(policy: Policy) -> None:
    user = tables()[0]["user_id"][0]
    content = tables()[1]["content_id"][0]
    past = history([(user, "2025-03-05T08:00", content), ("somebody else", "2025-03-05T08:00", content)])
    session = start(policy, history=past)
    frame = session.decide(NOON)
    assert frame["reason"][0] == "cap_day"
    assert int(session.ledger.current.total[:, 0].sum()) == 1 + int(frame["content_id"].notna().sum())


def test_unlisted_contents_in_history_count_for_caps_and_opt_outs_bind(policy: Policy) -> None:
    first, second = tables()[0]["user_id"][:2]
    past = history(
        [(first, "2025-03-05T08:00", "discontinued"), (second, "2025-02-05T08:00", "discontinued")],
        unsubscribed=[0, 1],
    )
    frame = start(policy, history=past).decide(NOON)
    assert frame["reason"].tolist()[:2] == ["cap_day", "opted_out"]


def test_history_with_events_binds_too(policy: Policy) -> None:
    user, content = tables()[0]["user_id"][0], tables()[1]["content_id"][0]
    events = pd.DataFrame({"user_id": [user], "time": ["2025-03-02T09:00"], "event": ["unsubscribe"]})
    past = {"decisions": history([(user, "2025-03-01T08:00", content)]), "events": events}
    assert start(policy, history=past).decide(NOON)["reason"][0] == "opted_out"


def test_a_send_that_nobody_reports_stays_sent_and_a_null_content_releases_it() -> None:
    policy = make_policy(chooser=Random(1.0))
    session = start(policy)
    frame = session.decide(NOON)
    sent = frame[frame["content_id"].notna()]
    released, kept = sent["user_id"].iloc[0], sent["user_id"].iloc[1]
    session.observe(pd.DataFrame({"user_id": [released], "time": [NOON], "content_id": [None]}))
    later = session.decide(EVENING).set_index("user_id")
    assert later.loc[kept, "reason"] == "cap_day"
    assert later.loc[released, "reason"] == "sent"


def test_an_opt_out_that_is_observed_binds_for_good(policy: Policy) -> None:
    session = start(policy)
    session.decide(NOON)
    user = tables()[0]["user_id"][7]
    session.observe(pd.DataFrame({"user_id": [user], "time": [NOON], "unsubscribed": [1]}))
    for day in range(6, 20):
        assert session.decide(f"2025-03-{day:02d}T12:00")["reason"][7] in {"opted_out", "no_consent"}


def test_a_repeated_row_replaces_the_earlier_one(policy: Policy) -> None:
    session, once = start(policy), start(policy)
    user = tables()[0]["user_id"][4]
    row = {"user_id": [user], "time": [NOON]}
    for s in (session, once):
        s.decide(NOON)
    session.observe(pd.DataFrame({**row, "opened": [1], "unsubscribed": [1]}))
    session.observe(pd.DataFrame({**row, "opened": [1], "unsubscribed": [0]}))
    once.observe(pd.DataFrame({**row, "opened": [1]}))
    for name, tensor in session.ledger.current.tensors().items():
        assert (tensor == once.ledger.current.tensors()[name]).all(), name


def test_reports_in_any_order_give_the_same_history(policy: Policy) -> None:
    one, other = start(policy), start(policy)
    frames = {}
    for time in (NOON, EVENING, "2025-03-06T08:00"):
        frames[time] = one.decide(time)
        other.decide(time)
    reports = []
    for number, (time, frame) in enumerate(frames.items()):
        sent = frame["content_id"].notna()
        report = frame[sent].assign(time=time, opened=1, clicked=number % 2)
        reports.append(report[["user_id", "time", "opened", "clicked"]])
    for report in reports:
        one.observe(report)
    for report in reversed(reports):
        other.observe(report)
    for name, tensor in one.ledger.current.tensors().items():
        assert (tensor == other.ledger.current.tensors()[name]).all(), name


def test_an_empty_report_and_rows_of_strangers_are_legal(policy: Policy) -> None:
    session = start(policy)
    session.decide(NOON)
    before = session.ledger.current.total.clone()
    session.observe(pd.DataFrame({"user_id": [], "time": []}))
    session.observe(pd.DataFrame({"user_id": ["stranger"], "time": [NOON], "opened": [1]}))
    assert (session.ledger.current.total == before).all()


def test_organic_rows_carry_a_null_content(policy: Policy) -> None:
    session = start(policy)
    user = tables()[0]["user_id"][0]
    session.observe(pd.DataFrame({"user_id": [user], "time": [NOON], "content_id": [None], "purchased": [1]}))
    assert session.ledger.current.total[0].tolist() == [0, 0, 0, 0, 1, 1]


@pytest.mark.parametrize(
    ("report", "message"),
    [
        ({"user_id": ["u"]}, "column 'time' is missing"),
        ({"user_id": ["c000"], "time": ["never"]}, "readable as a time stamp"),
        ({"user_id": ["c000"], "time": [NOON], "opened": ["perhaps"]}, "neither 0 nor 1"),
    ],
)
def test_a_report_that_cannot_be_read_is_named(policy: Policy, report: dict[str, list[str]], message: str) -> None:
    session = start(policy)
    session.decide(NOON)
    with pytest.raises(CampaignError, match=message):
        session.observe(pd.DataFrame(report))


def test_a_saved_session_goes_on_as_if_it_had_never_stopped(policy: Policy, tmp_path: Path) -> None:
    session = start(policy)
    frame = session.decide(NOON)
    session.observe(frame.assign(time=NOON, opened=1)[frame["content_id"].notna()][["user_id", "time", "opened"]])
    session.save(tmp_path / "state")
    resumed = policy.resume(tmp_path / "state")
    pd.testing.assert_frame_equal(resumed.decide(NOON), session.decide(NOON))
    for time in (EVENING, "2025-03-07T12:00"):
        pd.testing.assert_frame_equal(resumed.decide(time), session.decide(time))
    with pytest.raises(CampaignError, match=r"no session\.json"):
        policy.resume(tmp_path / "nothing")


def test_old_slots_settle_and_can_no_longer_be_corrected() -> None:
    policy = make_policy(NO_GUARDRAILS)
    session = start(policy)
    for day in pd.date_range("2025-03-05", periods=40, freq="D"):
        session.decide(day + pd.Timedelta(hours=12))
    assert len(session.ledger.records) <= 29
    user = tables()[0]["user_id"][0]
    with pytest.raises(CampaignError, match="more than 28 days"):
        session.observe(pd.DataFrame({"user_id": [user], "time": [NOON], "opened": [1]}))


def test_a_loaded_policy_decides_as_the_saved_one(policy: Policy, tmp_path: Path) -> None:
    again = load_policy(policy.save(tmp_path / "policy"))
    pd.testing.assert_frame_equal(start(again).decide(NOON), start(policy).decide(NOON))
    assert again.guardrails == policy.guardrails
    assert again.user_encoder == policy.user_encoder


def test_damaged_policies_are_refused_by_name(policy: Policy, tmp_path: Path) -> None:
    with pytest.raises(CampaignError, match=r"no policy\.json"):
        load_policy(tmp_path)
    folder = policy.save(tmp_path / "policy")
    (folder / "weights.safetensors").write_bytes(b"not weights")
    with pytest.raises(CampaignError, match=r"weights\.safetensors"):
        load_policy(folder)
    (folder / "policy.json").write_text("{}")
    with pytest.raises(CampaignError, match="not a policy"):
        load_policy(folder)
