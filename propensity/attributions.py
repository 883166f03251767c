"""Which of the customers' columns a model's answers hang on: for one customer, and for all.

For one customer: integrated gradients (Sundararajan, Taly and Yan 2017) from the mean training customer to this one,
of the probability that he buys unasked, of an opt-out, and of the effect of sending; what the encoded columns of one
column get is added up. They sum to the difference of the two customers' answers. Families without gradients have none.

For all: how much worse a model predicts customers whom it never saw when one column is shuffled among them
(Breiman 2001; Fisher, Rudin and Dominici 2019). Columns that say the same share what they tell.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from campaigns.audience import Catalogue, Population
from campaigns.encoding import FeatureEncoder
from campaigns.history import HOLD
from campaigns.replay import DecisionRows
from propensity.model import PropensityModel
from propensity.profiles import Moments
from propensity.response import Response
from propensity.response_model import ResponseModel

ANSWERS = ("outcome", "unsubscribed", "effect")
"""What is attributed: the outcome unasked, an opt-out if sent, and the effect of sending on the outcome."""

STEPS = 50
"""Points of the path at which gradients are taken (Gauss-Legendre)."""

SITUATIONS = 6
"""Pairs of a moment and a content over which attributed answers are averaged."""

REPEATS = 5
"""How often a column is shuffled."""

MOST_ROWS = 8_000
"""Decisions on which shuffling is measured; all with an outcome, and a share of the others that is weighted up."""

CONTEXT = "past behaviour and time"
"""The row that stands for all that is no column of the customers: their histories and the clock."""


@dataclass(frozen=True)
class Attributions:
    """Integrated gradients of N customers.

    Attributes:
        columns: names of the customers' own columns. Length G.
        values: by name of ANSWERS, of those whose outcome the log has. Shape [N, G] each, in probability.
        baseline: the mean customer's answer, by name.
        answer: the customers' answers, by name. Shape [N] each.
    """

    columns: tuple[str, ...]
    values: dict[str, np.ndarray]
    baseline: dict[str, float]
    answer: dict[str, np.ndarray]

    @property
    def gap(self) -> float:
        """The largest distance of a customer's sum from the difference that it should explain (completeness)."""
        return max(
            float(np.abs(self.values[name].sum(axis=1) - (self.answer[name] - self.baseline[name])).max(initial=0.0))
            for name in self.values
        )


def column_places(encoder: FeatureEncoder) -> list[tuple[str, slice]]:
    """The customers' own columns and the encoded columns that each became."""
    groups, begin = [], 0
    for column in encoder.columns:
        groups.append((column.name, slice(begin, begin + column.width)))
        begin += column.width
    return groups


def attribute(
    model: PropensityModel,
    features: Tensor,
    baseline: Tensor,
    encoder: FeatureEncoder,
    moments: Moments,
    catalogue: Catalogue,
    sends: np.ndarray,
    outcome: str,
) -> Attributions | None:
    """Integrated gradients of answers averaged over SITUATIONS: typical moments, with contents as the log sent them.

    Args:
        model: averaged over its members.
        features: encoded customers. Shape [N, Fu].
        baseline: the mean training customer. Shape [Fu].
        encoder: of the columns.
        moments: in which customers are imagined.
        catalogue: the K contents.
        sends: how often the log sent each. Shape [K].
        outcome: `purchased` or `visited`.
    Returns:
        The attributions, or None where the model's family has no gradients, or customers have no columns.
    """
    groups = column_places(encoder)
    if not groups:
        return None
    from captum.attr import IntegratedGradients

    situations = _situations(len(moments), sends)
    values: dict[str, np.ndarray] = {}
    start: dict[str, float] = {}
    answer: dict[str, np.ndarray] = {}
    for name in ANSWERS:
        ask = _question(model, moments, catalogue, situations, outcome, name)
        if not ask(baseline.unsqueeze(0).requires_grad_()).requires_grad:
            continue  # a family without gradients, or an outcome that the log lacks
        found = IntegratedGradients(ask).attribute(
            features, baselines=baseline.unsqueeze(0), n_steps=STEPS, internal_batch_size=max(512, len(features))
        )
        parts = found.detach().double().numpy()
        values[name] = np.stack([parts[:, place].sum(axis=1) for _, place in groups], axis=1)
        with torch.no_grad():
            start[name] = float(ask(baseline.unsqueeze(0)))
            answer[name] = ask(features).double().numpy()
    return Attributions(tuple(name for name, _ in groups), values, start, answer) if values else None


def _question(
    model: PropensityModel,
    moments: Moments,
    catalogue: Catalogue,
    situations: list[tuple[int, int]],
    outcome: str,
    answer: str,
) -> Callable[[Tensor], Tensor]:
    """An answer as a function of the customers' encoded columns [N, Fu] alone; returns shape [N]."""

    def respond(customers: Tensor, moment: int, content: int) -> Response:
        """Of one decision for all; content -1 is a hold."""
        many = len(customers)
        sent = torch.full((many,), content >= 0)
        attributes = catalogue.features[max(content, 0)] * float(content >= 0)
        candidate = moments.candidates[moment, max(content, 0)] * float(content >= 0)
        return model.respond_with_gradients(
            customers, moments.state[moment].expand(many, -1), attributes.expand(many, -1),
            candidate.expand(many, -1), sent,
        )  # fmt: skip

    def ask(customers: Tensor) -> Tensor:
        total = customers.new_zeros(len(customers))
        for moment, content in situations:
            if answer != "unsubscribed":
                held = respond(customers, moment, -1).expected(outcome)
                total = total + (held if answer == "outcome" else -held)
            if answer != "outcome":
                response = respond(customers, moment, content)
                total = total + response.expected("unsubscribed" if answer == "unsubscribed" else outcome)
        return total / len(situations)

    return ask


