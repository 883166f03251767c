"""Linear Thompson sampling on weekly plans (Agrawal and Goyal 2013, algorithm 1), batched over customers.

Weeks are where a bandit is at home: a week's outcome is most of what its plan does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from agents.plan_settings import PlanThompsonSettings
from campaigns.objective import Objective
from campaigns.plans import PlanMenu
from envs.plan_episodes import PlanEpisodes
from envs.world import World
from policies.chooser import best_allowed
from policies.plan_linear import PlanLinearChooser, block_sizes, plan_estimates, week_features


class WeekRegression:
    """The sufficient statistics of a ridge regression of weekly outcomes on features of customers and plans.

    Args:
        width: D.
        ridge: regularisation.
    """

    def __init__(self, width: int, ridge: float) -> None:
        self.gram = torch.eye(width, dtype=torch.float64) * ridge
        self.moment = torch.zeros(width, dtype=torch.float64)
        self.squares, self.weeks = 0.0, 0

    def update(self, features: Tensor, reward: Tensor) -> None:
        """Adds B weeks: features [B, D], rewards [B]."""
        self.gram += (features.T @ features).double()
        self.moment += (features.T @ reward).double()
        self.squares += float(reward.double().square().sum())
        self.weeks += len(reward)

    def solve(self) -> tuple[Tensor, Tensor, float]:
        """The estimate [D], the lower Cholesky factor of the Gram matrix [D, D], and the residuals' deviation."""
        factor = torch.linalg.cholesky(self.gram)
        theta = torch.cholesky_solve(self.moment.unsqueeze(1), factor).squeeze(1)
        if not self.weeks:
            return theta, factor, 1.0
        residual = self.squares - 2 * float(theta @ self.moment) + float(theta @ self.gram @ theta)
        return theta, factor, float(max(residual / self.weeks, 1e-12) ** 0.5)

    def draw(self, count: int, width: float, generator: torch.Generator) -> Tensor:
        """Parameter vectors from the posterior, `width` times as wide as it is. Shape [count, D], float32."""
        theta, factor, deviation = self.solve()
        noise = torch.randn(len(theta), count, generator=generator, dtype=torch.float64)
        spread = torch.linalg.solve_triangular(factor.T, noise, upper=True)
        drawn: Tensor = (theta.unsqueeze(1) + width * deviation * spread).T.float()
        return drawn


@torch.no_grad()
def train_plan_thompson(
    market: World[Any],
    objective: Objective,
    settings: PlanThompsonSettings,
    seed: int,
    progress: Callable[[int], None] | None = None,
) -> PlanLinearChooser:
    """Learns by choosing plans in a market, on each week's expected reward.

    Args:
        market, objective: where and what for.
        settings: how.
        seed: the same seed gives the same policy.
        progress: called with the weeks done.
    Returns:
        The greedy policy of the final estimate.
    """
    menu = PlanMenu(tuple(settings.frequencies))
    episodes = PlanEpisodes(market, objective, menu, settings.rows, seed)
    generator = torch.Generator().manual_seed(seed)
    sizes = block_sizes(menu, market.pool.features.shape[1], market.catalogue)
    regression = WeekRegression(sum(sizes), settings.ridge)
    for week in range(settings.weeks):
        drawn = regression.draw(settings.draws, settings.width, generator)
        theta = drawn[torch.arange(settings.rows) % settings.draws]
        plan = best_allowed(plan_estimates(theta, episodes.seen, menu), episodes.masks())
        features = week_features(episodes.seen, menu, plan)
        regression.update(features, episodes.step(plan)[1].reward)
        if progress is not None:
            progress(week + 1)
    return PlanLinearChooser(regression.solve()[0].float(), menu, market.guardrails)
