"""Weekly plans: numbered without gaps, carried out as they say, offered only where they can be kept."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from campaigns import history as past
from campaigns.clock import DAYPARTS, SlotClock
from campaigns.guardrails import NO_GUARDRAILS, Guardrails
from campaigns.history import HOLD
from campaigns.observation import make_calendar, observe
from campaigns.plan_features import PLAN_FEATURES, plan_features
from campaigns.plan_masks import allowed_plans, kept_plans, marginal_masks
from campaigns.plans import (
    ANY,
    CHOICES,
    NO_PLAN,
    PLAN_DAYPARTS,
    PlanMenu,
    planned_decisions,
    week_of,
    week_start,
)
from tests.envs.hand_made import Law, hand_made_market
from tests.worlds import small_world

MENU = PlanMenu()
NORMAL = Guardrails(holdout=0.0)
CLOCK = SlotClock()
MONDAY = CLOCK.slot("2025-03-03")


def played(plans: torch.Tensor, guardrails: Guardrails, start: int, slots: int, contents: int) -> list[torch.Tensor]:
    """Decisions of the small world's customers, each with a plan of its own that is kept over the weeks."""
    w = small_world()
    rows = torch.arange(len(plans)) % len(w.population)
    people, catalogue = w.population.take(rows), w.catalogue
    assert len(catalogue) == contents
    calendar = make_calendar(CLOCK, people.zones, start, slots)
    history, decisions = past.start(len(plans), catalogue), []
    for number in range(slots):
        slot = torch.full((len(plans),), start + number)
        seen = observe(history, slot, calendar, people, catalogue, CLOCK, guardrails)
        decision = planned_decisions(seen, MENU, plans)
        assert bool(seen.allowed.gather(1, decision.unsqueeze(1)).all())
        decisions.append(decision)
        history = past.record_decision(history, decision, slot, seen.daypart, catalogue)
    return decisions


def test_numbers_and_parts_are_each_others_inverse() -> None:
    plans = torch.arange(MENU.size(7))
    frequency, daypart, choice = MENU.places(plans, 7)
    assert torch.equal(MENU.number(frequency, daypart, choice, 7), plans)
    assert len({tuple(p) for p in torch.stack([frequency, daypart, choice], dim=1).tolist()}) == len(plans)
    assert MENU.label(NO_PLAN, ("a", "b")) == (0, "", "")
    assert MENU.label(1, ("a", "b")) == (1, "night", "a")
    assert MENU.label(MENU.size(2) - 1, ("a", "b")) == (7, ANY, "favourite")


def test_weeks_begin_on_monday_whatever_the_slots_length() -> None:
    for hours in (1, 4, 24, 168):
        clock = SlotClock(slot_hours=hours)
        for day, weeks in (("2025-03-03", 0), ("2025-03-09", 0), ("2025-03-10", 1), ("2025-03-02", -1)):
            slot = torch.tensor(clock.slot(day))
            week = week_of(clock, slot)
            assert int(week - week_of(clock, torch.tensor(clock.slot("2025-03-03")))) == weeks
            assert clock.times([int(week_start(clock, week))])[0].day_name() == "Monday"


def test_a_plan_is_never_exceeded_nor_leaves_its_daypart() -> None:
    contents = len(small_world().catalogue)
    plans = torch.randint(MENU.size(contents), (400,), generator=torch.Generator().manual_seed(0))
    frequency, daypart, choice = MENU.places(plans, contents)
    most = torch.tensor((0, *MENU.frequencies))[frequency]
    people = small_world().population.take(torch.arange(400) % len(small_world().population))
    for guardrails in (NORMAL, NO_GUARDRAILS):
        decisions = played(plans, guardrails, MONDAY, 2 * 42, contents)
        calendar = make_calendar(CLOCK, people.zones, MONDAY, 2 * 42)
        sent = torch.stack(decisions) > HOLD
        assert bool((sent[:42].sum(dim=0) <= most).all())
        assert bool((sent[42:].sum(dim=0) <= most).all())
        assert int(sent.sum()) > 400
        for number, decision in enumerate(decisions):
            minute, _ = calendar.at(people.zone, torch.full((400,), MONDAY + number))
            part = minute // 360
            right = (daypart == PLAN_DAYPARTS.index(ANY)) | (daypart == part)
            assert bool(right[decision > HOLD].all())
            single = (decision > HOLD) & (choice < contents)
            assert torch.equal(decision[single] - 1, choice[single])


def test_three_evenings_are_spread_over_the_week() -> None:
    contents = len(small_world().catalogue)
    frequency, evening = torch.tensor([3] * 300), torch.full((300,), DAYPARTS.index("evening"))
    plans = MENU.number(frequency, evening, torch.full((300,), contents), contents)  # rotate
    free = replace(NORMAL, quiet_from=0, quiet_until=0)
    decisions = torch.stack(played(plans, free, MONDAY, 42, contents)) > HOLD
    reachable = decisions.sum(dim=0) > 0
    days = torch.arange(42).unsqueeze(1) // 6
    for row in torch.nonzero(reachable).squeeze(1)[:20].tolist():
        assert days[decisions[:, row]].flatten().tolist() == [0, 2, 4]


