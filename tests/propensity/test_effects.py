"""Judges of predicted effects, in worlds whose effects are written down."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from campaigns.trials import free_trials
from propensity.effect_metrics import effect_metrics
from propensity.effects import EffectSample, average_effect, effect_deciles, effect_figures, effect_slope, uplift_curve
from tests.worlds import small_model, small_world


def world(seed: int = 0, customers: int = 20_000, rows_each: int = 1) -> tuple[EffectSample, np.ndarray]:
    """Sends whose true effect on a binary outcome runs from 0 to .2, with a chance of sending that differs by row and
    knows of the effect, and customers who differ. Predictions are the truth. Returns the sample and the true effects.
    """
    generator = np.random.default_rng(seed)
    customer = np.repeat(np.arange(customers), rows_each)
    rows = len(customer)
    taste = generator.random(customers)[customer]
    effect = 0.2 * generator.random(customers)[customer]
    chance = 0.2 + 2.5 * np.clip(effect, 0, 0.2)
    sent = generator.random(rows) < chance
    base = 0.1 + 0.3 * taste
    observed = (generator.random(rows) < base + sent * effect).astype(np.float64)
    weight = 1 / np.where(sent, chance, 1 - chance)
    return EffectSample(effect, observed, sent, weight, customer), effect


def test_true_effects_have_slope_one_and_the_average_that_they_have() -> None:
    sample, effect = world()
    slope, average = effect_slope(sample), average_effect(sample)
    assert slope["low"] < 1 < slope["high"]  # type: ignore[operator]
    assert slope["high"] - slope["low"] < 0.8  # type: ignore[operator]
    assert average["low"] < effect.mean() < average["high"]  # type: ignore[operator]
    assert average["high"] - average["low"] < 0.05  # type: ignore[operator]
    unweighted = average_effect(replace(sample, weight=np.ones(len(sample))))
    assert unweighted["value"] == pytest.approx(average["value"], abs=0.02)  # here chance knows effects, not bases


def test_effects_predicted_twice_too_large_have_half_the_slope_and_the_same_order() -> None:
    sample, _ = world()
    doubled = replace(sample, predicted=2 * sample.predicted)
    assert effect_slope(doubled)["value"] == pytest.approx(effect_slope(sample)["value"] / 2)  # type: ignore[operator]
    assert uplift_curve(doubled, draws=64)["qini"] == uplift_curve(sample, draws=64)["qini"]
    right, wrong = effect_deciles(sample), effect_deciles(doubled)
    assert [d["observed"] for d in right] == [d["observed"] for d in wrong]
    assert wrong[-1]["predicted"] > 1.5 * wrong[-1]["observed"]
    inside = sum(d["low"] <= d["predicted"] <= d["high"] for d in right)
    assert inside >= 8
    assert [d["predicted"] for d in right] == sorted(d["predicted"] for d in right)


def test_an_order_by_the_true_effects_earns_the_area_that_the_truth_gives() -> None:
    sample, effect = world(customers=60_000)
    figures = uplift_curve(sample, draws=200)
    best = np.sort(effect)[::-1].cumsum() / len(effect)
    share = np.arange(1, len(effect) + 1) / len(effect)
    area = float(np.trapezoid(best, share))
    assert figures["qini"]["low"] < area - best[-1] / 2 < figures["qini"]["high"]
    assert figures["qini"]["low"] > 0
    assert figures["auuc"]["value"] == pytest.approx(area, rel=0.1)
    backwards = uplift_curve(replace(sample, predicted=-sample.predicted), draws=200)
    assert backwards["qini"]["high"] < 0
    ends = figures["curve"][0], figures["curve"][-1]
    assert ends[0]["gain"] == 0
    assert ends[1]["gain"] == pytest.approx(average_effect(sample)["value"])
    assert ends[1]["share"] == pytest.approx(1)


def test_an_order_that_knows_nothing_earns_nothing() -> None:
    sample, _ = world()
    blind = replace(sample, predicted=np.random.default_rng(5).normal(size=len(sample)))
    figures = effect_figures(blind, draws=200)
    assert figures["qini"]["low"] < 0 < figures["qini"]["high"]
    assert figures["slope"]["low"] < 0 < figures["slope"]["high"]
    chance = figures["auuc_of_chance"]["value"]
    assert figures["auuc"]["value"] == pytest.approx(chance, abs=0.01)
    assert chance == pytest.approx(average_effect(sample)["value"] / 2)  # type: ignore[operator]


def test_one_prediction_for_all_has_no_slope_and_a_qini_of_exactly_nothing() -> None:
    sample, _ = world(customers=500)
    same = replace(sample, predicted=np.full(len(sample), 0.1))
    figures = effect_figures(same, draws=64)
    assert figures["slope"]["value"] is None
    assert figures["qini"]["value"] == figures["qini"]["low"] == figures["qini"]["high"] == 0
    assert len(figures["deciles"]) == 1


def test_intervals_of_many_small_worlds_cover_where_customers_repeat() -> None:
    hits: dict[str, list[bool]] = {"average": [], "slope": [], "blind slope": [], "blind qini": []}
    for seed in range(100):
        sample, effect = world(seed, customers=400, rows_each=5)
        blind = replace(sample, predicted=np.random.default_rng(seed + 1000).random(400)[sample.customer])
        for name, estimate, truth in (
            ("average", average_effect(sample), effect.mean()),
            ("slope", effect_slope(sample), 1.0),
            ("blind slope", effect_slope(blind), 0.0),
            ("blind qini", uplift_curve(blind, draws=128, seed=seed)["qini"], 0.0),
        ):
            hits[name].append(bool(estimate["low"] <= truth <= estimate["high"]))  # type: ignore[operator]
    for name, inside in hits.items():
        assert 0.89 <= np.mean(inside) <= 0.99, name


def test_what_was_known_before_may_be_taken_off_and_only_narrows_the_intervals() -> None:
    sample, effect = world()
    generator = np.random.default_rng(9)
    known = 30 * generator.random(len(sample))  # spending that was foreseen
    loud = replace(sample, observed=sample.observed + known)
    raw, adjusted = average_effect(loud), average_effect(replace(loud, observed=loud.observed - known))
    assert adjusted["low"] < effect.mean() < adjusted["high"]  # type: ignore[operator]
    assert raw["high"] - raw["low"] > 5 * (adjusted["high"] - adjusted["low"])  # type: ignore[operator]


def test_one_arm_alone_and_few_customers_say_nothing() -> None:
    sample, _ = world(customers=200)
    figures = effect_figures(sample.take(sample.sent), draws=64)
    assert figures["observed"]["value"] is figures["slope"]["value"] is figures["qini"]["value"] is None
    assert figures["deciles"] == figures["curve"] == []
    few = sample.take(np.arange(30))
    assert effect_deciles(few) == []


def test_a_models_effects_are_judged_on_a_log_by_its_own_chance() -> None:
    world = small_world(customers=1000)
    trials = free_trials(world.grid, world.population, world.catalogue, world.log.clock)
    assert trials is not None
    report = effect_metrics(small_model(customers=1000), trials, world.population, world.catalogue, draws=100)
    assert report["weight_ratio"] == pytest.approx(1, abs=0.08)
    bought = report["outcomes"]["purchased"]
    assert bought["observed"]["low"] < bought["observed"]["high"]
    assert len(bought["contents"]) == len(world.catalogue)
    json.dumps(report, allow_nan=False)
    # The observed effect is the model's guess taken off and put back: no model changes it beyond its error.
    sent, weight = trials.sent.numpy(), trials.weight.numpy()
    happened = trials.outcomes["purchased"].double().numpy()
    raw = average_effect(EffectSample(weight, happened, sent, weight, trials.customer.numpy()))
    assert raw["low"] < bought["observed"]["value"] < raw["high"]  # type: ignore[operator]


def test_a_log_whose_sends_are_rarer_than_it_claims_is_not_judged() -> None:
    world = small_world()
    trials = free_trials(world.grid, world.population, world.catalogue, world.log.clock)
    assert trials is not None
    wrong = replace(trials, weight=torch.where(trials.sent, 1.5 * trials.weight, trials.weight))
    report = effect_metrics(small_model(), wrong, world.population, world.catalogue)
    assert report["outcomes"] == {}
    assert "not judged" in report["note"]
    assert "not judged" in effect_metrics(small_model(), None, world.population, world.catalogue)["note"]
