"""The reference truth: its law, its log, and that its fields of use really differ."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from envs.reference.simulate import simulate
from envs.reference.variants import VARIANTS
from envs.reference.world import ReferenceWorld
from tests.envs.scalar_market import Life, Person, live_one_slot

NAMES = ("interest", "peak", "second_peak", "price_sensitivity", "fatigue_sensitivity", "fatigue_hours", "novelty",
         "organic", "basket", "opt_out", "consent")  # fmt: skip


@pytest.mark.parametrize("name", list(VARIANTS))
def test_the_vector_market_equals_the_scalar_one(name: str) -> None:
    variant = VARIANTS[name]
    world = ReferenceWorld(variant, 12, seed=3, days=6)
    people = [Person(**{n: getattr(world.people, n)[i].tolist() for n in NAMES}) for i in range(12)]
    lives = [Life(len(variant.contents)) for _ in people]
    generator = torch.Generator().manual_seed(9)
    state = world.initial_state()
    for slot in range(36):
        decision = torch.randint(0, 1 + len(variant.contents), (12,), generator=generator)
        noise = torch.rand(12, world.noise_columns, generator=generator)
        minute, weekday = world.calendar.at(world.people.zone, state.slot)
        state, outcome = world.step(state, decision, noise)
        for i, (person, life) in enumerate(zip(people, lives, strict=True)):
            expected = live_one_slot(
                variant, person, life, int(decision[i]), int(minute[i]) / 60, int(weekday[i]), slot * 4 / 24, 4,
                noise[i].tolist(),
            )  # fmt: skip
            for key, value in expected.items():
                got = float(getattr(outcome, key)[i])
                assert got == pytest.approx(float(value), rel=2e-3, abs=1e-5), (name, slot, i, key)
        assert state.fatigue.tolist() == pytest.approx([life.fatigue for life in lives], rel=1e-4, abs=1e-5)
        assert state.demand.tolist() == pytest.approx([life.demand for life in lives], rel=1e-4)
        assert state.opted_out.tolist() == [life.opted_out for life in lives]


def test_expectations_are_the_means_of_the_draws() -> None:
    world = ReferenceWorld(VARIANTS["ecommerce"], 1, seed=1, days=6)
    copies = 200_000
    one = world.people
    crowd = type(one)(*(getattr(one, f).expand(copies, *getattr(one, f).shape[1:]) for f in one.__dataclass_fields__))
    world.people = crowd
    state = world.initial_state()
    noise = torch.rand(copies, world.noise_columns, generator=torch.Generator().manual_seed(2))
    _, outcome = world.step(state, torch.full((copies,), 4), noise)
    for name in ("opened", "clicked", "visited", "purchased", "unsubscribed", "value"):
        drawn = getattr(outcome, name).double()
        error = float(drawn.std()) / copies**0.5 + 1e-9
        assert abs(float(drawn.mean()) - float(getattr(outcome, f"expected_{name}")[0])) < 4.5 * error, name


def test_a_seed_gives_the_same_log_and_another_seed_another() -> None:
    first, again, other = (simulate(VARIANTS["health"], 60, 4, seed) for seed in (5, 5, 6))
    for name, table in first.items():
        pd.testing.assert_frame_equal(table, again[name])
    assert not first["decisions"]["value"].equals(other["decisions"]["value"])


def test_logged_probabilities_are_the_true_ones() -> None:
    decisions = simulate(VARIANTS["travel"], 3000, 14, seed=1)["decisions"]
    rows = decisions[decisions["eligible"]]
    held = rows["content_id"].isna()
    odds = (1 - rows.loc[held, "action_prob"]) / rows.loc[held, "action_prob"]
    z = ((~held).sum() - odds.sum()) / np.sqrt((odds * (1 + odds)).sum())
    assert abs(z) < 4
    forced = decisions[~decisions["eligible"]]
    assert forced["content_id"].isna().all()
    assert (forced["action_prob"] == 1).all()


def test_nobody_is_reached_after_an_opt_out_or_without_consent() -> None:
    tables = simulate(VARIANTS["health"], 800, 20, seed=2)
    decisions = tables["decisions"].merge(tables["users"][["user_id", "consent_push"]], on="user_id")
    gone = decisions.groupby("user_id")["unsubscribed"].transform(lambda flags: flags.cumsum().shift(fill_value=0)) > 0
    assert gone.any()
    assert decisions.loc[gone | ~decisions["consent_push"], "content_id"].isna().all()


def play(world: ReferenceWorld, choose: object, slots: int) -> dict[str, float]:
    """Expected figures a customer of a fixed plan: `choose(slot)` gives one decision for all."""
    state, sums = world.initial_state(), {"value": 0.0, "opened": 0.0, "purchased": 0.0}
    generator = torch.Generator().manual_seed(0)
    customers = len(world.people)
    for slot in range(slots):
        noise = torch.rand(customers, world.noise_columns, generator=generator)
        decision = torch.full((customers,), int(choose(slot)))  # type: ignore[operator]
        state, outcome = world.step(state, decision, noise)
        for name in sums:
            sums[name] += float(getattr(outcome, f"expected_{name}").mean())
    return sums


def test_fatigue_lowers_opens_and_pushes_pull_purchases_forward() -> None:
    def world() -> ReferenceWorld:
        return ReferenceWorld(VARIANTS["ecommerce"], 2000, seed=4, days=16)

    rare = play(world(), lambda slot: 4 if slot % 24 == 5 else 0, 48)["opened"] / 2
    often = play(world(), lambda slot: 4 if slot % 6 == 5 else 0, 48)["opened"] / 8
    assert often < 0.75 * rare
    burst = play(world(), lambda slot: 1 + slot % 10 if slot < 24 else 0, 24)["purchased"]
    quiet = play(world(), lambda _: 0, 24)["purchased"]
    later_burst = play(world(), lambda slot: 1 + slot % 10 if slot < 24 else 0, 60)["purchased"] - burst
    later_quiet = play(world(), lambda _: 0, 60)["purchased"] - quiet
    assert burst > quiet
    assert later_burst < later_quiet


def test_deep_discounts_cost_margin() -> None:
    world = ReferenceWorld(VARIANTS["ecommerce"], 500, seed=4, days=2)
    ids = [c.content_id for c in world.variant.contents]
    decision = torch.full((500,), 1 + ids.index("beauty_clearance"))
    values = []
    for seed in range(30):
        noise = torch.rand(500, world.noise_columns, generator=torch.Generator().manual_seed(seed))
        noise[:, :3] = 0.0  # everyone opens, clicks and buys by it
        _, outcome = world.step(world.initial_state(), decision, noise)
        values.append(outcome.value[world.people.consent].mean())
    assert max(values) < 0


def test_no_one_rule_is_best_in_all_fields_of_use() -> None:
    best = {}
    for name, variant in VARIANTS.items():
        worth = {}
        for hours in (12, 20):
            for every in (9, 42):
                world = ReferenceWorld(variant, 400, seed=8, days=22)
                ids = range(1, 1 + len(variant.contents))
                plan = lambda slot, hours=hours, every=every: (  # noqa: E731
                    1 + (slot // every) % len(ids) if slot % 6 == hours // 4 and slot // 6 % max(every // 6, 1) == 0 else 0
                )
                worth[hours, every] = play(world, plan, 120)["value"]
        best[name] = max(worth, key=lambda key: worth[key])
    assert len(set(best.values())) > 1, best
