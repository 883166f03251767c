"""From a sequential log to a verdict: against the truth, with forced holds, without probabilities, and refused."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from campaigns.grid import DecisionGrid
from campaigns.guardrails import NO_GUARDRAILS, Guardrails
from campaigns.history import ABSENT, HOLD
from campaigns.logging_policy import LoggingPolicyModel, LoggingPolicySpec, fit_logging_policy
from campaigns.objective import Objective
from envs.market import Market
from evaluation.blend import blend_curve
from evaluation.logged_slots import LoggedSlots
from evaluation.offline import collect_slots, evaluate_offline, logged_rewards
from evaluation.offline_settings import OfflineSettings
from evaluation.rollout import rollout
from evaluation.slot_context import SlotContext
from policies.following import Decides
from propensity.model import PropensityModel
from tests.envs.hand_made import BAD, GOOD, Law, hand_made_market, hand_made_model, its_objective
from tests.envs.market_logs import Tilted, write_grid
from tests.evaluation.bandit_worlds import z_score

LAW = Law(leaves=0.02)
SLOTS = 6
LOGGER = Tilted([0.4, 0.2, 0.2, 0.2])
TARGET = Tilted([0.5, 0.15, 0.15, 0.2], evening=[0.2, 0.5, 0.1, 0.2])
OBJECTIVE = replace(its_objective(), unsubscribe_cost=2.0)
SETTINGS = OfflineSettings(first_slots=SLOTS, draws=200)


@cache
def market() -> Market:
    """A pool of 1,500 customers."""
    small = hand_made_market(LAW, cost=0.5)
    return replace(small, pool=small.pool.take(np.tile(np.arange(len(small.pool)), 5)))


def incumbent() -> LoggingPolicyModel:
    """A logging policy that is never asked, or that answers one half for any send."""
    people, contents = market().pool.features.shape[1], market().catalogue.features.shape[1]
    return LoggingPolicyModel(LoggingPolicySpec(people, contents), tuple(map(str, market().catalogue.ids))).eval()


def collect(
    grid: DecisionGrid,
    policies: dict[str, Decides],
    *,
    guardrails: Guardrails = NO_GUARDRAILS,
    objective: Objective = OBJECTIVE,
    model: PropensityModel | None = None,
    logging_policy: LoggingPolicyModel | None = None,
) -> LoggedSlots:
    world = market()
    people = world.pool.take(np.arange(len(grid.decision)))
    return collect_slots(
        grid, people, world.catalogue, world.clock, guardrails, objective, policies, model or world.model,
        logging_policy or incumbent(), SLOTS,
    )  # fmt: skip


@cache
def log_of(seed: int = 0) -> DecisionGrid:
    return write_grid(market(), LOGGER, SLOTS + 2, seed)


@cache
def worth(policy: Tilted, slots: int = SLOTS) -> float:
    """A policy's true value over the first slots."""
    return float(rollout(market(), policy, OBJECTIVE, 4 * len(market().pool), seed=11, slots=slots).value.mean())


@pytest.mark.parametrize("gain", [2.0, -3.0], ids=["right model", "wrong model"])
def test_values_over_the_first_slots_are_unbiased_whatever_the_model(gain: float) -> None:
    model = hand_made_model(replace(LAW, gain=gain), market().pool)
    estimates = []
    for seed in range(12):
        slots = collect(log_of(seed), {"target": TARGET}, model=model)
        estimates.append(evaluate_offline(slots, SETTINGS, seed)["target"]["value"])
    assert abs(z_score(np.array(estimates), worth(TARGET))) < 4
    # The policy is far enough from the logger for the test to tell them apart.
    assert abs(worth(TARGET) - worth(LOGGER)) > 3 * np.std(estimates)


