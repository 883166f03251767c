"""A campaign of one decision a customer whose right answers are planted: each content suits one kind of customer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from agents.lesson import Lesson, LoggedCustomers
from campaigns.audience import make_catalogue, make_population
from campaigns.encoding import fit_encoder
from campaigns.grid import make_grid
from campaigns.guardrails import NO_GUARDRAILS
from campaigns.logs import LogSettings, make_log
from campaigns.objective import Objective
from campaigns.observation import Observation
from campaigns.replay import replay
from policies.chooser import Chooser

MORE, LESS = 5.0, 2.0
"""What the right content adds to a hold's 2, and what the wrong one takes from it."""


@dataclass(frozen=True)
class OneShotWorld:
    """A log, and every customer's right decision. Shape [N], int64."""

    log: LoggedCustomers
    right: Tensor


@cache
def one_shot_world(customers: int = 1500, seed: int = 0, noise: float = 2.0) -> OneShotWorld:
    """Three kinds of customers. Content `a` is right for kind 1, `b` for kind 2; kind 0 is best left alone.

    The logger prefers what is wrong: it sends at random, but twice as often the content that does harm.
    """
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 3, customers)
    chances = np.array([[0.3, 0.35, 0.35], [0.3, 0.2, 0.5], [0.3, 0.5, 0.2]])[kind]
    decision = (rng.random(customers)[:, None] > chances.cumsum(axis=1)[:, :-1]).sum(axis=1)
    value = mean_values(kind)[np.arange(customers), decision] + rng.normal(0, noise, customers)
    users = pd.DataFrame({"user_id": np.arange(customers), "kind": np.array(["rest", "first", "second"])[kind]})
    contents = pd.DataFrame({"content_id": ["a", "b"], "category": ["a", "b"], "cost": [0.1, 0.1]})
    decisions = pd.DataFrame(
        {
            "user_id": users["user_id"],
            "time": pd.Timestamp("2025-03-03"),
            "content_id": pd.Series([None, "a", "b"], dtype=object).to_numpy()[decision],
            "action_prob": chances[np.arange(customers), decision],
            "purchased": True,
            "revenue": np.maximum(value, 0),
            "value": value,
        }
    )
    tables = {"users": users, "contents": contents, "decisions": decisions}
    log = make_log(tables, LogSettings(slot_hours=24, attribution_hours=24.0))
    catalogue = make_catalogue(log.contents, fit_encoder(log.contents, "contents"), one_shot_objective())
    population = make_population(log.users, fit_encoder(log.users, "users"), catalogue.channels, "UTC", holdout=0.0)
    grid = make_grid(log)
    return OneShotWorld(LoggedCustomers(grid, population, catalogue, log.clock, one_shot=True), torch.from_numpy(kind))


def mean_values(kind: np.ndarray) -> np.ndarray:
    """Mean value of hold, `a` and `b`. Shape [N, 3]."""
    right = np.array([[0.0, -LESS, -LESS], [0.0, MORE, -LESS], [0.0, -LESS, MORE]])
    values: np.ndarray = 2.0 + right[kind]
    return values


def one_shot_objective() -> Objective:
    """Value less the cost of sends."""
    return Objective(horizon_days=1, unsubscribe_cost=0.0)


def first_look(log: LoggedCustomers) -> Observation:
    """What is known of everybody before the decision."""
    return next(iter(replay(log.grid, log.population, log.catalogue, log.clock))).observation


def share_right(chooser: Chooser, world: OneShotWorld) -> float:
    """Probability of the right decision, averaged over the world's customers."""
    chances = chooser.probabilities(first_look(world.log))
    return float(chances[torch.arange(len(world.right)), world.right].mean())


def lesson_of(log: LoggedCustomers, settings: Any, seed: int = 0) -> Lesson:
    """A lesson with nothing but a log."""

    def none() -> Any:
        raise AssertionError("this log has none")

    return Lesson(
        settings, one_shot_objective(), NO_GUARDRAILS, seed, torch.device("cpu"), Path(), Silent(), lambda: log,
        network=none, logging_policy=none, market=none,
    )  # fmt: skip


class Silent:
    """Progress that nobody hears."""

    def update(self, done: int, total: int) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""
