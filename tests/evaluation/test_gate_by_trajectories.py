"""Rates by stratum, trajectories, trend: what free-running replay can tell, on logs whose law is known."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from campaigns.grid import DecisionGrid
from evaluation.gate import check_totals
from evaluation.gate_effects import check_effects
from evaluation.gate_strata import check_strata, recent_sends
from evaluation.logged_answers import LoggedAnswers
from evaluation.market_log import MarketLog, write_market_log
from evaluation.realism import LARGEST_AUC, check_realism, trajectory_features
from evaluation.season import season_of
from evaluation.tilts import check_tilts
from tests.envs.hand_made import Law, hand_made_market
from tests.envs.market_logs import Tilted
from tests.evaluation.test_gate_by_answers import COPIES, LAW, LOGGER, answers_of, world

OUTCOMES = ("opened", "purchased", "unsubscribed", "value")
NAMES = ["good", "bad", "dull"]
SPAN = 48


@cache
def ran(law: Law = LAW, seed: int = 0) -> MarketLog:
    market = world(law)
    return write_market_log(market, LOGGER, len(market.pool), SPAN, seed, OUTCOMES)


def test_recent_sends_are_those_of_the_slots_before() -> None:
    decision = np.array([[0, 2, 0, 1, 0, 0]])
    assert recent_sends(decision, 2).tolist() == [[0, 0, 1, 1, 1, 1]]
    assert recent_sends(decision, 9).tolist() == [[0, 0, 1, 1, 2, 2]]


def test_rates_by_stratum_of_two_runs_of_one_market_agree() -> None:
    checks, strata = check_strata(ran().grid, ran(seed=1), NAMES, 6, 0.1, 0.99, 200, 0)
    assert {"opens by content", "opens by recent sends", "sends by daypart"} <= {check.name for check in checks}
    assert not [check.name for check in checks if check.passed is False]
    inside = [stratum.low <= 1 <= stratum.high for stratum in strata]
    assert np.mean(inside) > 0.9


def test_a_market_whose_contents_are_mixed_up_fails_by_content_with_its_total_right() -> None:
    market = world()
    mixed = replace(market, catalogue=replace(market.catalogue, features=market.catalogue.features[[1, 2, 0]]))
    simulated = write_market_log(mixed, LOGGER, len(market.pool), SPAN, 1, OUTCOMES)
    checks, strata = check_strata(ran().grid, simulated, NAMES, 6, 0.1, 0.99, 200, 0)
    found = {check.name: check for check in checks}
    assert found["purchases by content"].passed is False
    assert found["opens by content"].passed is not False
    good = next(s for s in strata if s.family == "purchases by content" and s.name == "good")
    assert good.ratio < 0.8


def test_expectations_along_a_run_are_those_of_its_draws() -> None:
    log = ran()
    for name in OUTCOMES:
        drawn, expected = log.grid.outcomes[name].mean(), log.expected[name].mean()
        assert expected == pytest.approx(drawn, rel=0.1), name
    assert log.grid.action_prob.min() == pytest.approx(0.02)
    assert not (log.grid.outcomes["opened"][log.grid.decision == 0] > 0).any()


def test_nothing_tells_two_runs_of_one_market_apart_and_more_purchases_do() -> None:
    same, _ = check_realism(ran().grid, ran(seed=1), 6, 0.95, 100, 0)
    other, telling = check_realism(ran().grid, ran(replace(LAW, idle=(0.2, 0.2)), 1), 6, 0.95, 100, 0)
    assert same is not None
    assert other is not None
    assert same.passed
    assert same.simulated == pytest.approx(0.5, abs=0.05)
    assert other.passed is False
    assert other.low > LARGEST_AUC
    assert any("purchase" in name or "value" in name for name in telling)


def test_a_runs_timing_alone_tells_it_from_the_log() -> None:
    market = world()
    evening = Tilted([0.8, 0.1, 0.05, 0.05], evening=[0.2, 0.4, 0.2, 0.2])
    simulated = write_market_log(market, evening, len(market.pool), SPAN, 1, OUTCOMES)
    check, telling = check_realism(ran().grid, simulated, 6, 0.95, 100, 0)
    assert check is not None
    assert check.passed is False
    assert any(word in name for name in telling for word in ("evening", "morning", "afternoon", "night"))


def test_trajectories_are_summed_up_as_they_are() -> None:
    grid, minute = ran().grid.take(np.arange(2)), ran().minute[:2]
    features, names = trajectory_features(grid, minute, 6, grid.outcomes)
    table = dict(zip(names, features.T, strict=True))
    assert table["sends"].tolist() == (grid.decision > 0).sum(axis=1).tolist()
    assert table["most of one content"][0] == np.bincount(grid.decision[0])[1:].max()
    sends = np.flatnonzero(grid.decision[0] > 0)
    assert table["spacing, shortest"][0] == np.diff(sends).min()
    assert table["purchases unasked"][1] == ((grid.outcomes["purchased"][1] > 0) & (grid.decision[1] == 0)).sum()


def test_few_customers_make_no_two_sample_test() -> None:
    few = ran().grid.take(np.arange(30))
    assert check_realism(few, ran(), 6, 0.95, 50, 0)[0] is None


def grown(grid: DecisionGrid, per_week: float, slots_per_day: int) -> DecisionGrid:
    """The grid with purchases of which more and more are kept from week to week."""
    week = np.arange(grid.slots) // (7 * slots_per_day)
    kept = np.random.default_rng(0).random(grid.decision.shape) < 0.5 * (1 + per_week * week)
    return replace(grid, outcomes=grid.outcomes | {"purchased": grid.outcomes["purchased"] * kept})


def test_a_trend_is_seen_stated_and_warned_of_where_the_market_does_not_carry_it_on() -> None:
    # Two slots count as a day, so that the span holds three weeks.
    season = season_of(grown(ran().grid, 0.4, 2), ran(seed=1), 2, 0.1, 0.95, 200, 0)
    trend = next(trend for trend in season.trends if trend.outcome == "purchases")
    assert season.weeks == 3
    assert trend.sure
    assert trend.observed == pytest.approx(0.4 / 1.4, rel=0.35)
    assert "purchases" in season.warning
    assert "purchases +" in season.assumed
    flat = season_of(ran().grid, ran(seed=1), 2, 0.1, 0.95, 200, 0)
    assert flat.warning == ""


def test_a_short_log_shows_no_trend_and_the_season_says_so() -> None:
    season = season_of(ran().grid, ran(seed=1), 6, 0.1, 0.95, 50, 0)
    assert season.trends == ()
    assert "1 whole week" in season.assumed
    assert len(ran().grid.decision) == COPIES * len(hand_made_market().pool)


def pairs_of(simulated: MarketLog) -> MarketLog:
    """Every customer of a market's log twice."""
    rows = np.arange(len(simulated.grid.decision)).repeat(2)
    expected = {name: values[rows] for name, values in simulated.expected.items()}
    return replace(
        simulated, grid=simulated.grid.take(rows), expected=expected, minute=simulated.minute[rows],
        weekday=simulated.weekday[rows],
    )  # fmt: skip