def test_a_right_model_makes_the_interval_narrower_and_the_verdict_follows() -> None:
    reports = {}
    for name, gain in (("right", 2.0), ("wrong", -3.0)):
        model = hand_made_model(replace(LAW, gain=gain), market().pool)
        reports[name] = evaluate_offline(collect(log_of(), {"target": TARGET}, model=model), SETTINGS, 0)["target"]
    widths = {name: report["high"] - report["low"] for name, report in reports.items()}
    assert widths["right"] < widths["wrong"]
    found = reports["right"]
    assert found["low"] < worth(TARGET) < found["high"]
    assert found["estimator"] == "per-decision DR"
    assert found["horizon_slots"] == SLOTS
    assert found["verdict"] == "better"
    assert found["difference"]["low"] > 0


def test_the_logging_policy_itself_is_worth_what_was_logged() -> None:
    slots = collect(log_of(), {"same": LOGGER})
    report = evaluate_offline(slots, SETTINGS, 0)["same"]
    assert report["difference"]["low"] < 0 < report["difference"]["high"]
    assert report["verdict"] == "cannot tell"
    assert report["diagnostics"]["mean_weight"] == pytest.approx(1.0, rel=1e-5)
    without_model = replace(slots, predicted=np.zeros_like(slots.predicted))
    logged = logged_rewards(log_of(), market().catalogue, OBJECTIVE, SLOTS).sum(axis=1).mean()
    assert evaluate_offline(without_model, SETTINGS, 0)["same"]["value"] == pytest.approx(logged, rel=1e-4)


def test_rewards_are_margin_less_sends_and_opt_outs() -> None:
    grid, contents = log_of(), market().catalogue
    earned = logged_rewards(grid, contents, OBJECTIVE, SLOTS)
    for row, slot in ((0, 0), (3, 2), (40, 5), (77, 1)):
        sent = grid.decision[row, slot] > HOLD
        by_hand = grid.outcomes["value"][row, slot] - 0.5 * sent - 2.0 * grid.outcomes["unsubscribed"][row, slot]
        assert earned[row, slot] == pytest.approx(by_hand)
    counted = logged_rewards(grid, contents, Objective(outcome="opened"), SLOTS)
    np.testing.assert_array_equal(counted, grid.outcomes["opened"][:, :SLOTS])


def test_forced_holds_weigh_one_and_leave_the_estimate_unbiased() -> None:
    class WhereEligible:
        """The target as the market can play it: each customer and slot is open to it with even chances."""

        def probabilities_of(self, observation):  # type: ignore[no-untyped-def]
            chances = 0.5 * TARGET.probabilities_of(observation)
            chances[:, 0] += 0.5
            return chances

    estimates = []
    for seed in range(12):
        grid = write_grid(market(), LOGGER, SLOTS, seed, eligible=0.5)
        slots = collect(grid, {"target": TARGET})
        forced = ~grid.eligible[:, :SLOTS]
        assert (slots.target["target"][forced][:, 0] == 1).all()
        assert (slots.logged_prob[forced] == 1).all()
        estimates.append(evaluate_offline(slots, SETTINGS, seed)["target"]["value"])
    truth = rollout(market(), WhereEligible(), OBJECTIVE, 4 * len(market().pool), seed=11, slots=SLOTS).value.mean()
    assert abs(z_score(np.array(estimates), float(truth))) < 4


def test_unknown_probabilities_are_fitted_and_said_to_be() -> None:
    grid = log_of()
    unknown = replace(grid, action_prob=np.full_like(grid.action_prob, np.nan))
    fitted = fit_logging_policy(unknown, market().pool, market().catalogue, market().clock, seed=0)
    slots = collect(unknown, {"target": TARGET}, logging_policy=fitted)
    assert slots.fitted
    assert not collect(grid, {"target": TARGET}).fitted
    error = slots.logged_prob[slots.known] - grid.action_prob[:, :SLOTS][slots.known]
    assert abs(float(error.mean())) < 0.02
    assert float(np.abs(error).mean()) < 0.06
    assert evaluate_offline(slots, SETTINGS, 0)["target"]["value"] == pytest.approx(worth(TARGET), rel=0.1)


