"""The log that the reference market writes: reproducible, of the stated form, drawn with the stated probabilities."""

from __future__ import annotations

import subprocess
import sys
from functools import cache

import numpy as np
import pandas as pd
import pytest
import torch

from campaigns.clock import local_calendar
from campaigns.errors import CampaignError
from envs.reference.logging import draw
from envs.reference.simulate import simulate
from envs.reference.variants import VARIANTS, find_variant
from envs.reference.world import ReferenceWorld


@cache
def log(variant: str = "ecommerce", customers: int = 1200, days: int = 14, seed: int = 0, **settings) -> dict:
    return simulate(VARIANTS[variant], customers, days, seed, **settings)


def local_hours(tables: dict) -> np.ndarray:
    decisions = tables["decisions"].merge(tables["users"][["user_id", "timezone"]], on="user_id")
    hours = np.empty(len(decisions))
    for zone, rows in decisions.groupby("timezone").indices.items():
        times = pd.DatetimeIndex(decisions["time"].iloc[rows]).tz_localize("UTC").tz_convert(zone)
        hours[rows] = times.hour + times.minute / 60
    return hours


def test_the_same_seed_gives_the_same_tables_and_another_gives_others():
    first, second, other = (simulate(VARIANTS["travel"], 60, 7, seed) for seed in (3, 3, 4))
    for table in ("users", "contents", "decisions"):
        pd.testing.assert_frame_equal(first[table], second[table])
    assert not first["decisions"]["content_id"].equals(other["decisions"]["content_id"])
    assert not first["users"]["age"].equals(other["users"]["age"])


def test_a_world_of_the_same_seed_holds_the_logs_customers():
    tables, world = log("travel", 60, 7, 3), ReferenceWorld(VARIANTS["travel"], 60, 3)
    pd.testing.assert_frame_equal(tables["users"], world.users)
    pd.testing.assert_frame_equal(tables["contents"], world.contents)
    assert world.clock.times([world.first_slot])[0] == tables["decisions"]["time"].iloc[0] == pd.Timestamp("2025-03-03")


def test_the_log_has_the_stated_form():
    tables = log("banking", 60, 7)
    decisions = tables["decisions"]
    assert list(decisions.columns) == [
        "user_id", "time", "content_id", "action_prob", "eligible", "opened", "clicked", "visited", "purchased",
        "revenue", "value", "unsubscribed",
    ]  # fmt: skip
    assert len(decisions) == 60 * 7 * 6
    assert not decisions.duplicated(["user_id", "time"]).any()
    assert set(decisions["content_id"].dropna()) <= set(tables["contents"]["content_id"])
    assert decisions["action_prob"].between(0, 1, inclusive="right").all()
    assert tables["contents"].columns.tolist() == [
        "content_id", "category", "price_level", "discount", "text", "channel", "cost",
    ]  # fmt: skip
    assert (tables["contents"]["channel"] == "push").all()
    assert tables["users"]["consent_push"].mean() > 0.9


@pytest.mark.parametrize("variant", VARIANTS)
def test_outcomes_are_coherent(variant):
    d = log(variant)["decisions"]
    sent = d["content_id"].notna()
    assert not d.loc[~sent, ["opened", "clicked", "unsubscribed"]].any().any()
    assert not (d["clicked"] & ~d["opened"]).any()
    assert not ((d["clicked"] | d["purchased"]) & ~d["visited"]).any()
    assert (d.loc[~d["purchased"], ["revenue", "value"]] == 0).all().all()
    assert (d.loc[d["purchased"], "revenue"] > 0).all()
    assert d.loc[~sent, "purchased"].any(), "no organic purchase"
    assert d.loc[d["clicked"], "purchased"].mean() > 0.02


def test_some_purchases_lose_money():
    decisions = log("ecommerce")["decisions"]
    assert (decisions["value"] < 0).any()


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_logging_policy_obeys_quiet_hours_consent_and_opt_outs(variant):
    tables = log(variant)
    d = tables["decisions"]
    sent, hours = d["content_id"].notna().to_numpy(), local_hours(tables)
    quiet = (hours < 8) | (hours >= 21)
    consent = d["user_id"].isin(tables["users"].loc[tables["users"]["consent_push"], "user_id"]).to_numpy()
    out = d.groupby("user_id", sort=False)["unsubscribed"].transform(lambda u: u.cumsum().shift(fill_value=0)) > 0
    assert out.any()
    barred = quiet | ~consent | out.to_numpy()
    assert (d["eligible"].to_numpy() == ~barred).all()
    assert not sent[barred].any()
    assert (d.loc[barred, "action_prob"] == 1).all()
    assert not d.loc[out, "opened"].any()


