"""A new campaign judged on a log: known truths, and no figure where the log has nothing to say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from campaigns.guardrails import NO_GUARDRAILS
from campaigns.observation import Observation
from campaigns.replay import history_before, replay
from evaluation.logged_slots import LoggedSlots
from evaluation.new_campaign import (
    CAMPAIGN,
    AsLogged,
    Offering,
    Unknown,
    across,
    by_segment,
    campaign_report,
    market_answer,
    sends_by_daypart,
    unknown_shares,
)
from evaluation.offline import collect_slots
from evaluation.offline_settings import OfflineSettings
from policies.rules import Random
from tests.worlds import Serves, small_model, small_world

SETTINGS = OfflineSettings(draws=400)
NAMES = ("a", "b", "new")
VALUES = np.array([1.0, 1.5, 3.0, 2.0])
"""What hold, a, b and the new content earn on average."""
LOGGING = np.array([0.5, 0.3, 0.2, 0.0])


def one_step(target: tuple[float, ...], customers: int = 4000, seed: int = 0, bias: float = 0.3) -> LoggedSlots:
    """A log of one decision each whose truth is VALUES; the reward model is off by `bias` for everything."""
    generator = np.random.default_rng(seed)
    action = generator.choice(4, size=(customers, 1), p=LOGGING)
    reward = VALUES[action] + generator.normal(0, 1, (customers, 1))
    shape = (customers, 1, 4)
    return LoggedSlots(
        action, reward, LOGGING[action], np.ones((customers, 1), dtype=bool),
        np.broadcast_to(VALUES + bias, shape).copy(),
        {CAMPAIGN: np.broadcast_to(target, shape).copy()}, False,
    )  # fmt: skip


def unknown(slots: LoggedSlots, unseen: bool = False, silent: tuple[bool, ...] = (False,) * 4) -> Unknown:
    """The third content is new; everything was sent in the morning."""
    return Unknown(
        np.array([False, False, True]), np.array([False, False, unseen]), np.ones(slots.action.shape, dtype=np.int64),
        np.array(silent),
    )  # fmt: skip


def shares_of(slots: LoggedSlots, about: Unknown) -> dict[str, Any]:
    """What of the campaign rests on what was never logged."""
    return unknown_shares(slots.target[CAMPAIGN], slots.predicted, slots.known, about)


def report(slots: LoggedSlots, about: Unknown) -> dict[str, object]:
    """The campaign's report."""
    return campaign_report(slots, about, NAMES, ("category=garden",), SETTINGS, 0)


# What the log can tell


def test_a_campaign_of_logged_contents_gets_its_true_value_and_a_verdict() -> None:
    slots = one_step((0.2, 0.0, 0.8, 0.0))
    found = report(slots, unknown(slots))
    offline = found["offline"]
    assert isinstance(offline, dict)
    truth = 0.2 * 1.0 + 0.8 * 3.0
    assert offline["low"] < truth < offline["high"]
    assert offline["difference"]["low"] < truth - float(LOGGING @ VALUES) < offline["difference"]["high"]
    assert found["verdict"] == "better"
    assert "The campaign earns" in str(found["sentence"])
    assert found["prediction"] is None
    worse = one_step((0.9, 0.1, 0.0, 0.0))
    assert report(worse, unknown(worse))["verdict"] == "worse"


def test_contents_never_sent_get_a_prediction_and_no_interval() -> None:
    slots = one_step((0.5, 0.0, 0.1, 0.4))
    found = report(slots, unknown(slots))
    assert found["verdict"] == "cannot tell"
    assert "80% of the campaign's sends are contents that were never sent (new)" in str(found["sentence"])
    offline = found["offline"]
    assert isinstance(offline, dict)
    assert offline["value"] is None
    assert offline["low"] is None
    assert offline["difference"] is None
    assert offline["blend"] == 0.0
    assert found["prediction"] == pytest.approx(0.5 * 1.3 + 0.1 * 3.3 + 0.4 * 2.3)


