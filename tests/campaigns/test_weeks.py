"""Slots of a week: Mondays, whole spans, and histories that count them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from campaigns import history as past
from campaigns.clock import SlotClock, local_calendar
from campaigns.errors import CampaignError
from campaigns.features import STATE_FEATURES
from campaigns.grid import make_grid
from campaigns.guardrails import Guardrails
from campaigns.logs import LogSettings, make_log
from campaigns.objective import Objective
from campaigns.replay import replay
from envs.reference.simulate import simulate
from envs.reference.variants import find_variant
from tests.worlds import small_world

WEEKLY = SlotClock("UTC", 168)


def test_a_week_begins_on_monday_at_midnight() -> None:
    times = pd.DatetimeIndex(["2025-03-03", "2025-03-09 23:59", "2025-03-10", "1969-12-29", "1970-01-04 12:00"])
    slots = WEEKLY.slots(times)
    assert slots.tolist() == [slots[0], slots[0], slots[0] + 1, 0, 0]
    starts = WEEKLY.times(slots)
    assert (starts.day_of_week == 0).all()
    assert (starts <= times).all()
    assert (times < starts + pd.Timedelta(days=7)).all()
    assert WEEKLY.on_grid(times).tolist() == [True, False, True, True, False]
    assert WEEKLY.slot("2025-03-05T12:00") == slots[0]


def test_weeks_are_local_across_a_change_of_the_clock() -> None:
    clock = SlotClock("Europe/Berlin", 168)
    first = clock.slot("2025-03-24")
    calendar = local_calendar(clock, ("Europe/Berlin",), first, 3)  # summer time began on 30 March
    assert calendar.minute.tolist() == [[0, 0, 0]]
    assert calendar.weekday.tolist() == [[0, 0, 0]]


@pytest.mark.parametrize("hours", [0, -4, 5, 48, 167, 336])
def test_other_lengths_are_refused(hours: int) -> None:
    with pytest.raises(CampaignError, match=rf"data.slot_hours={hours}: must divide 24 .* or be 168, a week"):
        SlotClock("UTC", hours)


def test_spans_are_whole_slots() -> None:
    assert [WEEKLY.slots_in(days) for days in (1, 6, 7, 28, 366)] == [0, 0, 1, 4, 52]
    assert SlotClock("UTC", 4).slots_in(7) == 42
    assert Objective(horizon_days=28).slots(WEEKLY) == 4
    assert Objective(horizon_days=3).slots(WEEKLY) == 1
    assert Objective(horizon_days=28).slots(SlotClock("UTC", 4)) == 168


def test_the_reference_market_has_no_weeks() -> None:
    with pytest.raises(CampaignError, match=r"data\.slot_hours=168: the reference market has slots of a day at most"):
        simulate(find_variant("ecommerce"), 60, 14, 0, 168)


def test_a_daily_cap_does_not_reach_into_the_week_before_and_a_weekly_one_does() -> None:
    w = small_world()
    people = w.population.take(torch.arange(1))
    now = torch.tensor([WEEKLY.slot("2025-03-03")])
    history = past.record_decision(past.start(1, w.catalogue), torch.tensor([1]), now, torch.tensor([0]), w.catalogue)
    from campaigns.guardrails import allowed_decisions

    def allowed(guardrails: Guardrails, weeks: int) -> bool:
        later, minute = now + weeks, torch.zeros(1, dtype=torch.int64)
        return bool(allowed_decisions(guardrails, history, later, minute, people, w.catalogue, WEEKLY)[:, 1:].any())

    open_ = dict.fromkeys(("max_per_week", "spacing_hours", "content_spacing_hours", "content_max_per_week"), 0)
    assert allowed(Guardrails(**{**open_, "max_per_day": 1, "content_max_per_month": 0, "holdout": 0.0}), 1)
    weekly = Guardrails(**{**open_, "max_per_day": 0, "max_per_week": 1, "content_max_per_month": 0, "holdout": 0.0})
    assert not allowed(weekly, 1)
    assert allowed(weekly, 2)


def test_a_weekly_log_is_replayed_with_hours_that_are_right() -> None:
    weeks = pd.date_range("2025-03-03", periods=4, freq="7D")
    users = pd.DataFrame({"user_id": ["a", "b"], "age": [20, 30]})
    contents = pd.DataFrame({"content_id": ["x", "y"], "price": [1.0, 2.0]})
    decisions = pd.DataFrame(
        {"user_id": ["a"] * 4 + ["b"] * 4, "time": [*weeks, *weeks], "content_id": ["x", None, None, "y"] + [None] * 4,
         "purchased": [0, 1, 0, 0] + [0] * 4}
    )  # fmt: skip
    log = make_log({"users": users, "contents": contents, "decisions": decisions}, LogSettings(slot_hours=168))
    grid = make_grid(log)
    assert grid.decision.tolist() == [[1, 0, 0, 2], [0, 0, 0, 0]]
    w = small_world()
    steps = list(replay(grid, w.population.take(torch.arange(2)), w.catalogue, log.clock))
    state = steps[3].observation.state[0]
    since = STATE_FEATURES.index("hours since send")
    assert state[since] == pytest.approx(np.log1p(3 * 168) / np.log1p(28 * 24), rel=1e-5)
    assert state[STATE_FEATURES.index("sends in 7 days")] == 0
    assert steps[1].observation.state[0][STATE_FEATURES.index("sends in 7 days")] == pytest.approx(np.log(2), rel=1e-5)
