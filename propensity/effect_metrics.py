"""Predicted effects of sending beside what a log's own chance shows, for a fitted model and customers held out."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from campaigns.audience import Catalogue, Population
from campaigns.trials import Trials
from propensity.effects import LEAST_CUSTOMERS, EffectSample, average_effect, effect_figures, effect_slope
from propensity.response_model import ResponseModel

OUTCOMES = ("purchased", "visited", "unsubscribed", "value")
"""Outcomes that are there without a send as well; opens and clicks have no effect to judge."""
WEIGHT_OFF = 0.2
"""Sent and held rows must stand for as many pairs as each other, within this share, or chance was not free."""
MOST_CONTENTS = 12
ROWS_AT_ONCE = 65_536


def effect_metrics(
    model: ResponseModel,
    trials: Trials | None,
    population: Population,
    catalogue: Catalogue,
    draws: int = 500,
    seed: int = 0,
) -> dict[str, Any]:
    """Judges a model's effects of sending on trials of customers that it has not seen.

    Args:
        model: averaged over its members.
        trials: of `free_trials`; None where the log holds none.
        population, catalogue: that `trials` point into.
        draws, seed: of the bootstrap.
    Returns:
        `note` where effects cannot be judged; else `trials`, `customers`, `weight_ratio` (pairs for which sent rows
        stand over those of held rows; 1 where chance was free), and `outcomes`: by name, what `effect_figures`
        returns, with `contents`: rows of `content`, `customers` (sent it), `predicted` and `observed` effect and
        `slope`. JSON-able.
    """
    if trials is None:
        return {
            "note": "the log has no sends and holds that chance decided with logged probabilities; effects of sending "
            "were not judged",
            "outcomes": {},
        }
    weight, sent = trials.weight.numpy(), trials.sent.numpy()
    ratio = float(weight[sent].sum() / weight[~sent].sum())
    report: dict[str, Any] = {
        "trials": len(trials),
        "customers": int(trials.customer.unique().shape[0]),
        "weight_ratio": ratio,
        "outcomes": {},
    }
    if abs(ratio - 1) > WEIGHT_OFF:
        report["note"] = (
            f"sent rows stand for {ratio:.2f} times the decisions that held rows stand for; some contents were hardly "
            "ever free to be sent, or the logged probabilities are not those of chance. Effects were not judged"
        )
        return report
    held, answered = _predict(model, trials, population, catalogue)
    customer, content = population.units[trials.customer].numpy(), trials.content.numpy()
    for outcome in OUTCOMES:
        if outcome not in trials.outcomes or outcome not in held:
            continue
        observed = trials.outcomes[outcome].double().numpy()
        if outcome == "value" and "purchased" in trials.outcomes:  # who bought nothing brought nothing
            observed = np.where(trials.outcomes["purchased"].numpy() > 0, observed, 0.0)
        effect = answered[outcome] - held[outcome]
        guess = held[outcome] + effect / 2
        known = np.isfinite(observed)
        if not observed[known].any():
            continue
        sample = EffectSample(effect, observed - guess, sent, weight, customer).take(known)
        report["outcomes"][outcome] = effect_figures(sample, draws, seed) | {
            "contents": _by_content(sample, content[known], catalogue)
        }
    return report


def _by_content(sample: EffectSample, content: np.ndarray, catalogue: Catalogue) -> list[dict[str, Any]]:
    often = np.argsort(-np.bincount(content[sample.sent], minlength=len(catalogue)), kind="stable")[:MOST_CONTENTS]
    rows = []
    for index in sorted(often.tolist()):
        part = sample.take(content == index)
        customers = len(np.unique(part.customer[part.sent]))
        if customers < LEAST_CUSTOMERS:
            continue
        rows.append(
            {
                "content": str(catalogue.ids[index]),
                "customers": customers,
                "predicted": float(np.average(part.predicted, weights=part.weight)),
                "observed": average_effect(part),
                "slope": effect_slope(part),
            }
        )
    return rows


@torch.no_grad()
def _predict(
    model: ResponseModel, trials: Trials, population: Population, catalogue: Catalogue
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Expected outcomes by name if held, and if sent. Shape [R] each, float64."""
    parts: dict[bool, list[dict[str, Tensor]]] = {False: [], True: []}
    for rows in torch.arange(len(trials)).split(ROWS_AT_ONCE):
        customers = population.features[trials.customer[rows]]
        contents, candidate = catalogue.features[trials.content[rows]], trials.candidate[rows]
        for send, answers in parts.items():
            gate = torch.full((len(rows), 1), float(send))
            sent = torch.full((len(rows),), send)
            answer = model.respond(customers, trials.state[rows], contents * gate, candidate * gate, sent)
            answers.append({name: answer.expected(name) for name in OUTCOMES})
    held, sent_too = (
        {name: torch.cat([answer[name] for answer in answers]).double().numpy() for name in OUTCOMES}
        for answers in (parts[False], parts[True])
    )
    return held, sent_too