def test_attribute_values_never_logged_are_not_identifiable_and_named() -> None:
    slots = one_step((0.5, 0.0, 0.1, 0.4))
    found = report(slots, unknown(slots, unseen=True))
    assert found["verdict"] == "not identifiable"
    assert "attribute values that no send ever had (category=garden)" in str(found["sentence"])
    # A few of them among many logged ones do not take the estimate away.
    few = one_step((0.2, 0.0, 0.79, 0.01))
    assert report(few, unknown(few, unseen=True))["verdict"] == "better"


def test_times_at_which_nothing_was_ever_sent_are_not_identifiable() -> None:
    slots = one_step((0.2, 0.0, 0.8, 0.0))
    found = report(slots, unknown(slots, silent=(False, True, False, False)))
    assert found["verdict"] == "not identifiable"
    assert "nothing was ever sent (morning)" in str(found["sentence"])


def test_shares_count_sends_and_what_they_gain() -> None:
    slots = one_step((0.5, 0.0, 0.1, 0.4), customers=10)
    shares = shares_of(slots, unknown(slots, unseen=True, silent=(True, False, False, False)))
    assert shares["sends_per_decision"] == pytest.approx(0.5)
    assert shares["new_contents"]["share_of_sends"] == pytest.approx(0.8)
    # 0.4 x (2 - 1) of 0.1 x (3 - 1) + 0.4 x (2 - 1)
    assert shares["unseen_values"]["share_of_gain"] == pytest.approx(0.4 / 0.6)
    assert shares["silent_dayparts"]["share_of_sends"] == 0.0
    nothing = one_step((1.0, 0.0, 0.0, 0.0), customers=10)
    assert shares_of(nothing, unknown(nothing))["unlogged"] == {"share_of_sends": None, "share_of_gain": None}


def test_customers_without_a_labelled_decision_give_no_figure() -> None:
    slots = one_step((0.2, 0.0, 0.8, 0.0), customers=20)
    slots = replace(slots, known=np.zeros_like(slots.known))
    found = report(slots, unknown(slots))
    assert found["offline"] is None
    assert found["verdict"] == "cannot tell"
    assert found["offline_reason"] == found["sentence"]


# Segments and markets


def test_segments_are_those_customers_alone_and_small_ones_are_left_out() -> None:
    slots = one_step((0.2, 0.0, 0.8, 0.0))
    segment = np.zeros(4000, dtype=np.int64)
    segment[:9], segment[9:2000] = 1, 2
    rows, suppressed = by_segment(
        slots, unknown(slots), segment, ("rest", "nine", "many", "nobody"), NAMES, (), SETTINGS, 0
    )  # fmt: skip
    assert [(row["segment"], row["customers"]) for row in rows] == [("rest", 2000), ("many", 1991)]
    assert suppressed == 1
    many = slots.take(np.flatnonzero(segment == 2))
    assert rows[1]["offline"]["value"] == report(many, unknown(many))["offline"]["value"]  # type: ignore[index]


def test_markets_give_a_range_and_no_interval() -> None:
    worlds = {
        "train": market_answer(np.array([2.0, 4.0]), np.array([1.0, 1.0])),
        "judge": market_answer(np.array([1.0, 2.0]), np.array([1.0, 2.0])),
    }
    assert across(worlds)["difference"] == {"low": 0.0, "high": 2.0}
    assert set(worlds["train"]) == {"customers", "campaign", "incumbent", "difference"}


# On a replayed log


def test_an_offering_sends_only_what_is_offered_and_when() -> None:
    w = small_world()
    offered = torch.zeros(len(w.catalogue), dtype=torch.bool)
    offered[2] = True
    first = w.grid.first_slot
    policy = Offering(Serves(Random(1.0)), offered, ((first + 10, first + 12),), shift=8)
    for step in replay(w.grid, w.population, w.catalogue, w.log.clock):
        chances = policy.probabilities_of(step.observation)
        assert torch.allclose(chances.sum(dim=1), torch.ones(len(chances)))
        assert chances[:, 1:][:, ~offered].sum() == 0
        assert bool(chances[:, 3].sum() > 0) == (step.column in (2, 3))
        if step.column > 5:
            break


