"""The reference truth behind the policies' face: what is seen of it is the product's own history of its log."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
import torch

from campaigns.encoding import fit_encoder
from campaigns.grid import make_grid
from campaigns.guardrails import NO_GUARDRAILS, Guardrails
from campaigns.history import OPEN, SEND
from campaigns.logs import LogSettings, make_log
from campaigns.objective import Objective
from campaigns.replay import replay
from envs.episodes import Episodes
from envs.reference.channels import with_channels
from envs.reference.variants import VARIANTS
from envs.reference.world import ReferenceWorld
from envs.truth import Truth, make_truth
from evaluation.rollout import rollout
from policies.rules import CapDaypartContent, Never, Random
from tests.worlds import Serves, numberless, small_world, tensors_of

CUSTOMERS, DAYS = 150, 6


@cache
def truth(
    guardrails: Guardrails = NO_GUARDRAILS, customers: int = CUSTOMERS, channels: tuple[str, ...] = ("push",)
) -> Truth:
    w, variant = small_world(), with_channels(VARIANTS["ecommerce"], channels)
    world = ReferenceWorld(variant, customers, 5, w.log.clock.slot_hours, "UTC", days=DAYS)
    contents = fit_encoder(world.contents, "contents")
    return make_truth(world, w.users, contents, Objective(horizon_days=DAYS), w.log.clock, guardrails)


@pytest.mark.parametrize("channels", [("push",), ("push", "email", "sms")])
def test_what_is_seen_of_the_truth_is_the_replay_of_its_log(channels: tuple[str, ...]) -> None:
    world, generator = truth(channels=channels), torch.Generator().manual_seed(0)
    assert world.catalogue.tells_channels is (len(channels) > 1)
    state = world.begin(torch.arange(CUSTOMERS), generator)
    seens, rows = [], []
    names = np.array([None, *world.catalogue.ids], dtype=object)
    for _ in range(DAYS * 6):
        seen = world.observe(state)
        seens.append(seen)
        decision = torch.multinomial(Random(0.4).probabilities(seen), 1, generator=generator).squeeze(1)
        slot, noise = state.slot, torch.rand(CUSTOMERS, world.noise_columns, generator=generator)
        state, outcome = world.step(state, decision, noise, seen)
        events = ("opened", "clicked", "visited", "purchased", "unsubscribed", "value")
        rows.append(
            pd.DataFrame(
                {
                    "user_id": world.world.users["user_id"],
                    "time": world.clock.times(slot.numpy()),
                    "content_id": names[decision.numpy()],
                    **{name: getattr(outcome, name).numpy() for name in events},
                }
            )
        )
    tables = {"users": world.world.users, "contents": world.world.contents, "decisions": pd.concat(rows)}
    log = make_log(tables, LogSettings(max_rejected=0.0))
    for step, seen in zip(replay(make_grid(log), world.pool, world.catalogue, log.clock), seens, strict=True):
        for name, expected in seen.history.tensors().items():
            assert torch.equal(step.observation.history.tensors()[name], expected), name
        assert torch.equal(step.observation.candidates, seen.candidates)
    history = seens[-1].history
    assert int(history.total[:, SEND].sum()) > 500
    assert bool(history.opted_out.any())
    if len(channels) > 1:
        assert torch.equal(history.channel_counts.sum(1), history.total[:, [SEND, OPEN]])
        assert bool((history.channel_counts[..., 0] > 0).all(1).any()), "nobody was sent anything on all channels"


def test_drawn_values_have_the_mean_of_the_expected_ones() -> None:
    world = truth(customers=1500)
    result = rollout(world, Serves(Random(0.4)), Objective(horizon_days=DAYS), 1500, seed=1)
    error = (result.drawn - result.value).astype(np.float64)
    assert abs(error.mean()) < 4 * error.std() / 1500**0.5
    assert result.drawn.std() > 1.5 * result.value.std()


def test_rules_meet_the_same_luck_in_the_truth() -> None:
    world, objective = truth(), Objective(horizon_days=DAYS)
    first, again, other = (
        rollout(world, Serves(rule), objective, CUSTOMERS, seed=2)
        for rule in (Never(), Never(), CapDaypartContent(1, "evening", "home_ideas"))
    )
    np.testing.assert_array_equal(first.drawn, again.drawn)
    held = other.sends == 0
    np.testing.assert_array_equal(first.drawn[held], other.drawn[held])
    assert 0 < held.sum() < CUSTOMERS


def test_nobody_without_consent_or_after_an_opt_out_is_sent_anything() -> None:
    world = truth()
    consent = torch.arange(CUSTOMERS) % 3 > 0
    world = replace(world, pool=replace(world.pool, consent=world.pool.consent & consent.unsqueeze(1)))

    class Insists:
        def probabilities_of(self, observation):  # type: ignore[no-untyped-def]
            chances = torch.zeros(observation.allowed.shape)
            chances[:, 3] = 1.0
            return chances

    result = rollout(world, Insists(), Objective(horizon_days=DAYS), CUSTOMERS, seed=3)
    assert not result.sends[~consent.numpy()].any()
    assert (result.sends[result.opted_out] < DAYS * 6).any()
    assert result.opted_out.any()


def test_any_customers_of_the_truth_can_be_played_as_often_as_wanted() -> None:
    world, generator = truth(), torch.Generator().manual_seed(0)
    rows = torch.tensor([3, 3, 70, 0])
    state, everyone = world.begin(rows, generator), world.begin(torch.arange(CUSTOMERS), generator)
    noise = torch.rand(CUSTOMERS, world.noise_columns, generator=generator)
    for slot in range(8):
        decision = torch.full((CUSTOMERS,), 1 + slot % 3)
        state, few = world.step(state, decision[rows], noise[rows])
        everyone, all_of_them = world.step(everyone, decision, noise)
        torch.testing.assert_close(few.expected_value, all_of_them.expected_value[rows])
    torch.testing.assert_close(state.truth.fatigue, everyone.truth.fatigue[rows])


def test_an_agents_episodes_in_the_truth_go_on_from_what_was_kept() -> None:
    world = truth()
    one, other = (Episodes(world, Objective(horizon_days=2), 40, seed) for seed in (0, 1))
    decision = torch.ones(40, dtype=torch.int64)
    for _ in range(15):  # newcomers have moved in
        one.step(decision)
    assert len(one.state.rows.unique()) < CUSTOMERS
    other.load_state_dict(one.state_dict())
    for _ in range(15):
        mine, theirs = one.step(decision), other.step(decision)
        assert torch.equal(mine[0], theirs[0])
        assert torch.equal(mine[1].reward, theirs[1].reward)


def test_a_slot_of_the_truth_looks_at_no_number_as_a_cuda_graph_must_not() -> None:
    episodes = Episodes(truth(), Objective(horizon_days=2), 24, seed=0)
    numberless(episodes)
    for ended in ([], [3, 5]):
        rows = torch.tensor(ended, dtype=torch.int64, device="meta")
        episodes.take_slot(torch.zeros(24, dtype=torch.int64, device="meta"), rows)
        episodes.resume(episodes.running())
    assert {tensor.device.type for tensor in tensors_of(episodes.running())} == {"meta"}
