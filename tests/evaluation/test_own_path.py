"""Predictions along a policy's own path."""

from __future__ import annotations

from dataclasses import replace

import pytest

from campaigns.guardrails import Guardrails
from evaluation.own_path import own_path
from policies.rules import CapDaypartContent
from tests.worlds import Serves, small_market, small_model, small_world


def test_a_market_foretells_itself() -> None:
    """Where one member alone lives in the world, the network that made it says what comes, on any path."""
    market = small_market(Guardrails(holdout=0.0))
    checks = own_path(market, Serves(CapDaypartContent(7, "evening")), market.model, small_world().objective, 1500, 0)
    for check in checks:
        assert check.ratio == pytest.approx(1.0, abs=0.05), check  # members differ, and their mean is asked


def test_a_network_that_promises_half_as_many_purchases_is_found_out() -> None:
    market, model = small_market(Guardrails(holdout=0.0)), small_model()
    offset = model.calibration.offset.clone()
    offset[:, 0] -= 0.7
    kinder = replace(model, calibration=replace(model.calibration, offset=offset))
    rule, objective = Serves(CapDaypartContent(7, "any")), small_world().objective
    honest = {c.name: c for c in own_path(market, rule, model, objective, 400, 0)}
    wrong = {c.name: c for c in own_path(market, rule, kinder, objective, 400, 0)}
    assert wrong["purchases"].ratio < 0.6 * honest["purchases"].ratio
    assert wrong["purchases"].true == honest["purchases"].true
    assert wrong["opt-outs"].ratio == honest["opt-outs"].ratio
