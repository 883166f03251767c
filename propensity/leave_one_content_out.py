"""What a fit can say of a content that it never saw: each content's sends are kept from a fit, then predicted.

A content that is told apart by its id alone is nothing but "not one of those" to such a fit, so what attributes and
texts are worth shows against it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from campaigns.audience import Catalogue, Population, make_catalogue
from campaigns.encoding import fit_encoder
from campaigns.errors import CampaignError
from campaigns.history import HOLD
from campaigns.objective import Objective
from campaigns.replay import DecisionRows
from propensity.model import PropensityModel

OUTCOMES = ("opened", "clicked", "purchased")
"""What is predicted of a send; `clicked` is an open and a click."""

SMALLEST = 1e-6
"""Probabilities are kept this far from 0 and 1 before their logarithm is taken."""

FEWEST_SENDS = 30
"""Sends below which a content is not judged."""

Fit = Callable[[DecisionRows, Population, Catalogue], PropensityModel]
"""Fits a model to the rows of one log."""


@dataclass(frozen=True)
class LeftOut:
    """One content, predicted by a fit without its sends.

    Attributes:
        content: index into the contents table.
        model: the fit.
        catalogue: all contents, encoded as that fit knows them.
        customer: of each judged send. Shape [n], int64.
        observed, predicted: 0 or 1, and probabilities, by outcome. Shape [n] each, float64.
        constant: mean rate of the other contents' sends, by outcome: what is known of a content without a model.
    """

    content: int
    model: PropensityModel
    catalogue: Catalogue
    customer: np.ndarray
    observed: dict[str, np.ndarray]
    predicted: dict[str, np.ndarray]
    constant: dict[str, float]

    def losses(self, outcome: str) -> np.ndarray:
        """Log loss of each send. Shape [n]."""
        return log_losses(self.predicted[outcome], self.observed[outcome])

    def constant_losses(self, outcome: str) -> np.ndarray:
        """Log loss of each send where the other contents' mean rate is predicted. Shape [n]."""
        return log_losses(np.full(len(self.customer), self.constant[outcome]), self.observed[outcome])

    def summary(self) -> dict[str, Any]:
        """Sends, and by outcome the mean rates and log losses. JSON-able."""
        return {
            "content": str(self.catalogue.ids[self.content]),
            "sends": len(self.customer),
            "outcomes": {
                name: {
                    "observed": float(observed.mean()),
                    "predicted": float(self.predicted[name].mean()),
                    "constant": self.constant[name],
                    "log_loss": float(self.losses(name).mean()),
                    "log_loss_constant": float(self.constant_losses(name).mean()),
                }
                for name, observed in self.observed.items()
            },
        }


def leave_one_content_out(
    contents: pd.DataFrame,
    rows: DecisionRows,
    population: Population,
    objective: Objective,
    fit: Fit,
    judged: Tensor,
    only: Sequence[int] | None = None,
    text: str = "none",
) -> list[LeftOut]:
    """Refits without each content's sends, and predicts those of customers that no fit saw.

    Encodings of contents are fitted anew each time, without the left-out content: a level that it alone has is then
    unknown, as a new content's would be. What customers remember of its earlier sends stays, as it would once a new
    content is out.

    Args:
        contents: the contents table, in the order of the rows' decisions; with the columns `content_id`, `channel` and
            `cost` alone, contents are told apart by their ids.
        rows: labelled decisions of a log.
        population: its customers.
        objective: stands in for missing costs.
        fit: fits a model.
        judged: customers that are kept from all fits and predicted. Shape [N], bool.
        only: contents to leave out, by index; all by default.
        text: as in `fit_encoder`.
    Returns:
        One entry a left-out content with at least FEWEST_SENDS judged sends.
    Raises:
        CampaignError: where there are fewer than two contents.
    """
    if len(contents) < 2:
        raise CampaignError("contents: one content alone; there is no other to learn from when it is left out.")
    judged_row = judged[rows.customer]
    left_out = []
    for content in range(len(contents)) if only is None else only:
        own = rows.decision == 1 + content
        held_out = rows.take(own & judged_row)
        if len(held_out) < FEWEST_SENDS:
            continue
        encoder = fit_encoder(contents.drop(index=contents.index[content]), "contents", text=text)
        catalogue = make_catalogue(contents, encoder, objective)
        known = rows.take(~own & ~judged_row)
        left_out.append(judge(fit(known, population, catalogue), catalogue, content, known, held_out, population))
    return left_out


def judge(
    model: PropensityModel,
    catalogue: Catalogue,
    content: int,
    known: DecisionRows,
    held_out: DecisionRows,
    population: Population,
) -> LeftOut:
    """Predicts sends of one content.

    Args:
        model, catalogue: the fit, and the contents as it knows them.
        content: the one that is judged.
        known: rows of the fit, whose sends make the constant.
        held_out: sends of the content.
        population: the customers of both.
    """
    sent = torch.ones(len(held_out), dtype=torch.bool)
    attributes = catalogue.features[content].expand(len(held_out), -1)
    response = model.respond(
        population.features[held_out.customer], held_out.state, attributes, held_out.candidate, sent
    )
    others = known.decision > HOLD
    observed, predicted, constant = {}, {}, {}
    for name in OUTCOMES:
        if name in held_out.outcomes and not held_out.outcomes[name].isnan().any():
            observed[name] = held_out.outcomes[name].double().numpy()
            predicted[name] = response.expected(name).double().numpy()
            constant[name] = float(known.outcomes[name][others].nanmean())
    return LeftOut(content, model, catalogue, held_out.customer.numpy(), observed, predicted, constant)


def log_losses(predicted: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """-log of the probability given to what happened. Shape [n]."""
    chance = np.clip(predicted, SMALLEST, 1 - SMALLEST)
    losses: np.ndarray = -np.where(observed > 0, np.log(chance), np.log1p(-chance))
    return losses


def mean_gain(
    better: Sequence[np.ndarray], worse: Sequence[np.ndarray], customers: Sequence[np.ndarray]
) -> list[float]:
    """By how much losses fall in the mean over contents, each content counting alike.

    Args:
        better, worse: losses of the same sends, one array a content.
        customers: whose sends they are; one customer's sends, of whatever content, err together.
    Returns:
        The mean and its 95 % interval: [mean, low, high]. The error is clustered by customer (Liang and Zeger 1986):
        var = sum over customers of (sum over their sends of (d - mean of the content) / (n of the content K))^2.
    """
    pieces = [w - b for b, w in zip(better, worse, strict=True)]
    mean = float(np.mean([piece.mean() for piece in pieces]))
    scores = np.concatenate([(piece - piece.mean()) / (len(piece) * len(pieces)) for piece in pieces])
    _, cluster = np.unique(np.concatenate(list(customers)), return_inverse=True)
    error = float(np.sqrt(np.sum(np.bincount(cluster, weights=scores) ** 2)))
    return [mean, mean - 1.96 * error, mean + 1.96 * error]
