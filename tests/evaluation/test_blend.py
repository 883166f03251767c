"""Blends of incumbent and campaign: exact at both ends, unbiased between, refused where the log is thin."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from evaluation.blend import blend_contributions, blend_curve
from evaluation.estimators import per_decision_dr
from evaluation.logged_slots import LoggedSlots
from evaluation.offline_settings import OfflineSettings

SETTINGS = OfflineSettings(draws=300)
LOGGING = np.array([0.5, 0.3, 0.2])
TARGET = np.array([0.3, 0.2, 0.5])
VALUES = np.array([1.0, 1.5, 3.0])


def log(slots: int = 3, customers: int = 3000, seed: int = 0, target: np.ndarray = TARGET) -> LoggedSlots:
    """A log in which a second send in a row earns nothing, and a model that knows of no such thing and is too high."""
    generator = np.random.default_rng(seed)
    action = generator.choice(3, size=(customers, slots), p=LOGGING)
    again = np.concatenate([np.zeros((customers, 1), bool), (action[:, 1:] > 0) & (action[:, :-1] > 0)], axis=1)
    reward = np.where(again, 0.0, VALUES[action]) + generator.normal(0, 0.5, action.shape)
    shape = (customers, slots, 3)
    return LoggedSlots(
        action, reward, LOGGING[action], np.ones(action.shape, dtype=bool),
        np.broadcast_to(VALUES + 0.4, shape).copy(), {"new": np.broadcast_to(target, shape).copy()}, False,
    )  # fmt: skip


def truth(policy: np.ndarray, slots: int) -> float:
    """What a policy earns: the first slot in full, in later ones a send only after a hold."""
    later = policy[0] * VALUES[0] + policy[0] * float(policy[1:] @ VALUES[1:])
    return float(policy @ VALUES) + (slots - 1) * later


def test_no_share_is_what_was_logged_and_the_whole_is_the_policys_own_estimate() -> None:
    slots = log()
    slots = replace(slots, known=np.cumprod(np.random.default_rng(1).random(slots.known.shape) > 0.2, axis=1) == 1)
    slots = slots.take(np.flatnonzero(slots.known[:, 0]))
    nothing, weight = blend_contributions(slots, "new", 0.0)
    np.testing.assert_allclose(nothing, np.where(slots.known, slots.reward, 0.0).sum(axis=1))
    np.testing.assert_allclose(weight, 1.0)
    own, weights = per_decision_dr(
        slots.action, slots.reward, slots.logged_prob, slots.target["new"], slots.predicted, slots.known
    )  # fmt: skip
    whole, weight = blend_contributions(slots, "new", 1.0)
    np.testing.assert_allclose(whole, own)
    np.testing.assert_allclose(weight, weights)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_blend_between_is_unbiased_with_a_wrong_model(share: float) -> None:
    estimates = [blend_contributions(log(customers=1000, seed=seed), "new", share)[0].mean() for seed in range(60)]
    policy = (1 - share) * LOGGING + share * TARGET
    error = np.std(estimates, ddof=1) / 60**0.5
    assert abs(np.mean(estimates) - truth(policy, 3)) < 4 * error
    assert error < 0.03


def test_with_one_slot_a_blends_gain_is_its_share_of_the_whole() -> None:
    curve, safe = blend_curve(log(slots=1), "new", SETTINGS, 0)
    gains = [point["difference"]["value"] for point in curve]
    np.testing.assert_allclose(gains, gains[-1] * np.arange(1, 11) / 10)
    assert safe == 1.0
    worse = log(slots=1, target=np.array([0.9, 0.1, 0.0]))
    assert blend_curve(worse, "new", SETTINGS, 0)[1] == 0.0


def test_a_small_share_does_not_hide_a_bad_weight() -> None:
    slots = log(slots=1)
    prob = slots.logged_prob.copy()
    prob[np.flatnonzero(slots.action[:, 0] == 2)[0]] = 1e-6
    curve, safe = blend_curve(replace(slots, logged_prob=prob), "new", SETTINGS, 0)
    assert all(point["refused"] and point["value"] is None and point["difference"] is None for point in curve)
    assert safe == 0.0


def test_without_a_known_slot_there_is_no_curve() -> None:
    slots = log(customers=20)
    assert blend_curve(replace(slots, known=np.zeros_like(slots.known)), "new", SETTINGS, 0) == ([], 0.0)


def test_bounds_hold_for_all_shares_at_once() -> None:
    """Over many logs all shares' bounds hold together as often as they say, and single intervals do not."""
    together, apart = [], []
    for seed in range(80):
        curve, _ = blend_curve(log(customers=1500, seed=seed), "new", SETTINGS, seed, shares=(0.1, 0.4, 0.7, 1.0))
        gains = [truth((1 - p["share"]) * LOGGING + p["share"] * TARGET, 3) - truth(LOGGING, 3) for p in curve]
        assert all(point["band"]["low"] <= point["difference"]["value"] <= point["band"]["high"] for point in curve)
        together.append(all(p["band"]["low"] <= gain for p, gain in zip(curve, gains, strict=True)))
        apart.append(curve[-1]["band"]["low"] <= gains[-1])
    assert np.mean(together) >= 0.9
    assert np.mean(apart) >= np.mean(together)
