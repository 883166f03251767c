"""The table of families on a planted log: who predicts better, by how much, and which one the market uses."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from evaluation.families import compare_families
from propensity.baselines import linear_chances
from propensity.fit_model import fit_model
from propensity.fit_settings import FitSettings, GBDTSettings
from propensity.head_rows import log_rows
from propensity.split import split_customers
from tests.propensity.logistic_world import catalogue, population, rows, truth

TRAIN, JUDGE = rows().take(rows().customer % 3 > 0), rows().take(rows().customer % 3 == 0)
SPLIT = split_customers(TRAIN.customer, population(), 0.15, 1, torch.Generator().manual_seed(0))


@cache
def report(market: str = "logistic") -> dict[str, Any]:
    settings = {kind: FitSettings(kind=kind, members=1, gbdt=GBDTSettings(trees=40)) for kind in ("logistic", "gbdt")}
    models = {kind: fit_model(TRAIN, population(), catalogue(), own, seed=0) for kind, own in settings.items()}
    return compare_families(models, market, TRAIN, SPLIT, JUDGE, population(), catalogue(), draws=300)


def test_the_family_that_the_log_was_made_of_predicts_best() -> None:
    found = report()["heads"]["purchased"]["families"]
    assert list(found) == ["constant", "linear", "logistic", "gbdt"]
    assert min(found, key=lambda name: found[name]["log_loss"]) == "logistic"
    assert found["constant"]["difference"]["low"] > 0
    assert found["linear"]["log_loss"] < found["constant"]["log_loss"]
    assert 0.85 < found["logistic"]["calibration_slope"] < 1.15
    assert found["logistic"]["gain"] > 0.05
    assert found["logistic"]["difference"] == {"value": 0.0, "low": 0.0, "high": 0.0}


def test_base_rates_of_sends_and_holds_are_told_apart() -> None:
    people, sent = population().features[JUDGE.customer], JUDGE.decision > 0
    real = truth(people, JUDGE.state, JUDGE.decision)["purchase"]
    rate = torch.where(sent, real[sent].mean(), real[~sent].mean())
    bought = JUDGE.outcomes["purchased"]
    wanted = float(torch.nn.functional.binary_cross_entropy(rate, bought))
    assert report()["heads"]["purchased"]["families"]["constant"]["log_loss"] == pytest.approx(wanted, abs=0.002)


def test_the_note_names_the_markets_family_and_says_where_another_is_surely_better() -> None:
    right, wrong = report(), report("gbdt")
    assert "logistic because propensity=logistic is set" in right["note"]
    assert not [entry for entry in right["better"] if entry["outcome"] in {"purchased", "opened"}]
    better = [entry for entry in wrong["better"] if (entry["family"], entry["outcome"]) == ("logistic", "purchased")]
    assert len(better) == 1
    assert better[0]["share"]["high"] < 0
    assert "logistic: " in wrong["note"]
    assert "purchased by " in wrong["note"]


def test_linear_regression_finds_the_mean_of_each_decision_and_stays_a_probability() -> None:
    fitted, asked = (log_rows(part, population(), catalogue()) for part in (TRAIN, JUDGE))
    own = asked.head("purchase", torch.arange(len(JUDGE)))
    train, held = (fitted.head("purchase", part) for part in (SPLIT.training, SPLIT.validation))
    assert own is not None
    assert train is not None
    assert held is not None
    chance = linear_chances(train, held, fitted.inputs, own, asked.inputs)
    assert float(chance.min()) > 0
    assert float(chance.max()) < 1
    real = truth(population().features[JUDGE.customer], JUDGE.state, JUDGE.decision)["purchase"][own.rows]
    assert np.corrcoef(chance, real)[0, 1] > 0.93
    for decision in range(4):
        some = JUDGE.decision[own.rows] == decision
        assert float(chance[some].mean()) == pytest.approx(float(real[some].mean()), abs=0.025)
