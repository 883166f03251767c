"""Observed over expected by segment: what is wrong is found, what is chance is not, and nobody is singled out."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from propensity.segment_ratios import observed_over_expected, row_groups
from tests.worlds import small_world


def groups(labels: np.ndarray) -> dict[str, pd.Series]:
    """One column of segments."""
    return {"tier": pd.Series(labels).astype("category")}


def test_a_segment_whose_rate_is_underestimated_is_found_and_the_others_are_not() -> None:
    generator = np.random.default_rng(0)
    tier = generator.choice(["gold", "new", "old"], 60_000)
    truth = np.where(tier == "gold", 0.15, 0.05)
    chance = np.where(tier == "gold", 0.10, 0.05)
    happened = (generator.random(60_000) < truth).astype(float)
    found = observed_over_expected(chance, happened, np.ones(60_000), np.arange(60_000), groups(tier))
    by_name = {row["segment"]: row for row in found}
    assert by_name["tier = gold"]["off"]
    assert by_name["tier = gold"]["low"] < 1.5 < by_name["tier = gold"]["high"]
    assert not by_name["tier = new"]["off"]
    assert by_name["tier = new"]["low"] < 1 < by_name["tier = new"]["high"]
    assert by_name["tier = old"]["expected"] == pytest.approx(0.05 * (tier == "old").sum())


def test_intervals_hold_when_customers_repeat_themselves() -> None:
    clustered = naive = 0
    for seed in range(200):
        generator = np.random.default_rng(seed)
        customer = np.repeat(np.arange(200), 20)
        taste = generator.beta(1, 9, 200)[customer]  # of mean .1, the same in all rows of a customer
        happened = (generator.random(4000) < taste).astype(float)
        even = np.full(4000, 0.1)
        (row,) = observed_over_expected(even, happened, np.ones(4000), customer, groups(np.full(4000, "all")))
        clustered += row["low"] <= 1 <= row["high"]
        (row,) = observed_over_expected(even, happened, np.ones(4000), np.arange(4000), groups(np.full(4000, "all")))
        naive += row["low"] <= 1 <= row["high"]
    assert 0.89 <= clustered / 200 <= 0.99
    assert naive / 200 < 0.85


def test_weights_count_as_rows() -> None:
    generator = np.random.default_rng(1)
    chance, happened = np.full(3000, 0.2), (generator.random(3000) < 0.2).astype(float)
    tier, customer = np.where(np.arange(3000) % 2, "a", "b"), np.arange(3000)
    weight = np.where(happened == 0, 3.0, 1.0)
    thinned = observed_over_expected(chance, happened, weight, customer, groups(tier))
    repeat = weight.astype(int)
    whole = observed_over_expected(
        chance.repeat(repeat), happened.repeat(repeat), np.ones(repeat.sum()), customer.repeat(repeat),
        groups(tier.repeat(repeat)),
    )  # fmt: skip
    assert thinned == whole


def test_where_nothing_was_seen_the_interval_reaches_from_nothing_to_the_poisson_limit() -> None:
    chance, nothing = np.full(1000, 0.01), np.zeros(1000)
    (row,) = observed_over_expected(chance, nothing, np.ones(1000), np.arange(1000), groups(np.full(1000, "all")))
    assert (row["ratio"], row["low"]) == (0, 0)
    assert row["high"] == pytest.approx(0.3689, abs=1e-3)


def test_segments_of_fewer_than_ten_customers_or_five_events_are_left_out() -> None:
    chance, happened = np.full(400, 0.5), np.tile([0.0, 1.0], 200)
    customer = np.arange(400) // 4
    tier = np.where(customer < 9, "nine customers", np.where(customer < 19, "ten customers", "the rest"))
    names = {r["segment"] for r in observed_over_expected(chance, happened, np.ones(400), customer, groups(tier))}
    assert names == {"tier = ten customers", "tier = the rest"}
    assert observed_over_expected(chance / 1000, 0 * happened, np.ones(400), customer, groups(tier)) == []


def test_rows_of_a_log_are_grouped_by_daypart_content_recent_sends_and_the_customers_own_columns() -> None:
    from campaigns.replay import decision_rows

    world = small_world()
    rows = decision_rows(world.grid, world.population, world.catalogue, world.log.clock)
    found = row_groups(rows, world.catalogue, world.log.users)
    assert {"daypart", "content", "sends in 7 days"} < set(found)
    assert {len(column) for column in found.values()} == {len(rows)}
    hours = world.log.clock.times(rows.slot.numpy()).hour.to_numpy()
    if not (world.population.zone > 0).any():
        assert (found["daypart"].to_numpy() == np.array(["night", "morning", "afternoon", "evening"])[hours // 6]).all()
    assert ((found["content"] == "hold").to_numpy() == (rows.decision == 0).numpy()).all()
    first = rows.slot.numpy() == world.grid.first_slot
    assert set(found["sends in 7 days"][first]) == {"0"}
    late = rows.slot.numpy() == rows.slot.numpy().max()
    since = world.grid.decision[:, -1 - 7 * 6 : -1] > 0
    sends = since.sum(axis=1)[rows.customer.numpy()[late]]
    none = (found["sends in 7 days"][late] == "0").to_numpy()
    assert (none == (sends == 0)).all()
    own = next(name for name in world.log.users.columns if name in found)
    customers = found[own].groupby(rows.customer.numpy()).nunique()
    assert customers.max() == 1
