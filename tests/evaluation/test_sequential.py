"""Whole horizons from a log to a verdict: against markets and chains whose values are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from campaigns.guardrails import NO_GUARDRAILS
from campaigns.history import ABSENT
from evaluation.fqe import log_moments
from evaluation.offline_settings import OfflineSettings
from evaluation.sequences import Sequences, collect_sequences
from evaluation.sequential import (
    FQE_SUPPORT,
    LITTLE_CHANCE,
    MOST_DETECTABLE,
    SLOT_WEIGHTS,
    SMALL_SHARE,
    PolicyEstimate,
    estimate_policy,
    evaluate_sequences,
    refusal,
    report_of,
)
from tests.envs.market_logs import write_grid
from tests.evaluation.markov_worlds import LOGGER, TARGET, MarkovLog, markov_log, tired_world
from tests.evaluation.test_offline import LOGGER as MARKET_LOGGER
from tests.evaluation.test_offline import OBJECTIVE, incumbent, log_of, market, worth
from tests.evaluation.test_offline import TARGET as MARKET_TARGET

SETTINGS = OfflineSettings(draws=400)
WORLD = tired_world()
SLOTS = 12
GAIN = WORLD.value(TARGET, SLOTS) - WORLD.value(LOGGER, SLOTS)


def estimated(logged: MarkovLog, shares: tuple[float, ...] = (0.1, 0.5, 1.0)) -> PolicyEstimate:
    return estimate_policy(logged.log, log_moments(logged.log), logged.expected, logged.weights, shares)


def report(logged: MarkovLog) -> dict:
    earned = torch.where(logged.log.known, logged.log.reward, 0.0).sum(dim=1).double().numpy()
    return report_of(estimated(logged), earned, np.arange(len(earned)), logged.log.horizon, SETTINGS, seed=0)


def test_the_difference_lies_in_its_interval_and_the_verdict_follows() -> None:
    found = report(markov_log(WORLD, 3_000, SLOTS, seed=0))
    assert found["difference"]["low"] < GAIN < found["difference"]["high"]
    assert found["value"] == pytest.approx(WORLD.value(TARGET, SLOTS), abs=0.4)
    assert found["verdict"] == ("better" if GAIN > 0 else "worse")
    assert found["horizon_slots"] == SLOTS


def test_blends_lie_between_and_their_lower_bounds_hold_all_at_once() -> None:
    broken = 0
    for seed in range(60):
        found = report(markov_log(WORLD, 300, SLOTS, seed=seed))
        truths = [
            WORLD.value((1 - b["share"]) * LOGGER + b["share"] * TARGET, SLOTS) - WORLD.value(LOGGER, SLOTS)
            for b in found["blends"]
        ]
        broken += any(b["low"] is not None and b["low"] > t for b, t in zip(found["blends"], truths, strict=True))
    assert broken <= 6  # 5 % of 60 is 3; more than 6 has probability 3 %


def test_a_share_at_which_the_log_hardly_supports_fqe_is_refused_with_its_figures() -> None:
    logged = markov_log(WORLD, 3_000, SLOTS, seed=1)
    estimate = replace(estimated(logged), support=np.array([0.5, 0.2, 0.009]))
    earned = torch.where(logged.log.known, logged.log.reward, 0.0).sum(dim=1).double().numpy()
    found = report_of(estimate, earned, np.arange(len(earned)), SLOTS, SETTINGS, seed=0)
    assert [b["low"] is None for b in found["blends"]] == [False, False, True]
    assert found["diagnostics"]["refused_by"] == FQE_SUPPORT
    assert found["blend"] < 1


@pytest.mark.parametrize(
    ("effective", "mean", "said", "unsaid"),
    [
        (0.08, 0.99, "worth only 8% of their number", "mean weight"),
        (0.5, 1.3, "the mean weight, 1.3, is further than 0.2 from 1", "worth only"),
        (0.08, 1.3, "(20% is the least) and the mean weight, 1.3,", "nothing"),
    ],
)
def test_weights_of_single_slots_are_refused_for_what_is_wrong_with_them(
    effective: float, mean: float, said: str, unsaid: str
) -> None:
    estimate = estimated(markov_log(WORLD, 100, SLOTS, seed=1))
    broken = replace(
        estimate.windows[-1], usable=False, effective_share=np.array([effective]), mean_weight=np.array([mean])
    )
    why = refusal(replace(estimate, windows=(*estimate.windows[:-1], broken)), detectable=0.1, scale=1.0)
    assert why is not None
    assert why[0] == SLOT_WEIGHTS
    assert said in why[1]
    assert unsaid not in why[1]


def test_where_chance_decided_hardly_anything_only_a_small_blend_is_told() -> None:
    logged = markov_log(WORLD, 3_000, SLOTS, seed=1)
    earned = torch.where(logged.log.known, logged.log.reward, 0.0).sum(dim=1).double().numpy()
    found = report_of(estimated(logged), earned, np.arange(len(earned)), SLOTS, SETTINGS, seed=0, by_chance=0.04)
    assert [b["low"] is None for b in found["blends"]] == [False, True, True]
    assert found["diagnostics"]["refused_by"] == LITTLE_CHANCE
    assert "Chance decided only 4.0%" in found["diagnostics"]["refused"]
    assert (found["value"], found["verdict"]) == (None, "cannot tell")
    assert found["blend"] <= SMALL_SHARE


def test_the_largest_safe_blend_is_one_whose_bound_clears_zero() -> None:
    found = report(markov_log(WORLD, 3_000, SLOTS, seed=1))
    safe = [b["share"] for b in found["blends"] if b["low"] is not None and b["low"] > 0]
    assert found["blend"] == max(safe, default=0.0)
    assert (found["blend"] > 0) == (GAIN > 0)
    swapped = markov_log(replace(WORLD, rewards=-WORLD.rewards), 3_000, SLOTS, seed=1)
    assert (report(swapped)["blend"] > 0) == (GAIN < 0)


def test_a_small_noisy_log_is_refused_and_says_what_it_could_tell() -> None:
    found = report(markov_log(replace(WORLD, noise=40.0), 40, SLOTS, seed=0))
    assert found["value"] is None
    assert found["difference"] is None
    assert found["verdict"] == "cannot tell"
    assert f"{MOST_DETECTABLE:.0%}" in found["diagnostics"]["refused"]
    assert found["minimum_detectable"] > 0


def test_four_times_the_customers_halve_the_detectable_difference() -> None:
    few, many = (report(markov_log(WORLD, n, SLOTS, seed=3))["minimum_detectable"] for n in (1_000, 4_000))
    assert few / many == pytest.approx(2.0, rel=0.25)


def collected(seed: int, cut: int | None = None) -> Sequences:
    grid = log_of(seed)
    if cut is not None:
        decision = grid.decision.copy()
        decision[::3, cut:] = ABSENT
        grid = replace(grid, decision=decision)
    objective = replace(OBJECTIVE, horizon_days=1)
    return collect_sequences(
        grid, market().pool, market().catalogue, market().clock, NO_GUARDRAILS, objective, {"target": MARKET_TARGET},
        market().model, incumbent(),
    )  # fmt: skip


@pytest.mark.parametrize("cut", [None, 3], ids=["whole", "a third censored"])
def test_a_markets_policy_is_estimated_over_the_whole_horizon(cut: int | None) -> None:
    sequences = collected(0, cut)
    found = evaluate_sequences(sequences, SETTINGS, 0)["target"]
    assert found["horizon_slots"] == sequences.horizon
    truth = worth(MARKET_TARGET, sequences.horizon) - worth(MARKET_LOGGER, sequences.horizon)
    if cut is None:
        assert found["difference"]["low"] < truth < found["difference"]["high"]
    assert found["low"] < worth(MARKET_TARGET, sequences.horizon) < found["high"]
    assert found["diagnostics"]["whole_sequences"] == pytest.approx(1.0 if cut is None else 2 / 3, abs=0.01)


def test_the_policy_that_wrote_the_log_differs_by_nothing() -> None:
    grid = write_grid(market(), MARKET_LOGGER, 8, seed=2)
    sequences = collect_sequences(
        grid, market().pool, market().catalogue, market().clock, NO_GUARDRAILS, replace(OBJECTIVE, horizon_days=1),
        {"same": MARKET_LOGGER}, market().model, incumbent(),
    )  # fmt: skip
    found = evaluate_sequences(sequences, SETTINGS, 0)["same"]
    assert abs(found["difference"]["value"]) < 0.05
    assert found["verdict"] == "cannot tell"
    assert np.isfinite(found["value"])


def test_pairs_who_are_copies_of_each_other_tell_no_more_than_one_of_them() -> None:
    """Every customer twice, as a household: the interval is that of half the customers, sqrt(2) times that of all."""
    once = collected(1).take(torch.arange(200))
    twice = once.take(torch.arange(200).repeat_interleave(2))
    paired = replace(twice, group=torch.arange(200).repeat_interleave(2))
    alone, apart, together = (
        width(evaluate_sequences(s, SETTINGS, 0)["target"]["blends"][0]) for s in (once, twice, paired)
    )
    assert together / apart == pytest.approx(2**0.5, rel=0.15)
    assert together == pytest.approx(alone, rel=0.15)


def width(entry: dict) -> float:
    return float(entry["high"] - entry["low"])


def test_the_policys_interval_spans_the_weights_of_all_that_it_remembers() -> None:
    """The point, refusals and blends stay; an interval that trusted short windows alone may become wider, and never
    narrower, and then the whole of the decisions is no safe share any more."""
    logged = markov_log(WORLD, 3_000, SLOTS, seed=0)
    moments = log_moments(logged.log)
    earned = logged.log.reward.sum(dim=1).double().numpy()
    found = []
    for memory in (0, SLOTS):
        estimate = estimate_policy(logged.log, moments, logged.expected, logged.weights, (0.5, 1.0), memory)
        found.append(report_of(estimate, earned, np.arange(len(earned)), SLOTS, SETTINGS, seed=0))
    short, whole = found
    assert estimate.remembered is not None
    spread = estimate.remembered - earned
    half = 1.96 * spread.std() / len(spread) ** 0.5
    assert whole["difference"]["low"] <= spread.mean() - 0.9 * half
    assert whole["difference"]["high"] >= spread.mean() + 0.9 * half
    assert whole["difference"]["low"] <= short["difference"]["low"] + 1e-9
    assert whole["difference"]["high"] >= short["difference"]["high"] - 1e-9
    assert whole["difference"]["value"] == short["difference"]["value"]
    assert whole["blends"] == short["blends"]
    doubtful = replace(estimate, remembered=estimate.remembered - 10.0)
    assert report_of(estimate, earned, np.arange(len(earned)), SLOTS, SETTINGS, seed=0)["blend"] == 1.0
    told = report_of(doubtful, earned, np.arange(len(earned)), SLOTS, SETTINGS, seed=0)
    assert told["verdict"] == "cannot tell"
    assert told["blend"] == 0.5
