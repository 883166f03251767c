"""New contents of known kinds: the truth is covered, and kinds never sent stay unknown."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from evaluation.by_attributes import estimate_by_attributes, kinds_of
from evaluation.logged_slots import LoggedSlots
from evaluation.offline_settings import OfflineSettings
from evaluation.slot_context import full_logging

SETTINGS = OfflineSettings(draws=300)
LOGGING = np.array([0.5, 0.2, 0.2, 0.1, 0.0])
KINDS = ("hold", "x", "x", "y", "x")
VALUES = np.array([1.0, 2.0, 2.5, 4.0, 3.0])
"""The new content, the last, is of kind x and worth half a unit more than the second."""


def log(target: tuple[float, ...], seed: int = 0, customers: int = 6000) -> LoggedSlots:
    """A one-shot log, and a model that is off by a whole unit for kind x but right about differences within it."""
    generator = np.random.default_rng(seed)
    action = generator.choice(5, size=(customers, 1), p=LOGGING)
    reward = VALUES[action] + generator.normal(0, 1, action.shape)
    wrong = VALUES + np.where(np.array(KINDS) == "x", 1.0, 0.0)
    shape = (customers, 1, 5)
    return LoggedSlots(
        action, reward, LOGGING[action], np.ones(action.shape, dtype=bool), np.broadcast_to(wrong, shape).copy(),
        {"new": np.broadcast_to(target, shape).copy()}, False,
    )  # fmt: skip


def logging_of(slots: LoggedSlots) -> np.ndarray:
    """All of the logging policy's probabilities."""
    return full_logging(slots.action[:, 0], slots.logged_prob[:, 0], np.broadcast_to(LOGGING, (len(slots.action), 5)))


def test_a_new_content_of_a_known_kind_gets_its_true_value() -> None:
    target = (0.3, 0.0, 0.0, 0.0, 0.7)
    truth = float(np.array(target) @ VALUES)
    covered = []
    for seed in range(30):
        slots = log(target, seed)
        found = estimate_by_attributes(slots, "new", KINDS, logging_of(slots), SETTINGS, seed)
        assert found is not None
        assert found["estimator"] == "OffCEM"
        assert found["verdict"] == "better"
        covered.append(found["low"] <= truth <= found["high"])
    assert sum(covered) >= 25  # 95 % of 30, less chance
    # MIPS takes the new content for the mean of its kind.
    assert found["estimators"]["MIPS"]["value"] == pytest.approx(0.3 * 1.0 + 0.7 * 2.25, abs=0.15)


def test_a_kind_that_was_never_sent_is_not_identifiable() -> None:
    slots = log((0.3, 0.0, 0.0, 0.0, 0.7))
    found = estimate_by_attributes(slots, "new", (*KINDS[:4], "garden"), logging_of(slots), SETTINGS, 0)
    assert found is not None
    assert found["verdict"] == "not identifiable"
    assert found["value"] is None
    assert found["difference"] is None


def test_the_logged_probability_is_kept_and_the_rest_shared_as_fitted() -> None:
    slots = log((1.0, 0.0, 0.0, 0.0, 0.0), customers=50)
    fitted = np.broadcast_to([0.2, 0.4, 0.2, 0.2, 0.0], (50, 5))
    found = full_logging(slots.action[:, 0], slots.logged_prob[:, 0], fitted)
    np.testing.assert_allclose(found.sum(axis=1), 1.0)
    np.testing.assert_allclose(np.take_along_axis(found, slots.action, axis=1), slots.logged_prob)
    held = int(np.flatnonzero(slots.action[:, 0] == 0)[0])
    np.testing.assert_allclose(found[held], [0.5, 0.25, 0.125, 0.125, 0.0])


def test_missing_attributes_are_a_kind_of_their_own() -> None:
    table = pd.DataFrame({"content_id": ["a", "b", "c"], "kind": ["x", None, "x"], "tone": ["p", "q", "p"]})
    assert kinds_of(table, ["kind", "tone"]) == ["hold", "x / p", "missing / q", "x / p"]