def test_fitted_probabilities_are_not_bound_by_the_guardrails_of_the_policies_that_are_judged() -> None:
    grid = log_of()
    unknown = replace(grid, action_prob=np.full_like(grid.action_prob, np.nan))
    silent = Guardrails("silent", 0, 24, 0, 0, 0.0, 0.0, 0, 0, 0.0)  # may never send; the logger did
    fitted = fit_logging_policy(unknown, market().pool, market().catalogue, market().clock, seed=0)
    bound, free = (
        collect(unknown, {"never": Tilted([1.0, 0, 0, 0])}, guardrails=rules, logging_policy=fitted)
        for rules in (silent, NO_GUARDRAILS)
    )
    np.testing.assert_allclose(bound.logged_prob, free.logged_prob)
    chosen = (bound.action == HOLD) & (grid.action_prob[:, :SLOTS] < 1)  # an opt-out forces holds
    assert bound.logged_prob[chosen].max() < 0.9


def test_what_is_ineligible_or_refused_was_held_for_certain_in_a_fitted_log() -> None:
    grid = write_grid(market(), LOGGER, SLOTS, 3, eligible=0.7)
    unknown = replace(grid, action_prob=np.where(grid.eligible, np.nan, 1.0).astype(np.float32))
    slots = collect(unknown, {"target": TARGET})
    assert slots.fitted
    assert (slots.logged_prob[~grid.eligible] == 1).all()
    assert (slots.logged_prob[grid.eligible & (grid.decision == HOLD)] < 1).mean() > 0.9


def test_a_policy_far_from_the_log_is_refused_without_a_figure() -> None:
    shy = Tilted([0.97, 0.01, 0.01, 0.01])
    grid = write_grid(market(), shy, SLOTS, 5)
    slots = collect(grid, {"pushy": Tilted([0.0, 1.0, 0.0, 0.0]), "shy": shy})
    report = evaluate_offline(slots, SETTINGS, 0)
    refused = report["pushy"]
    assert refused["diagnostics"]["refused"]
    assert refused["verdict"] == "cannot tell"
    assert [refused[key] for key in ("value", "low", "high", "difference")] == [None] * 4
    assert refused["blend"] == 0.0
    assert report["shy"]["value"] is not None


def test_a_sequence_is_read_up_to_its_first_gap_and_newcomers_count_for_nobody() -> None:
    grid = log_of()
    decision, prob = grid.decision.copy(), grid.action_prob.copy()
    decision[:500, 0], prob[:500, 0] = ABSENT, np.nan  # not there yet in the first slot
    decision[500:900, 3], prob[500:900, 3] = ABSENT, np.nan
    labelled = grid.labelled.copy()
    labelled[900:1000, 4] = False
    holed = replace(grid, decision=decision, action_prob=prob, labelled=labelled)
    slots = collect(holed, {"same": LOGGER})
    assert slots.known.sum(axis=1).tolist() == [0] * 500 + [3] * 400 + [4] * 100 + [SLOTS] * 500
    earned = logged_rewards(grid, market().catalogue, OBJECTIVE, SLOTS)
    expected = np.where(slots.known, earned, 0.0)[500:].sum() / 1000
    slots = replace(slots, predicted=np.zeros_like(slots.predicted))
    assert evaluate_offline(slots, SETTINGS, 0)["same"]["value"] == pytest.approx(expected, rel=1e-4)
    nobody = replace(slots, known=np.zeros_like(slots.known))
    assert evaluate_offline(nobody, SETTINGS, 0) == {}


