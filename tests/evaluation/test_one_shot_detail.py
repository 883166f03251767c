"""Behind a one-shot estimate: estimators near the truth, three kinds of interval, blends, and customers' spread."""

from __future__ import annotations

import numpy as np
import pytest

from evaluation.blend import blend_curve
from evaluation.logged_slots import LoggedSlots
from evaluation.offline import evaluate_offline
from evaluation.offline_evidence import one_shot_details
from evaluation.offline_settings import OfflineSettings
from evaluation.one_shot_detail import detail_of, distributions, estimators_of_one_decision

SETTINGS = OfflineSettings(draws=300)
LOGGING, VALUES = np.array([0.4, 0.3, 0.3]), np.array([1.0, 2.0, 3.0])
TARGET = np.array([0.2, 0.2, 0.6])
KINDS = ("hold", "mail", "mail")


def log(customers: int = 3000, seed: int = 0) -> LoggedSlots:
    """One decision a customer, a model that is somewhat off, and three policies, of which one was never followed."""
    generator = np.random.default_rng(seed)
    action = generator.choice(3, size=(customers, 1), p=LOGGING)
    reward = VALUES[action] + generator.normal(0, 1, action.shape)
    shape = (customers, 1, 3)
    prob = LOGGING[action]
    targets = {"new": TARGET, "first": np.array([1.0, 0.0, 0.0])}
    slots = {name: np.broadcast_to(target, shape).copy() for name, target in targets.items()}
    return LoggedSlots(action, reward, prob, np.ones(action.shape, bool), np.broadcast_to(VALUES + 0.3, shape), slots,
                       False)  # fmt: skip


def test_every_estimator_has_three_intervals_that_hold_the_truth() -> None:
    truth, detail = float(TARGET @ VALUES), detail_of(log(), "new", SETTINGS, 0)
    assert list(detail["estimators"]) == [e.name for e in estimators_of_one_decision()]
    for name, entry in detail["estimators"].items():
        if name == "DM":  # the model is off by .3, and its interval knows nothing of it
            assert entry["value"] == pytest.approx(truth + 0.3, abs=0.01)
            continue
        ranges = [entry, entry["student"], *([entry["bernstein"]] if entry["bernstein"] else [])]
        assert all(found["low"] <= truth <= found["high"] for found in ranges), name
        assert (entry["bernstein"] is None) == (name in {"SNIPS", "SNDR"})
        if entry["bernstein"]:
            assert entry["bernstein"]["high"] - entry["bernstein"]["low"] > entry["high"] - entry["low"]
        assert entry["tuned"] == ("SLOPE" in name)
        assert entry["low"] <= entry["value"] <= entry["high"]


def test_the_verdicts_own_estimate_is_among_them_with_the_same_draws() -> None:
    report = evaluate_offline(log(), SETTINGS, 3)["new"]
    entry = detail_of(log(), "new", SETTINGS, 3)["estimators"]["DR"]
    for key in ("value", "low", "high"):
        assert entry[key] == pytest.approx(report[key])


def test_blends_are_those_of_the_curve_over_slots() -> None:
    slots = log()
    curve, _ = blend_curve(slots, "new", SETTINGS, 0)
    for mine, theirs in zip(detail_of(slots, "new", SETTINGS, 0)["blends"], curve, strict=True):
        assert mine["share"] == theirs["share"]
        for key in ("value", "low", "high"):
            assert mine[key] == pytest.approx(theirs["band"][key])


def test_contents_are_also_weighed_by_what_they_are_like_where_some_are_alike() -> None:
    slots = log()
    logging = np.tile(LOGGING, (len(slots.action), 1))
    assert {"MIPS", "OffCEM"} <= set(detail_of(slots, "new", SETTINGS, 0, KINDS, logging)["estimators"])
    assert "MIPS" not in detail_of(slots, "new", SETTINGS, 0, ("hold", "mail", "push"), logging)["estimators"]


def test_value_is_spread_over_customers_as_under_the_policy() -> None:
    """What holding earns is N(1, 1): its quantiles and the mean of the worst quarter are known."""
    found = distributions(log(6000), ["first"], SETTINGS, 0)
    known = {0.05: -0.645, 0.5: 1.0, 0.95: 2.645}
    for point in found["first"]["quantiles"]:
        if point["share"] in known:
            assert point["low"] < known[point["share"]] < point["high"]
            assert point["value"] == pytest.approx(known[point["share"]], abs=0.15)
    worst = {point["share"]: point for point in found["first"]["worst"]}
    assert worst[0.25]["value"] == pytest.approx(1 - 1.271, abs=0.1)
    assert worst[0.05]["value"] < worst[0.25]["value"]
    assert found["incumbent"]["quantiles"][2]["value"] > found["first"]["quantiles"][2]["value"]


def test_refused_policies_have_no_detail() -> None:
    slots = log()
    shape = slots.predicted.shape
    slots.target["odd"] = np.broadcast_to([0.0, 1.0, 0.0], shape).copy()
    slots.logged_prob[slots.action == 1] = 0.9  # so that the mean weight is a third
    report = evaluate_offline(slots, SETTINGS, 0)
    fuller, spread = one_shot_details(slots, report, SETTINGS, 0, None)
    assert fuller["odd"]["diagnostics"]["refused"]
    assert fuller["odd"]["estimators"] == {}
    assert "odd" not in spread
