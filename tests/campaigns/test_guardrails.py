"""The masking function equals a reference that goes through every past send of every customer in plain Python."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from campaigns import history as past
from campaigns.audience import Catalogue, Population, make_catalogue, make_population
from campaigns.clock import SlotClock
from campaigns.encoding import FeatureEncoder
from campaigns.errors import CampaignError
from campaigns.guardrails import NO_GUARDRAILS, Guardrails, check_channels, customer_blocks, why_nothing_may_be_sent
from campaigns.history import Happenings
from campaigns.objective import Objective
from campaigns.observation import make_calendar, observe

ZONES = [
    "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Chatham", "Asia/Kolkata", "Nowhere/Land", None,
]  # fmt: skip
CHANNELS = ["push", "email", "Push "]
UNIX = datetime(1970, 1, 1)


def world_of(seed: int, grid_zone: str) -> tuple[Population, Catalogue, pd.DataFrame, pd.DataFrame]:
    """Fourteen customers of all zones, three contents on two channels, consent at random."""
    generator = np.random.default_rng(seed)
    users = pd.DataFrame(
        {
            "user_id": range(14),
            "timezone": pd.Series(ZONES * 2, dtype=object),
            "consent_push": generator.choice(np.array([True, True, True, False, None], dtype=object), 14),
            "consent_email": generator.choice(np.array([True, False, None], dtype=object), 14),
        }
    )
    contents = pd.DataFrame({"content_id": ["a", "b", "c"], "channel": CHANNELS})
    catalogue = make_catalogue(contents, FeatureEncoder("contents", ()), Objective())
    people = make_population(users, FeatureEncoder("users", ()), catalogue.channels, grid_zone, holdout=0.3)
    return people, catalogue, users, contents


@dataclass
class Past:
    """What a reference needs to know of one customer: every send (slot, content) and every channel left."""

    sends: list[tuple[int, int]] = field(default_factory=list)
    left: set[str] = field(default_factory=set)


def instant_of(slot: int, clock: SlotClock) -> datetime:
    """When a slot begins, by the standard library alone."""
    wall = UNIX + timedelta(hours=slot * clock.slot_hours)
    return wall.replace(tzinfo=ZoneInfo(clock.timezone)).astimezone(UTC)


def allowed_by_hand(
    rules: Guardrails,
    clock: SlotClock,
    slot: int,
    known: Past,
    zone: object,
    consent: dict[str, object],
    held_out: bool,
) -> list[bool]:
    """Which of the three contents may be sent now."""
    place = zone if isinstance(zone, str) and zone != "Nowhere/Land" else clock.timezone
    local = instant_of(slot, clock).astimezone(ZoneInfo(place))
    hour = local.hour + local.minute / 60
    begin, end = rules.quiet_from, rules.quiet_until
    quiet = begin != end and (begin <= hour < end if begin < end else hour >= begin or hour < end)

    def hours_ago(before: int) -> int:
        return (slot - before) * clock.slot_hours

    def sends_in(days: int, content: int | None = None) -> int:
        return sum(hours_ago(at) <= 24 * days and content in (None, what) for at, what in known.sends)

    anybody = not quiet and not held_out
    anybody &= not rules.max_per_day or sends_in(1) < rules.max_per_day
    anybody &= not rules.max_per_week or sends_in(7) < rules.max_per_week
    anybody &= all(hours_ago(at) >= rules.spacing_hours for at, _ in known.sends)
    result = []
    for content, channel in enumerate(name.strip().lower() for name in CHANNELS):
        fine = anybody and consent[channel] is not False and channel not in known.left
        fine &= all(hours_ago(at) >= rules.content_spacing_hours for at, what in known.sends if what == content)
        fine &= not rules.content_max_per_week or sends_in(7, content) < rules.content_max_per_week
        fine &= not rules.content_max_per_month or sends_in(28, content) < rules.content_max_per_month
        cap = rules.channel_max_per_week.get(channel, 0)
        fine &= not cap or sum(sends_in(7, k) for k in range(3) if CHANNELS[k].strip().lower() == channel) < cap
        result.append(bool(fine))
    return result


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    rules=st.builds(
        Guardrails, st.just("any"), st.integers(0, 24), st.integers(0, 24), st.integers(0, 3), st.integers(0, 8),
        st.sampled_from([0.0, 1.0, 5.0, 12.0, 30.0]), st.sampled_from([0.0, 7.0, 48.0, 200.0]), st.integers(0, 3),
        st.integers(0, 5), st.just(0.3),
        st.dictionaries(st.sampled_from(["push", "email"]), st.integers(0, 5)),
    ),
    slot_hours=st.sampled_from([1, 3, 4, 6]),
    grid_zone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York"]),
    day=st.sampled_from(["2025-03-08", "2025-03-29", "2025-04-05", "2025-10-25", "2025-11-01", "2025-07-01"]),
    often=st.sampled_from([0.05, 0.3, 0.9]),
    seed=st.integers(0, 10_000),
)  # fmt: skip
def test_the_mask_equals_a_reference_in_plain_python(
    rules: Guardrails, slot_hours: int, grid_zone: str, day: str, often: float, seed: int
) -> None:
    clock = SlotClock(grid_zone, slot_hours)
    people, catalogue, users, _ = world_of(seed, grid_zone)
    generator = np.random.default_rng(seed)
    known = [Past() for _ in range(len(people))]
    history = past.start(len(people), catalogue)
    first, slots = clock.slot(day), 30
    calendar = make_calendar(clock, people.zones, first, slots)
    for column in range(slots):
        slot = torch.full((len(people),), first + column, dtype=torch.int64)
        seen = observe(history, slot, calendar, people, catalogue, clock, rules)
        assert seen.allowed[:, 0].all()
        for row in range(len(people)):
            consent = {channel: users[f"consent_{channel}"][row] for channel in ("push", "email")}
            expected = allowed_by_hand(
                rules, clock, first + column, known[row], users["timezone"][row], consent, bool(people.holdout[row])
            )
            assert seen.allowed[row, 1:].tolist() == expected, (row, column)
        # The past may break any rule: what is tested is the mask, not who obeys it.
        decision = np.where(generator.random(len(people)) < often, generator.integers(1, 4, len(people)), 0)
        left = generator.random(len(people)) < 0.02
        history = past.record_decision(history, torch.from_numpy(decision), slot, seen.daypart, catalogue)
        nothing = torch.zeros(len(people), dtype=torch.bool)
        happened = Happenings(nothing, nothing, nothing, nothing, torch.from_numpy(left), torch.from_numpy(decision))
        history = past.record_happenings(history, happened, slot, seen.daypart, catalogue)
        for row in range(len(people)):
            if decision[row]:
                known[row].sends.append((first + column, int(decision[row]) - 1))
            if left[row]:
                own = CHANNELS[decision[row] - 1].strip().lower() if decision[row] else None
                known[row].left |= {"push", "email"} if own is None else {own}


@pytest.mark.parametrize("consent", [True, False])
@pytest.mark.parametrize("slot_hours", [1, 4, 24])
@pytest.mark.parametrize(("quiet_from", "quiet_until"), [(0, 24), (21, 8), (1, 0), (2, 1), (4, 0), (0, 23), (0, 0)])
def test_nothing_may_be_sent_exactly_where_the_mask_never_lets_a_first_send_through(
    quiet_from: int, quiet_until: int, slot_hours: int, consent: bool
) -> None:
    people, catalogue, _, _ = world_of(3, "UTC")
    people = replace(people, consent=people.consent & consent, holdout=torch.zeros_like(people.holdout))
    rules, clock = Guardrails(quiet_from=quiet_from, quiet_until=quiet_until), SlotClock("UTC", slot_hours)
    first, slots = clock.slot("2025-07-01"), 2 * clock.slots_per_day
    calendar, fresh = make_calendar(clock, people.zones, first, slots), past.start(len(people), catalogue)
    told = why_nothing_may_be_sent(rules, people, catalogue, clock, first, slots)
    ever = any(
        observe(fresh, torch.full((len(people),), slot), calendar, people, catalogue, clock, rules).allowed[:, 1:].any()
        for slot in range(first, first + slots)
    )
    assert (told is None) == ever
    assert told is None or ("quiet hours" in told) == consent


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("quiet_from", -1), ("quiet_until", 25), ("max_per_day", -1), ("max_per_week", 17), ("content_max_per_week", 6),
        ("content_max_per_month", -2), ("spacing_hours", -0.5), ("spacing_hours", float("nan")),
        ("content_spacing_hours", float("inf")), ("holdout", 1.0), ("holdout", float("nan")),
    ],
)  # fmt: skip
def test_a_rule_out_of_range_is_named(setting: str, value: float) -> None:
    with pytest.raises(CampaignError, match=rf"guardrails\.{setting}={value}"):
        Guardrails(**{setting: value})  # type: ignore[arg-type]


def test_a_cap_of_a_channel_out_of_range_is_named() -> None:
    with pytest.raises(CampaignError, match=r"guardrails\.channel_max_per_week\.sms=6: must be 0 \(no cap\) to 5"):
        Guardrails(channel_max_per_week={"sms": 6})


def test_a_cap_of_a_channel_that_is_not_there_is_refused_with_those_that_are() -> None:
    rules = Guardrails(channel_max_per_week={"push": 2, "Mail": 1})
    check_channels(rules, ("email", "push", "mail", "Mail"))
    with pytest.raises(CampaignError, match=r"channel_max_per_week\.Mail: no content .* channels are email, push\."):
        check_channels(rules, ("push", "email"))


@settings(max_examples=15, deadline=None, derandomize=True)
@given(push=st.integers(1, 5), email=st.integers(1, 5), seed=st.integers(0, 10_000))
def test_whoever_obeys_the_mask_reaches_but_never_exceeds_a_channels_cap(push: int, email: int, seed: int) -> None:
    people, catalogue, _, _ = world_of(seed, "UTC")
    clock, slots = SlotClock(), 90
    caps = {"push": push, "email": email}
    rules = replace(NO_GUARDRAILS, channel_max_per_week=caps)
    first, history = clock.slot("2025-07-01"), past.start(len(people), catalogue)
    calendar = make_calendar(clock, people.zones, first, slots)
    generator = torch.Generator().manual_seed(seed)
    sent = torch.zeros(len(people), slots, len(catalogue.channels), dtype=torch.int64)
    for column in range(slots):
        slot = torch.full((len(people),), first + column, dtype=torch.int64)
        seen = observe(history, slot, calendar, people, catalogue, clock, rules)
        wish = torch.rand(seen.allowed.shape, generator=generator) * seen.allowed
        wish[:, 0] = 1e-9  # sends whenever it may, so that every cap is reached
        decision = wish.argmax(dim=1)
        for row in torch.nonzero(decision).flatten().tolist():
            sent[row, column, catalogue.channel[decision[row] - 1]] += 1
        blocks = customer_blocks(rules, history, slot, seen.minute, people, catalogue, clock)
        reachable = people.consent.any(dim=1) & ~people.holdout
        assert torch.equal(blocks["cap_channel"] & reachable, (decision == 0) & reachable)
        history = past.record_decision(history, decision, slot, seen.daypart, catalogue)
    weekly = sent.unfold(1, clock.slots_in(7), 1).sum(dim=-1)  # [N, windows, M]
    for index, channel in enumerate(catalogue.channels):
        assert weekly[..., index].max() == caps[channel]
    assert not sent[~people.consent.unsqueeze(1).expand_as(sent)].any(), "a channel without consent was used"


def test_eligibility_can_only_narrow() -> None:
    people, catalogue, _, _ = world_of(3, "UTC")
    clock = SlotClock()
    history = past.start(len(people), catalogue)
    slot = torch.full((len(people),), clock.slot("2025-07-01 12:00"), dtype=torch.int64)
    calendar = make_calendar(clock, people.zones, int(slot[0]), 1)
    generator = torch.Generator().manual_seed(0)
    for shape in ((len(people),), (len(people), len(catalogue))):
        eligible = torch.rand(shape, generator=generator) < 0.5
        free = observe(history, slot, calendar, people, catalogue, clock, Guardrails())
        narrow = observe(history, slot, calendar, people, catalogue, clock, Guardrails(), eligible)
        wide = eligible if eligible.dim() == 2 else eligible.unsqueeze(1)
        assert torch.equal(narrow.allowed[:, 1:], free.allowed[:, 1:] & wide)
        assert narrow.allowed[:, 0].all()
