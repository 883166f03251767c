"""Any family of models by its name: how it is fitted, and how a saved one is read. Nothing is ever unpickled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from campaigns.audience import Catalogue, Population
from campaigns.replay import DecisionRows
from propensity.fit_settings import FitSettings, check_kind
from propensity.model import Calibration, PropensityModel
from propensity.network import PropensityNetwork
from propensity.response_model import Predictor


def restore_model(settings: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> PropensityModel:
    """The inverse of `PropensityModel.settings` and `PropensityModel.tensors`.

    Args:
        settings: with `kind`; without one it is a network, as the first version wrote them.
        tensors: by name, as they were saved.
    Raises:
        CampaignError: where the kind is unknown, naming the nearest.
    """
    kind = settings.get("kind", PropensityNetwork.kind)
    check_kind("model.json: kind", kind)
    prefix = f"{kind}."
    own = {name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    calibration = Calibration(
        tensors["slope"], tensors["offset"], settings["value_scale"], tensors["residuals"], settings["floor"]
    )
    return PropensityModel(_restore(kind, settings, own), calibration, frozenset(settings["known"]))


def _restore(kind: str, settings: Mapping[str, Any], weights: Mapping[str, Tensor]) -> Predictor:
    # Imported where it is needed: a policy that serves a network loads no other family.
    if kind == "logistic":
        from propensity.logistic import Logistic

        return Logistic.restore(settings, weights)
    if kind == "gbdt":
        from propensity.gbdt import BoostedTrees

        return BoostedTrees.restore(settings, weights)
    return PropensityNetwork.restore(settings, weights)


def fit_model(
    rows: DecisionRows,
    population: Population,
    catalogue: Catalogue,
    settings: FitSettings,
    seed: int,
    progress: Callable[[int, float], None] | None = None,
) -> PropensityModel:
    """Fits and calibrates a model of the family `settings.kind`; all see the same rows, weights and split.

    Args:
        rows: labelled decisions; their customers are the training customers.
        population, catalogue: of the same log.
        settings: how.
        seed: the same seed gives the same model on the CPU.
        progress: called with epochs done and the validation loss, by a network alone.
    Raises:
        CampaignError: where there is nothing to learn from.
    """
    from propensity.calibration import fit_calibration
    from propensity.fit import fit_network, fit_tables
    from propensity.head_rows import HeadRows, Inputs, head_rows
    from propensity.model import OUTCOME_OF
    from propensity.split import split_customers

    if settings.kind == "network":
        return fit_network(rows, population, catalogue, settings, seed, progress)
    tables = fit_tables(rows, catalogue)
    inputs = Inputs(
        tables.customers, population.features, tables.state, tables.contents,
        tables.candidate * tables.sent.unsqueeze(1), tables.sent,
    )  # fmt: skip
    generator = torch.Generator().manual_seed(seed)
    split = split_customers(
        tables.customers, len(population), settings.validation_share, settings.members, generator
    )  # fmt: skip

    def heads(head: str, among: Tensor) -> HeadRows | None:
        return head_rows(head, inputs, tables.outcome, tables.known, tables.weight, among, tables.value_unit)

    predictor: Predictor
    if settings.kind == "logistic":
        from propensity.logistic import fit_logistic_heads

        predictor = fit_logistic_heads(inputs, split, heads, settings.logistic.penalty, settings.members)
    else:
        from propensity.gbdt import fit_gbdt_heads

        predictor = fit_gbdt_heads(inputs, split, heads, settings.gbdt, settings.members, seed)

    every = torch.arange(len(rows))
    everything = torch.cat([_outputs(predictor, inputs, part) for part in every.split(65_536)])
    calibration = fit_calibration(everything[split.validation], split.validation, everything, every, tables)
    known = frozenset(head for head, name in OUTCOME_OF.items() if name in tables.outcome)
    return PropensityModel(predictor, calibration, known)


@torch.no_grad()
def _outputs(predictor: Predictor, inputs: Any, rows: Tensor) -> Tensor:
    projected = predictor.project_customers(inputs.people[inputs.customers[rows]])
    return predictor(projected, inputs.state[rows], inputs.contents[rows], inputs.candidate[rows],
                     inputs.sent[rows], None)  # fmt: skip
