"""Effects of sending and tilted policies against the log of others: right, none, too large, and blind to rest."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

from campaigns.features import STATE_FEATURES
from campaigns.grid import DecisionGrid
from campaigns.logging_policy import fit_logging_policy
from envs.market import Market
from evaluation.gate_checks import GateCheck, within
from evaluation.gate_effects import check_effects
from evaluation.logged_answers import LoggedAnswers, collect_answers
from evaluation.tilts import REST, SOON, check_tilts
from propensity.model import PropensityModel
from propensity.response import Response
from tests.envs.hand_made import Law, hand_made_market
from tests.envs.market_logs import Tilted, write_grid

LAW = Law(idle=(0.1, 0.1), gain=2.0, leaves=0.004)
LOGGER = Tilted([0.6, 0.3, 0.02, 0.08])
DAYS, COPIES = 8, 6
RECENT = STATE_FEATURES.index("sends in 24 h")


class Tiring(PropensityModel):
    """Opens fall with the sends of the last 24 hours; without `knows` the network believes that they do not."""

    knows = True

    def respond(self, customers: Tensor, state: Tensor, *rest: Tensor, **others: Tensor | None) -> Response:  # type: ignore[override]
        """As the model's, with fatigue."""
        response = super().respond(customers, state, *rest, **others)  # type: ignore[arg-type]
        rested = torch.exp(-1.5 * state[:, RECENT]) if self.knows else torch.full_like(state[:, RECENT], 0.335)
        return replace(
            response, open_if_not=response.open_if_not * rested, open_if_bought=response.open_if_bought * rested
        )


class Unknowing(Tiring):
    """Gives the average back, whatever was sent before."""

    knows = False


def world(law: Law = LAW, kind: type[PropensityModel] = PropensityModel) -> Market:
    market = hand_made_market(law, days=DAYS)
    rows = np.tile(np.arange(len(market.pool)), COPIES)
    model = market.model
    assert isinstance(model, PropensityModel)
    model = kind(model.predictor, model.calibration, model.known)
    return replace(market, pool=market.pool.take(torch.from_numpy(rows)), model=model)


@cache
def log_of(kind: type[PropensityModel] = PropensityModel) -> DecisionGrid:
    return write_grid(world(kind=kind), LOGGER, DAYS * 6, seed=3, eligible=0.8)


@cache
def answers_of(
    law: Law = LAW, truth: type[PropensityModel] = PropensityModel, believed: type[PropensityModel] = PropensityModel,
    known: bool = True,
) -> LoggedAnswers:  # fmt: skip
    """What the network of `law` says to the log that `LAW` wrote."""
    grid, market = log_of(truth), world(law, believed)
    if not known:
        grid = replace(grid, action_prob=np.full_like(grid.action_prob, np.nan))
    logger = fit_logging_policy(grid, market.pool, market.catalogue, market.clock, respect_eligible=True, rows=40_000)
    found = collect_answers(grid, market.pool, market.catalogue, market.clock, market.model, logger, seed=0)
    assert found is not None
    return found


def named(checks: list[GateCheck]) -> dict[str, GateCheck]:
    return {check.name: check for check in checks}


@pytest.mark.parametrize("known", [True, False])
def test_the_logs_own_effects_pass_with_logged_and_with_fitted_probabilities(known: bool) -> None:
    answers = answers_of(known=known)
    assert answers.fitted is not known
    checks, tables = check_effects(answers, 0.99, 300, 0)
    found = named(checks)
    assert found["effect on purchases"].passed
    assert found["effect on purchases"].ratio == pytest.approx(1.0, abs=0.15)
    slope = found["effect on purchases, slope"]
    assert slope.low < 1 < slope.high
    assert slope.passed
    purchases = next(table for table in tables if table.outcome == "purchases")
    assert purchases.predicted == sorted(purchases.predicted)
    inside = [a <= p <= b for p, a, b in zip(purchases.predicted, purchases.low, purchases.high, strict=True)]
    assert np.mean(inside) >= 0.7


@pytest.mark.parametrize(("gain", "ratio"), [(0.0, 0.0), (3.5, 1.9)])
def test_a_market_without_effect_and_one_with_too_much_fail_by_their_effect(gain: float, ratio: float) -> None:
    checks, _ = check_effects(answers_of(replace(LAW, gain=gain)), 0.99, 300, 0)
    found = named(checks)["effect on purchases"]
    assert found.passed is False
    assert found.ratio == pytest.approx(ratio, abs=0.5)


def test_tilted_policies_are_priced_right_by_the_logs_own_market() -> None:
    checks = named(check_tilts(answers_of(truth=Tiring, believed=Tiring), 0.1, 0.99, 300, 0))
    assert {f"opens under {SOON}", f"purchases under {REST}", "opens under the rarest content"} <= set(checks)
    assert not [name for name, check in checks.items() if check.passed is False]
    assert checks[f"opens under {SOON}, over {REST}"].ratio == pytest.approx(1.0, abs=0.06)


def test_a_market_that_knows_no_fatigue_misprices_sending_again_soon_though_its_total_is_right() -> None:
    answers = answers_of(truth=Tiring, believed=Unknowing)
    sent = answers.sent
    total = answers.taken["opened"][sent].mean() / answers.observed["opened"][sent].mean()
    assert total == pytest.approx(1.0, abs=0.1)
    check = named(check_tilts(answers, 0.1, 0.99, 300, 0))[f"opens under {SOON}, over {REST}"]
    assert check.passed is False
    assert check.low > 1.1


def test_forced_holds_say_nothing_of_effects_and_are_left_out() -> None:
    answers, grid = answers_of(), log_of()
    expected = (grid.eligible & (grid.decision == 0) & (grid.action_prob < 1)).sum()
    assert answers.weight[~answers.sent].sum() == pytest.approx(expected, rel=0.03)
    assert answers.weight[answers.sent].sum() == (grid.decision > 0).sum()


def test_a_log_that_only_sends_or_only_holds_has_no_answers() -> None:
    grid, market = log_of(), world()
    logger = fit_logging_policy(grid, market.pool, market.catalogue, market.clock, epochs=1)
    for decision in (0, 1):
        same = replace(grid, decision=np.full_like(grid.decision, decision))
        assert collect_answers(same, market.pool, market.catalogue, market.clock, market.model, logger, 0) is None


def test_an_interval_passes_inside_fails_outside_and_is_undecided_between() -> None:
    assert within(0.95, 1.05, 0.9, 1.1) is True
    assert within(1.2, 1.3, 0.9, 1.1) is False
    assert within(1.0, 1.2, 0.9, 1.1) is None
    assert within(float("nan"), 1.2, 0.9, 1.1) is None
