"""Promised and delivered, and what two policies decide differently, where both are known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from campaigns.grid import DecisionGrid
from campaigns.guardrails import NO_GUARDRAILS, Guardrails
from campaigns.history import HOLD
from evaluation.changes import changes_by_segment, decision_changes
from evaluation.delivered import delivered, policy_match
from evaluation.intervals import Interval, mean_interval
from evaluation.market_log import write_market_log
from policies.chooser import Chooser
from policies.rules import CapDaypartContent, Never, Random
from tests.worlds import Serves, small_market, small_world

CUSTOMERS = torch.arange(120)


class Guarded(Serves):
    """A chooser with guardrails of its own."""

    def __init__(self, chooser: Chooser, guardrails: Guardrails = NO_GUARDRAILS) -> None:
        super().__init__(chooser)
        self.guardrails = guardrails


@pytest.fixture(scope="module")
def written() -> DecisionGrid:
    """What a policy that sends in three of ten slots wrote in a small market, for two days."""
    return write_market_log(small_market(NO_GUARDRAILS), Serves(Random(0.3)), len(CUSTOMERS), 12, seed=3).grid


def test_a_log_is_told_to_be_its_own_policys_and_not_anothers(written: DecisionGrid) -> None:
    w = small_world()
    log = (written, w.population.take(CUSTOMERS), w.catalogue, w.log.clock)
    mine = policy_match(*log, Serves(Random(0.3)), NO_GUARDRAILS, first=4)
    assert mine.agreeing == 1.0
    assert mine.sends == int((written.decision[:, 4:] > HOLD).sum())
    for other in (Random(0.2), Never(), CapDaypartContent(7, "evening", "favourite")):
        assert not policy_match(*log, Serves(other), NO_GUARDRAILS, first=4).matches


def test_a_log_without_probabilities_contradicts_nobody(written: DecisionGrid) -> None:
    w = small_world()
    blind = DecisionGrid(**{**vars(written), "action_prob": np.full_like(written.action_prob, np.nan)})
    match = policy_match(
        blind, w.population.take(CUSTOMERS), w.catalogue, w.log.clock, Serves(Never()), NO_GUARDRAILS, 0
    )
    assert match.sends == 0
    assert match.matches


def test_what_was_delivered_is_what_customers_earned(written: DecisionGrid) -> None:
    w = small_world()
    cost = w.catalogue.cost.numpy()[0] * (written.decision > HOLD)
    lost = w.objective.unsubscribe_cost * written.outcomes["unsubscribed"]
    earned = (written.outcomes["value"] - cost - lost).sum(axis=1)
    fair = mean_interval(earned * 4.0)  # two days of a horizon of eight
    for promise, verdict in (
        (fair, "as promised"),
        (Interval(fair.value + 1e3, fair.low + 1e3, fair.high + 1e3), "less than promised"),
        (Interval(fair.value - 1e3, fair.low - 1e3, fair.high - 1e3), "more than promised"),
    ):
        found = delivered(written, w.catalogue, w.log.clock, w.objective, promise)
        assert found["days"] == 2
        assert found["delivered"]["value"] == pytest.approx(earned.mean(), rel=1e-5)
        assert found["promised"]["value"] == pytest.approx(promise.value / 4)
        assert found["verdict"] == verdict
    half = np.hypot(fair.high - fair.low, fair.high - fair.low) / 2 / 4  # two independent figures of one width
    assert delivered(written, w.catalogue, w.log.clock, w.objective, fair)["difference"]["high"] == pytest.approx(
        half, rel=1e-3
    )


def test_changed_decisions_are_the_distance_of_two_policies(written: DecisionGrid) -> None:
    w = small_world()
    log = (written, w.population.take(CUSTOMERS), w.catalogue, w.log.clock)
    same = decision_changes(*log, Guarded(Random(0.3)), Guarded(Random(0.3)), first=4)
    assert same.share == 0
    found = decision_changes(*log, Guarded(Random(0.3)), Guarded(Random(0.5)), first=4)
    assert found.share == pytest.approx(0.2, abs=1e-6)  # two in ten holds become sends
    assert found.changed == pytest.approx(0.2 * found.free, rel=1e-4)


def test_a_guardrail_alone_changes_decisions_too(written: DecisionGrid) -> None:
    w = small_world()
    log = (written, w.population.take(CUSTOMERS), w.catalogue, w.log.clock)
    strict = Guarded(Random(1.0), Guardrails(quiet_from=0, quiet_until=23, holdout=0.0))
    assert decision_changes(*log, Guarded(Random(1.0)), strict).share > 0.9


def test_segments_tell_for_whom_it_changes() -> None:
    rng = np.random.default_rng(0)
    tier = np.repeat(["gold", "new", "lone"], [60, 60, 5])
    users = pd.DataFrame({"user_id": range(125), "tier": tier, "noise": rng.permutation(np.tile(["x", "y"], 63)[:125])})
    after = np.where(tier == "gold", 8.0, 4.0) + rng.normal(0, 0.1, 125)
    rows = changes_by_segment(
        users,
        np.arange(125),
        np.where(tier == "gold", 2.0, 0.0),
        np.full(125, 4.0),
        after,
        np.where(tier == "gold", 0.5, 0.0),
        weeks=2,
    )
    by = {row["segment"]: row for row in rows}
    assert "tier = lone" not in by  # five customers are too few to show
    assert by["tier = gold"]["changed"] == 0.5
    assert by["tier = gold"]["sends_before"] == 2.0
    assert by["tier = gold"]["sends_after"] == pytest.approx(4.0, abs=0.05)
    assert by["tier = gold"]["difference"]["value"] == 2.0
    assert by["tier = new"]["difference"]["value"] == 0.0


def test_a_customer_who_takes_part_twice_is_one_customer() -> None:
    tier = np.repeat(["gold", "new"], 12)
    users, sends = pd.DataFrame({"tier": tier}), np.where(tier == "gold", 2.0, 1.0)
    customer = np.concatenate([np.arange(12), 12 + np.arange(12) % 6])  # six of tier new, each twice
    rows = changes_by_segment(users, customer, sends, np.zeros(24), sends, np.zeros(24), weeks=1)
    assert [(row["segment"], row["customers"]) for row in rows] == [("tier = gold", 12)]
