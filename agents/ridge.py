"""Ridge regression from sums that add up: the estimate, and how sure it is."""

from __future__ import annotations

import torch
from torch import Tensor


class RidgeStatistics:
    """The sufficient statistics of a ridge regression, and the normal posterior that they imply.

    Args:
        width: D, of the features.
        ridge: precision of the prior around 0, in units of one decision.
    """

    def __init__(self, width: int, ridge: float) -> None:
        self.ridge = ridge
        self.gram = torch.eye(width, dtype=torch.float64) * ridge
        self.moment = torch.zeros(width, dtype=torch.float64)
        self.weight = self.total = self.squares = 0.0

    def update(self, features: Tensor, reward: Tensor, weight: Tensor | None = None) -> None:
        """Adds B decisions.

        Args:
            features: joint features of what was decided. Shape [B, D].
            reward: what came of it. Shape [B].
            weight: how many decisions each row stands for. Shape [B].
        """
        weights = torch.ones_like(reward) if weight is None else weight
        weighted = (features * weights.unsqueeze(1)).T
        self.gram += (weighted @ features).double()
        self.moment += (weighted @ reward).double()
        self.weight += float(weights.sum())
        self.total += float((weights * reward).sum())
        self.squares += float((weights * reward.square()).sum())

    @property
    def factor(self) -> Tensor:
        """Lower Cholesky factor of the regularised Gram matrix. Shape [D, D], float64."""
        lower: Tensor = torch.linalg.cholesky(self.gram)
        return lower

    @property
    def estimate(self) -> Tensor:
        """The ridge estimate. Shape [D], float64."""
        return torch.cholesky_solve(self.moment.unsqueeze(1), self.factor).squeeze(1)

    @property
    def deviation(self) -> float:
        """Standard deviation of the rewards seen."""
        if not self.weight:
            return 1.0
        mean = self.total / self.weight
        return float(max(self.squares / self.weight - mean * mean, 1e-12) ** 0.5)

    @property
    def noise(self) -> float:
        """Standard deviation of the rewards around the estimate; 1 before any was seen."""
        if not self.weight:
            return 1.0
        theta = self.estimate
        fitted = theta @ self.gram @ theta - self.ridge * theta @ theta
        return float(max((self.squares - 2 * float(theta @ self.moment) + float(fitted)) / self.weight, 1e-12) ** 0.5)

    def draws(self, count: int, scale: float, generator: torch.Generator) -> Tensor:
        """Estimates from the posterior N(estimate, scale^2 noise^2 gram^-1). Shape [count, D], float32."""
        factor = self.factor
        normal = torch.randn(len(self.moment), count, generator=generator, dtype=torch.float64)
        away = torch.linalg.solve_triangular(factor.T, normal, upper=True).T
        centre = torch.cholesky_solve(self.moment.unsqueeze(1), factor).squeeze(1)
        drawn: Tensor = centre + scale * self.noise * away
        return drawn.float()
