"""What is saved comes back whole or is refused in words; nothing is unpickled, nothing else is overwritten."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from campaigns.errors import CampaignError
from campaigns.guardrails import Guardrails
from policies import Policy, load_policy
from policies.greedy import PropensityGreedy
from policies.rules import Never, Random
from tests.policies.conftest import make_policy
from tests.policies.test_tables import ID_TYPES, tables
from tests.worlds import small_model, small_world

NOON, EVENING = "2025-03-05T12:00", "2025-03-05T16:00"


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A saved policy with weights."""
    chooser = PropensityGreedy(small_model(), small_world().objective)
    return make_policy(chooser=chooser, incumbent=Random(0.5)).save(tmp_path / "policy")


def edited(change: Callable[[dict[str, object]], object]) -> Callable[[Path], object]:
    """Changes policy.json."""

    def damage(folder: Path) -> None:
        stored = json.loads((folder / "policy.json").read_text())
        change(stored)
        (folder / "policy.json").write_text(json.dumps(stored))

    return damage


def overwrite(name: str, data: bytes) -> Callable[[Path], object]:
    """Replaces a file."""
    return lambda folder: (folder / name).write_bytes(data)


def truncate(name: str) -> Callable[[Path], object]:
    """Cuts a file in half."""
    return lambda folder: (folder / name).write_bytes(
        (folder / name).read_bytes()[: (folder / name).stat().st_size // 2]
    )


DAMAGE = {
    "no json": (overwrite("policy.json", b"{"), "not a policy"),
    "binary": (overwrite("policy.json", b"\xff\xfe\x00"), "not a policy"),
    "a list": (overwrite("policy.json", b"[]"), "not a policy"),
    "empty": (overwrite("policy.json", b""), "not a policy"),
    "truncated settings": (truncate("policy.json"), "not a policy"),
    "truncated weights": (truncate("weights.safetensors"), "not the file that policy.json was written with"),
    "pickled weights": (overwrite("weights.safetensors", pickle.dumps({})), "not the file that policy.json"),
    "no weights": (lambda f: (f / "weights.safetensors").unlink(), "missing or not the file"),
    "newer": (edited(lambda s: s.update(schema_version=99)), "schema version 99; .* update this one"),
    "odd version": (edited(lambda s: s.update(schema_version="x")), "schema version 'x'"),
    "no features": (edited(lambda s: s.pop("features")), "damaged"),
    "other features": (edited(lambda s: s["features"]["state"].append("mood")), "other state features .mood."),  # type: ignore[index]
    "no lineage": (edited(lambda s: s.pop("lineage")), "damaged"),
    "no encoder": (edited(lambda s: s.pop("user_encoder")), "damaged"),
    "odd encoder": (edited(lambda s: s.update(user_encoder=3)), "damaged"),
    "no chooser": (edited(lambda s: s.update(chooser=None)), "names no chooser"),
    "unknown kind": (edited(lambda s: s["chooser"].update(kind="oracle")), "unknown kind 'oracle'"),  # type: ignore[attr-defined]
    "other kind": (edited(lambda s: s["chooser"].update(kind="linucb")), "damaged"),  # type: ignore[attr-defined]
    "other sizes": (edited(lambda s: s["chooser"]["settings"]["model"]["spec"].update(width=7)), "damaged"),  # type: ignore[index]
    "unknown rule": (edited(lambda s: s["guardrails"].update(max_per_hour=1)), "damaged.*max_per_hour"),  # type: ignore[attr-defined]
    "impossible rule": (edited(lambda s: s["guardrails"].update(quiet_from=99)), "quiet_from=99"),  # type: ignore[attr-defined]
    "odd mode": (edited(lambda s: s.update(mode="shy")), "policy.mode='shy'"),
    "odd exploration": (edited(lambda s: s.update(exploration="much")), "damaged"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_policy_is_refused_in_words(saved: Path, kind: str) -> None:
    damage, message = DAMAGE[kind]
    damage(saved)
    with pytest.raises(CampaignError, match=message):
        load_policy(saved)


def test_pickled_weights_with_a_matching_hash_are_not_unpickled(saved: Path, tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (Path(tmp_path / "exploded"),))  # type: ignore[return-value]

    from policies.folders import digest

    (saved / "weights.safetensors").write_bytes(pickle.dumps(Bomb()))
    edited(lambda s: s["lineage"].update(weights=digest(saved / "weights.safetensors")))(saved)  # type: ignore[attr-defined]
    with pytest.raises(CampaignError, match="not readable"):
        load_policy(saved)
    assert not (tmp_path / "exploded").exists()


def test_a_policy_that_moved_decides_as_before(saved: Path, tmp_path: Path) -> None:
    before = load_policy(saved).start(*tables()).decide(NOON)
    moved = shutil.move(saved, tmp_path / "elsewhere ü")
    pd.testing.assert_frame_equal(load_policy(str(moved)).start(*tables()).decide(NOON), before)


def test_nothing_but_an_earlier_one_is_replaced(tmp_path: Path) -> None:
    policy = make_policy()
    session = policy.start(*tables())
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    (tmp_path / "file").write_text("mine too")
    for target in (tmp_path / "mine", tmp_path / "file"):
        for save in (policy.save, session.save):
            with pytest.raises(CampaignError, match="something else"):
                save(target)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"
    for _ in range(2):
        session.save(tmp_path / "state")
        policy.save(tmp_path / "policy")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "mine", "policy", "state"]


def outcomes(frame: pd.DataFrame, time: str) -> pd.DataFrame:
    """Every third send is opened, one customer in ten buys."""
    sent = frame["content_id"].notna()
    rows = frame[["user_id", "content_id"]].assign(time=time, opened=(sent & (frame.index % 3 == 0)).astype(int))
    return rows.assign(purchased=(frame.index % 10 == 0).astype(int))


@pytest.mark.parametrize("kind", ID_TYPES)
def test_a_resumed_session_goes_on_bit_for_bit(tmp_path: Path, kind: str) -> None:
    users, contents = tables()
    users = users.assign(user_id=ID_TYPES[kind].set_axis(users.index))
    contents = contents.assign(content_id=ID_TYPES[kind].head(len(contents)).set_axis(contents.index))
    policy = make_policy(Guardrails(holdout=0.1), chooser=Random(0.6))
    session = policy.start(users, contents, seed=5)
    first = session.decide(NOON)
    second = session.decide(EVENING)
    session.save(tmp_path / "state")
    resumed = policy.resume(str(tmp_path / "state"))
    pd.testing.assert_frame_equal(resumed.decide(EVENING), second)
    assert (resumed.probabilities(EVENING) == session.probabilities(EVENING)).all()
    for one in (session, resumed):  # outcomes of before the save arrive after it
        one.observe(outcomes(first, NOON))
    for time in ("2025-03-05T20:00", "2025-03-07T12:00"):
        pd.testing.assert_frame_equal(resumed.decide(time), session.decide(time))
    for name, tensor in session.ledger.tensors().items():
        assert (tensor == resumed.ledger.tensors()[name]).all(), name
    with pytest.raises(CampaignError, match="not after the latest"):
        resumed.decide(NOON)


def test_a_session_of_events_and_old_history_resumes_too(tmp_path: Path) -> None:
    users, contents = tables()
    policy = make_policy()
    user, content = users["user_id"].iloc[0], contents["content_id"].iloc[0]
    decisions = pd.DataFrame(
        {"user_id": user, "time": pd.date_range("2025-01-01", periods=60, freq="D"), "content_id": content}
    )
    events = pd.DataFrame({"user_id": user, "time": ["2025-02-20T03:00"], "event": ["open"], "content_id": [content]})
    session = policy.start(users, contents, history={"decisions": decisions, "events": events})
    session.save(tmp_path / "state")
    resumed = policy.resume(tmp_path / "state")
    late = pd.DataFrame({"user_id": [user], "time": ["2025-02-20T00:00"], "visited": [1]})
    for one in (session, resumed):
        one.observe(late)
    pd.testing.assert_frame_equal(resumed.decide(NOON), session.decide(NOON))
    for name, tensor in session.ledger.current.tensors().items():
        assert (tensor == resumed.ledger.current.tensors()[name]).all(), name


@pytest.mark.parametrize(
    "other",
    [
        lambda p: replace(p, chooser=Never()),
        lambda p: replace(p, chooser=Random(0.4)),
        lambda p: p.with_mode("greedy"),
        lambda p: replace(p, guardrails=Guardrails(max_per_week=4, holdout=0.0)),
        lambda p: replace(p, incumbent=Random(0.5), exploration=0.1),
    ],
)
def test_another_policy_does_not_resume_it(tmp_path: Path, other: Callable[[Policy], Policy]) -> None:
    policy = make_policy()
    policy.start(*tables()).save(tmp_path / "state")
    with pytest.raises(CampaignError, match="saved by another policy"):
        other(policy).resume(tmp_path / "state")
    loaded = load_policy(policy.save(tmp_path / "policy"))
    assert len(loaded.resume(tmp_path / "state").decide(NOON)) == 40
    assert replace(policy, recommended=True, name="renamed").fingerprint == policy.fingerprint


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (truncate("state.safetensors"), r"not the file that session\.json was written with"),
        (truncate("users.parquet"), r"not the file that session\.json was written with"),
        (lambda f: (f / "contents.parquet").unlink(), "damaged"),
        (truncate("session.json"), "not a saved session"),
        (overwrite("session.json", b'{"session_version": 2}'), "not a saved session"),
        (overwrite("session.json", b'{"session_version": 9}'), "session version 9"),
        (overwrite("session.json", b"[]"), "not a saved session"),
        (lambda f: (f / "session.json").unlink(), r"no session\.json"),
    ],
)
def test_a_damaged_session_is_refused_in_words(tmp_path: Path, damage: Callable[[Path], object], message: str) -> None:
    policy = make_policy()
    session = policy.start(*tables())
    session.decide(NOON)
    damage(session.save(tmp_path / "state"))
    with pytest.raises(CampaignError, match=message):
        policy.resume(tmp_path / "state")


def test_a_session_names_no_file_outside_its_folder(tmp_path: Path) -> None:
    policy = make_policy()
    state = policy.start(*tables()).save(tmp_path / "state")
    meta = json.loads((state / "session.json").read_text())
    meta["files"]["../secret"] = "0"
    (state / "session.json").write_text(json.dumps(meta))
    with pytest.raises(CampaignError, match=r"not the file that session\.json was written with"):
        policy.resume(state)


def test_ids_that_cannot_be_written_down_are_refused(tmp_path: Path) -> None:
    users, contents = tables()
    ids = [*users["user_id"][1:], pd.Timestamp("2025-01-01")]
    with pytest.raises(CampaignError, match="users: ids of type Timestamp"):
        make_policy().start(users.assign(user_id=ids), contents).save(tmp_path / "state")
    assert list(tmp_path.iterdir()) == []
