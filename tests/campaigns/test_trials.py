"""A log as an experiment: the weights make two samples of one population of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from campaigns.trials import free_trials
from tests.worlds import small_world


def test_sent_and_held_pairs_stand_for_the_same_decisions() -> None:
    world, size = small_world(customers=1000), len(small_world(customers=1000).catalogue)
    grid = world.grid
    trials = free_trials(grid, world.population, world.catalogue, world.log.clock, most_holds=3000)
    assert trials is not None
    sent = trials.sent.numpy()
    assert (~sent).sum() < 2 * 4000  # two contents a hold; what is eventful is kept besides
    weight, content = trials.weight.numpy(), trials.content.numpy()
    free = (grid.decision >= 0) & grid.eligible & (grid.action_prob < 1)
    assert weight[sent].sum() == pytest.approx(size * free.sum(), rel=0.06)
    held = grid.action_prob[free & (grid.decision == 0)].astype(np.float64)
    assert weight[~sent].sum() == pytest.approx(size * (1 / held).sum(), rel=0.01)  # thinning and pairing add up
    by_content = [weight[~sent & (content == c)].sum() for c in range(size)]
    assert max(by_content) / min(by_content) < 1.15  # all can always be sent here, so that each is held as often
    bought = np.nan_to_num(trials.outcomes["purchased"].numpy())
    whole = np.nan_to_num(grid.outcomes["purchased"][free & (grid.decision == 0)])
    assert (weight * bought)[~sent].sum() == pytest.approx(size * (whole / held).sum(), rel=1e-6)  # all events are kept


def test_what_chance_did_not_decide_is_no_trial() -> None:
    world = small_world()
    grid = world.grid
    forced = np.where(grid.decision == 0, 1.0, grid.action_prob).astype(np.float32)
    assert free_trials(replace(grid, action_prob=forced), world.population, world.catalogue, world.log.clock) is None
    unknown = np.full_like(grid.action_prob, np.nan)
    assert free_trials(replace(grid, action_prob=unknown), world.population, world.catalogue, world.log.clock) is None
    labelled = grid.labelled.copy()
    labelled[:, 6:] = False
    early = free_trials(replace(grid, labelled=labelled), world.population, world.catalogue, world.log.clock)
    every = free_trials(grid, world.population, world.catalogue, world.log.clock)
    assert early is not None
    assert every is not None
    assert 0 < len(early) < len(every)


def test_states_and_candidates_are_those_before_the_decision_and_of_the_paired_content() -> None:
    world = small_world()
    trials = free_trials(world.grid, world.population, world.catalogue, world.log.clock)
    assert trials is not None
    from campaigns.replay import decision_rows

    rows = decision_rows(world.grid, world.population, world.catalogue, world.log.clock)
    sent = rows.decision > 0
    keys = {
        (int(c), int(d), tuple(s.tolist()), tuple(x.tolist()))
        for c, d, s, x in zip(
            rows.customer[sent], rows.decision[sent] - 1, rows.state[sent], rows.candidate[sent], strict=True
        )
    }
    mine = trials.sent
    for c, d, s, x in zip(
        trials.customer[mine], trials.content[mine], trials.state[mine], trials.candidate[mine], strict=True
    ):
        assert (int(c), int(d), tuple(s.tolist()), tuple(x.tolist())) in keys
    held = trials.outcomes["opened"][~mine]
    assert float(torch.nan_to_num(held).sum()) == 0  # what was not sent was not opened
