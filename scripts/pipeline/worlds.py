"""The worlds of a run: markets made of fitted networks, and the reference truth where the log came from it."""

from __future__ import annotations

from typing import Any

import torch

from campaigns.guardrails import Guardrails
from envs.market import Market, make_market
from envs.world import World
from scripts.pipeline.context import Study, load_model
from scripts.pipeline.stage import Stage

REPORTING, TRAINING = 1_000_003, 2_000_003
"""Seeds of customers of the truth whom no log has seen: those on whom values are reported, and those among whom agents
learn under `market=reference`."""


def world(
    study: Study, network: Stage, half: str, guardrails: Guardrails, slots: int | None = None, pessimism: float = 0.0
) -> Market:
    """The market of one half's network and customers, or of all; pessimistic where agents train in it.

    Where a previous run's log is part of the study, episodes begin with what came since, from histories as they were.
    """
    horizon = study.objective.slots(study.log.clock) if slots is None else slots
    players, first = study.players(half), study.grid.first_slot + study.start_column
    return make_market(
        load_model(network.folder), study.population.take(torch.from_numpy(players)), study.catalogue, study.log.clock,
        guardrails, first, horizon, pessimism, study.start_histories(players),
    )  # fmt: skip


def truth(study: Study, guardrails: Guardrails, customers: int, draw: int = REPORTING) -> World[Any]:
    """The reference truth with customers that no log has seen; `draw` tells which."""
    from envs.reference.channels import with_channels
    from envs.reference.variants import find_variant
    from envs.reference.world import ReferenceWorld
    from envs.truth import make_truth

    config, clock = study.config, study.log.clock
    variant = with_channels(find_variant(config.data.variant, config.data.exploration), config.data.channels)
    people = ReferenceWorld(
        variant, customers, draw + config.seed, clock.slot_hours, clock.timezone,
        days=study.objective.horizon_days,
    )  # fmt: skip
    return make_truth(people, study.user_encoder, study.content_encoder, study.objective, clock, guardrails)


def training_world(study: Study, network: Stage, half: str, guardrails: Guardrails) -> World[Any]:
    """Where agents learn: in the market of `half`, or under `market=reference` in the truth itself."""
    if study.config.market.source == "reference":
        return truth(study, guardrails, study.config.data.customers, TRAINING)
    return world(study, network, half, guardrails, pessimism=study.config.market.pessimism)
