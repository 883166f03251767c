"""The reference market as it drifts: contents' appeal walks, fatigue grows, and a world may begin later in the year."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from envs.reference.market import MONTH, NOISE_COLUMNS, appeal_walk, fresh_state
from envs.reference.variants import VARIANTS
from envs.reference.world import ReferenceWorld

STILL = VARIANTS["ecommerce"]
DRIFTING = replace(STILL, appeal_drift=0.3, fatigue_drift=0.1)
PEOPLE = 40


def clicks_per_open(world: ReferenceWorld, day: int, content: int) -> torch.Tensor:
    """P(click | open) of everybody who can be reached, `day` days after the world's start."""
    state = fresh_state(world.law, world.first_slot + 6 * day + 3)
    _, outcome = world.step(state, torch.full((PEOPLE,), 1 + content), torch.ones(PEOPLE, NOISE_COLUMNS))
    return (outcome.expected_clicked / outcome.expected_opened)[world.law.customers.consent]


def test_without_drift_nothing_moves() -> None:
    world = ReferenceWorld(STILL, PEOPLE, 0, days=120)
    assert torch.allclose(clicks_per_open(world, 0, 3), clicks_per_open(world, 112, 3), rtol=1e-5)


def test_a_contents_appeal_follows_its_walk() -> None:
    world, walk = ReferenceWorld(DRIFTING, PEOPLE, 0, days=120), appeal_walk(DRIFTING, 6)
    assert not walk[0].any()
    assert walk[1:].diff(dim=0).std() == pytest.approx(0.3, rel=0.4)
    content = int(walk[2].argmin())  # one that nothing clamps
    ratio = clicks_per_open(world, 2 * MONTH, content) / clicks_per_open(world, 0, content)
    # the slot looked at lies half a day into the month
    between = walk[2, content] + (walk[3, content] - walk[2, content]) * 0.5 / MONTH
    reached = walk[1, content] * 0.5 / MONTH
    assert ratio.mean() == pytest.approx(float((between - reached).exp()), rel=1e-3)


def test_people_tire_more_from_month_to_month() -> None:
    for variant, factor in ((STILL, 1.0), (DRIFTING, 1.2)):
        world = ReferenceWorld(variant, PEOPLE, 0, days=120)
        fresh = fresh_state(world.law, world.first_slot + 6 * 2 * MONTH)
        tired = replace(fresh, fatigue=torch.ones(PEOPLE))
        sent = torch.ones(PEOPLE, dtype=torch.int64), torch.ones(PEOPLE, NOISE_COLUMNS)
        opened = [world.step(state, *sent)[1].expected_opened for state in (fresh, tired)]
        people = world.law.customers
        sensitivity = (opened[0] / opened[1] - 1).sqrt()[people.consent]
        expected = factor * people.fatigue_sensitivity[people.consent]
        assert torch.allclose(sensitivity, expected, rtol=1e-2)


def test_a_world_that_begins_later_is_the_same_world() -> None:
    whole = ReferenceWorld(DRIFTING, PEOPLE, 0, days=90)
    later = ReferenceWorld(DRIFTING, PEOPLE, 0, start="2025-04-28", days=28, elapsed_days=56)
    assert later.first_slot == whole.first_slot + 56 * 6
    state = fresh_state(whole.law, later.first_slot + 5)
    noise = torch.rand(PEOPLE, NOISE_COLUMNS, generator=torch.Generator().manual_seed(0))
    decision = torch.arange(PEOPLE) % 11
    for one, other in zip(whole.step(state, decision, noise), later.step(state, decision, noise), strict=True):
        for name in vars(one):
            assert torch.equal(getattr(one, name), getattr(other, name)), name


def test_some_people_live_on_as_they_would_among_all() -> None:
    world = ReferenceWorld(DRIFTING, PEOPLE, 0, days=28)
    (state, recent), rows = world.warm, torch.tensor([3, 17, 30])
    part = world.later(state, recent, rows)
    noise, decision = (
        torch.rand(PEOPLE, NOISE_COLUMNS, generator=torch.Generator().manual_seed(1)),
        torch.arange(PEOPLE) % 11,
    )
    _, everybody = world.step(state, decision, noise)
    _, some = part.step(part.initial_state(), decision[rows], noise[rows])
    for name in vars(some):
        assert torch.equal(getattr(some, name), getattr(everybody, name)[rows]), name
    assert list(part.users["user_id"]) == list(world.users["user_id"].iloc[rows.numpy()])
