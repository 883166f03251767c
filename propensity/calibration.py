"""One shared calibration a head, fitted on customers that training did not see.

Slopes and offsets are drawn towards 1 and 0: with few validation events the network's own level is the better one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from propensity.model import CALIBRATED, OUTCOME_OF, Calibration
from propensity.network import HEADS
from propensity.telling import telling_rows

if TYPE_CHECKING:
    from propensity.fit import FitTables

QUANTILES = 64
"""Entries of the table of value residuals."""

PRIOR_EVENTS = 50.0
"""How many events it takes for the data to weigh as much as the prior."""

LEVEL_PRIOR = 5.0
"""The same for offsets, which all customers set."""


def fit_calibration(
    validation: Tensor,
    validation_rows: Tensor,
    everything: Tensor,
    all_rows: Tensor,
    tables: FitTables,
    settled: frozenset[str] = frozenset(),
) -> Calibration:
    """Fits slopes, offsets and the law of value residuals.

    Slopes need customers that training did not see. Levels do not: there the rare events of all customers count
    for more than the little optimism of having trained on them, so offsets are set on all rows, of holds and of sends
    apart: what holds a network back (weight decay, early stopping) holds back the mean effect of sending too (ADR 1).

    Args:
        validation, validation_rows: outputs of the network for the validation rows, [B, k, H], and which these are.
        everything, all_rows: the same for all rows.
        tables: the rows' outcomes.
        settled: heads that were fitted to all customers under a prior, whose slope is 1.
    """
    slopes, offsets = torch.ones(len(CALIBRATED)), torch.zeros(2, len(CALIBRATED))
    sent = tables.sent[all_rows]
    for place, name in enumerate(CALIBRATED):
        held_out, events = _head(name, validation, validation_rows, tables), _head(name, everything, all_rows, tables)
        if held_out is None or events is None:
            continue
        slope, offset = (1.0, 0.0) if name in settled else platt(held_out[0].mean(dim=1), *held_out[1:])
        logit, outcome, weight = events
        slopes[place] = slope
        for decided, rows in enumerate((~sent, sent)):
            offsets[decided, place] = level(slope * logit[rows] + offset, outcome[rows], weight[rows]) + offset
    scale, residuals, floor = _value_law(everything, tables, all_rows)
    return Calibration(slopes, offsets, scale, residuals, floor)


def _head(name: str, outputs: Tensor, rows: Tensor, tables: FitTables) -> tuple[Tensor, Tensor, Tensor] | None:
    """Members' logits [B, k], outcome and weight of one head's rows; None where the log lacks its outcome."""
    column = OUTCOME_OF[name]
    if column not in tables.outcome:
        return None
    logit = outputs[..., HEADS.index(name)]
    if f"{name}_bought" in HEADS and "purchased" in tables.outcome:
        bought = tables.outcome["purchased"][rows].unsqueeze(1)
        logit = logit + bought * outputs[..., HEADS.index(f"{name}_bought")]
    used = tables.weight[rows] * telling_rows(name, tables.sent, tables.outcome, tables.known)[rows]
    return logit, tables.outcome[column][rows], used


def level(logit: Tensor, outcome: Tensor, weight: Tensor) -> float:
    """Shift of the logits at which predicted and observed totals agree, drawn towards 0 by the prior.

    What is predicted is the mean of the members' probabilities, which lies above the probability of their mean logit.

    Args:
        logit: of each member. Shape [B, k].
        outcome, weight: Shape [B].
    """
    logit, outcome, weight = logit.double(), outcome.double(), weight.double()
    observed, shift = float((weight * outcome).sum()), 0.0
    for _ in range(50):
        chance = torch.sigmoid(logit + shift)
        slope = float((weight * (chance * (1 - chance)).mean(dim=1)).sum()) + LEVEL_PRIOR
        step = (observed - float((weight * chance.mean(dim=1)).sum()) - LEVEL_PRIOR * shift) / slope
        shift += max(-1.0, min(1.0, step))
        if abs(step) < 1e-9:
            break
    return shift


def platt(logit: Tensor, outcome: Tensor, weight: Tensor) -> tuple[float, float]:
    """Slope and offset of the logit by penalised maximum likelihood (Platt 1999, with a prior at 1 and 0).

    The slope is taken around the mean logit, so that it does not trade against the offset.

    Args:
        logit, outcome, weight: Shape [B].
    """
    if float(weight.sum()) == 0:
        return 1.0, 0.0
    logit, outcome, weight = logit.double(), outcome.double(), weight.double()
    centre = (weight * logit).sum() / weight.sum()
    parameters = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([parameters], max_iter=50, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        calibrated = (1.0 + parameters[0]) * (logit - centre) + centre + parameters[1]
        loss = (weight * F.binary_cross_entropy_with_logits(calibrated, outcome, reduction="none")).sum()
        loss = loss + 0.5 * PRIOR_EVENTS * parameters.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    change, shift = (float(p) for p in parameters.detach())
    return 1.0 + change, float(shift - change * centre)


def _value_law(outputs: Tensor, tables: FitTables, rows: Tensor) -> tuple[float, Tensor, float]:
    """Currency of a unit of the value head, residual table of mean 0, and the spread's floor."""
    flat = torch.zeros(QUANTILES)
    outcome = {name: values[rows] for name, values in tables.outcome.items()}
    if "value" not in outcome or "purchased" not in outcome:
        return 0.0, flat, 0.0
    spent = telling_rows("value", tables.sent, tables.outcome, tables.known)[rows]
    if int(spent.sum()) < 2:
        return tables.value_unit, flat, 0.0
    clicked = outcome.get("clicked", torch.zeros_like(outcome["value"])).unsqueeze(1)
    heads = outputs[..., HEADS.index("value")] + clicked * outputs[..., HEADS.index("value_clicked")]
    mean = heads.mean(dim=1)[spent] * tables.value_unit
    value = outcome["value"][spent]
    predicted, events = float(mean.sum()), float(spent.sum())
    ratio = 1.0
    if abs(predicted) > 0.1 * float(value.abs().sum()):
        trust = events / (events + LEVEL_PRIOR)
        ratio = 1.0 + trust * (float(value.sum()) / predicted - 1.0)
    mean = mean * ratio
    floor = 0.25 * float(value.abs().mean())
    residual = (value - mean) / (mean.abs() + floor)
    edges = (torch.arange(QUANTILES) + 0.5) / QUANTILES
    table = torch.quantile(residual.double(), edges.double()).float()
    return tables.value_unit * ratio, table - table.mean(), floor