def _situations(moments: int, sends: np.ndarray) -> list[tuple[int, int]]:
    """Moments in turn, each with a content; contents come as often as the log sent them (systematic sampling)."""
    total = float(sends.sum())
    shares = sends / total if total else np.full(len(sends), 1 / len(sends))
    points = (np.arange(SITUATIONS) + 0.5) / SITUATIONS
    contents = np.minimum(np.searchsorted(np.cumsum(shares), points), len(sends) - 1)
    return [(place * moments // SITUATIONS if moments > SITUATIONS else place % moments, int(content))
            for place, content in enumerate(contents)]  # fmt: skip


def permutation_importance(
    model: ResponseModel,
    rows: DecisionRows,
    population: Population,
    catalogue: Catalogue,
    encoder: FeatureEncoder,
    outcome: str,
    seed: int,
) -> dict[str, Any]:
    """How much the log loss of held-out decisions grows when a column is shuffled among the customers.

    Args:
        model: that has not seen these customers.
        rows: their decisions.
        population, catalogue: of the same log.
        encoder: of the customers' columns.
        outcome: `purchased` or `visited`; opt-outs of sends are measured beside it.
        seed: of the shuffling.
    Returns:
        By outcome: `log_loss` and `columns`, rows of `column`, `drop` (mean growth of the log loss) and `spread` (its
        standard deviation over REPEATS), the largest first.
    """
    generator = np.random.default_rng([seed, 31])
    rows = _fewer(rows.take(rows.decision <= len(catalogue)), (outcome, "unsubscribed"), generator)
    customers = torch.unique(rows.customer)
    features = population.features.clone()
    before = _losses(model, rows, features, catalogue, outcome)
    grown: dict[str, dict[str, list[float]]] = {name: {} for name in before}

    def note(column: str, losses: Mapping[str, float]) -> None:
        for name, loss in losses.items():
            grown[name].setdefault(column, []).append(loss - before[name])

    for _ in range(REPEATS):
        order = customers[torch.from_numpy(generator.permutation(len(customers)))]
        for column, place in column_places(encoder):
            shuffled = features.clone()
            shuffled[customers, place] = features[order, place]
            note(column, _losses(model, rows, shuffled, catalogue, outcome))
        note(CONTEXT, _losses(model, _other_moments(rows, generator), features, catalogue, outcome))
    return {
        name: {
            "log_loss": before[name],
            "columns": [
                {"column": column, "drop": float(np.mean(drops)), "spread": float(np.std(drops, ddof=1))}
                for column, drops in sorted(columns.items(), key=lambda entry: -float(np.mean(entry[1])))
            ],
        }
        for name, columns in grown.items()
    }


def _losses(
    model: ResponseModel, rows: DecisionRows, features: Tensor, catalogue: Catalogue, outcome: str
) -> dict[str, float]:
    """Mean log loss of the outcome, and of opt-outs among sends, where they vary."""
    sent = rows.decision > HOLD
    attributes = catalogue.features[(rows.decision - 1).clamp(min=0)] * sent.unsqueeze(1)
    response = model.respond(features[rows.customer], rows.state, attributes, rows.candidate, sent)
    losses = {}
    for name in (outcome, "unsubscribed"):
        if name not in rows.outcomes:
            continue
        happened = rows.outcomes[name].double()
        used = ~happened.isnan() & (sent if name == "unsubscribed" else torch.ones_like(sent))
        weight = rows.weight[used].double()
        if not used.any() or not 0 < float(happened[used].mean()) < 1:
            continue
        bounded = response.expected(name)[used].double().clamp(1e-7, 1 - 1e-7)
        loss = torch.nn.functional.binary_cross_entropy(bounded, happened[used], weight, reduction="sum")
        losses[name] = float(loss / weight.sum())
    return losses


def _fewer(rows: DecisionRows, outcomes: tuple[str, ...], generator: np.random.Generator) -> DecisionRows:
    """All rows with one of the outcomes, and of the others as many as MOST_ROWS leaves room for, weighted up."""
    happened = torch.zeros(len(rows), dtype=torch.bool)
    for name in outcomes:
        if name in rows.outcomes:
            happened |= rows.outcomes[name].nan_to_num() > 0
    share = (MOST_ROWS - int(happened.sum())) / max(int((~happened).sum()), 1)
    if share >= 1:
        return rows
    share = max(share, 0.05)
    kept = happened | torch.from_numpy(generator.random(len(rows)) < share)
    found = rows.take(kept)
    found.weight[~happened[kept]] /= share
    return found


def _other_moments(rows: DecisionRows, generator: np.random.Generator) -> DecisionRows:
    """The rows with their histories and clocks shuffled, among sends and among holds."""
    order = torch.arange(len(rows))
    for sent in (True, False):
        inside = torch.nonzero((rows.decision > HOLD) == sent).flatten()
        order[inside] = inside[torch.from_numpy(generator.permutation(len(inside)))]
    return replace(rows, state=rows.state[order], candidate=rows.candidate[order])


def importance_of(attributions: Attributions) -> dict[str, list[dict[str, Any]]]:
    """Mean size of the customers' attributions by column, the largest first, for every answer."""
    found = {}
    for name, values in attributions.values.items():
        sizes = np.abs(values).mean(axis=0)
        order = np.argsort(-sizes, kind="stable")
        found[name] = [{"column": attributions.columns[i], "size": float(sizes[i])} for i in order]
    return found
