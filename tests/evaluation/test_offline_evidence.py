"""Diagnostics where they meet the verdict: wrong probabilities, missing ones, support and twins of a hand-made log."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from evaluation.diagnostics import PROBABILITIES
from evaluation.logged_slots import LoggedSlots
from evaluation.offline import evaluate_offline, refused_entry
from evaluation.offline_evidence import offline_evidence, twins_of
from evaluation.offline_settings import OfflineSettings
from evaluation.slot_context import SlotContext
from tests.evaluation.bandit_worlds import bandit_world

SETTINGS = OfflineSettings(draws=200, twins=10)
NAMES = ("hold", "news", "sale", "gift")


def slots_of(seed: int = 0, customers: int = 3000, horizon: int = 1, fitted: bool = False) -> LoggedSlots:
    """Each slot is a round of the bandit; `good` doubles the chance of the best decision, `own` is the logger."""
    world = bandit_world(seed)
    log, context = world.log(customers * horizon, np.random.default_rng(seed))
    shape = (customers, horizon)
    logging = world.logging[context].reshape(*shape, 4)
    best = np.eye(4)[world.mean.argmax(axis=1)][context].reshape(*shape, 4)
    worst = np.eye(4)[world.mean.argmin(axis=1)][context].reshape(*shape, 4)
    blends = {"good": 0.6 * logging + 0.4 * best, "bad": 0.6 * logging + 0.4 * worst, "own": logging}
    features = np.eye(8)[context].reshape(*shape, 8)
    return LoggedSlots(
        log.action.reshape(shape), log.reward.reshape(shape), log.logged_prob.reshape(shape), np.full(shape, True),
        world.mean[context].reshape(*shape, 4), blends, fitted,
        SlotContext(features, np.zeros(shape, dtype=np.int64), logging if fitted else None),
    )  # fmt: skip


def shuffled(slots: LoggedSlots) -> LoggedSlots:
    probs, generator = slots.logged_prob.copy(), np.random.default_rng(0)
    for decision in range(4):
        rows = slots.action == decision
        probs[rows] = generator.permutation(probs[rows])
    return replace(slots, logged_prob=probs)


@pytest.mark.parametrize("horizon", [1, 2])
def test_probabilities_shuffled_between_rows_block_the_verdict(horizon: int) -> None:
    slots = slots_of(horizon=horizon)
    assert evaluate_offline(slots, SETTINGS, 0)["good"]["verdict"] == "better"
    report = evaluate_offline(shuffled(slots), SETTINGS, 0)
    for name, entry in report.items():
        assert entry["verdict"] == "cannot tell", name
        assert entry["value"] is None
        assert entry["blend"] == 0
        assert "may have been shuffled" in entry["diagnostics"]["refused"]
        assert entry["diagnostics"]["refused_by"] == PROBABILITIES
        assert {found["verdict"] for found in entry.get("against", {}).values()} <= {"cannot tell"}


@pytest.mark.parametrize("horizon", [1, 2])
def test_without_probabilities_the_report_says_where_the_verdict_turns(horizon: int) -> None:
    report = evaluate_offline(slots_of(horizon=horizon, fitted=True), SETTINGS, 0)
    found = report["good"]["sensitivity"]
    assert found["word"] == "better"
    assert found["breakdown"] > 1
    assert report["own"]["sensitivity"]["breakdown"] is None
    assert found["curve"][0]["gamma"] == 1
    assert "sensitivity" not in evaluate_offline(slots_of(horizon=horizon), SETTINGS, 0)["good"]


def test_one_customer_is_told_of_in_every_estimate() -> None:
    slots = slots_of()
    rich = replace(slots, reward=np.where(np.arange(3000)[:, None] == 7, 1e5, slots.reward))
    for found, least in ((slots, 0.0), (rich, 1.0)):
        for entry in evaluate_offline(found, SETTINGS, 0).values():
            assert abs(entry["one_customer"]["change"]) > least
    calm = evaluate_offline(slots, SETTINGS, 0)["good"]["one_customer"]
    assert abs(calm["change"]) < 0.01


def test_evidence_names_contents_and_segments() -> None:
    slots = slots_of()
    users = pd.DataFrame({"user_id": np.arange(3000), "tier": np.where(np.arange(3000) % 3, "gold", "new")})
    found = json.loads(json.dumps(offline_evidence(slots, users, NAMES)))
    assert [row["name"] for row in found["support"]["good"]["contents"]] == list(NAMES)
    assert {row["name"] for row in found["support"]["good"]["segments"]} == {"tier = gold", "tier = new"}
    assert found["probabilities"]["contradicted"] is False
    assert offline_evidence(shuffled(slots), users, NAMES)["probabilities"]["contradicted"] is True
    assert offline_evidence(replace(slots, context=None), users, NAMES) == {"support": None, "probabilities": None}


def test_twins_rank_the_panel_or_say_why_not() -> None:
    found = json.loads(json.dumps(twins_of(slots_of(), SETTINGS, 0)))
    scores = {row["name"]: row for row in found["estimators"]}
    assert found["reason"] is None
    assert (found["twins"], found["rows"], found["policies"]) == (10, 3000, 4)
    assert scores["DR"]["rank_correlation"] > 0.7
    assert scores["DR"]["regret_at_1"] < 0.05
    assert twins_of(slots_of(fitted=True), SETTINGS, 0)["twins"] == 10
    for slots, settings, words in (
        (slots_of(horizon=2), SETTINGS, "several decisions"),
        (slots_of(), OfflineSettings(twins=0), "evaluation.twins is 0"),
        (slots_of(customers=50), SETTINGS, "fewer than 200"),
    ):
        left_out = twins_of(slots, settings, 0)
        assert words in left_out["reason"]
        assert left_out["estimators"] == []


def test_a_refused_estimate_shows_no_figure_by_the_back_door() -> None:
    slots = slots_of(fitted=True)
    rare = replace(slots, logged_prob=np.where(np.arange(3000)[:, None] == 0, 1e-6, slots.logged_prob))
    for entry in evaluate_offline(rare, SETTINGS, 0).values():
        assert entry["diagnostics"]["refused"]
        assert entry["one_customer"] is None
        assert entry.get("sensitivity") is None


def test_wrong_probabilities_also_refuse_whole_horizons_and_their_blends() -> None:
    entry = {"value": 1.0, "low": 0.5, "high": 1.5, "difference": {"value": 0.5}, "blend": 0.3, "verdict": "better",
             "blends": [{"share": 0.3, "low": 0.1}], "diagnostics": {"refused": None, "window": 2}}  # fmt: skip
    found = refused_entry(entry, "they were shuffled")
    assert (found["value"], found["difference"], found["blend"], found["blends"]) == (None, None, 0, [])
    assert (found["verdict"], found["diagnostics"]["refused"]) == ("cannot tell", "they were shuffled")
