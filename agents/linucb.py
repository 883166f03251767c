"""LinUCB (Li et al. 2010), batched: learns online in a market, or from a log's own decisions."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from agents.lesson import LoggedCustomers
from agents.linucb_settings import LinUCBSettings
from campaigns.history import HOLD
from campaigns.objective import Objective
from campaigns.replay import replay
from envs.episodes import Episodes
from envs.world import World
from evaluation.offline import logged_rewards
from policies.bandit import LinUCBChooser, bandit_features


class LinUCB:
    """The sufficient statistics of a ridge regression, and the policy that they imply.

    Args:
        width: D, of the joint features.
        settings: how it learns.
    """

    def __init__(self, width: int, settings: LinUCBSettings) -> None:
        self.settings = settings
        self.gram = torch.eye(width, dtype=torch.float64) * settings.ridge
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

    def chooser(self, alpha: float | None = None) -> LinUCBChooser:
        """The policy that the statistics imply; `alpha` as in the settings by default, 0 for greedy."""
        width = self.settings.alpha if alpha is None else alpha
        factor = torch.linalg.cholesky(self.gram)
        inverse = torch.cholesky_inverse(factor)
        theta = torch.cholesky_solve(self.moment.unsqueeze(1), factor).squeeze(1)
        return LinUCBChooser(theta.float(), inverse.float(), width * self.deviation)

    @property
    def deviation(self) -> float:
        """Standard deviation of the rewards seen."""
        if not self.weight:
            return 1.0
        mean = self.total / self.weight
        return float(max(self.squares / self.weight - mean * mean, 1e-12) ** 0.5)


@torch.no_grad()
def train_linucb(
    market: World[Any],
    objective: Objective,
    settings: LinUCBSettings,
    seed: int,
    progress: Callable[[int], None] | None = None,
) -> LinUCBChooser:
    """Learns by acting in a market, on the rewards of the window after each decision.

    Args:
        market, objective: where and what for.
        settings: how.
        seed: the same seed gives the same policy.
        progress: called with the slots done.
    Returns:
        The greedy policy of the final estimate.
    """
    episodes = Episodes(market, objective, settings.rows, seed)
    window = max(1, settings.window_hours // market.clock.slot_hours)
    learner = LinUCB(bandit_features(episodes.seen).shape[2], settings)
    chooser = learner.chooser()
    pending: deque[tuple[Tensor, Tensor, Tensor]] = deque()
    for slot in range(settings.slots):
        features = bandit_features(episodes.seen)
        if slot % window == 0:
            chooser = learner.chooser()
        scores = chooser.scores(features).masked_fill(~episodes.masks(), -torch.inf)
        decision = scores.argmax(dim=1)
        taken = features.gather(1, decision.view(-1, 1, 1).expand(-1, 1, features.shape[2])).squeeze(1)
        _, transition = episodes.step(decision)
        pending.append((taken, torch.zeros(settings.rows), torch.ones(settings.rows)))
        for _, earned, _ in pending:
            earned.add_(transition.reward)
        if len(pending) == window:
            learner.update(*pending.popleft())
        if bool(transition.done.any()):
            # A window must not run into the next customer's episode: those rows are dropped.
            kept = (~transition.done).float()
            pending = deque((rows, earned, weight * kept) for rows, earned, weight in pending)
        if progress is not None:
            progress(slot + 1)
    return learner.chooser(alpha=0.0)


def linucb_from_log(log: LoggedCustomers, objective: Objective, settings: LinUCBSettings) -> LinUCBChooser:
    """A one-shot log is itself a bandit's experience: the statistics of its decisions are the (greedy) policy."""
    contents = len(log.catalogue)
    step = next(iter(replay(log.grid, log.population, log.catalogue, log.clock)))
    known = torch.from_numpy(log.grid.labelled[:, 0]) & (step.decision >= HOLD) & (step.decision <= contents)
    features = bandit_features(step.observation)
    taken = features.gather(
        1, step.decision.clamp(0, contents).view(-1, 1, 1).expand(-1, 1, features.shape[2])
    ).squeeze(1)
    earned = torch.from_numpy(logged_rewards(log.grid, log.catalogue, objective, 1)[:, 0]).float()
    learner = LinUCB(features.shape[2], settings)
    learner.update(taken[known], earned[known])
    return learner.chooser(alpha=0.0)
