"""How every bandit learns: by acting in a market, or from the decisions of a log."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from agents.bandit_settings import BanditSettings
from agents.lesson import Lesson, LoggedCustomers
from campaigns.history import HOLD
from campaigns.objective import Objective
from campaigns.observation import Observation
from campaigns.replay import replay
from envs.episodes import Episodes
from envs.world import World
from evaluation.offline import logged_rewards, outcome_known
from policies.chooser import rows_of

STREAM = 7919
"""Apart from the market's own seed, so that what a learner draws changes no customer."""


class Learner(Protocol):
    """A contextual bandit that learns in batches."""

    def describe(self, seen: Observation, decision: Tensor) -> Tensor:
        """What it remembers of N customers and their decisions ([N], int64). Shape [N, D]."""
        ...

    def decide(self, seen: Observation, generator: torch.Generator) -> Tensor:
        """Decisions from which to learn. Shape [N], int64."""
        ...

    def update(self, features: Tensor, reward: Tensor, weight: Tensor | None = None) -> None:
        """Adds decisions; shapes [B, D], [B] and [B]."""
        ...

    def renew(self) -> None:
        """From now on it decides by all that it has seen."""
        ...


def learn_bandit(learner: Learner, lesson: Lesson, log: LoggedCustomers) -> None:
    """Learns from the log's decisions first, where that is asked for, and then in the market, where there is one."""
    settings: BanditSettings = lesson.settings
    weight = 1.0 if log.one_shot else settings.log_weight
    if weight:
        learn_from_log(learner, log, lesson.objective, settings.window_hours, weight)
    if not log.one_shot:
        learn_in_market(
            learner, lesson.market(), lesson.objective, settings, lesson.seed,
            lambda done: lesson.progress.update(done, settings.slots),
        )  # fmt: skip
    learner.renew()


@torch.no_grad()
def learn_in_market(
    learner: Learner,
    market: World[Any],
    objective: Objective,
    settings: BanditSettings,
    seed: int,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Learns by acting in a market, on the rewards of the window after each decision.

    Args:
        learner: who acts.
        market, objective: where and what for.
        settings: how long, with how many customers and what window.
        seed: the same seed gives the same lessons.
        progress: called with the slots done.
    """
    episodes = Episodes(market, objective, settings.rows, seed)
    generator = torch.Generator().manual_seed(seed + STREAM)
    window = max(1, settings.window_hours // market.clock.slot_hours)
    pending: deque[tuple[Tensor, Tensor, Tensor]] = deque()
    for slot in range(settings.slots):
        if slot % window == 0:
            learner.renew()
        seen = episodes.seen
        decision = learner.decide(seen, generator)
        taken = learner.describe(seen, decision)
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


@torch.no_grad()
def learn_from_log(
    learner: Learner, log: LoggedCustomers, objective: Objective, window_hours: int, weight: float = 1.0
) -> None:
    """Learns from what was logged, as if it had decided so itself.

    Args:
        learner: who looks on.
        log: whose decisions.
        objective: what counts.
        window_hours: rewards of this many hours after a decision count as its outcome; windows that hold an unknown
            outcome, or that the log's end cuts, are left out.
        weight: of one logged decision.
    """
    earned, whole = windowed_rewards(log, objective, window_hours)
    for step in replay(log.grid, log.population, log.catalogue, log.clock):
        if step.column >= earned.shape[1]:
            break
        rows = torch.from_numpy(np.flatnonzero(whole[:, step.column]))
        if len(rows):
            taken = learner.describe(rows_of(step.observation, rows), step.decision[rows])
            reward = torch.from_numpy(earned[:, step.column]).float()[rows]
            learner.update(taken, reward, torch.full_like(reward, weight))


def windowed_rewards(log: LoggedCustomers, objective: Objective, window_hours: int) -> tuple[np.ndarray, np.ndarray]:
    """What every logged decision's window earned, and whether all of it is known.

    Returns:
        Rewards of the window that begins with each slot, and whether they are known. Shape [N, T'] each, float64 and
        bool, with T' the slots whose window ends within the log. A one-shot log's window is its slot.
    """
    grid, slots = log.grid, log.grid.slots
    window = 1 if log.one_shot else max(1, window_hours // log.clock.slot_hours)
    earned = logged_rewards(grid, log.catalogue, objective, slots)
    known: np.ndarray = grid.labelled & (grid.decision >= HOLD) & (grid.decision <= len(log.catalogue))
    known = known & outcome_known(grid, objective, slots)
    if window > slots:
        return earned[:, :0], known[:, :0]
    sums = np.lib.stride_tricks.sliding_window_view(earned, window, axis=1).sum(axis=2)
    whole: np.ndarray = np.lib.stride_tricks.sliding_window_view(known, window, axis=1).min(axis=2)
    return sums, whole