def test_a_week_that_begins_late_spreads_what_is_left_and_does_not_hurry() -> None:
    contents = len(small_world().catalogue)
    plans = MENU.number(torch.tensor([3] * 100), torch.full((100,), 4), torch.full((100,), contents), contents)
    thursday = MONDAY + 3 * 6
    sent = torch.stack(played(plans, replace(NORMAL, quiet_from=0, quiet_until=0), thursday, 4 * 6, contents)) > HOLD
    assert int(sent.sum(dim=0).max()) == 2  # Thursday and Saturday; the third would be due on Monday


def test_what_guardrails_cut_short_is_not_offered() -> None:
    kept = kept_plans(MENU, NORMAL, 4, 0, 10)
    at = {name: place for place, name in enumerate(PLAN_DAYPARTS)}
    once, twice, daily = MENU.frequencies.index(1), MENU.frequencies.index(2), MENU.frequencies.index(7)
    assert not bool(kept[:, at["night"]].any())  # quiet
    assert bool(kept[once, at["evening"]].all())
    assert bool(kept[twice, at["evening"], 0])
    assert not bool(kept[MENU.frequencies.index(3), at["evening"], 0])  # a content may go out twice a week
    assert bool(kept[MENU.frequencies.index(3), at["evening"], 10:].all())
    assert not bool(kept[daily].any())  # five a week
    assert bool(kept_plans(MENU, NO_GUARDRAILS, 4, 0, 10).all())


def test_masks_follow_consent_opt_outs_and_the_customers_own_clock() -> None:
    market = hand_made_market(Law(), NORMAL, days=8)
    state = market.begin(torch.arange(100), torch.Generator())
    seen = market.observe(state)
    contents = len(market.catalogue)
    joint = allowed_plans(seen, MENU, NORMAL)
    assert bool(joint[:, NO_PLAN].all())
    for row in range(0, 100, 10):
        sends = joint[row, 1:].view(MENU.shape(contents))
        minute = int(seen.minute[row])  # the market begins on a Monday at midnight of the grid
        assert torch.equal(sends, kept_plans(MENU, NORMAL, 4, minute, contents))
    gone = replace(seen.history, opted_out=torch.ones_like(seen.history.opted_out))
    left = allowed_plans(replace(seen, history=gone), MENU, NORMAL)
    assert not bool(left[:, 1:].any())
    frequency, daypart, choice = marginal_masks(left, MENU, contents)
    assert frequency[0].tolist() == [True] + [False] * 5
    assert bool(daypart.all())
    assert bool(choice.all())


def test_masks_of_the_parts_are_what_some_open_plan_has() -> None:
    generator = torch.Generator().manual_seed(1)
    joint = torch.rand(50, MENU.size(3), generator=generator) < 0.02
    joint[:, NO_PLAN] = True
    frequency, daypart, choice = marginal_masks(joint, MENU, 3)
    for row in range(50):
        open_ = torch.nonzero(joint[row, 1:]).squeeze(1) + 1
        parts = [set(p.tolist()) for p in MENU.places(open_, 3)]
        assert set(torch.nonzero(frequency[row]).flatten().tolist()) == parts[0] | {0}
        assert set(torch.nonzero(daypart[row]).flatten().tolist()) == (parts[1] or set(range(5)))
        assert set(torch.nonzero(choice[row]).flatten().tolist()) == (parts[2] or set(range(3 + len(CHOICES))))


def test_plan_features_do_not_tell_the_hour() -> None:
    market = hand_made_market(days=8)
    state = market.begin(torch.arange(30), torch.Generator())
    first = market.observe(state)
    later = replace(first, minute=(first.minute + 600) % 1440, weekday=(first.weekday + 3) % 7)
    assert plan_features(first).shape == (30, len(PLAN_FEATURES))
    torch.testing.assert_close(plan_features(first), plan_features(later))
    assert not torch.equal(first.state, later.state)


@pytest.mark.parametrize("hours", [1, 24, 168])
def test_other_grids_keep_plans_too(hours: int) -> None:
    kept = kept_plans(MENU, NO_GUARDRAILS, hours, 0, 4)
    most = 7 if hours < 168 else 1
    assert bool(kept[MENU.frequencies.index(most), PLAN_DAYPARTS.index(ANY)].all())
    assert bool(kept[:, PLAN_DAYPARTS.index("evening")].any()) is (hours == 1)


def test_sends_that_were_not_the_plans_count() -> None:
    w = small_world()
    contents, slot = len(w.catalogue), torch.full((len(w.population),), MONDAY)
    calendar = make_calendar(CLOCK, w.population.zones, MONDAY, 30)
    history = past.start(len(w.population), w.catalogue)
    history = past.record_decision(history, torch.ones_like(slot), slot, torch.zeros_like(slot), w.catalogue)
    friday = observe(history, slot + 24, calendar, w.population, w.catalogue, CLOCK, NO_GUARDRAILS)
    for frequency, sends in ((1, False), (2, True)):
        plan = MENU.number(
            torch.full_like(slot, frequency), torch.full_like(slot, 4), torch.full_like(slot, contents), contents
        )
        assert bool((planned_decisions(friday, MENU, plan) > HOLD).any()) is sends
