"""How good a network's probabilities are on customers that it never saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import average_precision_score, log_loss, precision_recall_fscore_support, roc_auc_score

from campaigns.audience import Catalogue, Population
from campaigns.history import HOLD
from campaigns.replay import DecisionRows
from propensity.effects import clustered
from propensity.model import OUTCOME_OF
from propensity.response import Response
from propensity.response_model import ResponseModel
from propensity.segment_ratios import observed_over_expected, row_groups
from propensity.telling import telling_rows

BINS = 10
ROWS_AT_ONCE = 65_536


def propensity_metrics(
    model: ResponseModel,
    rows: DecisionRows,
    population: Population,
    catalogue: Catalogue,
    users: pd.DataFrame | None = None,
) -> dict[str, Any]:
    """Metrics of every head and of the value model; all weighted for subsampled holds.

    Args:
        model: averaged over its members.
        rows: decisions of customers that it has not seen.
        population, catalogue: of the same log.
        users: the customers' own columns, in the order of the population; heads are judged in their groups too.
    Returns:
        `heads` by outcome (see `head_metrics`; `segments` as of `observed_over_expected`), and `value`. JSON-able.
    """
    listed = rows.take(rows.decision <= len(catalogue))
    response = predict_rows(model, listed, population, catalogue)
    sent, known = listed.decision > HOLD, {name: ~values.isnan() for name, values in listed.outcomes.items()}
    weight, customer = listed.weight.double().numpy(), population.units[listed.customer].numpy()
    groups = row_groups(listed, catalogue, users)
    predicted = response.by_head()
    heads = {}
    for head, outcome in OUTCOME_OF.items():
        if outcome not in listed.outcomes:
            continue
        observed = listed.outcomes[outcome].double().numpy()
        used = telling_rows(head, sent, listed.outcomes, known).numpy()
        if used.any():
            chance = predicted[head].double().numpy()[used]
            heads[outcome] = head_metrics(chance, observed[used], weight[used]) | {
                "customers": len(np.unique(customer[used])),
                "segments": observed_over_expected(
                    chance, observed[used], weight[used], customer[used], {n: g[used] for n, g in groups.items()}
                ),
            }
    report: dict[str, Any] = {"heads": heads}
    if "value" in listed.outcomes and "purchased" in listed.outcomes:
        bought = telling_rows("value", sent, listed.outcomes, known).numpy()
        report["value"] = _value_metrics(response, listed, catalogue, weight, customer, bought)
    return report


def head_metrics(predicted: np.ndarray, observed: np.ndarray, weight: np.ndarray) -> dict[str, Any]:
    """Metrics of one probability.

    The threshold of accuracy, precision, recall and F1 is the one at which as many positives are predicted as there
    are; at a rare outcome accuracy says little, which is why the constant's stands beside it.

    - `brier`: mean squared error of the probability (Brier 1950); `brier_constant`: of the base rate, r (1 - r).
    - `pr_auc`: average precision, the sum over thresholds of precision x gain in recall; a blind order's is the base
      rate.
    - `log_loss_gain`: 1 - log loss / the constant's: the share of it that predictions save (McFadden 1974).
    - `ece`: mean distance of predicted and observed rate over bins of equal weight.

    Args:
        predicted: probabilities. Shape [n].
        observed: 0 or 1. Shape [n].
        weight: rows of the log that each stands for. Shape [n].
    """
    chance = np.clip(predicted, 1e-7, 1 - 1e-7)
    rate = float(np.average(observed, weights=weight))
    report: dict[str, Any] = {"base_rate": rate, "rows": int(weight.sum())}
    if rate in (0.0, 1.0):
        return report | {"note": "the outcome never varied"}
    order = np.argsort(-chance, kind="stable")
    cut = int(np.searchsorted(np.cumsum(weight[order]), rate * weight.sum()))
    threshold = float(chance[order[min(cut, len(order) - 1)]])
    decided = chance >= threshold
    precision, recall, f1, _ = precision_recall_fscore_support(
        observed, decided, average="binary", sample_weight=weight, zero_division=0
    )
    bins = reliability(chance, observed, weight)
    total = sum(b["count"] for b in bins)
    loss, constant = (
        float(log_loss(observed, chance, sample_weight=weight)),
        float(-(rate * np.log(rate) + (1 - rate) * np.log(1 - rate))),
    )
    return report | {
        "auc": float(roc_auc_score(observed, chance, sample_weight=weight)),
        "pr_auc": float(average_precision_score(observed, chance, sample_weight=weight)),
        "log_loss": loss,
        "log_loss_constant": constant,
        "log_loss_gain": 1 - loss / constant,
        "brier": float(np.average((chance - observed) ** 2, weights=weight)),
        "brier_constant": rate * (1 - rate),
        "ece": float(sum(b["count"] * abs(b["predicted"] - b["observed"]) for b in bins) / total),
        "accuracy": float(np.average(decided == observed, weights=weight)),
        "accuracy_constant": max(rate, 1 - rate),
        "precision": float(precision),
        "recall": float(recall),
        "f1": float(f1),
        "threshold": threshold,
        "calibration_slope": calibration_slope(chance, observed, weight),
        "reliability": bins,
    }


def reliability(predicted: np.ndarray, observed: np.ndarray, weight: np.ndarray) -> list[dict[str, float]]:
    """Bins of equal weight: mean prediction, observed rate with its 95 % Wilson interval, and rows."""
    order = np.argsort(predicted, kind="stable")
    edges = np.searchsorted(np.cumsum(weight[order]), np.linspace(0, weight.sum(), BINS + 1)[1:-1])
    bins = []
    for part in np.split(order, edges):
        if not len(part):
            continue
        count = float(weight[part].sum())
        rate = float(np.average(observed[part], weights=weight[part]))
        z = 1.96
        centre = (rate + z * z / (2 * count)) / (1 + z * z / count)
        half = z * np.sqrt(rate * (1 - rate) / count + z * z / (4 * count * count)) / (1 + z * z / count)
        bins.append(
            {
                "predicted": float(np.average(predicted[part], weights=weight[part])),
                "observed": rate,
                "count": count,
                "low": float(max(centre - half, 0.0)),
                "high": float(min(centre + half, 1.0)),
            }
        )
    return bins


def calibration_slope(predicted: np.ndarray, observed: np.ndarray, weight: np.ndarray) -> float:
    """Slope of a logistic regression of the outcome on the predicted logit (Cox 1958); 1 is right."""
    from sklearn.linear_model import LogisticRegression

    logit = np.log(predicted / (1 - predicted))
    if np.ptp(logit) < 1e-9:
        return float("nan")
    fit = LogisticRegression(C=1e9, max_iter=200).fit(logit[:, None], observed, sample_weight=weight)
    return float(fit.coef_[0, 0])


@torch.no_grad()
def predict_rows(model: ResponseModel, rows: DecisionRows, population: Population, catalogue: Catalogue) -> Response:
    """What a model, averaged over its members, says of every row. Shapes [R]."""
    parts = []
    for some in torch.arange(len(rows)).split(ROWS_AT_ONCE):
        sent = rows.decision[some] > HOLD
        content = (rows.decision[some] - 1).clamp(min=0)
        parts.append(
            model.respond(
                population.features[rows.customer[some]], rows.state[some],
                catalogue.features[content] * sent.unsqueeze(1), rows.candidate[some], sent,
            )
        )  # fmt: skip
    whole = {
        f.name: torch.cat([getattr(part, f.name) for part in parts])
        for f in fields(Response)
        if f.name not in {"residuals", "floor"}
    }
    return Response(**whole, residuals=parts[0].residuals, floor=parts[0].floor)


def _value_metrics(
    response: Response,
    rows: DecisionRows,
    catalogue: Catalogue,
    weight: np.ndarray,
    customer: np.ndarray,
    bought: np.ndarray,
) -> dict[str, Any]:
    value = rows.outcomes["value"].double().numpy()
    if not bought.any():
        return {"note": "nobody bought"}
    predicted = response.value_if_bought.double().numpy()
    return {
        "mean_predicted": float(predicted[bought].mean()),
        "mean_observed": float(value[bought].mean()),
        "rmse": float(np.sqrt(np.mean((predicted[bought] - value[bought]) ** 2))),
        "by_content": value_by_content(
            response.expected_value.double().numpy(), np.nan_to_num(value), rows.decision.numpy(), weight, customer,
            [str(one) for one in catalogue.ids],
        ),
    }  # fmt: skip


def value_by_content(
    predicted: np.ndarray,
    earned: np.ndarray,
    decision: np.ndarray,
    weight: np.ndarray,
    customer: np.ndarray,
    contents: Sequence[str],
) -> list[dict[str, Any]]:
    """Mean value of a decision by what was sent, as predicted and as observed.

    Args:
        predicted: expected value of each decision. Shape [R], in currency.
        earned: what it brought. Shape [R], in currency.
        decision: 0 for a hold, else 1 + the content's place. Shape [R].
        weight: rows of the log that each stands for. Shape [R].
        customer: whose. Shape [R].
        contents: names. K.
    Returns:
        For hold and every content that was sent: `content`, `customers`, `count` (of decisions), `predicted` and
        `observed` means, and the ends `low` and `high` of the observed mean's 95 % interval: linearised as a ratio of
        sums, sum w y / sum w, and clustered by customer; None where there is but one.
    """
    found = []
    for place, name in enumerate(["hold", *contents]):
        rows = decision == place
        count = float(weight[rows].sum())
        if count <= 0:
            continue
        observed = float(np.average(earned[rows], weights=weight[rows]))
        error = weight[rows] * (earned[rows] - observed) / count
        interval = clustered(observed, error, customer[rows])
        found.append(
            {
                "content": name,
                "customers": len(np.unique(customer[rows])),
                "count": count,
                "predicted": float(np.average(predicted[rows], weights=weight[rows])),
                "observed": observed,
                "low": interval["low"],
                "high": interval["high"],
            }
        )
    return found
