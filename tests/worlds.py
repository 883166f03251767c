"""Small worlds for tests: a simulated log, its tensors, and a quickly fitted market."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from typing import Any

import pandas as pd
import torch

from campaigns.audience import Catalogue, Population, make_catalogue, make_population
from campaigns.encoding import FeatureEncoder, fit_encoder
from campaigns.grid import DecisionGrid, make_grid
from campaigns.guardrails import Guardrails
from campaigns.logs import CampaignLog, LogSettings, make_log
from campaigns.objective import Objective
from campaigns.replay import decision_rows
from envs.episodes import Episodes
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


def tensors_of(thing: object) -> Iterator[torch.Tensor]:
    """Every tensor in a tree of dicts, dataclasses and modules."""
    if isinstance(thing, torch.Tensor):
        yield thing
    elif isinstance(thing, torch.nn.Module):
        yield from thing.state_dict().values()
    elif isinstance(thing, dict):
        for part in thing.values():
            yield from tensors_of(part)
    elif is_dataclass(thing):
        for field in fields(thing):
            yield from tensors_of(getattr(thing, field.name))


def numberless(episodes: Episodes) -> None:
    """Puts episodes on the meta device, whose tensors hold no numbers: a look at one, or one left behind, raises."""
    episodes.device, episodes.market = torch.device("meta"), episodes.market.to("meta")
    episodes.resume(_on_meta(episodes.running()))
    # There is no generator for this device, so newcomers cannot be drawn.
    episodes.generators = [None for _ in episodes.generators]  # type: ignore[misc]
    episodes._newcomers = lambda count: episodes.state.take(torch.arange(count, device="meta"))  # type: ignore[method-assign]


def _on_meta(tree: dict[str, Any]) -> dict[str, Any]:
    return {name: _on_meta(part) if isinstance(part, dict) else part.to("meta") for name, part in tree.items()}
