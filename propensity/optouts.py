"""Opt-outs are few: what a send adds to them is fitted again, as weights that some hundred events can tell.

A network's optimiser moves the weights of a head with two hundred events as far as those of one with ten thousand, and
what it has learned by heart an agent seeks out: it sends where opting out is too low by chance. So the head's last
layer (Bayesian, MacKay 1992) is found anew when the training has ended: the most likely weights under a normal prior
around no effect, wider for the load of recent sends, of which it is known beforehand that it matters.
The curvature there says how uncertain the weights are, and with them opt-outs along any policy's path.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from campaigns.audience import Population
from campaigns.features import LOAD_FEATURES, STATE_FEATURES
from propensity.calibration import level
from propensity.model import OUTCOME_OF
from propensity.network import HEADS, PropensityNetwork
from propensity.regression import fit_logistic, moments
from propensity.telling import telling_rows

if TYPE_CHECKING:
    from propensity.fit import FitTables

HEAD = "unsubscribe"

LOAD_PRIOR, INPUT_PRIOR, UNIT_PRIOR = 10.0, 200.0, 3000.0
"""Opt-outs that it takes to weigh as much as the prior, on the weight of an input in its standard deviations: of the
load of recent sends, of any other input, and of a hidden unit (ADR 10)."""

LEAST_SPREAD = 1e-4
"""An input that varies less among sends is left in its own unit."""

BLOCK = 16_384
"""Rows of the design held at a time."""


@dataclass(frozen=True)
class SomeRows:
    """Some rows of a log.

    Attributes:
        tables, population: of the log.
        rows: which of the tables' rows. Shape [n], int64.
    """

    tables: FitTables
    population: Population
    rows: Tensor

    def blocks(self, network: PropensityNetwork) -> Iterator[tuple[slice, Tensor]]:
        """Which of the rows, and their `PropensityNetwork.response_inputs` [b, D]."""
        tables = self.tables
        for first in range(0, len(self.rows), BLOCK):
            part = slice(first, min(first + BLOCK, len(self.rows)))
            rows = self.rows[part]
            people = self.population.features[tables.customers[rows]]
            yield (
                part,
                network.response_inputs(people, tables.state[rows], tables.contents[rows], tables.candidate[rows]),
            )


@torch.no_grad()
def refit_optouts(
    network: PropensityNetwork, tables: FitTables, population: Population, bootstrap: Tensor, outputs: Tensor
) -> Tensor | None:
    """Gives the opt-out head's response to a send weights that its few events can tell.

    Members then differ by the level that their customers' weights give them, and by their hidden units. Where nobody
    opts out of a hold, the base, which a send shares, keeps its level alone.

    Args:
        network: trained, on inputs as they are, on the CPU; is changed.
        tables, population: the log.
        bootstrap: weight of each customer in each member. Shape [N, k].
        outputs: of the network for all rows; opt-outs of those that tell of them become what they are now. Shape
            [R, k, H].
    Returns:
        Covariance of the weights of `PropensityNetwork.response_inputs`. Shape [D, D], float32; None where the log has
        no opt-out after a send, and everything is left as it was.
    """
    column = OUTCOME_OF[HEAD]
    if column not in tables.outcome:
        return None
    telling = telling_rows(HEAD, tables.sent, tables.outcome, tables.known) & (tables.weight > 0)
    sends = SomeRows(tables, population, torch.nonzero(telling & tables.sent).squeeze(1))
    outcome, weight = tables.outcome[column][sends.rows], tables.weight[sends.rows]
    events, total = float((weight * outcome).sum()), float(weight.sum())
    if not 0 < events < total:
        return None
    place = HEADS.index(HEAD)
    # What the base says, and nothing of a response, until it is known.
    network.rewrite_response(HEAD, torch.zeros(_width(network)), torch.zeros(network.members))
    if (tables.outcome[column] * (telling & ~tables.sent)).any():
        base = _logits(network, sends).mean(dim=1)
    else:
        unasked = network.flatten_base(HEAD)
        outputs[~tables.sent, :, place] = unasked
        base = torch.full_like(weight, unasked)

    sums = moments(lambda: sends.blocks(network), outcome, weight, _width(network))
    mean = sums.products[0] / total
    spread = (sums.products.diagonal() / total - mean.square()).clamp(min=0).sqrt()
    scale = torch.where(spread > LEAST_SPREAD, spread, 1.0)
    mean[0] = 0.0

    def design() -> Iterator[tuple[slice, Tensor]]:
        for part, inputs in sends.blocks(network):
            yield part, (inputs - mean.float()) / scale.float()

    start = torch.zeros_like(mean)
    start[0] = torch.logit(torch.tensor(events / total, dtype=torch.float64)) - float((weight * base).sum()) / total
    found = fit_logistic(design, outcome, weight, _penalty(network), start, offset=base)
    # From inputs in standard deviations back to inputs as they are.
    back = torch.diag(1.0 / scale)
    back[0, 1:] = -(mean / scale)[1:]
    network.rewrite_response(HEAD, back @ found.coefficients, torch.zeros(network.members))
    logit = _logits(network, sends)
    shift = _member_levels(logit, outcome, weight, bootstrap[tables.customers[sends.rows]])
    network.rewrite_response(HEAD, back @ found.coefficients, shift)
    outputs[sends.rows, :, place] = logit + shift
    return (back @ found.posterior() @ back.T).float()


def level_doubt(tables: FitTables) -> Tensor | None:
    """Variance of the logarithm of the rate of opt-outs after sends, as their number leaves it. Shape [1, 1]."""
    column = OUTCOME_OF[HEAD]
    if column not in tables.outcome:
        return None
    telling = telling_rows(HEAD, tables.sent, tables.outcome, tables.known) & tables.sent
    events = float((tables.weight * tables.outcome[column] * telling).sum())
    return torch.tensor([[1.0 / events]]) if events else None


def _penalty(network: PropensityNetwork) -> Tensor:
    """The prior's precision for each of `response_inputs`. Shape [D], float64."""
    spec, width = network.spec, _width(network)
    penalty = torch.full((width,), INPUT_PRIOR, dtype=torch.float64)
    before_state = width - spec.width - spec.candidates - spec.contents - spec.state
    knows_load = spec.state == len(STATE_FEATURES)
    for name in LOAD_FEATURES if knows_load else ():
        penalty[before_state + STATE_FEATURES.index(name)] = LOAD_PRIOR
    penalty[width - spec.width :] = UNIT_PRIOR
    penalty[0] = 0.0
    return penalty


