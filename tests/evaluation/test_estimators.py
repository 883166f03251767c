"""Estimators against worlds whose truth is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from campaigns.errors import CampaignError
from evaluation.estimators import (
    DM,
    DR,
    IPS,
    SNIPS,
    Contributions,
    LoggedDecisions,
    LoggedSequences,
    PerDecisionDR,
    PerDecisionIS,
    WeightedPerDecisionDR,
    WeightedPerDecisionIS,
    cumulative_weights,
    importance_weights,
    mean_contributions,
    per_decision_dr,
    reward_to_go,
)
from tests.evaluation.bandit_worlds import bandit_world, chain_world, z_score

REPLICATIONS = 300
UNBIASED = 3.5  # standard errors; a true estimator fails this once in 2,000 seeds


@pytest.fixture
def logged() -> LoggedDecisions:
    return LoggedDecisions(
        np.array([0, 1, 2, 3]),
        np.array([0, 1, 2, 1]),
        np.array([0.0, 1.0, 2.0, -1.0]),
        np.array([0.5, 0.25, 0.25, 0.5]),
    )


TARGET = np.array([[0.5, 0.25, 0.25], [0.0, 1.0, 0.0], [0.2, 0.3, 0.5], [1.0, 0.0, 0.0]])
PREDICTED = np.array([[0.1, 0.2, 0.3], [0.0, 0.5, 1.0], [1.0, 1.0, 1.0], [0.4, 0.2, 0.0]])


def test_formulas_by_hand(logged: LoggedDecisions) -> None:
    # weights 1, 4, 2, 0
    assert importance_weights(logged, TARGET).tolist() == [1.0, 4.0, 2.0, 0.0]
    assert IPS().contributions(logged, TARGET).value == pytest.approx((0 + 4 + 4 + 0) / 4)
    assert SNIPS().contributions(logged, TARGET).value == pytest.approx((0 + 4 + 4 + 0) / 7)
    direct = [0.175, 0.5, 1.0, 0.4]
    assert DM().contributions(logged, TARGET, PREDICTED).numerator == pytest.approx(direct)
    assert DR().contributions(logged, TARGET, PREDICTED).numerator == pytest.approx(
        [0.175 + 1 * (0 - 0.1), 0.5 + 4 * (1 - 0.5), 1.0 + 2 * (2 - 1.0), 0.4]
    )


@pytest.mark.parametrize("estimator", [IPS(), DR()], ids=lambda e: e.name)
def test_unbiased_whatever_the_model(estimator: IPS | DR) -> None:
    world, generator = bandit_world(), np.random.default_rng(1)
    wrong = generator.uniform(-1, 1, world.mean.shape)
    estimates = []
    for _ in range(REPLICATIONS):
        log, context = world.log(400, generator)
        estimates.append(estimator.contributions(log, world.target[context], wrong[context]).value)
    assert abs(z_score(np.array(estimates), world.value)) < UNBIASED
    assert abs(z_score(np.array(estimates), world.logging_value)) > 2 * UNBIASED  # so that the test can fail


def test_snips_is_consistent() -> None:
    world = bandit_world()
    log, context = world.log(400_000, np.random.default_rng(2))
    assert SNIPS().contributions(log, world.target[context]).value == pytest.approx(world.value, abs=0.005)


def test_dr_survives_wrong_probabilities_if_the_model_is_right() -> None:
    world, generator = bandit_world(), np.random.default_rng(3)
    estimates: dict[str, list[float]] = {"DR": [], "IPS": []}
    for _ in range(REPLICATIONS):
        log, context = world.log(400, generator)
        wrong = replace(log, logged_prob=np.full(len(log), 0.6))
        for estimator in (DR(), IPS()):
            value = estimator.contributions(wrong, world.target[context], world.mean[context]).value
            estimates[estimator.name].append(value)
    assert abs(z_score(np.array(estimates["DR"]), world.value)) < UNBIASED
    assert abs(z_score(np.array(estimates["IPS"]), world.value)) > 2 * UNBIASED


def test_dm_is_as_wrong_as_its_model_and_dr_is_not() -> None:
    world = bandit_world()
    log, context = world.log(200_000, np.random.default_rng(4))
    model = world.mean[context] + 0.3
    assert DM().contributions(log, world.target[context], model).value == pytest.approx(world.value + 0.3, abs=0.01)
    assert DR().contributions(log, world.target[context], model).value == pytest.approx(world.value, abs=0.01)


def test_a_good_model_makes_dr_narrower_than_ips() -> None:
    world, generator = bandit_world(), np.random.default_rng(5)
    spread = []
    for estimator in (DR(), IPS()):
        values = []
        for _ in range(100):
            log, context = world.log(400, generator)
            values.append(estimator.contributions(log, world.target[context], world.mean[context]).value)
        spread.append(np.std(values))
    assert spread[0] < 0.9 * spread[1]


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000), shift=st.floats(-100, 100), scale=st.floats(0.01, 100))
def test_snips_follows_shift_and_scale_of_the_rewards(seed: int, shift: float, scale: float) -> None:
    world = bandit_world(seed)
    log, context = world.log(50, np.random.default_rng(seed))
    value = SNIPS().contributions(log, world.target[context]).value
    moved = SNIPS().contributions(replace(log, reward=scale * log.reward + shift), world.target[context]).value
    assert moved == pytest.approx(scale * value + shift, abs=1e-8 * (abs(shift) + scale))


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_on_policy_the_weighted_estimates_are_the_mean(seed: int) -> None:
    world = bandit_world(seed)
    log, context = world.log(50, np.random.default_rng(seed))
    for estimator in (IPS(), SNIPS()):
        assert estimator.contributions(log, world.logging[context]).value == pytest.approx(log.reward.mean())


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000), share=st.floats(0, 1))
def test_ips_and_dr_are_linear_in_the_policy(seed: int, share: float) -> None:
    world = bandit_world(seed)
    log, context = world.log(50, np.random.default_rng(seed))
    new, old = world.target[context], world.logging[context]
    for estimator in (IPS(), DR(), DM()):
        blend = estimator.contributions(log, share * new + (1 - share) * old, world.mean[context]).value
        parts = [estimator.contributions(log, policy, world.mean[context]).value for policy in (new, old)]
        assert blend == pytest.approx(share * parts[0] + (1 - share) * parts[1])


def test_contributions_of_two_parts_of_a_log_add_up() -> None:
    world = bandit_world()
    log, context = world.log(100, np.random.default_rng(6))
    target = world.target[context]
    whole = SNIPS().contributions(log, target)
    halves = [
        SNIPS().contributions(
            LoggedDecisions(log.customer[part], log.action[part], log.reward[part], log.logged_prob[part]), target[part]
        )
        for part in (slice(0, 30), slice(30, 100))
    ]
    joined = Contributions(
        np.concatenate([h.numerator for h in halves]), np.concatenate([h.denominator for h in halves])
    )
    assert joined.value == pytest.approx(whole.value)


def test_no_weight_at_all_is_not_a_number(logged: LoggedDecisions) -> None:
    never = np.array([[0.0, 0.5, 0.5], [1.0, 0, 0], [1.0, 0, 0], [1.0, 0, 0]])
    assert np.isnan(SNIPS().contributions(logged, never).value)
    assert IPS().contributions(logged, never).value == 0


# --- over slots -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("estimator", [PerDecisionIS(), PerDecisionDR()], ids=lambda e: e.name)
def test_per_decision_estimates_are_unbiased_over_slots(estimator: PerDecisionIS | PerDecisionDR) -> None:
    world, generator = chain_world(), np.random.default_rng(7)
    wrong = generator.uniform(-1, 3, (world.slots, 2, 3))
    slots = np.arange(world.slots)
    estimates = []
    for _ in range(REPLICATIONS):
        log, states = world.log(300, generator)
        estimates.append(estimator.contributions(log, world.target[states], wrong[slots, states]).value)
    assert abs(z_score(np.array(estimates), world.value)) < UNBIASED


@pytest.mark.parametrize("estimator", [WeightedPerDecisionIS(), WeightedPerDecisionDR()], ids=lambda e: e.name)
def test_self_normalised_estimates_are_consistent_over_slots(
    estimator: WeightedPerDecisionIS | WeightedPerDecisionDR,
) -> None:
    world = chain_world()
    log, states = world.log(200_000, np.random.default_rng(8))
    wrong = world.action_values()[np.arange(world.slots), states] + 1.0
    assert estimator.contributions(log, world.target[states], wrong).value == pytest.approx(world.value, abs=0.03)


def test_doubly_robust_over_slots_survives_wrong_probabilities_if_the_model_is_right() -> None:
    world, generator = chain_world(), np.random.default_rng(9)
    right = world.action_values()
    doubly, weighted = [], []
    for _ in range(REPLICATIONS):
        log, states = world.log(300, generator)
        wrong = replace(log, logged_prob=np.full(log.action.shape, 0.5))
        target, model = world.target[states], right[np.arange(world.slots), states]
        doubly.append(PerDecisionDR().contributions(wrong, target, model).value)
        weighted.append(PerDecisionIS().contributions(wrong, target).value)
    assert abs(z_score(np.array(doubly), world.value)) < UNBIASED
    assert abs(z_score(np.array(weighted), world.value)) > 2 * UNBIASED


def test_doubly_robust_over_slots_equals_the_published_recursion() -> None:
    world = chain_world()
    log, states = world.log(50, np.random.default_rng(10))
    target, model = world.target[states], np.random.default_rng(0).normal(size=(50, 3, 3))
    value, rows = np.zeros(50), np.arange(50)
    for t in (2, 1, 0):  # Jiang and Li 2016, eq. 10
        taken = log.action[:, t]
        ratio = target[rows, t, taken] / log.logged_prob[:, t]
        expected = (target[:, t] * model[:, t]).sum(axis=1)
        value = expected + ratio * (log.reward[:, t] + value - model[rows, t, taken])
    assert PerDecisionDR().contributions(log, target, model).numerator == pytest.approx(value)
    bare, weight = per_decision_dr(log.action, log.reward, log.logged_prob, target, model, log.mask)
    assert bare == pytest.approx(value)
    assert weight == pytest.approx(cumulative_weights(log, target)[:, -1])


def test_one_slot_gives_the_one_step_estimates() -> None:
    world = bandit_world()
    log, context = world.log(200, np.random.default_rng(11))
    shape = (200, 1)
    slots = LoggedSequences(
        log.action.reshape(shape), log.reward.reshape(shape), log.logged_prob.reshape(shape), np.ones(shape, dtype=bool)
    )
    target, model = world.target[context], world.mean[context] + 0.1
    for sequential, one_step in ((PerDecisionIS(), IPS()), (WeightedPerDecisionIS(), SNIPS()), (PerDecisionDR(), DR())):
        found = sequential.contributions(slots, target[:, None], model[:, None]).value
        assert found == pytest.approx(one_step.contributions(log, target, model).value)


def test_missing_slots_are_never_read() -> None:
    world = chain_world()
    log, states = world.log(40, np.random.default_rng(12))
    mask = np.arange(3) < np.random.default_rng(0).integers(1, 4, 40)[:, None]
    ragged = replace(log, mask=mask)
    reward, probs = np.where(mask, log.reward, np.nan), np.where(mask, log.logged_prob, np.nan)
    spoilt = LoggedSequences(np.where(mask, log.action, -1), reward, probs, mask)
    target, model = world.target[states], world.action_values()[np.arange(3), states]
    spoilt_target = np.where(mask[..., None], target, np.nan)
    spoilt_model = np.where(mask[..., None], model, np.nan)
    for estimator in (PerDecisionIS(), WeightedPerDecisionIS(), PerDecisionDR(), WeightedPerDecisionDR()):
        value = estimator.contributions(ragged, target, model).value
        assert estimator.contributions(spoilt, spoilt_target, spoilt_model).value == pytest.approx(value)
        assert value != pytest.approx(estimator.contributions(log, target, model).value)


def test_on_policy_over_slots_gives_the_mean_sum() -> None:
    world = chain_world()
    log, states = world.log(40, np.random.default_rng(13))
    found = PerDecisionIS().contributions(log, world.logging[states]).numerator
    assert found == pytest.approx(log.reward.sum(axis=1))


def test_reward_to_go_narrows_an_immediate_model_and_stays_right() -> None:
    world, generator = chain_world(), np.random.default_rng(14)
    bare, ahead = [], []
    for _ in range(REPLICATIONS):
        log, states = world.log(300, generator)
        immediate = world.mean[states]
        bare.append(PerDecisionDR().contributions(log, world.target[states], immediate).value)
        ahead.append(PerDecisionDR().contributions(log, world.target[states], reward_to_go(immediate, log)).value)
    assert abs(z_score(np.array(ahead), world.value)) < UNBIASED
    assert np.std(ahead) < 0.9 * np.std(bare)


# --- bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("logged_prob", 0.0, "action_prob must lie in"),
        ("logged_prob", 1.5, "action_prob must lie in"),
        ("logged_prob", -0.1, "action_prob must lie in"),
        ("logged_prob", np.nan, "action_prob must lie in"),
        ("reward", np.nan, "reward must be a finite number"),
        ("reward", np.inf, "reward must be a finite number"),
        ("action", -1, "action must be >= 0"),
    ],
)
def test_bad_rows_are_named(logged: LoggedDecisions, field: str, value: float, message: str) -> None:
    spoilt = getattr(logged, field).copy()
    spoilt[2] = value
    with pytest.raises(CampaignError, match=message) as error:
        replace(logged, **{field: spoilt})
    assert "first row 2" in str(error.value)
    assert "1 of 4" in str(error.value)


def test_bad_slots_are_named() -> None:
    log, _ = chain_world().log(10, np.random.default_rng(0))
    spoilt = log.logged_prob.copy()
    spoilt[3, 1] = 0
    with pytest.raises(CampaignError, match="first row 3, slot 1"):
        replace(log, logged_prob=spoilt)


@pytest.mark.parametrize(
    "row",
    [[0.5, 0.2, 0.2], [0.5, 0.5, 0.5], [1.2, -0.2, 0.0], [np.nan, 0.5, 0.5]],
    ids=["less", "more", "below 0", "nan"],
)
def test_target_rows_that_are_no_probabilities_are_refused(logged: LoggedDecisions, row: list[float]) -> None:
    target = TARGET.copy()
    target[1] = row
    for estimator in (IPS(), SNIPS(), DM(), DR()):
        with pytest.raises(CampaignError, match=r"target probabilities must be >= 0 and sum to 1.*first row 1"):
            estimator.contributions(logged, target, PREDICTED)


def test_a_negative_probability_is_shown_itself_and_not_the_rows_sum(logged: LoggedDecisions) -> None:
    target = TARGET.copy()
    target[1] = [1.25, -0.25, 0.0]
    with pytest.raises(CampaignError, match=r"first row 1 with -0\.25"):
        IPS().contributions(logged, target)


def test_shapes_that_do_not_fit_are_refused(logged: LoggedDecisions) -> None:
    with pytest.raises(CampaignError, match=r"shape \(4, 2\)"):
        IPS().contributions(logged, TARGET[:, :2])
    with pytest.raises(CampaignError, match=r"shape \(3, 3\)"):
        IPS().contributions(logged, TARGET[:3])
    with pytest.raises(CampaignError, match="one shape"):
        replace(logged, reward=np.zeros(3))
    with pytest.raises(CampaignError, match="customer has shape"):
        replace(logged, customer=np.zeros(3))
    with pytest.raises(CampaignError, match="whole numbers"):
        replace(logged, action=logged.action.astype(np.float64))
    with pytest.raises(CampaignError, match="one shape"):
        Contributions(np.zeros(3), np.zeros(4))


def test_a_missing_or_unfit_model_is_refused(logged: LoggedDecisions) -> None:
    for estimator in (DM(), DR()):
        with pytest.raises(CampaignError, match="needs a reward model"):
            estimator.contributions(logged, TARGET)
        with pytest.raises(CampaignError, match="predicted rewards have shape"):
            estimator.contributions(logged, TARGET, PREDICTED[:, :2])
        spoilt = PREDICTED.copy()
        spoilt[0, 0] = np.inf
        with pytest.raises(CampaignError, match="predicted rewards must be finite"):
            estimator.contributions(logged, TARGET, spoilt)


def test_an_empty_log_is_refused() -> None:
    empty = np.zeros(0)
    with pytest.raises(CampaignError, match="no decision"):
        LoggedDecisions(empty, empty.astype(np.int64), empty, empty)


def test_mean_contributions_are_the_mean() -> None:
    assert mean_contributions(np.array([1.0, 2.0, 6.0])).value == 3.0
