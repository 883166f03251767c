"""Where people tire of a channel, a model that is told how the channel was used predicts better what a send brings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import torch

from campaigns.audience import make_catalogue, make_population
from campaigns.encoding import FeatureEncoder, fit_encoder
from campaigns.grid import make_grid
from campaigns.history import HOLD
from campaigns.logs import CampaignLog, LogSettings, make_log
from campaigns.objective import Objective
from campaigns.replay import decision_rows
from propensity.fit_model import fit_model
from propensity.fit_settings import FitSettings, GBDTSettings

CUSTOMERS, SLOTS, REST = 800, 30, 6
FRESH, TIRED = 0.6, 0.15
"""Chance of opening where the content's channel was not used for REST slots, and where it was."""


def tiring_log() -> tuple[CampaignLog, dict[tuple[int, int], float]]:
    """A log of random sends by two channels, and the true chance that a send in (customer, slot) is opened."""
    generator = np.random.default_rng(5)
    users = pd.DataFrame({"user_id": np.arange(CUSTOMERS)})
    contents = pd.DataFrame({"content_id": list("abcd"), "category": "news", "channel": ["push", "email"] * 2})
    times = pd.date_range("2025-03-03", periods=SLOTS, freq="4h")
    latest, chances, parts = np.full((CUSTOMERS, 2), -REST - 1), {}, []
    for slot, time in enumerate(times):
        sent = generator.random(CUSTOMERS) < 0.2
        content = generator.integers(0, 4, CUSTOMERS)
        tired = slot - latest[users["user_id"], content % 2] <= REST
        chance = np.where(tired, TIRED, FRESH)
        opened = sent & (generator.random(CUSTOMERS) < chance)
        latest[sent, content[sent] % 2] = slot
        chances |= {(int(row), slot): float(chance[row]) for row in np.flatnonzero(sent)}
        names = np.where(sent, np.array(list("abcd"), dtype=object)[content], None)
        parts.append(pd.DataFrame({"user_id": users["user_id"], "time": time, "content_id": names, "opened": opened}))
    return make_log({"users": users, "contents": contents, "decisions": pd.concat(parts)}, LogSettings()), chances


def test_what_is_told_of_the_channel_lets_its_fatigue_be_learned() -> None:
    log, chances = tiring_log()
    catalogue = make_catalogue(log.contents, fit_encoder(log.contents, "contents"), Objective(outcome="opened"))
    people = make_population(log.users, FeatureEncoder("users", ()), catalogue.channels, "UTC", holdout=0.0)
    grid = make_grid(log)
    errors = {}
    for told in (False, True):
        shown = replace(catalogue, tells_channels=told)
        rows = decision_rows(grid, people, shown, log.clock)
        mine = rows.customer % 2 == 0
        learned, judged = rows.take(mine), rows.take(~mine & (rows.decision > HOLD))
        settings = FitSettings(kind="gbdt", members=1, gbdt=GBDTSettings(trees=40))
        model = fit_model(learned, people, shown, settings, seed=0)
        attributes, sent = shown.features[judged.decision - 1], torch.ones(len(judged), dtype=torch.bool)
        response = model.respond(people.features[judged.customer], judged.state, attributes, judged.candidate, sent)
        where = zip(judged.customer.tolist(), (judged.slot - grid.first_slot).tolist(), strict=True)
        true = torch.tensor([chances[customer, slot] for customer, slot in where])
        errors[told] = float((response.opened - true).square().mean().sqrt())
    spread = (FRESH - TIRED) / 2
    assert errors[True] < 0.4 * spread, errors
    assert errors[True] < 0.5 * errors[False], errors
