"""A million decisions, and not one that breaks a guardrail; judged by plain pandas, not by the masking code."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from campaigns.guardrails import Guardrails
from campaigns.observation import make_calendar
from policies.policy import Policy
from policies.rules import Random
from tests.policies.conftest import make_policy
from tests.worlds import small_world

ZONES = ["Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Chatham", "Nowhere/Land", None]
COPIES = 40


def users_everywhere() -> pd.DataFrame:
    """Twelve thousand customers in zones with daylight saving, odd offsets, and none that exists."""
    base = pd.concat([small_world().log.users] * COPIES, ignore_index=True)
    generator = np.random.default_rng(0)
    zones = np.array(ZONES, dtype=object)[generator.integers(len(ZONES), size=len(base))]
    return base.assign(user_id=range(len(base)), timezone=zones, consent_push=generator.random(len(base)) < 0.95)


def serve(policy: Policy, users: pd.DataFrame, first: str, days: int, seed: int) -> pd.DataFrame:
    """Decides slot after slot, with opens, opt-outs and released sends on the way."""
    session = policy.start(users, small_world().log.contents, seed=seed)
    generator = np.random.default_rng(seed)
    frames = []
    hours = policy.clock.slot_hours
    for time in pd.date_range(first, periods=days * 24 // hours, freq=f"{hours}h"):
        frame = session.decide(time).assign(time=time)
        out = frame["content_id"].notna() & (generator.random(len(frame)) < 0.02)
        session.observe(frame.loc[out, ["user_id", "time"]].assign(unsubscribed=1))
        frames.append(frame.assign(unsubscribed=out))
    return pd.concat(frames, ignore_index=True)


def local_hour(time: pd.Timestamp, zone: object) -> float:
    """The hour that a customer's own clock shows, by the standard library."""
    try:
        place = ZoneInfo(zone) if isinstance(zone, str) else ZoneInfo("UTC")
    except KeyError:
        place = ZoneInfo("UTC")
    local = time.to_pydatetime().replace(tzinfo=ZoneInfo("UTC")).astimezone(place)
    return local.hour + local.minute / 60


def broken_rules(decisions: pd.DataFrame, users: pd.DataFrame, rules: Guardrails) -> list[str]:
    """Names of the rules that the decisions break."""
    broken = []
    sends = decisions[decisions["content_id"].notna()]
    sends = sends.merge(users[["user_id", "timezone", "consent_push"]], on="user_id")
    if not sends["consent_push"].all():
        broken.append("consent")
    pairs = sends.groupby(["time", "timezone"], dropna=False).size().index
    hours = {pair: local_hour(*pair) for pair in pairs}
    for hour in hours.values():
        quiet = hour >= rules.quiet_from or hour < rules.quiet_until
        if rules.quiet_from > rules.quiet_until and quiet:
            broken.append("quiet hours")
            break
    first_out = decisions[decisions["unsubscribed"]].groupby("user_id")["time"].min()
    if len(first_out) and (sends["time"] > pd.to_datetime(sends["user_id"].map(first_out))).any():
        broken.append("opt-out")
    sends = sends.sort_values(["user_id", "time"])
    gap = sends.groupby("user_id")["time"].diff() / pd.Timedelta(hours=1)
    if (gap < rules.spacing_hours).any():
        broken.append("spacing")
    content_gap = sends.groupby(["user_id", "content_id"])["time"].diff() / pd.Timedelta(hours=1)
    if (content_gap < rules.content_spacing_hours).any():
        broken.append("content spacing")
    for cap, days, by in (
        (rules.max_per_day, 1, ["user_id"]),
        (rules.max_per_week, 7, ["user_id"]),
        (rules.content_max_per_week, 7, ["user_id", "content_id"]),
        (rules.content_max_per_month, 28, ["user_id", "content_id"]),
    ):
        if cap:
            # cap + 1 sends must span at least the window.
            span = sends.groupby(by)["time"].diff(cap) / pd.Timedelta(days=1)
            if (span < days).any():
                broken.append(f"cap of {cap} in {days} days by {by[-1]}")
    return broken


@pytest.mark.parametrize("first", ["2025-03-05", "2025-03-27", "2025-10-24"])
def test_a_million_decisions_break_no_guardrail_also_when_clocks_change(first: str) -> None:
    rules = Guardrails(content_max_per_month=2, holdout=0.0)
    policy = make_policy(rules, chooser=Random(0.9))
    users = users_everywhere()
    decisions = serve(policy, users, first, days=5, seed=1)
    assert len(decisions) * 3 > 1_000_000
    assert broken_rules(decisions, users, rules) == []
    assert decisions["content_id"].notna().mean() > 0.02


@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    quiet_from=st.integers(13, 23),
    quiet_until=st.integers(0, 11),
    max_per_day=st.integers(0, 3),
    max_per_week=st.integers(0, 6),
    spacing=st.sampled_from([0.0, 4.0, 9.0, 30.0]),
    content_spacing=st.sampled_from([0.0, 20.0, 72.0]),
    content_week=st.integers(0, 3),
    seed=st.integers(0, 1000),
)
def test_any_combination_of_rules_holds(
    quiet_from: int,
    quiet_until: int,
    max_per_day: int,
    max_per_week: int,
    spacing: float,
    content_spacing: float,
    content_week: int,
    seed: int,
) -> None:
    rules = Guardrails(
        "any", quiet_from, quiet_until, max_per_day, max_per_week, spacing, content_spacing, content_week, 0, 0.0
    )
    users = users_everywhere().iloc[seed : seed + 60]
    decisions = serve(make_policy(rules, chooser=Random(1.0)), users, "2025-03-28", days=8, seed=seed)
    assert broken_rules(decisions, users, rules) == []


def test_the_checker_sees_a_broken_rule() -> None:
    users = users_everywhere().head(100)
    loose = Guardrails("loose", 0, 0, 0, 0, 0.0, 0.0, 0, 0, 0.0)
    decisions = serve(make_policy(loose, chooser=Random(1.0)), users, "2025-03-28", days=3, seed=0)
    assert set(broken_rules(decisions, users, Guardrails(holdout=0.0))) >= {
        "quiet hours", "spacing", "content spacing", "cap of 1 in 1 days by user_id",
    }  # fmt: skip


def test_local_time_follows_each_customers_zone_across_clock_changes() -> None:
    clock = small_world().log.clock
    first = clock.slot("2025-03-29")
    zones = ("Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Chatham")
    calendar = make_calendar(clock, zones, first, 12)
    for column in range(12):
        utc = datetime(2025, 3, 29, tzinfo=ZoneInfo("UTC")) + timedelta(hours=4 * column)
        for row, zone in enumerate(zones):
            local = utc.astimezone(ZoneInfo(zone))
            minute, weekday = calendar.at(torch.tensor([row]), torch.tensor([first + column]))
            assert int(minute) == local.hour * 60 + local.minute
            assert int(weekday) == local.weekday()
