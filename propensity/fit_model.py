"""Fits a model of any family to the very same rows, with the very same weights and split of customers."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from campaigns.audience import Catalogue, Population
from campaigns.replay import DecisionRows
from propensity.calibration import fit_calibration
from propensity.fit import ROWS_AT_ONCE, fit_network
from propensity.fit_settings import FitSettings
from propensity.gbdt import fit_gbdt_heads
from propensity.head_rows import Inputs, log_rows
from propensity.logistic import fit_logistic_heads
from propensity.model import OUTCOME_OF, PropensityModel
from propensity.optouts import level_doubt
from propensity.response_model import Predictor
from propensity.split import split_customers


def fit_model(
    rows: DecisionRows,
    population: Population,
    catalogue: Catalogue,
    settings: FitSettings,
    seed: int,
    progress: Callable[[int, float], None] | None = None,
    device: torch.device | str = "cpu",
) -> PropensityModel:
    """Fits and calibrates a model of the family `settings.kind`; all see the same rows, weights and split.

    Args:
        rows: labelled decisions; their customers are the training customers.
        population, catalogue: of the same log.
        settings: how.
        seed: the same seed gives the same model on the CPU.
        progress: called with epochs done and the validation loss, by a network alone.
        device: where a network is trained; the other families use the CPU.
    Raises:
        CampaignError: where there is nothing to learn from.
    """
    if settings.kind == "network":
        return fit_network(rows, population, catalogue, settings, seed, progress, device)
    log = log_rows(rows, population, catalogue)
    tables, inputs = log.tables, log.inputs
    generator = torch.Generator().manual_seed(seed)
    split = split_customers(
        tables.customers, population, settings.validation_share, settings.members, generator
    )  # fmt: skip

    predictor: Predictor
    if settings.kind == "logistic":
        predictor = fit_logistic_heads(inputs, split, log.head, settings.logistic.penalty, settings.members)
    else:
        predictor = fit_gbdt_heads(inputs, split, log.head, settings.gbdt, settings.members, seed)

    every = torch.arange(len(rows))
    everything = torch.cat([_outputs(predictor, inputs, part) for part in every.split(ROWS_AT_ONCE)])
    calibration = fit_calibration(everything[split.validation], split.validation, everything, every, tables)
    known = frozenset(head for head, name in OUTCOME_OF.items() if name in tables.outcome)
    return PropensityModel(predictor, calibration, known, level_doubt(tables))


@torch.no_grad()
def _outputs(predictor: Predictor, inputs: Inputs, rows: Tensor) -> Tensor:
    projected = predictor.project_customers(inputs.people[inputs.customers[rows]])
    return predictor(projected, inputs.state[rows], inputs.contents[rows], inputs.candidate[rows],
                     inputs.sent[rows], None)  # fmt: skip
