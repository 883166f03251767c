"""The customer bootstrap: coverage, pairing, clusters, memory and degenerate logs."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from campaigns.errors import CampaignError
from evaluation import intervals
from evaluation.estimators import (
    DR,
    SNIPS,
    Contributions,
    WeightedPerDecisionDR,
    mean_contributions,
)
from evaluation.intervals import bootstrap, customer_weights, mean_interval, minimum_detectable_difference
from tests.evaluation.bandit_worlds import bandit_world, chain_world


def coverage(hits: list[bool]) -> float:
    return float(np.mean(hits))


def test_weights_are_poisson_of_mean_and_variance_one() -> None:
    weights = np.concatenate(list(customer_weights(500, 4000, seed=0)))
    assert weights.shape == (4000, 500)
    assert weights.mean() == pytest.approx(1, abs=5 / weights.size**0.5)
    assert weights.var() == pytest.approx(1, abs=0.01)
    assert (weights == 0).mean() == pytest.approx(np.exp(-1), abs=0.002)
    assert np.array_equal(weights, np.round(weights))
    sums = weights.sum(axis=1)
    assert sums.mean() == pytest.approx(500, abs=5 * (500 / 4000) ** 0.5)
    assert abs(np.corrcoef(weights[:, 0], weights[:, 1])[0, 1]) < 0.08


def test_the_draws_do_not_depend_on_the_chunk_size(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = np.concatenate(list(customer_weights(70, 120, seed=3)))
    monkeypatch.setattr(intervals, "CHUNK", 1000)
    chunks = list(customer_weights(70, 120, seed=3))
    assert len(chunks) == 9
    assert np.array_equal(whole, np.concatenate(chunks))


def test_one_step_intervals_and_paired_differences_cover_the_truth() -> None:
    world, generator = bandit_world(), np.random.default_rng(0)
    hits: dict[str, list[bool]] = {"DR": [], "SNIPS": [], "difference": []}
    for seed in range(1000):
        log, context = world.log(400, generator)
        target = world.target[context]
        found = {e.name: e.contributions(log, target, world.mean[context] * 0.8) for e in (DR(), SNIPS())}
        result = bootstrap({**found, "old": mean_contributions(log.reward)}, log.customer, draws=400, seed=seed)
        for name in ("DR", "SNIPS"):
            interval = result.interval(name)
            hits[name].append(interval.low <= world.value <= interval.high)
        difference = result.difference("DR", "old")
        hits["difference"].append(difference.low <= world.value - world.logging_value <= difference.high)
    for name, found_hits in hits.items():
        assert 0.93 <= coverage(found_hits) <= 0.97, name


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["percentile", "basic"])
def test_intervals_over_slots_cover_the_truth(kind: intervals.Kind) -> None:
    world, generator = chain_world(), np.random.default_rng(2)
    model, slots, hits = world.action_values() * 0.7, np.arange(world.slots), []
    for seed in range(1000):
        log, states = world.log(600, generator)
        found = {"new": WeightedPerDecisionDR().contributions(log, world.target[states], model[slots, states])}
        interval = bootstrap(found, np.arange(600), draws=600, seed=seed, kind=kind).interval("new")
        hits.append(interval.low <= world.value <= interval.high)
    assert 0.93 <= coverage(hits) <= 0.97


def test_rows_of_a_customer_are_drawn_together() -> None:
    generator, hits, naive = np.random.default_rng(3), [], []
    customer = np.repeat(np.arange(80), 5)
    for seed in range(400):
        rewards = np.repeat(generator.normal(size=80), 5) + 0.5 * generator.normal(size=400)
        found = {"all": mean_contributions(rewards)}
        clustered = bootstrap(found, customer, draws=400, seed=seed).interval("all")
        by_row = bootstrap(found, np.arange(400), draws=400, seed=seed).interval("all")
        hits.append(clustered.low <= 0 <= clustered.high)
        naive.append(by_row.low <= 0 <= by_row.high)
    assert 0.92 <= coverage(hits) <= 0.975  # 80 customers
    assert coverage(naive) < 0.8


def test_the_order_and_names_of_customers_do_not_matter_to_the_point() -> None:
    customer = np.array([7, 7, -3, 900])
    result = bootstrap({"x": mean_contributions(np.array([1.0, 2.0, 3.0, 4.0]))}, customer)
    assert result.interval("x").value == 2.5


def test_paired_differences_are_narrower_than_unpaired_ones() -> None:
    world = bandit_world()
    log, context = world.log(2000, np.random.default_rng(4))
    base = world.target[context]
    near = 0.9 * base + 0.1 * world.logging[context]
    found = {
        "a": DR().contributions(log, base, world.mean[context]),
        "b": DR().contributions(log, near, world.mean[context]),
    }
    result = bootstrap(found, log.customer, seed=0)
    paired = result.difference("a", "b")
    a, b = result.interval("a"), result.interval("b")
    unpaired = ((a.high - a.low) ** 2 + (b.high - b.low) ** 2) ** 0.5
    assert paired.high - paired.low < 0.3 * unpaired
    assert paired.value == pytest.approx(a.value - b.value)


def test_a_policy_against_itself_differs_by_nothing() -> None:
    found = mean_contributions(np.random.default_rng(0).normal(size=50))
    interval = bootstrap({"a": found, "b": found}, np.arange(50)).difference("a", "b")
    assert interval.to_dict() == {"value": 0.0, "low": 0.0, "high": 0.0}


def test_the_seed_decides() -> None:
    found = {"a": mean_contributions(np.random.default_rng(0).normal(size=50))}
    one, same, other = (bootstrap(found, np.arange(50), seed=seed).interval("a") for seed in (1, 1, 2))
    assert one == same
    assert one != other


def test_basic_mirrors_percentile() -> None:
    found = {"a": mean_contributions(np.random.default_rng(0).exponential(size=50))}
    percentile = bootstrap(found, np.arange(50)).interval("a")
    basic = bootstrap(found, np.arange(50), kind="basic").interval("a")
    assert basic.low == pytest.approx(2 * percentile.value - percentile.high)
    assert basic.high == pytest.approx(2 * percentile.value - percentile.low)


def test_standard_error_and_one_sided_bound_agree_with_theory() -> None:
    rewards = np.random.default_rng(0).normal(size=2000)
    found = {"a": mean_contributions(rewards), "zero": mean_contributions(np.zeros(2000))}
    result = bootstrap(found, np.arange(2000), draws=4000)
    error = rewards.std() / 2000**0.5
    assert result.standard_error("a") == pytest.approx(error, rel=0.05)
    assert result.standard_error("a", "a") == 0
    assert result.lower_bound("a", "zero") == pytest.approx(rewards.mean() - 1.645 * error, abs=0.1 * error)
    assert set(result.intervals()) == {"a", "zero"}


def test_one_customer_gives_a_point_and_no_interval() -> None:
    interval = bootstrap({"a": mean_contributions(np.ones(3))}, np.zeros(3)).interval("a")
    assert interval.value == 1
    assert np.isnan([interval.low, interval.high]).all()


def test_memory_stays_bounded() -> None:
    customers = 200_000
    found = {str(i): mean_contributions(np.ones(customers)) for i in range(3)}
    tracemalloc.start()
    bootstrap(found, np.arange(customers), draws=200)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 150e6  # all weights at once would be 320 MB


@pytest.mark.parametrize(
    ("settings", "message"), [({"draws": 10}, "draws"), ({"level": 1.0}, "level"), ({"level": 0.0}, "level")]
)
def test_settings_out_of_range_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(CampaignError, match=message):
        bootstrap({"a": mean_contributions(np.ones(3))}, np.arange(3), **settings)  # type: ignore[arg-type]


def test_estimates_of_other_rows_are_refused() -> None:
    with pytest.raises(CampaignError, match="b has 4 rows, the log has 3"):
        bootstrap({"a": mean_contributions(np.ones(3)), "b": mean_contributions(np.ones(4))}, np.arange(3))
    with pytest.raises(CampaignError, match="no decision"):
        bootstrap({"a": mean_contributions(np.ones(0))}, np.arange(0))


def test_several_terms_are_summed_ratios() -> None:
    generator = np.random.default_rng(5)
    numerator, denominator = generator.normal(size=(30, 2)), generator.uniform(0.5, 1.5, (30, 2))
    terms = [Contributions(numerator[:, j], denominator[:, j]) for j in range(2)]
    both = Contributions(numerator, denominator)
    result = bootstrap({"both": both, "0": terms[0], "1": terms[1]}, np.arange(30))
    assert both.value == pytest.approx(terms[0].value + terms[1].value)
    assert result.replicates["both"] == pytest.approx(result.replicates["0"] + result.replicates["1"])


def test_mean_interval_is_students() -> None:
    interval = mean_interval(np.array([1.0, 2.0, 3.0]))
    assert interval.value == 2
    assert interval.high - 2 == pytest.approx(4.302653 / 3**0.5, rel=1e-6)
    assert np.isnan(mean_interval(np.array([1.0])).low)


def test_minimum_detectable_difference_is_detected_with_its_power() -> None:
    least = minimum_detectable_difference(0.1)
    assert least == pytest.approx(0.28016, rel=1e-3)
    seen = np.random.default_rng(6).normal(least, 0.1, 20_000) - 1.96 * 0.1 > 0
    assert seen.mean() == pytest.approx(0.8, abs=0.02)


def test_customers_joined_in_random_groups_give_the_same_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(7)
    customer = np.repeat(np.arange(60_000), 2)
    rewards = np.repeat(generator.lognormal(0, 1.5, 60_000), 2) + generator.normal(size=120_000)
    weights = generator.exponential(size=120_000)
    found = {"ratio": Contributions(weights * rewards, weights), "mean": mean_contributions(rewards)}
    each = bootstrap(found, customer, draws=4000)
    monkeypatch.setattr(intervals, "GROUPS", 5000)
    grouped = bootstrap(found, customer, draws=4000)
    for name in found:
        assert grouped.points[name] == each.points[name]
        assert grouped.standard_error(name) == pytest.approx(each.standard_error(name), rel=0.05)
        for one, other in ((grouped.interval(name).low, each.interval(name).low),
                           (grouped.interval(name).high, each.interval(name).high)):  # fmt: skip
            assert one == pytest.approx(other, abs=0.2 * each.standard_error(name))
    assert grouped.standard_error("ratio", "mean") == pytest.approx(each.standard_error("ratio", "mean"), rel=0.05)
