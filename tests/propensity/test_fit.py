"""The network on a world whose probabilities are written down."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from campaigns.audience import Catalogue, Population
from campaigns.errors import CampaignError
from campaigns.replay import DecisionRows
from propensity.fit import fit_network
from propensity.fit_settings import FitSettings
from propensity.kinds import restore_model
from propensity.metrics import calibration_slope, head_metrics, propensity_metrics
from propensity.model import PropensityModel
from propensity.response import NOISE_COLUMNS, draw

CUSTOMERS, ROWS, K = 3000, 60_000, 3


def catalogue() -> Catalogue:
    """Three contents told apart by two attributes."""
    features = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    zero = torch.zeros(K, dtype=torch.int64)
    return Catalogue(("a", "b", "c"), features, zero, zero, torch.zeros(K), ("all",), ("push",))


def population() -> Population:
    """Customers with three standard normal columns."""
    features = torch.randn(CUSTOMERS, 3, generator=torch.Generator().manual_seed(0))
    some = torch.zeros(CUSTOMERS, dtype=torch.int64)
    return Population(features, some, torch.ones(CUSTOMERS, 1, dtype=torch.bool), some.bool(), ("UTC",))


def truth(people: torch.Tensor, decision: torch.Tensor) -> dict[str, torch.Tensor]:
    """What is really true of each decision."""
    sent = decision > 0
    effect = torch.where(decision == 1, 1.2 * (people[:, 1] > 0), torch.where(decision == 2, 0.6, 0.0))
    return {
        "purchase": torch.sigmoid(-2.2 + 0.7 * people[:, 0] + effect * sent),
        "open": torch.sigmoid(-0.5 + 0.8 * people[:, 1]) * sent,
        "unsubscribe": 0.03 * sent,
        "value": 10 + 4 * people[:, 0] - 12.0 * (decision == 3),
    }


@pytest.fixture(scope="module")
def rows() -> DecisionRows:
    """Randomised decisions with outcomes of that truth; values are skewed and partly negative."""
    g = torch.Generator().manual_seed(1)
    customer = torch.randint(CUSTOMERS, (ROWS,), generator=g)
    decision = torch.randint(1 + K, (ROWS,), generator=g)
    t = truth(population().features[customer], decision)
    noise = torch.rand(ROWS, 4, generator=g)
    bought = (noise[:, 0] < t["purchase"]).float()
    opened = (noise[:, 1] < torch.where(bought > 0, (t["open"] * 1.5).clamp(max=0.95), t["open"])).float()
    skew = torch.exp(0.7 * torch.randn(ROWS, generator=g) - 0.245)
    value = bought * (t["value"] + 6 * (skew - 1))
    return DecisionRows(
        customer,
        torch.arange(ROWS),
        decision,
        torch.randn(ROWS, 2, generator=g),
        torch.zeros(ROWS, 1),
        {
            "purchased": bought,
            "opened": opened,
            "unsubscribed": (noise[:, 2] < t["unsubscribe"]).float(),
            "value": value,
        },
        torch.ones(ROWS),
    )


@pytest.fixture(scope="module")
def model(rows: DecisionRows) -> PropensityModel:
    """Fitted to two customers in three."""
    return fit_network(rows.take(rows.customer % 3 > 0), population(), catalogue(), FitSettings(), seed=0)


def predict(model: PropensityModel, decision: int) -> tuple[dict[str, torch.Tensor], object]:
    """Truth and prediction for customers that the model has not seen, all sent the same."""
    people = population().features[torch.arange(CUSTOMERS) % 3 == 0]
    decisions = torch.full((len(people),), decision)
    sent = decisions > 0
    contents = catalogue().features[(decisions - 1).clamp(min=0)] * sent.unsqueeze(1)
    response = model.respond(people, torch.zeros(len(people), 2), contents, torch.zeros(len(people), 1), sent)
    return truth(people, decisions), response


def test_purchases_are_calibrated_and_ranked_on_new_customers(model: PropensityModel, rows: DecisionRows) -> None:
    report = propensity_metrics(model, rows.take(rows.customer % 3 == 0), population(), catalogue())
    head = report["heads"]["purchased"]
    assert 0.85 < head["calibration_slope"] < 1.15
    assert head["log_loss"] < head["log_loss_constant"] - 0.005
    assert head["ece"] < 0.015
    assert report["value"]["mean_predicted"] == pytest.approx(report["value"]["mean_observed"], rel=0.06)


@pytest.mark.parametrize("decision", [0, 1, 2, 3])
def test_probabilities_follow_the_truth(model: PropensityModel, decision: int) -> None:
    t, response = predict(model, decision)
    assert np.corrcoef(t["purchase"], response.purchase)[0, 1] > 0.9  # type: ignore[attr-defined]
    assert float(response.purchase.mean()) == pytest.approx(float(t["purchase"].mean()), rel=0.13)  # type: ignore[attr-defined]


def test_the_effect_of_sending_has_the_right_sign_size_and_heterogeneity(model: PropensityModel) -> None:
    held, sent = predict(model, 0), predict(model, 1)
    true = sent[0]["purchase"] - held[0]["purchase"]
    found = sent[1].purchase - held[1].purchase  # type: ignore[attr-defined]
    assert np.corrcoef(true, found)[0, 1] > 0.75
    assert float(found.mean()) == pytest.approx(float(true.mean()), rel=0.25)


def test_mean_values_are_unbiased_also_where_they_are_negative(model: PropensityModel) -> None:
    for decision in (1, 3):
        t, response = predict(model, decision)
        assert float(response.value_if_bought.mean()) == pytest.approx(float(t["value"].mean()), abs=0.9)  # type: ignore[attr-defined]


def test_draws_have_the_means_that_the_response_says(model: PropensityModel) -> None:
    _, response = predict(model, 2)
    one = {
        n: getattr(response, n)[:1].expand(400_000)
        for n in response.__dataclass_fields__
        if n not in ("residuals", "floor")
    }  # type: ignore[attr-defined]
    crowd = replace(response, **one)  # type: ignore[type-var]
    drawn = draw(crowd, torch.rand(400_000, NOISE_COLUMNS, generator=torch.Generator().manual_seed(3)))
    pairs = [
        (drawn.purchased, crowd.purchase),
        (drawn.opened, crowd.opened),
        (drawn.unsubscribed, crowd.unsubscribe),
        (drawn.value, crowd.expected_value),
    ]
    for events, expected in pairs:
        values = events.double()
        assert abs(float(values.mean() - expected[0])) < 4.5 * float(values.std()) / 400_000**0.5 + 1e-6


def test_an_outcome_that_the_log_lacks_is_never_predicted(model: PropensityModel) -> None:
    _, response = predict(model, 1)
    assert float(response.visited.abs().max()) == 0  # type: ignore[attr-defined]
    assert float(response.clicked.abs().max()) == 0  # type: ignore[attr-defined]
    _, held = predict(model, 0)
    assert float(held.opened.abs().max()) == 0  # type: ignore[attr-defined]


def test_one_members_answer_is_its_slice_of_all(model: PropensityModel) -> None:
    g = torch.Generator().manual_seed(5)
    n, s = 50, model.predictor.spec
    inputs = [torch.randn(n, width, generator=g) for width in (s.customers, s.state, s.contents, s.candidates)]
    sent = torch.rand(n, generator=g) < 0.5
    member = torch.randint(s.members, (n,), generator=g)
    alone = model.respond(*inputs, sent, member=member)
    everyone = model.respond_members(*inputs, sent)
    for name in ("purchase", "open_if_bought", "unsubscribe", "value_clicked"):
        picked = getattr(everyone, name).gather(1, member.unsqueeze(1)).squeeze(1)
        torch.testing.assert_close(getattr(alone, name), picked)


def test_answers_with_gradients_are_the_same_answers(model: PropensityModel) -> None:
    g, n, s = torch.Generator().manual_seed(6), 20, model.predictor.spec
    customers, *rest = [torch.randn(n, w, generator=g) for w in (s.customers, s.state, s.contents, s.candidates)]
    customers.requires_grad_()
    sent = torch.arange(n) % 2 > 0
    response = model.respond_with_gradients(customers, *rest, sent)
    torch.testing.assert_close(response.purchase, model.respond(customers, *rest, sent).purchase)
    (slopes,) = torch.autograd.grad(response.purchase.sum(), customers)
    assert (slopes.abs().sum(dim=1) > 0).all()


def test_all_decisions_at_once_equal_one_at_a_time(model: PropensityModel) -> None:
    people, state = population().features[:20], torch.randn(20, 2, generator=torch.Generator().manual_seed(2))
    candidates = torch.randn(20, K, 1, generator=torch.Generator().manual_seed(3))
    everything = model.respond_all(model.project_customers(people), state, catalogue().features, candidates)
    for decision in range(1 + K):
        sent = torch.full((20,), decision > 0)
        contents = catalogue().features[max(decision - 1, 0)].expand(20, -1) * sent.unsqueeze(1)
        candidate = candidates[:, max(decision - 1, 0)] * sent.unsqueeze(1)
        one = model.respond(people, state, contents, candidate, sent)
        torch.testing.assert_close(everything.purchase[:, decision], one.purchase)
        torch.testing.assert_close(everything.expected_value[:, decision], one.expected_value)


def test_a_model_restores_exactly_and_a_seed_repeats(model: PropensityModel, rows: DecisionRows) -> None:
    again = restore_model(model.settings(), model.tensors())
    assert again.digest() == model.digest()
    few = FitSettings(epochs=1, width=8, members=2)
    part = rows.take(rows.customer < 500)
    digests = {fit_network(part, population(), catalogue(), few, seed=s).digest() for s in (4, 4, 5)}
    assert len(digests) == 2


def test_a_head_without_a_single_positive_predicts_next_to_nothing(rows: DecisionRows) -> None:
    none = replace(rows, outcomes={**rows.outcomes, "unsubscribed": torch.zeros(ROWS)})
    fitted = fit_network(
        none.take(rows.customer < 600), population(), catalogue(), FitSettings(epochs=2, width=8), seed=0
    )
    _, response = predict(fitted, 2)
    assert float(response.unsubscribe.max()) < 0.005  # type: ignore[attr-defined]
    assert torch.isfinite(response.expected_value).all()  # type: ignore[attr-defined]


def test_the_log_and_not_the_rows_that_are_left_says_whether_it_is_one_shot(rows: DecisionRows) -> None:
    few = FitSettings(epochs=1, width=8, members=2)
    first = [int(torch.nonzero(rows.customer == one)[0]) for one in range(300)]
    single = rows.take(torch.tensor(first))  # of a log of many slots
    bins = [
        fit_network(part, population(), catalogue(), few, seed=0).predictor.spec.bins  # type: ignore[attr-defined]
        for part in (single, replace(single, one_shot=True), replace(single, one_shot=True).take(torch.arange(250)))
    ]
    assert bins == [few.for_log(one_shot).bins for one_shot in (False, True, True)]
    assert bins[0] != bins[1]


def test_nothing_to_learn_from_is_named(rows: DecisionRows) -> None:
    with pytest.raises(CampaignError, match="no labelled decision"):
        fit_network(rows.take(torch.zeros(0, dtype=torch.int64)), population(), catalogue(), FitSettings(), seed=0)


def test_metrics_of_a_perfect_and_of_a_blind_model() -> None:
    g = np.random.default_rng(0)
    chance = g.beta(1, 9, 50_000)
    happened = (g.random(50_000) < chance).astype(float)
    weight = np.ones(50_000)
    right = head_metrics(chance, happened, weight)
    assert right["calibration_slope"] == pytest.approx(1, abs=0.05)
    assert right["ece"] < 0.006
    assert calibration_slope(chance**2 / (chance**2 + (1 - chance) ** 2), happened, weight) == pytest.approx(
        0.5, abs=0.03
    )
    blind = head_metrics(np.full(50_000, happened.mean()), happened, weight)
    assert blind["auc"] == pytest.approx(0.5)
    assert head_metrics(chance, np.zeros(50_000), weight)["note"] == "the outcome never varied"
