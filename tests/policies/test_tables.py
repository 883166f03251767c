"""Tables as callers have them: ids of any type, masks of any kind, other customers, none at all."""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd
import pytest

from campaigns.clock import SlotClock
from campaigns.errors import CampaignError
from campaigns.guardrails import NO_GUARDRAILS, Guardrails
from policies.policy import Policy
from policies.rules import CapDaypartContent, Random
from tests.policies.conftest import make_policy
from tests.worlds import small_world

NOON, EVENING = "2025-03-05T12:00", "2025-03-05T16:00"


def tables(customers: int = 40) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Users, all with consent, and contents of the small world."""
    users = small_world().log.users.head(customers)
    return users.assign(consent_push=True, timezone="UTC"), small_world().log.contents


@pytest.fixture
def sending() -> Policy:
    """Sends to whomever it may."""
    return make_policy(chooser=Random(1.0))


ID_TYPES = {
    "integers": pd.Series(range(1, 41)),
    "numpy integers": pd.Series(np.arange(1, 41, dtype=np.int32)),
    "nullable integers": pd.Series(range(1, 41), dtype="Int64"),
    "objects": pd.Series(list(range(1, 41)), dtype=object),
    "text": pd.Series([f"u{i}" for i in range(40)]),
    "text of objects": pd.Series([f"u{i}" for i in range(40)], dtype=object),
    "arrow text": pd.Series([f"ü {i}" for i in range(40)], dtype="string[pyarrow]"),
    "categories": pd.Series([f"u{i}" for i in range(40)], dtype="category"),
    "mixed": pd.Series([1, "1", 2.5, "zwei", *range(10, 46)], dtype=object),
}


@pytest.mark.parametrize("kind", ID_TYPES)
def test_user_ids_keep_their_type_and_are_found_again(sending: Policy, kind: str) -> None:
    users, contents = tables()
    ids = ID_TYPES[kind]
    session = sending.start(users.assign(user_id=ids.set_axis(users.index)), contents)
    frame = session.decide(NOON)
    assert frame["user_id"].dtype == ids.dtype
    assert frame["user_id"].tolist() == ids.tolist()
    assert [type(i) for i in frame["user_id"]] == [type(i) for i in ids]
    released = frame[frame["content_id"].notna()].head(3).assign(time=NOON, content_id=None)
    session.observe(released[["user_id", "time", "content_id"]])
    assert (session.decide(EVENING).loc[released.index, "reason"] == "sent").all()


@pytest.mark.parametrize(
    "ids",
    [[1, 2, 3], ["a", "b", "c"], [1, "1", "c"], pd.array([1, 2, 3], dtype="Int64"), pd.Categorical(["x", "y", "z"])],
)
def test_content_ids_keep_their_type_and_null_is_none(sending: Policy, ids: object) -> None:
    users, contents = tables()
    contents = contents.head(3).assign(content_id=ids)
    frame = sending.start(users, contents).decide(NOON)
    given = list(contents["content_id"])
    assert {(type(c), c) for c in frame["content_id"].dropna()} <= {(type(c), c) for c in given}
    frame = sending.start(users, contents).decide(NOON, eligible=np.zeros(len(users), dtype=bool))
    assert frame["content_id"].tolist() == [None] * len(users)


@pytest.mark.parametrize("null", [None, np.nan, pd.NA, pd.NaT])
def test_any_null_content_releases(sending: Policy, null: object) -> None:
    session = sending.start(*tables())
    user = session.decide(NOON)["user_id"].iloc[0]
    session.observe(pd.DataFrame({"user_id": [user], "time": [NOON], "content_id": [null]}))
    assert session.decide(EVENING)["reason"][0] == "sent"


def test_ids_that_went_through_csv_are_still_those_customers(sending: Policy) -> None:
    users, contents = tables()
    users = users.assign(user_id=range(40))
    contents = contents.assign(content_id=range(len(contents)))
    past = pd.DataFrame({"user_id": ["0", "1"], "time": ["2025-03-05T08:00"] * 2, "content_id": [2.0, np.nan]})
    session = sending.start(users, contents, history=past)
    assert session.ledger.current.total[:2, 0].tolist() == [1, 0]
    assert session.ledger.current.content_recent[0, 2, 0] == sending.clock.slot("2025-03-05T08:00")


def test_row_labels_of_the_callers_tables_do_not_matter(sending: Policy) -> None:
    users, contents = tables()
    plain = sending.start(users, contents).decide(NOON)
    labelled = sending.start(users.set_axis(range(100, 140)), contents.set_index("content_id", drop=False)).decide(NOON)
    pd.testing.assert_frame_equal(plain, labelled)
    assert isinstance(labelled.index, pd.RangeIndex)


def test_draws_depend_on_the_user_alone(sending: Policy) -> None:
    policy = make_policy(chooser=Random(0.5))
    users, contents = tables(300)
    everyone = policy.start(users, contents).decide(NOON).set_index("user_id")
    mixed = users.sample(frac=0.4, random_state=0)
    some = policy.start(mixed, contents).decide(NOON).set_index("user_id")
    pd.testing.assert_frame_equal(everyone.loc[some.index], some)


def masks(wanted: np.ndarray) -> dict[str, object]:
    """The same mask as callers may have it."""
    return {
        "array": wanted,
        "list": wanted.tolist(),
        "frame": pd.DataFrame(wanted) if wanted.ndim == 2 else pd.Series(wanted),
        "nullable": pd.DataFrame(wanted).astype("boolean") if wanted.ndim == 2 else pd.Series(wanted, dtype="boolean"),
        "objects": wanted.astype(object),
        "column-major": np.asfortranarray(wanted),
        "read-only view": np.broadcast_to(wanted, wanted.shape),
    }


@pytest.mark.parametrize("kind", masks(np.zeros(1, dtype=bool)))
@pytest.mark.parametrize("by_content", [False, True])
def test_a_mask_of_any_kind_means_the_same(sending: Policy, kind: str, by_content: bool) -> None:
    users, contents = tables()
    shape = (len(users), len(contents)) if by_content else (len(users),)
    wanted = np.random.default_rng(0).random(shape) < 0.3
    session = sending.start(users, contents)
    mask = masks(wanted)[kind]
    chances = session.probabilities(NOON, eligible=mask)  # type: ignore[arg-type]
    assert (chances[:, 1:] > 0).sum() > 0
    assert not (chances[:, 1:] > 0)[~(wanted if by_content else wanted[:, None].repeat(len(contents), 1))].any()
    frame = session.decide(NOON, eligible=mask)  # type: ignore[arg-type]
    np.testing.assert_allclose(chances.sum(axis=1), 1, atol=1e-6)
    reasons = frame["reason"][~(wanted.any(axis=1) if by_content else wanted)]
    assert (reasons == "not_eligible").all()


@pytest.mark.parametrize(
    "mask",
    [
        np.ones(39, dtype=bool),
        np.ones((40, 3), dtype=bool),
        np.ones(40, dtype=int),
        ["yes"] * 40,
        [True] * 39 + [None],
        pd.Series([True] * 39 + [pd.NA], dtype="boolean"),
        [[True], [True, False]],
        True,
    ],
)
def test_a_mask_that_cannot_be_meant_is_refused(sending: Policy, mask: object) -> None:
    with pytest.raises(CampaignError, match="eligible: got"):
        sending.start(*tables()).decide(NOON, eligible=mask)  # type: ignore[arg-type]


def test_a_mask_labelled_in_another_order_is_refused(sending: Policy) -> None:
    users, contents = tables()
    ids = contents["content_id"].tolist()
    mask = pd.DataFrame(True, index=range(len(users)), columns=ids[::-1])
    with pytest.raises(CampaignError, match="another order"):
        sending.start(users, contents).decide(NOON, eligible=mask)
    assert (sending.start(users, contents).decide(NOON, eligible=mask[ids])["reason"] == "sent").any()


def test_a_second_call_with_another_mask_changes_nothing(sending: Policy) -> None:
    session = sending.start(*tables())
    nobody = np.zeros(40, dtype=bool)
    first = session.decide(NOON)
    chances = session.probabilities(NOON)
    pd.testing.assert_frame_equal(first, session.decide(NOON, eligible=nobody))
    np.testing.assert_array_equal(chances, session.probabilities(NOON, eligible=nobody))
    with pytest.raises(CampaignError, match="eligible: got"):
        session.decide(NOON, eligible=nobody[:3])


def test_probabilities_after_a_decision_are_those_it_was_drawn_from() -> None:
    policy = make_policy(Guardrails(holdout=0.3), chooser=Random(0.4), incumbent=Random(1.0), exploration=0.2)
    users, contents = tables(300)
    before = policy.start(users, contents).probabilities(NOON)
    session = policy.start(users, contents)
    frame = session.decide(NOON)
    np.testing.assert_array_equal(before, session.probabilities(NOON))
    place = {c: 1 + i for i, c in enumerate(contents["content_id"])}
    column = np.array([0 if c is None else place[c] for c in frame["content_id"]])
    free = (frame["reason"] != "holdout").to_numpy()
    np.testing.assert_allclose(frame["action_prob"][free], before[free, column[free]], rtol=1e-12)
    session.decide(EVENING)
    with pytest.raises(CampaignError, match=r"probabilities: .* is not after the latest decision"):
        session.probabilities(NOON)


def test_nobody_to_decide_on_is_legal(sending: Policy) -> None:
    users, contents = tables()
    session = sending.start(users.head(0), contents)
    frame = session.decide(NOON, eligible=[])
    assert list(frame.columns) == ["user_id", "content_id", "action_prob", "reason"]
    assert len(frame) == 0
    assert session.probabilities(EVENING).shape == (0, 1 + len(contents))
    session.observe(pd.DataFrame({"user_id": ["a"], "time": [NOON]}))


def test_one_content_that_may_not_be_sent_is_held(sending: Policy) -> None:
    users, contents = tables()
    session = sending.start(users, contents.head(1))
    assert (session.decide(NOON, eligible=np.zeros((40, 1), dtype=bool))["action_prob"] == 1).all()
    assert (session.decide(EVENING)["reason"] == "sent").all()


@pytest.mark.parametrize(
    ("users", "contents", "message"),
    [
        ([{"user_id": 1}], None, "users: got list"),
        (None, None, "contents: got"),
        (pd.DataFrame({"id": [1]}), "own", "user_id is missing"),
    ],
)
def test_what_is_no_table_is_refused(sending: Policy, users: object, contents: object, message: str) -> None:
    own_users, own_contents = tables()
    users = own_users if users is None else users
    contents = own_contents if contents == "own" or isinstance(users, list) else contents
    with pytest.raises(CampaignError, match=message):
        sending.start(users, contents)  # type: ignore[arg-type]


def test_repeated_columns_and_missing_ids_are_refused(sending: Policy) -> None:
    users, contents = tables()
    with pytest.raises(CampaignError, match="'age' is there more than once"):
        sending.start(pd.concat([users, users[["age"]]], axis=1), contents)
    with pytest.raises(CampaignError, match=r"users\.user_id: missing in row"):
        sending.start(users.assign(user_id=[None, *users["user_id"][1:]]), contents)
    with pytest.raises(CampaignError, match=r"contents: missing feature column\(s\) price_level"):
        sending.start(users, contents.drop(columns="price_level"))
    with pytest.raises(CampaignError, match="seed='x'"):
        sending.start(users, contents, seed="x")  # type: ignore[arg-type]


def test_consent_as_people_write_it_binds_and_gaps_are_told(sending: Policy, caplog: pytest.LogCaptureFixture) -> None:
    users, contents = tables()
    consent = pd.Series(["yes", "no", " TRUE ", "0", None, "perhaps", *["1"] * 34], index=users.index, dtype=object)
    with caplog.at_level(logging.WARNING, "campaign"):
        frame = sending.start(users.assign(consent_push=consent), contents).decide(NOON)
    assert frame["reason"].tolist()[:6] == ["sent", "no_consent", "sent", "no_consent", "sent", "no_consent"]
    assert "missing for 1 customers" in caplog.text
    assert "'perhaps' and 0 more are neither yes nor no" in caplog.text
    with caplog.at_level(logging.WARNING, "campaign"):
        sending.start(users.drop(columns="consent_push"), contents)
    assert "no column consent_push; consent is taken as given" in caplog.text


def test_each_channel_needs_its_own_consent(sending: Policy) -> None:
    users, contents = tables()
    contents = contents.assign(channel=["E-Mail"] * 2 + ["push"] * (len(contents) - 2))
    users = users.assign(consent_push=False, **{"consent_e-mail": True})
    frame = sending.start(users, contents).decide(NOON)
    assert set(frame["content_id"].dropna()) == set(contents["content_id"][:2])


def test_holdout_goes_by_a_stable_hash_of_the_id() -> None:
    policy = make_policy(Guardrails(holdout=0.3), chooser=Random(1.0))
    users, contents = tables(300)
    held = policy.start(users, contents).decide(NOON).set_index("user_id")["reason"] == "holdout"
    again = policy.start(users.sample(frac=1, random_state=1), contents, seed=9).decide(EVENING).set_index("user_id")
    assert ((again["reason"] == "holdout").loc[held.index] == held).all()
    numbers = users.assign(user_id=range(300))
    as_text = numbers.assign(user_id=numbers["user_id"].astype(str))
    reasons = [policy.start(u, contents).decide(NOON)["reason"].tolist() for u in (numbers, as_text)]
    assert reasons[0] == reasons[1]


@pytest.mark.parametrize(
    "time",
    [
        "2025-03-05T12:00Z",
        "2025-03-05T13:00+01:00",
        pd.Timestamp("2025-03-05T07:00", tz="America/New_York"),
        pd.Timestamp("2025-03-05T12:00").to_pydatetime(),
        np.datetime64("2025-03-05T12:00"),
    ],
)
def test_a_slot_can_be_written_in_many_ways(sending: Policy, time: object) -> None:
    session = sending.start(*tables())
    pd.testing.assert_frame_equal(session.decide(time), session.decide(NOON))


@pytest.mark.parametrize("time", ["soon", None, "", 5.5, [NOON], pd.NaT, "2025-03-05T12:00:00.5"])
def test_what_is_no_slot_is_refused(sending: Policy, time: object) -> None:
    with pytest.raises(CampaignError, match="time"):
        sending.start(*tables()).decide(time)


def test_slots_before_1970_are_slots_too(sending: Policy) -> None:
    assert len(sending.start(*tables()).decide("1969-12-31T12:00")) == 40


def test_a_rule_whose_content_is_not_on_offer_sends_nothing_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    users, contents = tables()
    first = str(contents["content_id"].iloc[0])
    policy = make_policy(NO_GUARDRAILS, chooser=CapDaypartContent(5, "any", first))
    assert (policy.start(users, contents).decide(NOON)["content_id"] == first).all()
    with caplog.at_level(logging.WARNING, "campaign"):
        frame = policy.start(users, contents.iloc[1:]).decide(NOON)
    assert frame["content_id"].isna().all()
    assert "is not in the contents table, so it sends nothing" in caplog.text


def test_the_callers_frame_is_his_own(sending: Policy) -> None:
    session = sending.start(*tables())
    first = session.decide(NOON)
    kept = first.copy()
    first.loc[:, "action_prob"] = -1.0
    first.loc[0, "content_id"] = "changed"
    chances = session.probabilities(NOON)
    chances[:] = -1
    pd.testing.assert_frame_equal(session.decide(NOON), kept)
    assert (session.probabilities(NOON) >= 0).all()


def test_an_hour_that_clocks_repeat_is_one_slot_and_one_that_they_skip_is_too() -> None:
    policy = make_policy(chooser=Random(0.5), clock=SlotClock("Europe/Berlin", 1))
    session = policy.start(*tables())
    first = session.decide("2025-03-30T01:00+01:00")
    pd.testing.assert_frame_equal(session.decide("2025-03-30T00:00Z"), first)
    assert len(session.decide("2025-03-30T02:00")) == 40  # no clock shows it; the send goes out at three
    session.decide("2025-03-30T01:00Z")
    summer = session.decide("2025-10-26T02:00+02:00")
    pd.testing.assert_frame_equal(session.decide("2025-10-26T02:00+01:00"), summer)
    with pytest.raises(CampaignError, match="not after"):
        session.decide("2025-10-26T01:00")