def test_a_policy_sees_features_as_its_own_encoders_make_them() -> None:
    w = small_world()

    class Looks:
        def probabilities_of(self, observation: Observation) -> torch.Tensor:
            self.seen = observation
            return Random(0.5).probabilities(observation)

    looks, people, contents = Looks(), torch.ones(len(w.population), 2), torch.zeros(len(w.catalogue), 3)
    offered = torch.ones(len(w.catalogue), dtype=torch.bool)
    step = next(iter(replay(w.grid, w.population, w.catalogue, w.log.clock)))
    Offering(looks, offered, customers=people, contents=contents).probabilities_of(step.observation)
    assert looks.seen.population.features is people
    assert looks.seen.catalogue.features is contents
    assert torch.equal(looks.seen.population.consent, w.population.consent)


def test_the_logging_policy_is_asked_without_the_campaigns_guardrails_and_contents() -> None:
    w = small_world()
    logged = torch.ones(len(w.catalogue), dtype=torch.bool)
    logged[-1] = False

    class Asked:
        def probabilities(self, observation: object) -> torch.Tensor:
            self.allowed = observation.allowed  # type: ignore[attr-defined]
            return torch.nn.functional.one_hot(
                torch.zeros(len(self.allowed), dtype=torch.long), len(logged) + 1
            ).float()

    model = Asked()
    seen = next(iter(replay(w.grid, w.population, w.catalogue, w.log.clock, guardrails=NO_GUARDRAILS))).observation
    AsLogged(model, logged).probabilities_of(replace(seen, allowed=torch.zeros_like(seen.allowed)))
    assert model.allowed[:, 1:-1].any()
    assert not model.allowed[:, -1].any()


def test_a_later_stretch_is_judged_with_the_history_before_it() -> None:
    w = small_world()
    policies = {"random": Serves(Random(0.3))}

    class Fitted:
        def probabilities(self, observation: object) -> torch.Tensor:
            raise AssertionError("the log has its probabilities")

    def collected(slots: int, first: int) -> LoggedSlots:
        return collect_slots(
            w.grid, w.population, w.catalogue, w.log.clock, NO_GUARDRAILS, w.objective, policies, small_model(),
            Fitted(), slots, first=first,
        )  # fmt: skip

    whole, part = collected(9, 0), collected(4, 5)
    np.testing.assert_array_equal(part.action, whole.action[:, 5:])
    np.testing.assert_allclose(part.predicted, whole.predicted[:, 5:])
    np.testing.assert_allclose(part.target["random"], whole.target["random"][:, 5:])
    known = part.known & whole.known[:, 5:]
    np.testing.assert_allclose(part.reward[known], whole.reward[:, 5:][known])


def test_history_before_a_slot_is_what_a_replay_knows_there_and_the_last_slot_counts() -> None:
    w = small_world()
    states = [s.observation.history for s in replay(w.grid, w.population, w.catalogue, w.log.clock)]
    asked = (w.grid, w.population, w.catalogue, w.log.clock)
    for column in (0, 1, 7):
        found = history_before(*asked, column)
        assert torch.equal(found.total, states[column].total)
        assert torch.equal(found.content_recent, states[column].content_recent)
    end, beyond = history_before(*asked, w.grid.slots), history_before(*asked, w.grid.slots + 100)
    sends = int((w.grid.decision > 0).sum())
    assert int(end.total[:, 0].sum()) == sends
    assert int(states[-1].total[:, 0].sum()) == sends - int((w.grid.decision[:, -1] > 0).sum())
    assert torch.equal(end.total, beyond.total)


def test_sends_are_counted_by_daypart() -> None:
    decision, daypart = np.array([[0, 2], [1, -1]]), np.array([[0, 1], [1, 3]])
    assert sends_by_daypart(decision, daypart).tolist() == [0, 2, 0, 0]
