"""A log as learners of values read it: states as they were, rows that count, and memory that stays within bounds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from agents.logged_states import collect_states, customers_within, discount
from campaigns.errors import CampaignError
from campaigns.features import CANDIDATE_FEATURES
from campaigns.guardrails import Guardrails
from campaigns.history import HOLD
from campaigns.objective import Objective
from campaigns.replay import replay
from tests.worlds import small_world

RULES = Guardrails(holdout=0.0)


def test_states_masks_and_dayparts_are_those_of_the_replay() -> None:
    w = small_world()
    log = collect_states(w.grid, w.population, w.catalogue, w.log.clock, RULES, w.objective, 1.0, seed=0)
    for step in replay(w.grid, w.population, w.catalogue, w.log.clock, guardrails=RULES):
        if step.column in (0, 20, w.grid.slots - 1):
            seen = step.observation
            assert torch.equal(log.state[:, step.column], seen.state)
            assert torch.equal(log.candidates[:, step.column], seen.candidates)
            assert torch.equal(log.allowed[:, step.column], seen.allowed)
            assert torch.equal(log.daypart[:, step.column], seen.daypart)
    assert torch.equal(log.decision, torch.from_numpy(w.grid.decision.astype(np.int64)))


def test_a_slot_without_label_or_outcome_teaches_nothing_and_is_no_successor() -> None:
    w = small_world()
    labelled, value = w.grid.labelled.copy(), w.grid.outcomes["value"].copy()
    labelled[:, 10] = False
    value[w.grid.decision[:, 20] > HOLD, 20] = np.nan
    outcomes = {k: v.copy() for k, v in w.grid.outcomes.items()} | {"value": value}
    outcomes["purchased"][:, 20] = np.nan
    grid = replace(w.grid, labelled=labelled, outcomes=outcomes)
    log = collect_states(grid, w.population, w.catalogue, w.log.clock, RULES, w.objective, 1.0, seed=0)
    assert not bool(log.usable[:, 10].any())
    assert not bool(log.onward[:, 9].any())
    sent = log.decision[:, 20] > HOLD
    assert bool(sent.any())
    assert not bool(log.usable[sent, 20].any())
    assert bool(log.usable[~sent, 20].any())
    assert float(log.reward[~log.usable].abs().sum()) == 0


def test_customers_beyond_the_memory_are_left_out_at_random() -> None:
    w = small_world()
    room = 0.005
    expected = customers_within(room, w.grid.slots, len(w.catalogue), len(CANDIDATE_FEATURES))
    assert 10 < expected < len(w.population)
    parts = [
        collect_states(w.grid, w.population, w.catalogue, w.log.clock, RULES, w.objective, room, seed=seed)
        for seed in (0, 0, 1)
    ]
    assert [len(part) for part in parts] == [expected] * 3
    assert torch.equal(parts[0].state, parts[1].state)
    assert not torch.equal(parts[0].state, parts[2].state)
    held = sum(t.numel() * t.element_size() for t in vars(parts[0]).values())
    assert 0.9 * room < held / 2**30 < 1.01 * room
    assert customers_within(room, w.grid.slots, len(w.catalogue), len(CANDIDATE_FEATURES), beside=500) < expected


def test_the_horizon_is_a_chance_of_ending_and_an_endless_world_has_none() -> None:
    clock = small_world().log.clock
    assert discount(Objective(horizon_days=7, terminal="zero"), clock, 1.0) == pytest.approx(1 - 1 / 42)
    assert discount(Objective(horizon_days=7, terminal="continue"), clock, 0.98) == pytest.approx(0.98)


def test_a_log_without_any_known_outcome_is_refused() -> None:
    w = small_world()
    grid = replace(w.grid, labelled=np.zeros_like(w.grid.labelled))
    with pytest.raises(CampaignError, match="no row has a known value"):
        collect_states(grid, w.population, w.catalogue, w.log.clock, RULES, w.objective, 1.0, seed=0)
