"""The law of the reference market: against a scalar twin, against its own draws, and in what it is meant to show."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
import torch

from campaigns.errors import CampaignError
from envs.reference import market
from envs.reference.channels import CHANNELS, with_channels
from envs.reference.customers import ZONES, make_customers
from envs.reference.held_back import HELD_BACK
from envs.reference.market import NOISE_COLUMNS, Outcome
from envs.reference.variants import VARIANTS, find_variant
from envs.reference.world import ReferenceWorld
from tests.envs.reference_rules import never, rollout
from tests.envs.reference_scalar import Life, live

DRAWN = ("opened", "clicked", "visited", "purchased", "unsubscribed", "value", "revenue")


def noise_of(n: int, seed: int) -> torch.Tensor:
    return torch.rand(n, NOISE_COLUMNS, generator=torch.Generator().manual_seed(seed))


def life_of(world: ReferenceWorld, row: int) -> Life:
    people, state = world.law.customers, world.initial_state()
    one = {f.name: getattr(people, f.name)[row] for f in fields(people) if f.name != "users"}
    variant = world.variant
    return Life(
        **{k: float(v) for k, v in one.items() if k not in ("interest", "peaks", "weights", "zone", "consents")},
        interest=dict(zip(variant.categories, one["interest"].tolist(), strict=True)),
        peaks=one["peaks"].tolist(),
        weights=one["weights"].tolist(),
        zone=ZONES[int(one["zone"])],
        consents=dict(zip(variant.channels, one["consents"].tolist(), strict=True)),
        fatigue=float(state.fatigue[row]),
        wear={c.content_id: float(w) for c, w in zip(variant.contents, state.wear[row], strict=True)},
        demand=float(state.demand[row]),
        closed=set(),
    )


@pytest.mark.parametrize("name", [*VARIANTS, "ecommerce by push, e-mail and SMS"])
def test_vector_market_equals_the_scalar_one(name):
    N = 48
    variant = VARIANTS.get(name, with_channels(VARIANTS["ecommerce"], tuple(CHANNELS)))
    world = ReferenceWorld(variant, N, seed=4)
    # Opting out must happen within the test.
    world.law = replace(world.law, customers=replace(world.law.customers, opt_out=world.law.customers.opt_out * 5))
    lives = [life_of(world, row) for row in range(N)]
    generator = np.random.default_rng(7)
    start = datetime(2025, 3, 3, tzinfo=UTC)
    state, seen = world.initial_state(), {name: 0.0 for name in DRAWN}
    for slot in range(28 * 6):  # the whole stretch: daylight saving begins in it, in two zones
        decision = generator.integers(0, len(world.contents) + 1, N) * (generator.random(N) < 0.15)
        noise = noise_of(N, 100 + slot)
        state, outcome = world.step(state, torch.from_numpy(decision), noise)
        time = start + timedelta(hours=4 * slot)
        told = [
            live(world.variant, life, time, start, 4, world.variant.contents[d - 1] if d else None, row)
            for life, d, row in zip(lives, decision, noise.double().tolist(), strict=True)
        ]
        for field in fields(Outcome):
            got, wanted = getattr(outcome, field.name), torch.tensor([float(t[field.name]) for t in told])
            torch.testing.assert_close(
                got.float(), wanted, rtol=2e-4, atol=1e-6, msg=lambda m, f=field: f"{f.name} {m}"
            )
        for event in DRAWN:
            seen[event] += float(getattr(outcome, event).sum())
        torch.testing.assert_close(state.demand, torch.tensor([x.demand for x in lives]), rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(state.fatigue, torch.tensor([x.fatigue for x in lives]), rtol=1e-4, atol=1e-6)
    closed = [[channel in life.closed for channel in variant.channels] for life in lives]
    assert state.closed.tolist() == closed
    assert all(seen.values()), f"some outcome never happened: {seen}"


def test_expected_values_are_the_means_of_the_draws():
    repeats, people = 4000, 40
    world = ReferenceWorld(VARIANTS["ecommerce"], people, seed=1)
    state = world.initial_state()
    for _ in range(4):  # an open hour of the day everywhere
        state, _ = world.step(state, torch.zeros(people, dtype=torch.int64), torch.ones(people, NOISE_COLUMNS))
    law = world.law
    rows = torch.arange(people).repeat_interleave(repeats)
    everyone = {f.name: getattr(law.customers, f.name) for f in fields(law.customers)}
    crowd = replace(
        law.customers,
        **{k: v[rows] for k, v in everyone.items() if isinstance(v, torch.Tensor)},
        users=law.customers.users.iloc[:0],
    )
    # Frequent organic purchases, so that all paths of a slot are tried.
    crowd = replace(crowd, organic=crowd.organic * 40, opt_out=crowd.opt_out * 40)
    big = market.TruthState(**{f.name: getattr(state, f.name)[rows] for f in fields(state)})
    decision = (torch.arange(people) % (len(world.contents) + 1))[rows]
    _, outcome = market.step(replace(law, customers=crowd), big, decision, noise_of(len(rows), 3))
    for event in DRAWN:
        drawn = getattr(outcome, event).double().reshape(people, repeats)
        expected = getattr(outcome, f"expected_{event}").double().reshape(people, repeats)[:, 0]
        error = (drawn.std(dim=1) / repeats**0.5).clamp(min=1e-9)
        z = ((drawn.mean(dim=1) - expected) / error)[drawn.std(dim=1) > 0]
        assert len(z) > people / 2, event
        assert float(z.abs().max()) < 4.5, event
        assert abs(float(z.sum()) / len(z) ** 0.5) < 4, event


def test_opted_out_and_unconsented_customers_answer_as_if_held():
    world = ReferenceWorld(VARIANTS["entertainment"], 400, seed=2)
    state, hold = world.initial_state(), torch.zeros(400, dtype=torch.int64)
    state = replace(state, closed=(torch.arange(400) % 2 == 0).unsqueeze(1))
    deaf = state.opted_out | ~world.law.customers.consent
    assert bool((deaf & ~state.opted_out).any())
    for slot in range(6):
        noise = noise_of(400, slot)
        after_send, sent = world.step(state, hold + 1, noise)
        after_hold, held = world.step(state, hold, noise)
        assert not bool(sent.opened[deaf].any())
        assert float(sent.expected_opened[~deaf].min()) > 0
        for field in fields(Outcome):
            assert torch.equal(getattr(sent, field.name)[deaf], getattr(held, field.name)[deaf])
        for field in fields(state):
            assert torch.equal(getattr(after_send, field.name)[deaf], getattr(after_hold, field.name)[deaf])
        state = after_hold


def test_fatigue_lowers_opens_and_raises_opt_outs():
    world = ReferenceWorld(VARIANTS["health"], 300, seed=2)
    rested = market.fresh_state(world.law, world.first_slot + 2)
    tired = replace(rested, fatigue=rested.fatigue + 3.0)
    send = torch.ones_like(rested.slot)
    fresh, worn = (world.step(s, send, noise_of(300, 0))[1] for s in (rested, tired))
    reached = world.law.customers.consent
    assert bool((worn.expected_opened < fresh.expected_opened)[reached].all())
    assert bool((worn.expected_unsubscribed > fresh.expected_unsubscribed)[reached].all())


def test_fatigue_halves_in_its_half_life():
    world = ReferenceWorld(VARIANTS["health"], 50, seed=2)
    law = replace(world.law, customers=replace(world.law.customers, fatigue_hours=torch.full((50,), 24.0)))
    state = replace(market.fresh_state(law, world.first_slot), fatigue=torch.full((50,), 4.0))
    for slot in range(6):
        state, _ = market.step(law, state, torch.zeros(50, dtype=torch.int64), noise_of(50, slot))
    torch.testing.assert_close(state.fatigue, torch.full((50,), 2.0))


def test_repeating_a_content_wears_it_out_more_than_its_category():
    world = ReferenceWorld(VARIANTS["ecommerce"], 300, seed=2)
    state = market.fresh_state(world.law, world.first_slot + 2)
    after, _ = world.step(state, torch.ones_like(state.slot), noise_of(300, 0))
    reached = world.law.customers.consent
    wear = after.wear[reached]
    assert bool((wear[:, 0] == 1).all())
    assert bool((wear[:, 1] > 0).all())  # same category
    assert bool((wear[:, 1] < 1).all())
    assert bool((wear[:, 2:] == 0).all())


@pytest.mark.parametrize("name", VARIANTS)
def test_pushes_pull_organic_purchases_forward(name):
    """A week of sends, then silence: who bought because of the sends buys less unasked in the silence, no one more."""
    world = ReferenceWorld(VARIANTS[name], 3000, seed=6)

    def two_weeks(send: bool) -> tuple[torch.Tensor, torch.Tensor]:
        state, generator = world.initial_state(), torch.Generator().manual_seed(1)
        bought, later = torch.zeros(3000), torch.zeros(3000)
        for slot in range(14 * 6):
            now = send and slot < 7 * 6 and slot % 3 == 2
            decision = torch.full_like(state.slot, 1 + slot // 3 % len(world.contents) if now else 0)
            noise = torch.rand(3000, NOISE_COLUMNS, generator=generator)
            noise[:, 3] = 1.0  # nothing is really bought unasked, so that both runs differ by pushed purchases alone
            state, outcome = world.step(state, decision, noise)
            bought += outcome.purchased * (slot < 7 * 6)
            later += outcome.expected_purchased * (slot >= 7 * 6)
        return bought, later

    bought, after_sends = two_weeks(send=True)
    none, without = two_weeks(send=False)
    pushed = bought > 0
    assert float(none.sum()) == 0
    assert 0.005 < float(pushed.float().mean()) < 0.7
    assert bool((after_sends < without)[pushed].all())
    torch.testing.assert_close(after_sends[~pushed], without[~pushed])
    assert float(after_sends[pushed].sum()) < 0.95 * float(without[pushed].sum())


def test_discounts_lower_the_margin_and_raise_conversion():
    world = ReferenceWorld(VARIANTS["ecommerce"], 500, seed=3)
    state = market.fresh_state(world.law, world.first_slot + 4)
    send, sure = torch.ones_like(state.slot), torch.zeros(500, NOISE_COLUMNS)
    sure[:, 4] = 0.5
    plain = replace(world.law, discount=torch.zeros_like(world.law.discount))
    cut = replace(world.law, discount=torch.full_like(world.law.discount, 0.3))
    full_price, reduced = (market.step(law, state, send, sure)[1] for law in (plain, cut))
    reached = world.law.customers.consent & full_price.clicked & reduced.clicked
    assert bool((reduced.value < full_price.value)[reached].all())
    assert bool((reduced.revenue < full_price.revenue)[reached].all())
    assert bool((reduced.expected_purchased >= full_price.expected_purchased)[reached].all())
    assert float(reduced.expected_purchased.mean()) > 1.01 * float(full_price.expected_purchased.mean())
    deep = replace(world.law, discount=torch.full_like(world.law.discount, 0.6))
    assert bool((market.step(deep, state, send, sure)[1].value[reached] < 0).all())


def test_the_season_favours_what_is_near_its_peak():
    world = ReferenceWorld(VARIANTS["travel"], 200, seed=3)
    ids = world.contents["content_id"].tolist()
    gains = {}
    for day in (0, 21):  # the same weekday and hour, before daylight saving in Europe
        state = market.fresh_state(world.law, world.first_slot + 6 * day + 2)
        for content in ("ski_week", "beach_summer"):
            decision = torch.full_like(state.slot, 1 + ids.index(content))
            conversions = world.step(state, decision, noise_of(200, 0))[1].expected_value
            european = world.law.customers.zone < 2
            gains[content, day] = float(conversions[european].mean())
    assert gains["ski_week", 21] < gains["ski_week", 0]
    assert gains["beach_summer", 21] > gains["beach_summer", 0]


def test_time_of_day_follows_the_customers_own_zone():
    world = ReferenceWorld(VARIANTS["ecommerce"], 600, seed=3)
    # Everyone the same but for the zone: attention then differs by zone alone.
    same = {
        f.name: getattr(world.law.customers, f.name)[:1].expand_as(getattr(world.law.customers, f.name)).clone()
        for f in fields(world.law.customers)
        if f.name not in ("zone", "consents", "users")
    }
    law = replace(world.law, customers=replace(world.law.customers, **same))
    minute, _ = law.clocks(torch.full((600,), world.first_slot + 3))  # noon in UTC, still winter
    zone = law.customers.zone
    assert [int(minute[zone == z].unique()) // 60 for z in range(3)] == [14, 12, 7]
    levels = market.attention(law, minute)
    assert all(len(levels[zone == z].unique()) == 1 for z in range(3))
    assert len(levels.unique()) == 3


def test_what_is_seen_tells_a_part_of_what_is_latent():
    people = make_customers(VARIANTS["ecommerce"], 4000, seed=0)
    users, categories = people.users, np.array(VARIANTS["ecommerce"].categories)
    told = users["favourite_category"].to_numpy() == categories[people.interest.argmax(dim=1)]
    assert 0.7 < told.mean() < 0.95
    pairs = {
        "income and price sensitivity": (np.log(users["income"]), -people.price_sensitivity.numpy()),
        "age and early rising": (users["age"], -people.weights.argmax(dim=1).numpy()),
        "loyalty and sensitivity": (
            users["loyalty_tier"].map({"new": 0, "regular": 1, "gold": 2}),
            -people.fatigue_sensitivity.log().numpy(),
        ),
        "past purchases": (users["past_purchases"], people.organic.numpy()),
    }
    for name, (seen, latent) in pairs.items():
        assert 0.2 < np.corrcoef(seen, latent)[0, 1] < 0.95, name
    # Novelty shows in no column.
    numbers = users.select_dtypes("number")
    assert numbers.corrwith(pd.Series(people.novelty.numpy())).abs().max() < 0.06


def test_value_per_customer_is_around_ten():
    for name, variant in VARIANTS.items():
        world = ReferenceWorld(variant, 800, seed=1)
        assert 2 < rollout(world, never).mean < 15, name


def test_an_unknown_variant_is_named():
    with pytest.raises(CampaignError, match=r"data.variant='retail'.*ecommerce"):
        find_variant("retail")


def on(device: str, thing):
    """A dataclass of tensors, or one that holds such, moved to a device."""
    moved = {f.name: getattr(thing, f.name) for f in fields(thing)}
    return replace(thing, **{k: v.to(device) if hasattr(v, "to") else v for k, v in moved.items()})


def test_a_step_leaves_its_arguments_as_they_were_and_can_be_repeated():
    world = ReferenceWorld(VARIANTS["banking"], 100, seed=0)
    state = world.initial_state()
    before = {f.name: getattr(state, f.name).clone() for f in fields(state)}
    decision, noise = torch.arange(100) % 9, noise_of(100, 1)
    results = [world.step(state, decision, noise) for _ in range(2)]
    for name, value in before.items():
        assert torch.equal(getattr(state, name), value)
        assert torch.equal(getattr(results[0][0], name), getattr(results[1][0], name))
    assert not torch.equal(results[0][1].visited, world.step(state, decision, noise_of(100, 2))[1].visited)


def test_a_step_looks_at_no_number_and_stays_on_its_device():
    """Tensors of the meta device hold no numbers: a branch on one, or a tensor left on the CPU, would raise."""
    world = ReferenceWorld(VARIANTS["travel"], 10, seed=0)
    law, state = on("meta", world.law), on("meta", world.initial_state())
    decision = torch.zeros(10, dtype=torch.int64, device="meta")
    after, outcome = market.step(law, state, decision, torch.empty(10, NOISE_COLUMNS, device="meta"))
    for result in (after, outcome):
        assert {getattr(result, f.name).device.type for f in fields(result)} == {"meta"}
    assert {getattr(outcome, f.name).shape for f in fields(outcome)} == {(10,)}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_graphics_card_agrees_with_the_processor():
    worlds = [ReferenceWorld(VARIANTS["ecommerce"], 2000, seed=0, device=device) for device in ("cpu", "cuda")]
    states = [world.initial_state() for world in worlds]
    state = on("cuda", states[0])
    torch.testing.assert_close(states[1].fatigue.mean().cpu(), states[0].fatigue.mean(), rtol=0.02, atol=0)
    decision, noise = torch.arange(2000) % 11, noise_of(2000, 1)
    _, here = worlds[0].step(states[0], decision, noise)
    _, there = worlds[1].step(state, decision.cuda(), noise.cuda())
    for field in fields(here):
        mine, other = getattr(here, field.name).float(), getattr(there, field.name).float().cpu()
        assert float(torch.isclose(mine, other, rtol=1e-3, atol=1e-5).float().mean()) > 0.999, field.name


def test_what_is_held_back_from_tuning_is_found_by_name_alone():
    assert not set(HELD_BACK) & set(VARIANTS)
    for name, variant in HELD_BACK.items():
        assert find_variant(name) is variant
        outcome = ReferenceWorld(variant, 300, seed=3)
        state = outcome.initial_state()
        _, brought = outcome.step(state, torch.ones(300, dtype=torch.int64), torch.rand(300, outcome.noise_columns))
        assert 0.01 < float(brought.expected_opened.mean()) < 0.9