def test_a_lost_outcome_is_predicted_and_not_taken_for_a_zero() -> None:
    grid = log_of()
    generator = np.random.default_rng(0)
    lost = generator.random(grid.decision.shape) < 0.3
    value, bought = grid.outcomes["value"].copy(), grid.outcomes["purchased"].copy()
    value[lost] = bought[lost] = np.nan
    holed = replace(grid, outcomes=grid.outcomes | {"value": value, "purchased": bought})
    slots = collect(holed, {"target": TARGET})
    assert np.isfinite(slots.reward).all()
    assert evaluate_offline(slots, SETTINGS, 0)["target"]["value"] == pytest.approx(worth(TARGET), rel=0.08)
    # Without a purchase no value is to be expected: such a blank is a 0.
    blank = np.where(grid.outcomes["purchased"] == 0, np.nan, grid.outcomes["value"]).astype(np.float32)
    natural = replace(grid, outcomes=grid.outcomes | {"value": blank})
    np.testing.assert_array_equal(collect(natural, {}).reward, collect(grid, {}).reward)


def test_one_slot_logs_are_compared_by_one_step_estimators_and_with_each_other() -> None:
    grid = log_of()
    first = replace(
        grid, decision=grid.decision[:, :1], action_prob=grid.action_prob[:, :1], eligible=grid.eligible[:, :1],
        labelled=grid.labelled[:, :1], outcomes={name: v[:, :1] for name, v in grid.outcomes.items()},
        happened={name: v[:, :1] for name, v in grid.happened.items()},
        happened_content={name: v[:, :1] for name, v in grid.happened_content.items()},
    )  # fmt: skip
    arms = {"good": Tilted([0.0, 1.0, 0.0, 0.0]), "bad": Tilted([0.0, 0.0, 1.0, 0.0]), "never": Tilted([1.0, 0, 0, 0])}
    report = evaluate_offline(collect(first, arms), SETTINGS, 0)
    for name, decision in (("good", GOOD), ("bad", BAD), ("never", HOLD)):
        entry = report[name]
        taken = first.decision[:, 0] == decision
        mean = logged_rewards(first, market().catalogue, OBJECTIVE, 1)[taken, 0].mean()
        assert entry["estimators"]["SNIPS"]["value"] == pytest.approx(mean, rel=1e-5)
        assert entry["low"] < worth(arms[name], slots=1) < entry["high"]
        assert set(entry["against"]) == set(arms) - {name}
    assert report["bad"]["verdict"] == "worse"
    assert report["never"]["against"]["bad"]["verdict"] == "better"
    forward, back = report["never"]["against"]["bad"], report["bad"]["against"]["never"]
    assert forward["value"] == pytest.approx(-back["value"])


def test_a_policy_is_not_called_better_than_one_whose_own_estimate_is_refused() -> None:
    """`bad` was hardly ever logged: the estimate of sending it is refused, and so is any comparison with it."""
    generator = np.random.default_rng(0)
    rows, logged = 4000, np.array([0.5, 0.498, 0.002])
    action = generator.choice(3, size=(rows, 1), p=logged)
    reward = np.array([1.0, 2.0, 0.0])[action] + generator.normal(0, 0.5, (rows, 1))
    arms = {name: np.tile(np.eye(3)[k], (rows, 1, 1)) for k, name in enumerate(("never", "good", "bad"))}
    slots = LoggedSlots(
        action, reward, logged[action], np.ones((rows, 1), dtype=bool), np.zeros((rows, 1, 3)), arms, False
    )
    report = evaluate_offline(slots, SETTINGS, 0)
    assert report["bad"]["verdict"] in {"cannot tell", "not identifiable"}
    assert report["good"]["against"]["never"]["verdict"] == "better"
    assert report["never"]["against"]["good"]["verdict"] == "worse"
    assert report["good"]["against"]["bad"]["verdict"] == "cannot tell"
    assert report["bad"]["against"]["good"]["verdict"] in {"cannot tell", "not identifiable"}


