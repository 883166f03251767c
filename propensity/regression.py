"""Logistic and linear regression over blocks of rows: the design matrix is never held as a whole.

Maximum likelihood by Newton's method with step halving; variances that allow for a customer's rows being alike
(Liang and Zeger 1986, eq. (8)); ridge regression in closed form (Hoerl and Kennard 1970, eq. (2.1)).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

Blocks = Callable[[], Iterator[tuple[slice, Tensor]]]
"""Passes over a design: which rows, and their columns [b, d]; a narrower block is 0 in the columns that it lacks."""

SMALLEST = 1e-7
"""Least ridge as a share of the largest information: below it, columns that repeat each other cannot be told apart."""


CONVERGED = 1e-4
"""Twice the log-likelihood that a further step would gain, at most: far below what chance moves."""


@dataclass(frozen=True)
class Regression:
    """A fitted logistic regression.

    Attributes:
        coefficients: Shape [d], float64.
        covariance: of them, robust to dependence within customers; None where it was not asked for. Shape [d, d].
        information: of rows and penalty at the coefficients; its inverse is how uncertain they are where the penalty
            is what was known of them before (Laplace's approximation). Shape [d, d], float64.
    """

    coefficients: Tensor
    covariance: Tensor | None
    information: Tensor

    def posterior(self) -> Tensor:
        """Covariance of the coefficients given rows and penalty. Shape [d, d], float64."""
        return _solve(self.information, torch.eye(len(self.coefficients), dtype=torch.float64))


def fit_logistic(
    blocks: Blocks,
    outcome: Tensor,
    weight: Tensor,
    penalty: Tensor,
    start: Tensor,
    steps: int = 30,
    clusters: Tensor | None = None,
    offset: Tensor | None = None,
) -> Regression:
    """Maximises sum w (y eta - log(1 + e^eta)) - penalty . b^2 / 2 over the coefficients b, eta = X b + offset.

    Args:
        blocks: passes over X.
        outcome, weight: Shape [n].
        penalty: on each coefficient's square. Shape [d], float64.
        start: where Newton's method begins. Shape [d], float64.
        steps: at most.
        clusters: customer of each row, for the covariance. Shape [n], int64.
        offset: of the logits. Shape [n].
    """
    current, before = start.double().clone(), start.double().clone()
    loss, gradient, information = _derivatives(blocks, outcome, weight, penalty, current, offset)
    for _ in range(steps):
        move = _solve(information, gradient)
        decrement = float(gradient @ move)
        if decrement < CONVERGED:
            break
        before, size = current, 1.0
        for _ in range(12):
            current = before + size * move
            candidate = _derivatives(blocks, outcome, weight, penalty, current, offset)
            if candidate[0] <= loss + 1e-9 * abs(loss):
                break
            size /= 2
        loss, gradient, information = candidate
    covariance = None
    if clusters is not None:
        covariance = _sandwich(blocks, outcome, weight, current, information, clusters, offset)
    return Regression(current, covariance, information)


def _derivatives(
    blocks: Blocks, outcome: Tensor, weight: Tensor, penalty: Tensor, coefficients: Tensor, offset: Tensor | None
) -> tuple[float, Tensor, Tensor]:
    """Penalised negative log-likelihood, its downhill gradient, and the information."""
    size = len(coefficients)
    gradient = -penalty * coefficients
    information = torch.diag(penalty.double())
    loss = 0.5 * float(penalty @ coefficients.square())
    for part, X in blocks():
        own = X.shape[1]
        logit = _logits(X, coefficients, part, offset)
        y, w = outcome[part], weight[part]
        loss += float((w * F.binary_cross_entropy_with_logits(logit, y, reduction="none")).sum(dtype=torch.float64))
        chance = torch.sigmoid(logit)
        gradient[:own] += (X.T @ (w * (y - chance))).double()
        information[:own, :own] += (X.T @ (X * (w * chance * (1 - chance)).unsqueeze(1))).double()
    assert information.shape == (size, size)
    return loss, gradient, information


def _logits(X: Tensor, coefficients: Tensor, part: slice, offset: Tensor | None) -> Tensor:
    logit = X @ coefficients[: X.shape[1]].to(X.dtype)
    return logit if offset is None else logit + offset[part]


def _solve(information: Tensor, right: Tensor) -> Tensor:
    floor = SMALLEST * float(information.diagonal().max().clamp(min=1e-12))
    solved: Tensor = torch.linalg.solve(information + floor * torch.eye(len(information), dtype=torch.float64), right)
    return solved


def _sandwich(
    blocks: Blocks,
    outcome: Tensor,
    weight: Tensor,
    coefficients: Tensor,
    information: Tensor,
    clusters: Tensor,
    offset: Tensor | None,
) -> Tensor:
    """Bread, meat of the customers' summed scores, bread; times C / (C - 1). Shape [d, d]."""
    _, index = torch.unique(clusters, return_inverse=True)
    count = int(index.max()) + 1 if len(index) else 0
    scores = torch.zeros(count, len(coefficients))
    for part, X in blocks():
        residual = weight[part] * (outcome[part] - torch.sigmoid(_logits(X, coefficients, part, offset)))
        scores[:, : X.shape[1]].index_add_(0, index[part], X * residual.unsqueeze(1))
    meat = (scores.T @ scores).double() * (count / max(count - 1, 1))
    bread = _solve(information, torch.eye(len(coefficients), dtype=torch.float64))
    return bread @ meat @ bread.T


@dataclass(frozen=True)
class Moments:
    """Sums from which any ridge regression follows.

    Attributes:
        products: X'WX. Shape [d, d], float64.
        targets: X'Wy. Shape [d], float64.
    """

    products: Tensor
    targets: Tensor


def moments(blocks: Blocks, outcome: Tensor, weight: Tensor, width: int) -> Moments:
    """One pass over the design."""
    products = torch.zeros(width, width, dtype=torch.float64)
    targets = torch.zeros(width, dtype=torch.float64)
    for part, X in blocks():
        own, weighted = X.shape[1], X * weight[part].unsqueeze(1)
        products[:own, :own] += (X.T @ weighted).double()
        targets[:own] += (weighted.T @ outcome[part]).double()
    return Moments(products, targets)


def ridge(found: Moments, share: float, penalised: Tensor) -> Tensor:
    """Ridge coefficients. Shape [d], float64.

    Args:
        found: sums over the rows.
        share: the ridge, as a share of the mean diagonal of X'WX.
        penalised: 0 for columns that are left alone, such as the constant. Shape [d].
    """
    mean = float(found.products.diagonal().mean())
    return _solve(found.products + torch.diag(share * mean * penalised.double()), found.targets)


RIDGE_PATH = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Ridges that are tried, as shares of the mean diagonal of X'WX."""


def chosen_ridge(
    found: Moments, penalised: Tensor, blocks: Blocks, outcome: Tensor, weight: Tensor
) -> tuple[float, Tensor]:
    """The ridge of the path with the least squared error on other customers, and its coefficients.

    Args:
        found: sums over the training rows.
        penalised: as for `ridge`.
        blocks, outcome, weight: of the validation rows.
    """
    path = torch.stack([ridge(found, share, penalised) for share in RIDGE_PATH], dim=1)
    errors = torch.zeros(len(RIDGE_PATH), dtype=torch.float64)
    for part, X in blocks():
        missed = X @ path[: X.shape[1]].to(X.dtype) - outcome[part].unsqueeze(1)
        errors += (weight[part].unsqueeze(1) * missed.square()).sum(dim=0).double()
    best = int(errors.argmin())
    return RIDGE_PATH[best], path[:, best]