def test_a_household_tells_the_gate_no_more_than_one_customer() -> None:
    """Pairs who are copies, drawn together: intervals are wider by the root of two than those of single customers."""
    log, simulated = pairs_of(ran()), pairs_of(ran(seed=1))
    contents, pair = hand_made_market(LAW).catalogue, np.arange(len(ran().grid.decision)).repeat(2)
    widths: dict[str, list[float]] = {}
    for units in (None, pair):
        totals = check_totals(log.grid, simulated, contents, 0.1, 0.95, 400, 0, units)
        _, strata = check_strata(log.grid, simulated, NAMES, 6, 0.1, 0.95, 400, 0, units)
        trends = season_of(log.grid, simulated, 2, 0.1, 0.95, 400, 0, units).trends
        realism, _ = check_realism(log.grid, simulated, 6, 0.95, 300, 0, units)
        assert realism is not None
        found = [c for c in totals if c.kind == "total"], strata, trends, [realism]
        for name, parts in zip(("totals", "strata", "trends", "realism"), found, strict=True):
            widths.setdefault(name, []).append(float(np.nanmedian([part.high - part.low for part in parts])))
    for name, (apart, together) in widths.items():
        assert together / apart == pytest.approx(2**0.5, rel=0.2), name


def twice(values: object) -> object:
    """Every row of an array, or of a dictionary's arrays, twice."""
    if isinstance(values, dict):
        return {name: part.repeat(2) for name, part in values.items()}
    return values.repeat(2, axis=0) if isinstance(values, np.ndarray) else values


def test_a_household_tells_effects_and_tilts_no_more_than_one_customer() -> None:
    together = LoggedAnswers(**{name: twice(values) for name, values in vars(answers_of()).items()})  # type: ignore[arg-type]
    apart = replace(together, unit=2 * together.unit + np.arange(len(together)) % 2)
    widths = []
    for answers in (apart, together):
        effects, tilts = check_effects(answers, 0.95, 400, 0)[0], check_tilts(answers, 0.1, 0.95, 400, 0)
        widths.append([float(np.nanmedian([c.high - c.low for c in checks])) for checks in (effects, tilts)])
    assert np.divide(widths[1], widths[0]) == pytest.approx(2**0.5, rel=0.15)
