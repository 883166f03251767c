"""One table of all families of models, on customers whom none of them has seen, with paired differences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from campaigns.audience import Catalogue, Population
from campaigns.replay import DecisionRows
from evaluation.estimators import Contributions
from evaluation.intervals import bootstrap
from propensity.baselines import constant_chances, linear_chances, log_losses
from propensity.head_rows import HeadRows, Inputs, LogRows, log_rows
from propensity.metrics import calibration_slope
from propensity.model import CALIBRATED, OUTCOME_OF
from propensity.response_model import ResponseModel
from propensity.split import Split

ROWS_AT_ONCE = 65_536
CONSTANT = "constant"


def compare_families(
    models: Mapping[str, ResponseModel],
    market: str,
    train: DecisionRows,
    split: Split,
    judge: DecisionRows,
    population: Population,
    catalogue: Catalogue,
    draws: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Predicts held-out decisions with every family, and constant and linear regression beside them.

    Args:
        models: by family, fitted to `train`; averaged over their members.
        market: the family that the market is made of.
        train: rows that constant and linear regression are fitted to.
        split: of `train`; linear regression chooses its ridge on the validation customers.
        judge: decisions of customers whom no family has seen.
        population, catalogue: of the same log.
        draws, seed: of the bootstrap of customers.
    Returns:
        `market`; `heads` by outcome: `base_rate`, `rows`, `customers`, and by family `log_loss`, `gain` (1 - log loss
        / the constant's), `auc`, `calibration_slope` and `difference` (log loss - the market's family's, with its
        95 % interval; below 0 it predicts better); `better`, where that interval excludes zero, with the difference
        as a `share` of the market's log loss; `note`. JSON-able.
    """
    fitted, asked = log_rows(train, population, catalogue), log_rows(judge, population, catalogue)
    every = torch.arange(len(judge))
    responses = {name: _responses(model, asked.inputs) for name, model in models.items()}
    heads: dict[str, Any] = {}
    for head in CALIBRATED:
        own, learned = asked.head(head, every), fitted.head(head, split.training)
        held = fitted.head(head, split.validation)
        if own is None or learned is None or held is None or not len(own.rows) or not len(learned.rows):
            continue
        chances = {
            CONSTANT: constant_chances(learned, fitted.inputs, own, asked.inputs),
            "linear": linear_chances(learned, held, fitted.inputs, own, asked.inputs),
            **{name: response[head][own.rows] for name, response in responses.items()},
        }
        heads[OUTCOME_OF[head]] = _head(own, asked, chances, market, draws, seed)
    better = [
        {"outcome": outcome, "family": name, "share": {k: v / table["families"][market]["log_loss"] for k, v in
                                                        entry["difference"].items()}}
        for outcome, table in heads.items()
        for name, entry in table["families"].items()
        if name != market and entry["difference"]["high"] < 0
    ]  # fmt: skip
    return {"market": market, "heads": heads, "better": better, "note": _note(market, list(models), better)}


def _head(
    own: HeadRows, asked: LogRows, chances: Mapping[str, Tensor], market: str, draws: int, seed: int
) -> dict[str, Any]:
    # Customers of one group are drawn together.
    customer = asked.inputs.units[asked.inputs.customers[own.rows]].numpy()
    _, customer = np.unique(customer, return_inverse=True)
    outcome, weight = own.outcome.double().numpy(), own.weight.double().numpy()
    losses = {name: log_losses(chance.double(), own.outcome.double()).numpy() for name, chance in chances.items()}
    means = {name: float(np.average(loss, weights=weight)) for name, loss in losses.items()}
    # Rows of a ratio of sums: the mean loss of whichever customers a draw holds.
    ratios = {name: Contributions(weight * loss, weight) for name, loss in losses.items()}
    found = bootstrap(ratios, customer, draws, seed=seed)
    varied = 0 < outcome.sum() < len(outcome)
    families = {}
    for name, chance in chances.items():
        clipped = np.clip(chance.double().numpy(), 1e-7, 1 - 1e-7)
        families[name] = {
            "log_loss": means[name],
            "gain": 1 - means[name] / means[CONSTANT] if means[CONSTANT] > 0 else None,
            "auc": float(roc_auc_score(outcome, clipped, sample_weight=weight)) if varied else None,
            "calibration_slope": calibration_slope(clipped, outcome, weight) if varied else None,
            "difference": found.difference(name, market).to_dict(),
        }
    rate = float(np.average(outcome, weights=weight))
    return {"base_rate": rate, "rows": int(weight.sum()), "customers": len(np.unique(customer)), "families": families}


def _note(market: str, fitted: list[str], better: list[dict[str, Any]]) -> str:
    """Which family the market uses and why, and where another predicts better."""
    why = f"The market uses the family {market} because propensity={market} is set."
    if not better:
        others = ", ".join(sorted({*fitted, CONSTANT, "linear"} - {market}))
        return f"{why} None of the others ({others}) predicts any outcome surely better on customers not seen."
    said = []
    for name in dict.fromkeys(entry["family"] for entry in better):
        lower = [
            f"{entry['outcome']} by {-entry['share']['value']:.1%} ({-entry['share']['high']:.1%} to "
            f"{-entry['share']['low']:.1%})"
            for entry in better
            if entry["family"] == name
        ]
        said.append(f"{name}: {', '.join(lower)}")
    return (
        f"{why} On customers not seen, others have a surely lower log loss (95 % intervals exclude zero): "
        f"{'; '.join(said)}."
    )


@torch.no_grad()
def _responses(model: ResponseModel, inputs: Inputs) -> dict[str, Tensor]:
    """Probabilities by head for all rows. Shape [R] each."""
    parts: list[dict[str, Tensor]] = []
    for rows in torch.arange(len(inputs.sent)).split(ROWS_AT_ONCE):
        response = model.respond(
            inputs.people[inputs.customers[rows]], inputs.state[rows], inputs.contents[rows], inputs.candidate[rows],
            inputs.sent[rows],
        )  # fmt: skip
        parts.append(response.by_head())
    return {head: torch.cat([part[head] for part in parts]) for head in CALIBRATED}
