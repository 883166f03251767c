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

if TYPE_CHECKING:
    from propensity.fit import FitTables

QUANTILES = 64
"""Entries of the table of value residuals."""

PRIOR_EVENTS = 200.0
"""How many events it takes for the data to weigh as much as the prior."""


def fit_calibration(outputs: Tensor, tables: FitTables, rows: Tensor) -> Calibration:
    """Fits slopes, offsets and the law of value residuals.

    Args:
        outputs: of the network for the validation rows. Shape [B, k, H].
        tables, rows: the rows' outcomes. `rows` has shape [B].
    """
    head = dict(zip(HEADS, outputs.unbind(dim=-1), strict=True))
    outcome = {name: values[rows] for name, values in tables.outcome.items()}
    weight, sent = tables.weight[rows], tables.sent[rows]
    bought = outcome.get("purchased", torch.zeros_like(weight)).unsqueeze(1)
    logits = {
        "purchase": head["purchase"],
        "visit": head["visit"] + bought * head["visit_bought"],
        "unsubscribe": head["unsubscribe"],
        "open": head["open"] + bought * head["open_bought"],
        "click": head["click"] + bought * head["click_bought"],
    }
    slopes, offsets = [], []
    for name in CALIBRATED:
        column = OUTCOME_OF[name]
        if column not in outcome:
            slopes.append(1.0)
            offsets.append(0.0)
            continue
        used = weight * tables.known[column][rows]
        if name in {"open", "click"}:
            used = used * sent
        if name == "click" and "opened" in outcome:
            used = used * (outcome["opened"] > 0)
        slope, offset = platt(logits[name].mean(dim=1), outcome[column], used)
        slopes.append(slope)
        offsets.append(offset)
    scale, residuals, floor = _value_law(head, outcome, tables, rows)
    return Calibration(torch.tensor(slopes), torch.tensor(offsets), scale, residuals, floor)


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
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    change, shift = (float(p) for p in parameters.detach())
    return 1.0 + change, float(shift - change * centre)


def _value_law(
    head: dict[str, Tensor], outcome: dict[str, Tensor], tables: FitTables, rows: Tensor
) -> tuple[float, Tensor, float]:
    """Currency of a unit of the value head, residual table of mean 0, and the spread's floor."""
    flat = torch.zeros(QUANTILES)
    if "value" not in outcome or "purchased" not in outcome:
        return 0.0, flat, 0.0
    spent = (outcome["purchased"] > 0) & tables.known["value"][rows]
    if int(spent.sum()) < 2:
        return tables.value_unit, flat, 0.0
    clicked = outcome.get("clicked", torch.zeros_like(outcome["value"])).unsqueeze(1)
    mean = (head["value"] + clicked * head["value_clicked"]).mean(dim=1)[spent] * tables.value_unit
    value = outcome["value"][spent]
    predicted, events = float(mean.sum()), float(spent.sum())
    ratio = 1.0
    if abs(predicted) > 0.1 * float(value.abs().sum()):
        trust = events / (events + PRIOR_EVENTS)
        ratio = 1.0 + trust * (float(value.sum()) / predicted - 1.0)
    mean = mean * ratio
    floor = 0.25 * float(value.abs().mean())
    residual = (value - mean) / (mean.abs() + floor)
    edges = (torch.arange(QUANTILES) + 0.5) / QUANTILES
    table = torch.quantile(residual.double(), edges.double()).float()
    return tables.value_unit * ratio, table - table.mean(), floor
