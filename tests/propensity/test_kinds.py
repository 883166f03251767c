"""The families beside the network: what they recover, what they save, and what they make of poor logs."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from campaigns.errors import CampaignError
from campaigns.objective import Objective
from campaigns.replay import DecisionRows
from policies.greedy import PropensityGreedy
from propensity.fit_model import fit_model
from propensity.fit_settings import FitSettings, GBDTSettings
from propensity.kinds import restore_model
from propensity.logistic import Logistic
from propensity.model import PropensityModel
from tests.propensity.logistic_world import CUSTOMERS, K, catalogue, population, rows, truth

FAMILIES = ("logistic", "gbdt")
QUICK = GBDTSettings(trees=20, patience=5)


@cache
def fitted(kind: str) -> PropensityModel:
    """A family fitted to two customers in three."""
    settings = FitSettings(kind=kind, members=2, gbdt=GBDTSettings(leaf_rows=30))
    return fit_model(rows().take(rows().customer % 3 > 0), population(), catalogue(), settings, seed=0)


def quickly(kind: str, log: DecisionRows) -> PropensityModel:
    return fit_model(log, population(), catalogue(), FitSettings(kind=kind, members=2, gbdt=QUICK), seed=0)


def asked(count: int = 600) -> tuple[torch.Tensor, ...]:
    """Decisions of customers who were not fitted: customers, state, contents, candidate, sent, and the decision."""
    g = torch.Generator().manual_seed(9)
    people = population().features[torch.arange(CUSTOMERS) % 3 == 0][:count]
    decision = torch.randint(1 + K, (len(people),), generator=g)
    state = torch.randn(len(people), 2, generator=g)
    sent = decision > 0
    contents = catalogue().features[(decision - 1).clamp(min=0)] * sent.unsqueeze(1)
    return people, state, contents, torch.zeros(len(people), 1), sent, decision


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_family_recovers_the_probabilities_that_were_planted(kind: str) -> None:
    *inputs, decision = asked()
    response, real = fitted(kind).respond(*inputs), truth(inputs[0], inputs[1], decision)
    for head, least in (("purchase", 0.93), ("open_if_not", 0.97)):
        found, planted = getattr(response, head), real[head]
        assert np.corrcoef(found, planted)[0, 1] > least
        assert float((found - planted).abs().mean()) < 0.04
        assert float(found.mean()) == pytest.approx(float(planted.mean()), rel=0.06)
    assert np.corrcoef(response.value_if_bought, real["value"])[0, 1] > 0.9
    assert float(response.value_if_bought.mean()) == pytest.approx(float(real["value"].mean()), rel=0.05)
    sent = inputs[4]
    assert float(response.open_if_bought[sent].mean()) == pytest.approx(
        float(real["open_if_bought"][sent].mean()), abs=0.06
    )
    assert float(response.visit_if_bought.min()) > 0.9
    assert float(response.opened[~sent].abs().max()) == 0


@pytest.mark.parametrize("kind", FAMILIES)
def test_the_effect_of_sending_is_found_where_it_was_planted(kind: str) -> None:
    people, state, *_ = asked()
    none, one = torch.zeros(len(people), 2), catalogue().features[0].expand(len(people), -1)
    candidate, no = torch.zeros(len(people), 1), torch.zeros(len(people), dtype=torch.bool)
    model = fitted(kind)
    found = model.respond(people, state, one, candidate, ~no).purchase - model.respond(
        people, state, none, candidate, no).purchase  # fmt: skip
    decided = torch.ones(len(people), dtype=torch.int64)
    real = truth(people, state, decided)["purchase"] - truth(people, state, 0 * decided)["purchase"]
    assert np.corrcoef(found, real)[0, 1] > 0.85
    assert float(found.mean()) == pytest.approx(float(real.mean()), rel=0.25)


def test_intervals_of_coefficients_cover_what_was_planted() -> None:
    predictor = fitted("logistic").predictor
    assert isinstance(predictor, Logistic)
    table = predictor.table((["u0", "u1", "u2"], ["s0", "s1"], ["x0", "x1"], ["c"]))
    purchase = table[table["outcome"] == "purchase"].set_index(["part", "input"])
    planted = {
        ("always", "customer: u0"): 0.7, ("always", "moment: s0"): 0.3, ("always", "customer: u1"): 0.0,
        ("if sent", "customer: u1"): 0.6, ("if sent", "content: x0"): 0.5, ("if sent", "customer: u0"): 0.0,
        ("always", "constant"): -2.0,
    }  # fmt: skip
    for place, value in planted.items():
        row = purchase.loc[place]
        assert row["low"] < value < row["high"], place
        assert row["high"] - row["low"] < 0.5
    assert purchase.loc[("always", "customer: u0"), "odds_ratio"] == pytest.approx(np.exp(0.7), rel=0.15)


def test_intervals_allow_for_customers_whose_rows_are_alike() -> None:
    log = rows().take(rows().customer < 300)
    once, often = (quickly("logistic", part).predictor for part in (log, repeated(log, 4)))
    assert isinstance(once, Logistic)
    assert isinstance(often, Logistic)
    known = ~once.base_error.isnan()
    # The same customers four times over tell nothing new; naive errors would halve.
    assert float((often.base_error[known] / once.base_error[known]).median()) == pytest.approx(1.0, abs=0.1)


def repeated(log: DecisionRows, times: int) -> DecisionRows:
    return log.take(torch.arange(len(log)).repeat(times))


@pytest.mark.parametrize("kind", FAMILIES)
def test_all_decisions_at_once_equal_one_at_a_time(kind: str) -> None:
    people, state, *_ = asked(40)
    model, candidates = fitted(kind), torch.zeros(40, K, 1)
    everything = model.respond_all(model.project_customers(people), state, catalogue().features, candidates)
    for decision in range(1 + K):
        sent = torch.full((40,), decision > 0)
        contents = catalogue().features[max(decision - 1, 0)].expand(40, -1) * sent.unsqueeze(1)
        one = model.respond(people, state, contents, candidates[:, 0], sent)
        for name in ("purchase", "opened", "clicked", "visited", "unsubscribe", "expected_value"):
            torch.testing.assert_close(getattr(everything, name)[:, decision], getattr(one, name))


@pytest.mark.parametrize("kind", FAMILIES)
def test_one_members_answer_is_its_slice_of_all_and_members_differ(kind: str) -> None:
    *inputs, _ = asked(80)
    model = fitted(kind)
    member = torch.arange(80) % model.members
    alone, everyone = model.respond(*inputs, member=member), model.respond_members(*inputs)
    for name in ("purchase", "open_if_bought", "unsubscribe", "value_clicked"):
        picked = getattr(everyone, name).gather(1, member.unsqueeze(1)).squeeze(1)
        torch.testing.assert_close(getattr(alone, name), picked)
    assert float(everyone.purchase.std(dim=1).min()) > 0


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_saved_model_answers_as_before_and_a_seed_repeats(kind: str, tmp_path: Path) -> None:
    *inputs, _ = asked(50)
    model = fitted(kind)
    save_file(model.tensors(), tmp_path / "weights.safetensors")
    settings = json.loads(json.dumps(model.settings()))
    assert settings["kind"] == kind
    again = restore_model(settings, load_file(tmp_path / "weights.safetensors"))
    assert again.digest() == model.digest()
    torch.testing.assert_close(again.respond(*inputs).purchase, model.respond(*inputs).purchase, rtol=0, atol=0)
    part = rows().take(rows().customer < 200)
    assert quickly(kind, part).digest() == quickly(kind, part).digest()


def test_logistic_answers_have_gradients_and_trees_answer_without() -> None:
    people, *rest = asked(30)[:5]
    asking = people.clone().requires_grad_()
    sloped = fitted("logistic").respond_with_gradients(asking, *rest).purchase
    sloped.sum().backward()
    assert asking.grad is not None
    assert bool((asking.grad[:, 0] > 0).all())
    flat = fitted("gbdt").respond_with_gradients(people.clone().requires_grad_(), *rest).purchase
    assert not flat.requires_grad
    torch.testing.assert_close(flat, fitted("gbdt").respond(people, *rest).purchase)


def test_a_greedy_policy_keeps_the_family_that_it_was_made_of() -> None:
    policy = PropensityGreedy(fitted("gbdt"), Objective())
    again = PropensityGreedy.restore(json.loads(json.dumps(policy.settings())), policy.tensors())
    assert again.model.settings()["kind"] == "gbdt"
    assert again.model.digest() == policy.model.digest()


@pytest.mark.parametrize("value", [0.0, 1.0], ids=["no positives", "positives only"])
@pytest.mark.parametrize("kind", FAMILIES)
def test_a_head_of_one_class_predicts_close_to_it(kind: str, value: float) -> None:
    log = rows().take(rows().customer < 400)
    same = torch.full((len(log),), value)
    model = quickly(
        kind, replace(log, outcomes={**log.outcomes, "unsubscribed": same, "opened": same * (log.decision > 0)})
    )
    *inputs, _ = asked(100)
    response = model.respond(*inputs)
    assert float((response.unsubscribe - value).abs().max()) < 0.01
    assert float((response.opened[inputs[4]] - value).abs().max()) < 0.03
    assert torch.isfinite(response.expected_value).all()


@pytest.mark.parametrize("kind", FAMILIES)
def test_nobody_bought_and_nothing_known_are_survived(kind: str) -> None:
    log = rows().take(rows().customer < 200)
    nobody = {**log.outcomes, "purchased": torch.zeros(len(log)), "value": torch.zeros(len(log))}
    nobody["clicked"] = torch.full((len(log),), torch.nan)
    model = quickly(kind, replace(log, outcomes=nobody))
    *inputs, _ = asked(50)
    response = model.respond(*inputs)
    assert float(response.purchase.max()) < 0.01
    assert torch.isfinite(response.expected_value).all()
    assert torch.isfinite(response.clicked).all()


@pytest.mark.parametrize("kind", FAMILIES)
def test_features_that_never_vary_change_nothing_later(kind: str) -> None:
    log = replace(rows().take(rows().customer < 400), state=torch.ones(int((rows().customer < 400).sum()), 2))
    people = population(torch.cat([population().features[:, :1], torch.zeros(CUSTOMERS, 2)], dim=1))
    model = fit_model(log, people, catalogue(), FitSettings(kind=kind, members=1, gbdt=QUICK), seed=0)
    inputs = list(asked(50)[:5])
    inputs[0] = torch.cat([inputs[0][:, :1], torch.zeros(50, 2)], dim=1)
    inputs[1] = torch.ones(50, 2)
    usual = model.respond(*inputs).purchase
    inputs[0] = inputs[0] + torch.tensor([0.0, 1.0, 1.0])
    torch.testing.assert_close(model.respond(*inputs).purchase, usual, atol=1e-3, rtol=0)


@pytest.mark.parametrize("kind", ["network", *FAMILIES])
def test_customers_of_whom_nothing_is_known_leave_the_moment_and_the_content(kind: str) -> None:
    log, nobody = rows().take(rows().customer < 300), population(torch.zeros(CUSTOMERS, 0))
    settings = FitSettings(kind=kind, members=2, epochs=1, width=8, gbdt=QUICK)
    model = fit_model(log, nobody, catalogue(), settings, seed=0)
    _, state, contents, candidate, sent, _ = asked(100)
    response = model.respond(torch.zeros(100, 0), state, contents, candidate, sent)
    assert float(response.purchase[sent].mean()) > float(response.purchase[~sent].mean())


def test_a_wrong_family_is_named_with_the_nearest_right_one() -> None:
    with pytest.raises(CampaignError, match=r"propensity\.kind=gdbt.*network, logistic, gbdt.*Did you mean 'gbdt'"):
        FitSettings(kind="gdbt")
    with pytest.raises(CampaignError, match=r"model\.json: kind=logistics.*Did you mean 'logistic'"):
        restore_model({"kind": "logistics"}, {})


def test_a_model_without_a_kind_is_a_network() -> None:
    settings = FitSettings(members=2, width=8, epochs=1)
    model = fit_model(rows().take(rows().customer < 200), population(), catalogue(), settings, seed=0)
    stored = {name: value for name, value in model.settings().items() if name != "kind"}
    assert restore_model(stored, model.tensors()).digest() == model.digest()
