"""The market gate: it passes a market that is the log's own, fails one that is off, and says when it cannot tell."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from campaigns.grid import DecisionGrid
from campaigns.history import ABSENT
from envs.market import Market
from evaluation.gate import MarketGate, check_totals, judge, market_gate
from evaluation.gate_checks import GateCheck
from evaluation.market_log import MarketLog, write_market_log
from tests.envs.hand_made import Law, hand_made_market
from tests.envs.market_logs import Tilted, write_grid

LAW = Law(idle=(0.15, 0.15), leaves=0.004)
LOGGER = Tilted([0.5, 0.2, 0.1, 0.2])
DAYS = 12


def enlarged(market: Market, times: int) -> Market:
    """The market with its pool several times over, so that a log of it is large enough to tell."""
    rows = np.tile(np.arange(len(market.pool)), times)
    return replace(market, pool=market.pool.take(rows))


@cache
def log_of(law: Law = LAW, seed: int = 0) -> tuple[DecisionGrid, Market]:
    market = enlarged(hand_made_market(law, days=DAYS), 6)
    return write_grid(market, LOGGER, DAYS * 6, seed), market


def run_free(market: Market, policy: Tilted, customers: int, seed: int = 7) -> MarketLog:
    """The policy in the market, for the log's span."""
    return write_market_log(market, policy, customers, DAYS * 6, seed, ("opened", "purchased", "unsubscribed", "value"))


def gate_of(grid: DecisionGrid, simulated: MarketLog, market: Market, seed: int = 0) -> MarketGate:
    return market_gate(grid, simulated, market.catalogue, 6, draws=300, seed=seed)


def judged(law: Law, policy: Tilted = LOGGER, customers: int | None = None) -> MarketGate:
    """The gate's verdict on the market of `law`, against a log of LAW's own."""
    grid, _ = log_of()
    rows = np.arange(len(grid.decision) if customers is None else customers)
    market = enlarged(hand_made_market(law, days=DAYS), 6)
    return gate_of(grid.take(rows), run_free(market, policy, len(rows)), market)


def test_the_market_that_wrote_the_log_is_never_failed_and_its_totals_agree() -> None:
    gate = judged(LAW)
    checks = {check.name: check for check in gate.checks}
    assert {"sends", "opens", "purchases", "opt-outs", "value", "sends of good"} <= set(checks)
    assert gate.verdict in {"pass", "warn"}
    for name in ("sends", "opens", "purchases", "value", "sends of good", "sends of bad", "sends of dull"):
        assert checks[name].passed, name
        assert checks[name].ratio == pytest.approx(1.0, abs=0.08)


@pytest.mark.parametrize(
    ("law", "off", "ratio"),
    [
        (replace(LAW, idle=(0.3, 0.3)), "purchases", 2.0),
        (replace(LAW, opens=0.6), "opens", 2.0),
        (replace(LAW, basket=5.0), "value", 0.5),
        (replace(LAW, leaves=0.02), "opt-outs", 5.0),
    ],
)
def test_a_market_whose_rates_are_off_fails_by_name(law: Law, off: str, ratio: float) -> None:
    gate = judged(law)
    found = next(check for check in gate.checks if check.name == off)
    assert gate.verdict == "fail"
    assert off in gate.note
    assert found.passed is False
    assert found.ratio == pytest.approx(ratio, rel=0.25)
    assert found.low <= found.ratio <= found.high


def test_a_logging_policy_that_was_misread_fails_by_its_sends() -> None:
    gate = judged(LAW, Tilted([0.7, 0.1, 0.1, 0.1]))
    assert gate.verdict == "fail"
    assert "sends" in gate.note


def test_wrong_shares_of_single_contents_only_warn() -> None:
    quiet = replace(LAW, gain=0.0)  # all contents alike, so that nothing else moves
    market = enlarged(hand_made_market(quiet, days=DAYS), 6)
    grid = write_grid(market, LOGGER, DAYS * 6, seed=1)
    swapped = Tilted([0.5, 0.1, 0.2, 0.2])
    gate = gate_of(grid, run_free(market, swapped, len(grid.decision)), market)
    assert gate.verdict == "warn"
    assert "sends of good" in gate.note


def test_a_log_too_small_to_tell_is_said_to_be_so() -> None:
    gate = judged(LAW, customers=15)
    assert gate.verdict == "warn"
    assert any(check.passed is None for check in gate.checks)
    assert "too uncertain to tell" in gate.note


def test_a_log_in_which_nothing_happened_does_not_pass() -> None:
    sends = GateCheck("sends", 5.0, 5.0, 1.0, 0.98, 1.02, True)
    opens = replace(sends, name="opens")
    assert judge([sends, opens], 0.1)[0] == "pass"
    verdict, note = judge([sends], 0.1)
    assert verdict == "warn"
    assert "No outcome ever happened" in note
    assert judge([replace(sends, passed=False)], 0.1)[0] == "fail"


def test_intervals_of_the_ratio_hold_one_for_the_logs_own_market() -> None:
    market = enlarged(hand_made_market(LAW, days=DAYS), 1)
    covered = []
    for seed in range(8):
        grid = write_grid(market, LOGGER, DAYS * 6, seed=100 + seed)
        simulated = run_free(market, LOGGER, len(grid.decision), seed)
        checks = check_totals(grid, simulated, market.catalogue, 0.1, 0.95, 300, seed)
        covered += [c.low <= 1 <= c.high for c in checks if c.name in {"sends", "opens", "purchases", "value"}]
    assert np.mean(covered) > 0.85


def test_the_gate_is_written_as_json_numbers() -> None:
    stored = judged(LAW, customers=30).to_dict()
    assert set(stored) == {"verdict", "margin", "note", "checks", "strata", "effects", "season", "telling"}
    assert all(isinstance(check["ratio"], float) and check["kind"] for check in stored["checks"])


def test_customers_who_came_later_and_outcomes_cut_off_by_the_logs_end_do_not_fail_a_market_that_is_right() -> None:
    grid, _ = log_of()
    generator = np.random.default_rng(0)
    came = generator.integers(0, grid.slots, len(grid.decision))[:, None]
    there = np.arange(grid.slots)[None, :] >= came
    labelled = there & (np.arange(grid.slots) < grid.slots - 12)
    outcomes = {name: np.where(labelled, values, np.nan) for name, values in grid.outcomes.items()}
    # Of the last two days only what came at once is known.
    outcomes["opened"] = np.where(there, grid.outcomes["opened"], np.nan)
    holed = replace(grid, decision=np.where(there, grid.decision, ABSENT), labelled=labelled, outcomes=outcomes)
    market = enlarged(hand_made_market(LAW, days=DAYS), 6)
    simulated = run_free(market, LOGGER, len(grid.decision))
    checks = {check.name: check for check in gate_of(holed, simulated, market).checks}
    for name in ("sends", "opens", "purchases", "value", "sends of good"):
        assert checks[name].ratio == pytest.approx(1.0, abs=0.08), name
        assert checks[name].passed is not False, name
    assert checks["sends"].observed == pytest.approx(holed_sends(holed), rel=1e-6)


def holed_sends(grid: DecisionGrid) -> float:
    """Sends a customer, of those who are in the log at all."""
    return float((grid.decision > 0).sum() / (grid.decision != ABSENT).any(axis=1).sum())