def test_daylight_saving_moves_the_quiet_hours():
    tables = log("entertainment", 80, 28, 1)
    d, users = tables["decisions"], tables["users"]
    american = d["user_id"].isin(users.loc[users["timezone"] == "America/New_York", "user_id"]) & d["eligible"]
    hours = {day: set(d.loc[american & (d["time"].dt.day == day), "time"].dt.hour) for day in (4, 18)}
    assert hours[4] == {0, 16, 20}  # 12 o'clock in UTC is 7 in winter, which is quiet, and 8 in summer
    assert hours[18] == {0, 12, 16, 20}


@pytest.mark.parametrize("variant", VARIANTS)
def test_logged_probabilities_are_the_true_frequencies(variant):
    """Among decisions logged with probability near p, the frequency of that very decision is p."""
    world = ReferenceWorld(VARIANTS[variant], 4000, seed=2)
    state, recent = world.warm
    generator = torch.Generator().manual_seed(9)
    total, expected, variance = (torch.zeros(len(world.contents) + 1, dtype=torch.float64) for _ in range(3))
    by_level = torch.zeros(3, 20, dtype=torch.float64)
    for _ in range(18):
        noise = torch.rand(4000, 1 + world.noise_columns, generator=generator)
        minute, _ = world.law.clocks(state.slot)
        probabilities, eligible = world.logger.probabilities(minute, recent, world.law.reachable(state))
        decision, logged, told = world.logged_decisions(state, recent, noise[:, 0])
        assert torch.equal(told, eligible)
        assert torch.equal(logged, probabilities.gather(1, decision[:, None])[:, 0])
        p = probabilities[eligible].double()
        taken = torch.nn.functional.one_hot(decision[eligible], p.shape[1]).double()
        total, expected, variance = total + taken.sum(0), expected + p.sum(0), variance + (p * (1 - p)).sum(0)
        send, level = taken[:, 1:].sum(1), (p[:, 1:].sum(1) * 20).long().clamp(max=19)
        for row, values in enumerate((send, p[:, 1:].sum(1), p[:, 0] * (1 - p[:, 0]))):
            by_level[row].index_add_(0, level, values)
        given_send = p[:, 1:] / p[:, 1:].sum(1, keepdim=True)
        assert bool((given_send >= 0.005).all()), "some content is hardly ever tried"
        state, _ = world.step(state, decision, noise[:, 1:])
        recent = world.logger.remember(recent, decision, 4)
    assert float(((total - expected) / variance.sqrt()).abs().max()) < 4
    levels = by_level[:, by_level[2] > 5]
    assert levels.shape[1] >= 4, "sends are about equally likely for everyone"
    assert float(((levels[0] - levels[1]) / levels[2].sqrt()).abs().max()) < 4


