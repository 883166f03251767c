"""Logs that lack something are fitted all the same, with finite and sensible answers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from campaigns.audience import make_catalogue, make_population
from campaigns.encoding import fit_encoder
from campaigns.grid import make_grid
from campaigns.objective import Objective
from campaigns.replay import decision_rows
from propensity.fit import fit_network
from propensity.fit_settings import FitSettings
from propensity.response import Response
from tests.campaigns.logs_on_disk import Tables, clean_tables, read_tolerantly


def answers(tables: Tables, served: pd.DataFrame | None = None, contents: pd.DataFrame | None = None) -> Response:
    """What a quick fit to a log says of sending the first content to `served` users (the log's own by default)."""
    log = read_tolerantly(tables)
    users, encoder = (
        fit_encoder(log.users, "users", text="hashed"),
        fit_encoder(log.contents, "contents", text="hashed"),
    )
    catalogue = make_catalogue(log.contents, encoder, Objective())
    people = make_population(log.users, users, catalogue.channels, "UTC", 0.0)
    rows = decision_rows(make_grid(log), people, catalogue, log.clock)
    model = fit_network(rows, people, catalogue, FitSettings(members=2, width=8, epochs=2), seed=0)
    asked = torch.from_numpy(users.encode(log.users if served is None else served))
    sent = encoder.encode(log.contents if contents is None else contents)[:1]
    n = len(asked)
    response = model.respond(
        asked, rows.state[:1].expand(n, -1), torch.from_numpy(sent).expand(n, -1), rows.candidate[:1].expand(n, -1),
        torch.ones(n, dtype=torch.bool),
    )  # fmt: skip
    for values in (response.purchase, response.opened, response.unsubscribe, response.expected_value):
        assert torch.isfinite(values).all()
    return response


def test_an_outcome_that_never_or_always_happens_is_predicted_so() -> None:
    tables = clean_tables(60, 8)
    tables["decisions"] = tables["decisions"].assign(opened=0, purchased=1)
    response = answers(tables)
    assert float(response.opened.max()) < 0.05
    assert float(response.purchase.min()) > 0.95


def test_a_column_that_was_constant_or_missing_in_training_changes_nothing_later() -> None:
    tables = clean_tables(60, 8)
    tables["users"] = tables["users"].assign(constant=1.0, gone=np.nan, empty=None)
    users = tables["users"]
    before = answers(tables, users).purchase
    later = users.assign(constant=np.arange(60), gone=np.arange(60), empty="suddenly there")
    assert torch.equal(answers(tables, later).purchase, before)


def test_unseen_categories_and_missing_values_are_answered() -> None:
    tables = clean_tables(60, 8)
    users = tables["users"]
    unseen = users.assign(segment="鉄 🥇")
    missing = users.assign(segment=None, age=None, income=np.nan)
    assert torch.equal(answers(tables, unseen).purchase, answers(tables, users.assign(segment=None)).purchase)
    assert float(answers(tables, missing).purchase.std()) == pytest.approx(0, abs=1e-6)
    new = tables["contents"].assign(category="unheard of", discount=np.nan)
    answers(tables, users, new)


def test_texts_of_any_script_and_vectors_reach_the_network() -> None:
    tables = clean_tables(60, 8)
    tables["contents"] = tables["contents"].assign(
        text=["Новые кроссовки 👟", None, "新しい靴"], picture=[[0.1] * 30, [0.2] * 15 + [0.0] * 15, [-0.1] * 30]
    )
    before = answers(tables).purchase
    contents = read_tolerantly(tables).contents
    other = contents.assign(text=contents["text"].iloc[::-1].to_numpy())
    assert not torch.equal(answers(tables, None, other).purchase, before)


def test_one_content_alone_is_fitted() -> None:
    tables = clean_tables(60, 8)
    tables["contents"] = tables["contents"].head(1)
    tables["decisions"] = tables["decisions"][tables["decisions"]["content_id"].fillna("a") == "a"]
    assert 0.05 < float(answers(tables).purchase.mean()) < 0.5
