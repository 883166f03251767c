"""Small worlds for tests: a simulated log, its tensors, and a quickly fitted market."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import pandas as pd

from campaigns.audience import Catalogue, Population, make_catalogue, make_population
from campaigns.encoding import FeatureEncoder, fit_encoder
from campaigns.grid import DecisionGrid, make_grid
from campaigns.guardrails import Guardrails
from campaigns.logs import CampaignLog, LogSettings, make_log
from campaigns.objective import Objective
from campaigns.replay import decision_rows
from envs.market import Market, make_market
from envs.reference.simulate import simulate
from envs.reference.variants import VARIANTS
from policies.chooser import Chooser
from propensity.fit import fit_network
from propensity.fit_settings import FitSettings
from propensity.model import PropensityModel


class Serves:
    """A chooser as worlds and rollouts are asked with it."""

    def __init__(self, chooser: Chooser) -> None:
        self.probabilities_of = chooser.probabilities


@dataclass(frozen=True)
class SmallWorld:
    """A log and what follows from it."""

    tables: dict[str, pd.DataFrame]
    log: CampaignLog
    grid: DecisionGrid
    users: FeatureEncoder
    contents: FeatureEncoder
    catalogue: Catalogue
    population: Population
    objective: Objective


@cache
def small_world(variant: str = "ecommerce", customers: int = 300, days: int = 8, seed: int = 0) -> SmallWorld:
    """A simulated log of a reference market."""
    tables = simulate(VARIANTS[variant], customers, days, seed)
    log = make_log(tables, LogSettings())
    users, contents = fit_encoder(log.users, "users"), fit_encoder(log.contents, "contents")
    objective = Objective(horizon_days=days)
    catalogue = make_catalogue(log.contents, contents, objective)
    population = make_population(log.users, users, catalogue.channels, "UTC", holdout=0.0)
    return SmallWorld(tables, log, make_grid(log), users, contents, catalogue, population, objective)


@cache
def small_model(variant: str = "ecommerce", customers: int = 300, days: int = 8) -> PropensityModel:
    """A network fitted to the small world, quickly."""
    w = small_world(variant, customers, days)
    rows = decision_rows(w.grid, w.population, w.catalogue, w.log.clock)
    return fit_network(rows, w.population, w.catalogue, FitSettings(members=2, width=16, epochs=2), seed=0)


@cache
def small_market(guardrails: Guardrails = Guardrails(holdout=0.0)) -> Market:  # noqa: B008 - frozen
    """A learned market of the small world."""
    w = small_world()
    slots = w.objective.horizon_days * w.log.clock.slots_per_day
    return make_market(small_model(), w.population, w.catalogue, w.log.clock, guardrails, w.grid.first_slot, slots)