def test_draws_follow_the_probabilities():
    p = torch.tensor([[0.5, 0.2, 0.3], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    uniform = torch.linspace(0, 1 - 2**-20, 1001)
    shares = torch.stack([draw(p, torch.full((3,), float(u))) for u in uniform])
    for row in range(3):
        frequency = torch.bincount(shares[:, row], minlength=3) / len(uniform)
        torch.testing.assert_close(frequency, p[row], atol=0.002, rtol=0)


@pytest.mark.parametrize("variant", VARIANTS)
def test_sends_and_opt_outs_are_as_many_as_a_company_would_bear(variant):
    d = log(variant, 1200, 28)["decisions"]
    per_week = d["content_id"].notna().sum() / 1200 / 4
    assert 2 < per_week < 4.5
    assert 0.005 < d["unsubscribed"].sum() / 1200 < 0.15


def test_loyal_customers_are_sent_more_and_recent_sends_hold_back():
    tables = log("ecommerce")
    d = tables["decisions"].merge(tables["users"][["user_id", "loyalty_tier"]], on="user_id")
    d["sent"] = d["content_id"].notna()
    d["yesterday"] = d.groupby("user_id")["sent"].transform(lambda s: s.rolling(6, closed="left").sum())
    open_to = d[d["eligible"]]
    by_tier = open_to.groupby("loyalty_tier")["sent"].mean()
    assert by_tier["new"] < by_tier["regular"] < by_tier["gold"]
    gold = open_to[open_to["loyalty_tier"] == "gold"]
    assert gold.loc[gold["yesterday"] >= 1, "sent"].mean() < gold.loc[gold["yesterday"] == 0, "sent"].mean()


def test_little_exploration_leaves_a_habit_with_exact_probabilities():
    exploration, variant = 0.05, find_variant("ecommerce", 0.05)
    decisions = simulate(variant, 1200, 14, 0)["decisions"]
    sent, usual = decisions["content_id"].notna(), decisions["action_prob"] > 0.5
    # What is not the habit is a draw, at a twentieth of its usual probability; the habit always sends the same content.
    assert usual.mean() == pytest.approx(1 - exploration * 0.1, abs=0.01)
    assert decisions["action_prob"][~usual].max() <= exploration
    assert decisions[sent & usual].groupby("user_id")["content_id"].nunique().max() == 1
    drawn = decisions[~usual & sent].groupby("user_id")["content_id"].count().sum() / 1200
    assert drawn == pytest.approx(exploration * log()["decisions"]["content_id"].count() / 1200, rel=0.35)
    assert sent.sum() / 1200 == pytest.approx(2 * variant.sends_per_week, rel=0.25)


@pytest.mark.parametrize("share", [0.0, 1.5])
def test_an_exploration_that_is_no_share_is_named(share):
    with pytest.raises(CampaignError, match=f"data.exploration={share}"):
        find_variant("ecommerce", share)


def test_customers_are_not_all_rested_when_the_log_begins():
    state = ReferenceWorld(VARIANTS["ecommerce"], 400, seed=0).initial_state()
    assert 0.2 < float(state.fatigue.mean()) < 3
    assert float(state.demand.min()) < 0.9
    assert not bool(state.opted_out.any())


@pytest.mark.parametrize("slot_hours", [1, 6, 12, 24])
def test_other_grids_can_be_simulated(slot_hours):
    tables = log("ecommerce", 150, 7, slot_hours=slot_hours, timezone="Europe/Berlin")
    assert len(tables["decisions"]) == 150 * 7 * 24 // slot_hours
    sends = tables["decisions"]["content_id"].notna().sum() / 150
    assert 1 < sends < 6


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"customers": 0}, "data.customers=0"),
        ({"days": 0}, "data.days=0"),
        ({"slot_hours": 5}, "slot_hours=5"),
        ({"timezone": "Mars/Olympus"}, "Mars/Olympus"),
        ({"start": "one day"}, "one day"),
    ],
)
def test_impossible_settings_are_named(settings, message):
    with pytest.raises(CampaignError, match=message):
        simulate(VARIANTS["ecommerce"], **{"customers": 5, "days": 2, "seed": 0} | settings)


def test_progress_counts_every_slot():
    seen = []
    simulate(VARIANTS["health"], 5, 2, 0, progress=lambda done, of: seen.append((done, of)))
    assert seen == [(i, 12) for i in range(1, 13)]


def test_clocks_are_the_calendars():
    world = ReferenceWorld(VARIANTS["health"], 30, seed=0)
    calendar = local_calendar(world.clock, ("America/New_York",), world.first_slot, 28 * 6)
    rows = (world.law.customers.zone == 2).nonzero()[:, 0]
    for slot in (0, 40, 167):
        minute, weekday = world.law.clocks(torch.full((30,), world.first_slot + slot))
        assert (minute[rows] == int(calendar.minute[0, slot])).all()
        assert (weekday[rows] == int(calendar.weekday[0, slot])).all()


def test_the_truth_shares_no_code_with_the_network_or_its_features():
    script = (
        "import sys, envs.reference.simulate; own = 'campaigns envs propensity policies evaluation agents'.split();"
        "print(*(m for m in sys.modules if m.split('.')[0] in own and not m.startswith('envs.reference')))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == {"campaigns", "campaigns.clock", "campaigns.errors", "campaigns.rowwise", "envs"}
