"""What any model has to beat: base rates, and linear regression of the outcome itself."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from propensity.head_rows import HeadRows, Inputs
from propensity.regression import RIDGE_PATH, moments, ridge

FLOORS = (0.5, 0.2, 0.1, 0.03, 0.01, 0.001)
"""Shares of the base rate at which a linear prediction is cut off below, of which the validation customers choose."""


def constant_chances(train: HeadRows, trained: Inputs, asked: HeadRows, inputs: Inputs) -> Tensor:
    """Base rates of holds and of sends, apart.

    Args:
        train, trained: rows from which rates are taken.
        asked, inputs: rows for which they are said.
    Returns:
        Shape [n].
    """
    chance = torch.zeros(len(asked.rows))
    for sent in (False, True):
        own = trained.sent[train.rows] == sent
        events = float((train.weight[own] * train.outcome[own]).sum())
        chance[inputs.sent[asked.rows] == sent] = (events + 0.5) / (float(train.weight[own].sum()) + 1.0)
    return chance


def linear_chances(train: HeadRows, validation: HeadRows, trained: Inputs, asked: HeadRows, inputs: Inputs) -> Tensor:
    """Ridge regression of the outcome (0 or 1) in closed form, cut off where it leaves what a probability can be.

    Ridge and floor are those of the path with the least log loss on validation customers.

    Args:
        train, validation, trained: rows to fit and to choose by.
        asked, inputs: rows to predict.
    Returns:
        Shape [n].
    """
    train, validation, asked = (replace(part, beside=torch.zeros_like(part.beside))
                                for part in (train, validation, asked))  # fmt: skip
    width = train.width(trained)
    penalised = torch.ones(width)
    penalised[1] = 0.0
    sums = moments(lambda: train.blocks(trained), train.outcome, train.weight, width)
    path = torch.stack([ridge(sums, share, penalised) for share in RIDGE_PATH], dim=1)
    rate = float((train.weight * train.outcome).sum() / train.weight.sum().clamp(min=1.0))
    floors = [max(share * rate, 1e-7) for share in FLOORS]
    if not len(validation.rows):
        validation = train
    said = _said(validation, trained, path)
    losses = torch.stack([
        (validation.weight.unsqueeze(1) * log_losses(said.clamp(floor, 1 - floor), validation.outcome.unsqueeze(1)))
        .sum(dim=0)
        for floor in floors
    ])  # fmt: skip
    place, column = divmod(int(losses.argmin()), len(RIDGE_PATH))
    floor = floors[place]
    return _said(asked, inputs, path[:, column : column + 1]).squeeze(1).clamp(floor, 1 - floor)


def _said(own: HeadRows, inputs: Inputs, coefficients: Tensor) -> Tensor:
    """X b for columns of b. Shape [n, L]."""
    parts = [X @ coefficients[: X.shape[1]].to(X.dtype) for _, X in own.blocks(inputs)]
    return torch.cat(parts) if parts else torch.zeros(0, coefficients.shape[1])


def log_losses(chance: Tensor, outcome: Tensor) -> Tensor:
    """-log of the probability that was given to what happened. The broadcast shape."""
    chance = chance.clamp(1e-7, 1 - 1e-7)
    return -(outcome * chance.log() + (1 - outcome) * (-chance).log1p())
