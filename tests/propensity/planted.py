"""A log of customers of four planted kinds, whose columns are part telling and part noise, and a model of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd
import torch

from campaigns.audience import Catalogue, Population, make_catalogue, make_population
from campaigns.clock import SlotClock
from campaigns.encoding import FeatureEncoder, fit_encoder
from campaigns.grid import DecisionGrid, make_grid
from campaigns.logs import LogSettings, make_log
from campaigns.objective import Objective
from campaigns.replay import DecisionRows, decision_rows
from propensity.fit_model import fit_model
from propensity.fit_settings import FitSettings
from propensity.model import PropensityModel

CUSTOMERS, SLOTS = 6000, 6
TELLING, NOISE = {"income", "age", "region"}, {"shoe_size", "colour"}
SENT = 0.5
"""Probability of a send in every slot, half of either content; logged."""


@dataclass(frozen=True)
class Planted:
    """The log's parts. Even customers train, odd ones judge.

    Attributes:
        kind: the planted kind of every customer, 0..3: spends (rich and young) + 2 x touchy (from the north).
        effect: true mean effect of the log's sends on the purchase probability, by kind.
    """

    users: pd.DataFrame
    kind: np.ndarray
    effect: dict[int, float]
    encoder: FeatureEncoder
    population: Population
    catalogue: Catalogue
    grid: DecisionGrid
    clock: SlotClock
    model: PropensityModel

    @property
    def train(self) -> np.ndarray:
        """Rows of the training customers."""
        return np.arange(0, CUSTOMERS, 2)

    @property
    def judge(self) -> np.ndarray:
        """Rows of the others."""
        return np.arange(1, CUSTOMERS, 2)

    def people(self, customers: np.ndarray) -> Population:
        """Some customers."""
        return self.population.take(torch.from_numpy(customers))

    def rows_of(self, customers: np.ndarray) -> DecisionRows:
        """Decisions of some customers, numbered as in `people`."""
        return decision_rows(self.grid.take(customers), self.people(customers), self.catalogue, self.clock, 0.5)


def _users(g: np.random.Generator) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "user_id": [f"u{i}" for i in range(CUSTOMERS)],
            "income": (g.normal(0, 5_000, CUSTOMERS) + g.choice([32_000, 75_000], CUSTOMERS)).round(-2),
            "age": g.integers(0, 17, CUSTOMERS) + g.choice([18, 50], CUSTOMERS),
            "region": g.choice(["north", "south", "west"], CUSTOMERS),
            "shoe_size": g.normal(41, 3, CUSTOMERS).round(1),
            "colour": g.choice(["red", "green"], CUSTOMERS),
        }
    )


@cache
def planted(family: str = "network") -> Planted:
    """The world, with a model of a family."""
    g = np.random.default_rng(11)
    users = _users(g)
    spends = (users["income"] >= 52_000) & (users["age"] < 45)
    touchy = users["region"] == "north"
    kind = (spends + 2 * touchy).to_numpy()
    customer, slot = np.repeat(np.arange(CUSTOMERS), SLOTS), np.tile(np.arange(SLOTS), CUSTOMERS)
    sent = g.random(len(customer)) < SENT
    content = np.where(g.random(len(customer)) < 0.5, "a", "b")
    base = np.where(spends, 0.25, 0.05)
    effect = np.where(spends, 0.2, 0.0)
    bought = g.random(len(customer)) < base[customer] + effect[customer] * sent
    left = (g.random(len(customer)) < np.where(touchy, 0.12, 0.01)[customer]) & sent
    decisions = pd.DataFrame(
        {
            "user_id": users["user_id"].to_numpy()[customer],
            "time": pd.Timestamp("2025-03-03") + pd.to_timedelta(slot * 4, unit="h"),
            "content_id": np.where(sent, content, None),
            "action_prob": np.where(sent, SENT / 2, 1 - SENT),
            "purchased": bought,
            "unsubscribed": left,
            "opened": sent & (g.random(len(customer)) < 0.3),
        }
    )
    contents = pd.DataFrame({"content_id": ["a", "b"], "price": [1.0, 2.0]})
    log = make_log({"users": users, "contents": contents, "decisions": decisions}, LogSettings())
    encoder = fit_encoder(users.iloc[::2], "users")
    catalogue = make_catalogue(log.contents, fit_encoder(log.contents, "contents"), Objective())
    population = make_population(log.users, encoder, catalogue.channels, "UTC", holdout=0.0)
    grid = make_grid(log)
    rows = decision_rows(grid, population, catalogue, log.clock, hold_share=0.5)
    mine = rows.take(rows.customer % 2 == 0)
    settings = FitSettings(
        kind=family, members=2, width=32, epochs=40, batch_size=512, bins=16, dropout=0.15, patience=8
    )
    model = fit_model(mine, population, catalogue, settings, seed=0)
    true = {k: float(effect[kind == k].mean()) for k in range(4)}
    return Planted(users, kind, true, encoder, population, catalogue, grid, log.clock, model)
