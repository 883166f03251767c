"""The doubly robust learner: its scores mean what they should, and a planted right answer is found from a log alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from agents.doubly_robust import collect_decisions, doubly_robust_scores, folds_of, learn_doubly_robust
from agents.dr_settings import DoublyRobustSettings
from agents.lesson import Lesson
from campaigns.errors import CampaignError
from campaigns.logging_policy import fit_logging_policy
from policies.rules import Random
from tests.agents.one_shot_world import lesson_of, mean_values, one_shot_world, share_right

SETTINGS = DoublyRobustSettings(iterations=40)


def test_what_is_right_is_learned_from_a_log_that_preferred_what_harms() -> None:
    world = one_shot_world()
    learned = learn_doubly_robust(lesson_of(world.log, SETTINGS))
    assert share_right(Random(2 / 3), world) == pytest.approx(1 / 3)
    assert share_right(learned, world) > 0.95


def test_scores_are_right_on_average_although_their_model_is_not() -> None:
    world = one_shot_world(customers=6000)
    # A model that is held at 0: all that is left is the correction.
    settings = replace(SETTINGS, ridge=1e9)
    decisions = collect_decisions(world.log, lesson_of(world.log, settings))
    fold = folds_of(decisions.customer, settings.folds, 0)
    scores = doubly_robust_scores(decisions, world.log.catalogue.features, fold, settings).numpy()
    truth = mean_values(np.arange(3)) - np.array([0.0, 0.1, 0.1])
    for kind in range(3):
        found = scores[world.right.numpy() == kind]
        error = found.std(axis=0) / len(found) ** 0.5
        assert (np.abs(found.mean(axis=0) - truth[kind]) < 4 * error).all()


def test_a_customers_decisions_are_in_one_fold() -> None:
    customer = torch.tensor([0, 1, 2, 3, 2, 1, 0, 7, 7])
    fold = folds_of(customer, 3, seed=1)
    assert all(len(set(fold[customer == c].tolist())) == 1 for c in customer.unique())
    assert set(fold.tolist()) <= {0, 1, 2}


def test_without_logged_probabilities_they_are_fitted() -> None:
    world = one_shot_world()
    log = replace(world.log, grid=replace(world.log.grid, action_prob=np.full_like(world.log.grid.action_prob, np.nan)))
    fitted = fit_logging_policy(log.grid, log.population, log.catalogue, log.clock, rows=1500, epochs=20)
    lesson: Lesson = replace(lesson_of(log, SETTINGS), logging_policy=lambda: fitted)
    assert share_right(learn_doubly_robust(lesson), world) > 0.95


def test_a_log_without_known_outcomes_is_refused() -> None:
    log = one_shot_world().log
    log = replace(log, grid=replace(log.grid, labelled=np.zeros_like(log.grid.labelled)))
    with pytest.raises(CampaignError, match="agent doubly_robust: no logged decision"):
        learn_doubly_robust(lesson_of(log, SETTINGS))


def test_settings_out_of_range_are_refused_by_name() -> None:
    with pytest.raises(CampaignError, match=r"agent\.doubly_robust\.folds=1"):
        DoublyRobustSettings(folds=1)