def _width(network: PropensityNetwork) -> int:
    """D, columns of `response_inputs`."""
    spec = network.spec
    described = network.response.first[0].in_features
    return 1 + int(described) + spec.state + spec.contents + spec.candidates + spec.width  # type: ignore[arg-type]


def _logits(network: PropensityNetwork, rows: SomeRows) -> Tensor:
    """The members' logits of opting out. Shape [n, k]."""
    tables = rows.tables
    found = [
        network(
            network.project_customers(rows.population.features[tables.customers[part]]), tables.state[part],
            tables.contents[part], tables.candidate[part], tables.sent[part], None,
        )[..., HEADS.index(HEAD)]
        for part in rows.rows.split(BLOCK)
    ]  # fmt: skip
    return torch.cat(found)


def _member_levels(logit: Tensor, outcome: Tensor, weight: Tensor, bootstrap: Tensor) -> Tensor:
    """How far each member's customers move its level, around 0 and as far apart as draws of them are. Shape [k].

    Args:
        logit: Shape [n, k].
        outcome, weight: Shape [n].
        bootstrap: Shape [n, k].
    """
    count = logit.shape[1]
    if count == 1:
        return torch.zeros(1)
    found = torch.tensor([level(logit[:, [m]], outcome, weight * bootstrap[:, m]) for m in range(count)])
    apart: Tensor = (found - found.mean()) * (count / (count - 1)) ** 0.5
    return apart
