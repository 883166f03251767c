"""Push, e-mail and SMS side by side in the reference market: consents, opt-outs, costs and responses, each its own."""

from __future__ import annotations

from dataclasses import fields, replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
import torch

from campaigns.encoding import fit_encoder
from campaigns.errors import CampaignError
from campaigns.guardrails import NO_GUARDRAILS, Guardrails
from campaigns.logs import CampaignLog, LogSettings, make_log
from campaigns.objective import Objective
from envs.reference import market
from envs.reference.channels import CHANNELS, with_channels
from envs.reference.simulate import simulate
from envs.reference.variants import VARIANTS
from envs.reference.world import ReferenceWorld
from envs.truth import Truth, make_truth
from evaluation.by_channel import by_channel
from evaluation.rollout import Rollout, rollout
from policies.rules import Random
from tests.worlds import Serves

ALL = ("push", "email", "sms")
CUSTOMERS, DAYS = 300, 14


@cache
def tables() -> dict[str, pd.DataFrame]:
    return simulate(with_channels(VARIANTS["ecommerce"], ALL), CUSTOMERS, DAYS, seed=3)


@cache
def log() -> CampaignLog:
    return make_log(tables(), LogSettings(max_rejected=0.0))


def truth(guardrails: Guardrails = NO_GUARDRAILS) -> Truth:
    world = ReferenceWorld(with_channels(VARIANTS["ecommerce"], ALL), CUSTOMERS, 5, days=DAYS)
    users, contents = fit_encoder(log().users, "users"), fit_encoder(log().contents, "contents")
    return make_truth(world, users, contents, Objective(horizon_days=DAYS), log().clock, guardrails)


def played(world: Truth, chance: float = 0.5) -> Rollout:
    return rollout(world, Serves(Random(chance)), Objective(horizon_days=DAYS), CUSTOMERS, 9)


def channel_of(name: str) -> np.ndarray:
    return (tables()["contents"]["channel"] == name).to_numpy()


def test_push_alone_is_the_variant_itself() -> None:
    for variant in VARIANTS.values():
        assert with_channels(variant, ["push"]) == variant
    assert with_channels(VARIANTS["ecommerce"], ["email"]).channels == ("email",)


def test_the_same_people_live_in_every_world_of_channels() -> None:
    alone = simulate(VARIANTS["ecommerce"], CUSTOMERS, 1, seed=3)["users"]
    assert tables()["users"][list(alone.columns)].equals(alone)


def test_each_channel_has_its_contents_at_its_own_cost_and_sms_is_dearest() -> None:
    contents = tables()["contents"].groupby("channel")
    assert contents.size().to_dict() == {"push": 10, "email": 5, "sms": 5}
    assert contents["cost"].first().to_dict() == pytest.approx({"push": 0.01, "email": 0.003, "sms": 0.06})
    assert (contents["cost"].nunique() == 1).all()


def test_consent_of_one_channel_does_not_bind_another() -> None:
    users, decisions = tables()["users"], tables()["decisions"]
    channel = decisions["content_id"].map(tables()["contents"].set_index("content_id")["channel"])
    consents = pd.DataFrame({name: users[f"consent_{name}"] for name in ALL}).astype(bool)
    assert len(consents.drop_duplicates()) >= 6, "consents are given apart"
    sends = pd.crosstab(decisions["user_id"], channel).reindex(users["user_id"], fill_value=0)
    for name in ALL:
        assert not sends[name].to_numpy()[~consents[name]].any()
        for other in ALL:  # who refuses one channel is reached by another
            refused = (~consents[other] & consents[name]).to_numpy()
            assert other == name or sends[name].to_numpy()[refused].sum() > 0


def test_an_opt_out_of_email_leaves_push() -> None:
    world = truth().world
    people = replace(world.law.customers, consents=torch.ones_like(world.law.customers.consents))
    law = replace(world.law, customers=replace(people, opt_out=people.opt_out * 0 + 1.0))
    state = market.fresh_state(law, world.first_slot + 3)
    by = {name: 1 + int(np.flatnonzero(channel_of(name))[0]) for name in ALL}
    noise = torch.full((CUSTOMERS, world.noise_columns), 0.99)
    noise[:, 5] = 0.0  # whoever is sent something opts out
    state, _ = market.step(law, state, torch.full_like(state.slot, by["email"]), noise)
    assert state.opted_out.all()
    for name, reached in {"push": True, "email": False, "sms": True}.items():
        _, outcome = market.step(law, state, torch.full_like(state.slot, by[name]), noise)
        assert bool((outcome.expected_opened > 0).all()) is reached
        assert bool((outcome.expected_opened > 0).any()) is reached


def test_log_and_truth_tell_the_same_story_of_closed_channels() -> None:
    """What the product knows of consents and opt-outs is what the market itself goes by."""
    world = truth()
    world = replace(world, world=_easily_lost(world.world))
    generator = torch.Generator().manual_seed(0)
    state, lost = world.begin(torch.arange(CUSTOMERS), generator), 0
    order = [ALL.index(name) for name in world.catalogue.channels]
    for _ in range(DAYS * 6):
        seen = world.observe(state)
        assert torch.equal(state.population.consent, state.law.customers.consents[:, order])
        assert torch.equal(state.history.opted_out, state.truth.closed[:, order])
        chances = Random(0.5).probabilities(seen)
        decision = torch.multinomial(chances, 1, generator=generator).squeeze(1)
        noise = torch.rand(CUSTOMERS, world.noise_columns, generator=generator)
        state, _ = world.step(state, decision, noise, seen)
    lost = state.truth.closed.sum(dim=1)
    assert bool((lost == 1).any()), "nobody lost one channel and kept the others"
    assert bool((lost == 3).any())


