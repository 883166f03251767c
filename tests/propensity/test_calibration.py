"""Calibration of one head: many events decide, few leave the network as it was, and totals agree."""

from __future__ import annotations

import pytest
import torch

from propensity.calibration import LEVEL_PRIOR, fit_calibration, level, platt
from propensity.fit import FitTables
from propensity.model import CALIBRATED
from propensity.network import HEADS


def events(rows: int, slope: float, offset: float, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits that a network said, and outcomes whose true logits are slope x logit + offset."""
    generator = torch.Generator().manual_seed(seed)
    logit = torch.randn(rows, generator=generator) * 1.5 - 1.0
    chance = torch.sigmoid(slope * logit + offset)
    return logit, (torch.rand(rows, generator=generator) < chance).float()


@pytest.mark.parametrize(("slope", "offset"), [(0.6, 0.4), (1.0, 0.0), (1.5, -0.7)])
def test_many_events_recover_how_the_logits_are_off(slope: float, offset: float) -> None:
    logit, outcome = events(200_000, slope, offset)
    found = platt(logit, outcome, torch.ones(200_000))
    assert found == pytest.approx((slope, offset), abs=0.06)


def test_few_events_leave_the_networks_logits_almost_as_they_are() -> None:
    logit, outcome = events(30, 3.0, 2.0)
    slope, offset = platt(logit, outcome, torch.ones(30))
    assert slope == pytest.approx(1.0, abs=0.1)
    assert offset == pytest.approx(0.0, abs=0.2)


def test_a_weight_is_as_many_rows() -> None:
    logit, outcome = events(3000, 0.7, 0.3)
    weight = torch.randint(0, 4, (3000,), generator=torch.Generator().manual_seed(1))
    repeated = torch.repeat_interleave(torch.arange(3000), weight)
    by_weight = platt(logit, outcome, weight.float())
    by_rows = platt(logit[repeated], outcome[repeated], torch.ones(len(repeated)))
    assert by_weight == pytest.approx(by_rows, abs=1e-4)
    assert platt(logit, outcome, torch.zeros(3000)) == (1.0, 0.0)


def test_the_level_makes_members_mean_probability_agree_with_what_happened() -> None:
    generator = torch.Generator().manual_seed(2)
    logit = torch.randn(20_000, 4, generator=generator) * 2 - 3
    outcome = (torch.rand(20_000, generator=generator) < 0.2).float()
    shift = level(logit, outcome, torch.ones(20_000))
    predicted = float(torch.sigmoid(logit.double() + shift).mean(dim=1).sum())
    # Up to the prior, which pulls like five events.
    assert predicted + LEVEL_PRIOR * shift == pytest.approx(float(outcome.sum()), rel=1e-6)
    assert predicted == pytest.approx(float(outcome.sum()), rel=0.01)


def test_where_nothing_happened_the_level_falls_but_not_without_end() -> None:
    shift = level(torch.full((400, 2), -3.0), torch.zeros(400), torch.ones(400))
    assert -4 < shift < -1


def test_holds_and_sends_have_levels_of_their_own() -> None:
    """A network that says nothing of sending is told by the calibration what sending does on average."""
    generator = torch.Generator().manual_seed(3)
    rows = 40_000
    sent = torch.rand(rows, generator=generator) < 0.5
    bought = (torch.rand(rows, generator=generator) < torch.where(sent, 0.3, 0.1)).float()
    outputs, every, nothing = torch.zeros(rows, 2, len(HEADS)), torch.arange(rows), torch.zeros(rows, 0)
    tables = FitTables(
        every, nothing, nothing, nothing, sent, torch.ones(rows), {"purchased": bought},
        {"purchased": torch.ones(rows, dtype=torch.bool)}, 1.0,
    )  # fmt: skip
    calibration = fit_calibration(outputs, every, outputs, every, tables)
    held, sends = torch.sigmoid(calibration.offset[:, CALIBRATED.index("purchase")]).tolist()
    assert held == pytest.approx(float(bought[~sent].mean()), abs=0.002)
    assert sends == pytest.approx(float(bought[sent].mean()), abs=0.002)