def test_a_policy_that_decides_as_was_logged_gains_exactly_nothing() -> None:
    """Rounding of its weights is no difference, and makes no interval."""
    generator = np.random.default_rng(1)
    action, rounded = generator.integers(0, 3, (900, 1)), float(np.float32(1 / 3))
    targets = {"random": np.full((900, 1, 3), 1 / 3), "other": np.tile([0.3, 0.3, 0.4], (900, 1, 1))}
    slots = LoggedSlots(
        action, generator.random((900, 1)), np.full((900, 1), rounded), np.ones((900, 1), dtype=bool),
        np.zeros((900, 1, 3)), targets, False,
    )  # fmt: skip
    report = evaluate_offline(slots, SETTINGS, 0)
    assert report["random"]["difference"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert report["random"]["verdict"] == "cannot tell"
    assert report["other"]["difference"]["low"] < report["other"]["difference"]["high"]


@pytest.mark.parametrize("slots", [1, 2])
def test_pairs_who_are_copies_of_each_other_make_intervals_wider_by_the_root_of_two(slots: int) -> None:
    """A household is drawn as one: 400 couples are 400 observations, not 800."""
    generator = np.random.default_rng(3)
    action = generator.integers(0, 3, (400, slots)).repeat(2, axis=0)
    reward = generator.normal(1.0, 1.0, (400, slots)).repeat(2, axis=0) + action
    apart = LoggedSlots(
        action, reward, np.full(action.shape, 1 / 3), np.ones(action.shape, dtype=bool), np.ones((*action.shape, 3)),
        {"target": np.broadcast_to([0.2, 0.3, 0.5], (*action.shape, 3))}, False,
    )  # fmt: skip
    together = replace(apart, group=np.arange(400).repeat(2))
    settings = replace(SETTINGS, draws=2000)
    found = [evaluate_offline(s, settings, 0)["target"] for s in (apart, together)]
    for read in (lambda entry: entry, lambda entry: entry["difference"]):
        widths = [read(entry)["high"] - read(entry)["low"] for entry in found]
        assert widths[1] / widths[0] == pytest.approx(2**0.5, rel=0.06)
    curves = [blend_curve(s, "target", settings, 0)[0][0]["difference"] for s in (apart, together)]
    assert (curves[1]["high"] - curves[1]["low"]) / (curves[0]["high"] - curves[0]["low"]) == pytest.approx(
        2**0.5, rel=0.06
    )


def test_collected_slots_know_the_customers_households() -> None:
    world = market()
    pool = replace(world.pool.take(np.arange(100)), group=torch.arange(100) // 2)
    slots = collect_slots(
        log_of().take(np.arange(100)), pool, world.catalogue, world.clock, NO_GUARDRAILS, OBJECTIVE,
        {"target": TARGET}, world.model, incumbent(), 1,
    )  # fmt: skip
    assert slots.units.tolist() == (np.arange(100) // 2).tolist()
    assert slots.take(np.array([4, 9])).units.tolist() == [2, 4]


def test_what_sequences_hold_that_the_log_never_does_is_not_identifiable() -> None:
    """Nobody ever got the last content: a policy that sends it in a third of the slots is not told, with or without
    logged probabilities."""
    generator = np.random.default_rng(0)
    logging, target = np.array([0.6, 0.2, 0.2, 0.0]), np.array([0.4, 0.2, 0.1, 0.3])
    action = generator.choice(4, size=(1000, 3), p=logging)
    reward = np.array([0.0, 1.0, 2.0, 9.0])[action]
    everywhere = np.broadcast_to(logging, (1000, 3, 4)).copy()
    slots = LoggedSlots(
        action, reward, logging[action], np.ones(action.shape, dtype=bool), everywhere * 0,
        {"new": np.broadcast_to(target, everywhere.shape).copy(), "known": everywhere}, False,
    )  # fmt: skip
    context = SlotContext(np.zeros((1000, 3, 1), np.float32), np.zeros(action.shape, np.int64), everywhere)
    for part in (slots, replace(slots, fitted=True, context=context)):
        found = evaluate_offline(part, SETTINGS, 0)
        assert found["new"]["diagnostics"]["unsupported"] == pytest.approx(1 - 0.7**3)
        assert found["new"]["verdict"] == "not identifiable"
        assert found["new"]["value"] is None
        assert found["known"]["diagnostics"]["unsupported"] == 0.0