def _easily_lost(world: ReferenceWorld) -> ReferenceWorld:
    people = world.law.customers
    world.law = replace(world.law, customers=replace(people, opt_out=people.opt_out * 60))
    return world


def test_a_channels_cap_binds_that_channel_alone() -> None:
    free, capped = played(truth()), played(truth(replace(NO_GUARDRAILS, channel_max_per_week={"sms": 1})))
    sends = {
        name: part.contents[:, channel_of("sms")].sum(axis=1) for name, part in (("free", free), ("capped", capped))
    }
    assert sends["free"].max() > DAYS / 7
    assert sends["capped"].max() == DAYS / 7
    assert capped.contents[:, channel_of("push")].sum(axis=1).max() > 10


def test_costs_are_charged_once_a_send_and_by_channel() -> None:
    result = played(truth())
    cost = tables()["contents"]["cost"].to_numpy()
    assert result.spent.sum() == pytest.approx(float(result.contents.sum(axis=0) @ cost), rel=0.05)
    free = replace(truth(), catalogue=replace(truth().catalogue, cost=torch.zeros(len(cost))))
    without = played(free)
    np.testing.assert_array_equal(without.contents, result.contents)
    np.testing.assert_allclose(without.drawn - result.drawn, result.contents @ cost, atol=2e-3)


def test_channels_differ_in_truth_as_they_are_said_to() -> None:
    world = truth().world
    people = replace(world.law.customers, consents=torch.ones_like(world.law.customers.consents))
    law = replace(world.law, customers=people)
    night, evening = (market.fresh_state(law, world.first_slot + slot) for slot in (0, 4))
    opens, outs, tired = {}, {}, {}
    for name in ALL:
        decision = torch.full((CUSTOMERS,), 1 + int(np.flatnonzero(channel_of(name))[0]))
        noise = torch.full((CUSTOMERS, world.noise_columns), 0.999)
        after, outcome = market.step(law, evening, decision, noise)
        early = market.step(law, night, decision, noise)[1].expected_opened
        opens[name] = float(early.sum() / outcome.expected_opened.sum())
        outs[name], tired[name] = outcome.expected_unsubscribed, after.fatigue
    assert opens["push"] < opens["sms"] < 0.8 < opens["email"], "an e-mail waits, a push does not"
    for name in ALL:
        torch.testing.assert_close(outs[name], outs["push"] * CHANNELS[name].leaving)
        torch.testing.assert_close(tired[name], tired["push"] * CHANNELS[name].tiring)


@pytest.mark.parametrize(
    ("channels", "message"),
    [
        ([], "name at least one channel"),
        (["push", "mail"], "mail is no channel of the reference market; did you mean 'email'"),
        (["sms", "sms"], "sms is there more than once"),
    ],
)
def test_channels_that_cannot_be_are_refused(channels: list[str], message: str) -> None:
    with pytest.raises(CampaignError, match=message):
        with_channels(VARIANTS["ecommerce"], channels)


def test_customers_keep_every_field_when_rows_are_taken() -> None:
    people = truth().world.law.customers
    taken = people.take(torch.tensor([2, 2, 0]))
    for f in fields(people):
        if f.name != "users":
            assert torch.equal(getattr(taken, f.name), getattr(people, f.name)[torch.tensor([2, 2, 0])])


def test_figures_by_channel_add_up_to_the_whole() -> None:
    world = truth()
    result = played(world)
    channel, names = world.catalogue.channel.numpy(), world.catalogue.channels
    table = {row["channel"]: row for row in by_channel(result.by_channel, result.contents, channel, names)}
    cost = world.catalogue.cost.numpy()
    for index, name in enumerate(names):
        row, sends = table[name], result.contents[:, channel == index]
        assert row["customers"] == (sends.sum(axis=1) > 0).sum() > 50
        assert row["sends"] * CUSTOMERS == pytest.approx(sends.sum())
        assert row["cost"] * CUSTOMERS == pytest.approx(float(sends.sum(axis=0) @ cost[channel == index]), rel=1e-5)
    opens = sum(row["opens"] for row in table.values()) * CUSTOMERS
    assert opens == pytest.approx(result.expected["opened"], rel=1e-5)  # nothing is opened without a send
    outs = sum(row["opt_outs"] for row in table.values()) * CUSTOMERS
    assert outs == pytest.approx(result.expected["unsubscribed"], rel=1e-5)
    assert 0 < sum(row["purchases"] for row in table.values()) * CUSTOMERS < result.expected["purchased"]
    assert table["sms"]["opens"] / table["sms"]["sends"] > table["email"]["opens"] / table["email"]["sends"]


def test_a_channel_that_reaches_few_customers_is_not_told() -> None:
    contents = np.zeros((100, 3))
    contents[:9, 0] = contents[:10, 1] = 1
    sums = np.full((3, 6), 50.0)
    few, enough, none = by_channel(sums, contents, np.arange(3), ("sms", "push", "email"))
    assert few["suppressed"]
    assert {value for key, value in few.items() if key not in ("channel", "suppressed")} == {None}
    assert enough["customers"] == 10
    assert enough["value_per_send"] == 1.0
    assert none["customers"] == 0
    assert none["value_per_send"] is None
