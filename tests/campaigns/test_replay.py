"""History is one definition: replay gives back a market's own states, bit for bit."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch

from campaigns.grid import make_grid
from campaigns.guardrails import NO_GUARDRAILS
from campaigns.history import HOLD
from campaigns.logs import LogSettings, make_log
from campaigns.replay import decision_rows, replay
from policies.rules import Random
from tests.worlds import small_market, small_world


def test_replaying_a_markets_own_log_gives_its_states_back_exactly() -> None:
    world, market = small_world(), small_market(NO_GUARDRAILS)
    customers, slots = 120, 30
    generator = torch.Generator().manual_seed(4)
    state = market.begin(torch.arange(customers), generator)
    states, rows = [], []
    ids = world.log.users["user_id"].to_numpy()[:customers]
    for _ in range(slots):
        seen = market.observe(state)
        states.append((state.history, seen.state, seen.candidates))
        chances = Random(0.5).probabilities(seen)
        decision = torch.multinomial(chances, 1, generator=generator).squeeze(1)
        noise = torch.rand(customers, market.noise_columns, generator=generator)
        slot = state.slot
        state, outcome = market.step(state, decision, noise, seen)
        names = np.array([None, *market.catalogue.ids], dtype=object)
        rows.append(
            pd.DataFrame(
                {
                    "user_id": ids,
                    "time": world.log.clock.times(slot.numpy()),
                    "content_id": names[decision.numpy()],
                    **{
                        name: getattr(outcome, name).numpy()
                        for name in ("opened", "clicked", "visited", "purchased", "unsubscribed")
                    },
                    "value": outcome.value.numpy(),
                }
            )
        )
    tables = {"users": world.log.users.head(customers), "contents": world.log.contents, "decisions": pd.concat(rows)}
    log = make_log(tables, LogSettings(max_rejected=0.0))
    people = world.population.take(torch.arange(customers))
    steps = 0
    for step, (history, features, candidates) in zip(
        replay(make_grid(log), people, market.catalogue, log.clock), states, strict=True
    ):
        for name, expected in history.tensors().items():
            assert torch.equal(step.observation.history.tensors()[name], expected), name
        assert torch.equal(step.observation.state, features)
        assert torch.equal(step.observation.candidates, candidates)
        steps += 1
    assert steps == slots


def test_subsampled_holds_keep_weighted_totals() -> None:
    world = small_world()
    rows = decision_rows(world.grid, world.population, world.catalogue, world.log.clock, hold_share=0.2, seed=1)
    holds = world.grid.decision == HOLD
    assert (
        float(rows.weight[rows.decision == HOLD].sum()) == np.float32(holds.sum())
        or abs(float(rows.weight[rows.decision == HOLD].sum()) / holds.sum() - 1) < 0.02
    )
    bought = rows.outcomes["purchased"]
    assert float((rows.weight * bought).sum()) == float(np.nansum(world.grid.outcomes["purchased"]))


def test_candidate_features_of_one_content_equal_those_of_all() -> None:
    world = small_world()
    for step in replay(world.grid, world.population, world.catalogue, world.log.clock):
        if step.column == 40:
            content = torch.arange(len(world.population)) % len(world.catalogue)
            everything = step.observation.candidates
            assert torch.equal(step.observation.candidate(content), everything[torch.arange(len(content)), content])
            return
    raise AssertionError("the log is shorter than the test expects")
