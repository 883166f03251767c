"""Profiles and attributions on a log whose kinds of customers were planted."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import adjusted_rand_score

from campaigns.encoding import fit_encoder
from propensity.attributions import CONTEXT, Attributions, attribute, importance_of, permutation_importance
from propensity.examples import examples
from propensity.profile_figures import CustomerSums, customer_sums, group_figures
from propensity.profiles import (
    LEAST_CUSTOMERS,
    Answers,
    Moments,
    Segmentation,
    answers,
    describe,
    find_segments,
    typical_moments,
)
from propensity.rules import fit_rules, own_columns, own_table
from tests.propensity.planted import NOISE, TELLING, planted

SENDS = np.array([100.0, 100.0])


@cache
def moments() -> Moments:
    """Typical moments of the planted log."""
    w = planted()
    return typical_moments(w.grid.take(w.train), w.people(w.train), w.catalogue, w.clock, seed=0)


@cache
def found() -> tuple[Segmentation, Answers, np.ndarray, np.ndarray]:
    """Segments of the training half; of the judging half the answers, the nearest kinds and the named ones."""
    w = planted()
    train, judge = w.people(w.train).features, w.people(w.judge).features
    said = answers(w.model, train, moments(), w.catalogue, SENDS, "purchased")
    segmentation = find_segments(said.values, train.numpy(), w.encoder, seed=0)
    others = answers(w.model, judge, moments(), w.catalogue, SENDS, "purchased", said.scale)
    table = own_table(judge.numpy(), w.encoder, segmentation.tree.columns)
    return segmentation, others, segmentation.nearest(others.values), segmentation.tree.assign(table)


@cache
def sums() -> CustomerSums:
    """Sums over the judging half."""
    w = planted()
    rows, grid, people = w.rows_of(w.judge), w.grid.take(w.judge), w.people(w.judge)
    return customer_sums(w.model, rows, grid, people, w.catalogue, 4, "purchased")


@cache
def gradients() -> Attributions:
    """Attributions of 150 customers of the judging half."""
    w = planted()
    people, baseline = w.people(w.judge[:150]).features, w.people(w.train).features.mean(dim=0)
    attributed = attribute(w.model, people, baseline, w.encoder, moments(), w.catalogue, SENDS, "purchased")
    assert attributed is not None
    return attributed


def test_planted_kinds_are_found_among_customers_that_nothing_was_fitted_to() -> None:
    kind = planted().kind[planted().judge]
    segmentation, _, nearest, named = found()
    assert len(segmentation.centres) == 4
    assert adjusted_rand_score(kind, nearest) > 0.9
    assert adjusted_rand_score(kind, named) > 0.9


def test_rules_speak_of_the_planted_columns_in_their_own_units_and_not_of_noise() -> None:
    rules = " | ".join(found()[0].tree.rules().values())
    assert all(column in rules for column in TELLING)
    assert not any(column in rules for column in NOISE)
    assert "region is north" in rules
    assert "," in rules.split("income >= ")[1].split()[0]  # an income as it is written, not a standard score


def test_a_rule_that_is_read_is_the_rule_that_is_applied() -> None:
    w = planted()
    users = w.users.iloc[w.judge]
    segmentation, _, _, named = found()
    for group, rule in segmentation.tree.rules().items():
        inside = pd.Series(False, index=users.index)
        for part in rule.split(", or "):
            holds = pd.Series(True, index=users.index)
            for condition in part.split(" and "):
                column, sign, value = condition.replace(" is not ", " != ").replace(" is ", " == ").split(" ", 2)
                if sign in {"==", "!="}:
                    holds &= (users[column] == value) == (sign == "==")
                else:
                    limit = float(value.replace(",", ""))
                    holds &= users[column] >= limit if sign == ">=" else users[column] < limit
            inside |= holds
        assert (inside.to_numpy() == (named == group)).mean() > 0.999


def test_observed_and_predicted_figures_lie_beside_the_planted_ones() -> None:
    w = planted()
    _, said, _, named = found()
    figures = group_figures(sums(), named, said.effect, ("a", "b"), seed=0)
    kind = w.kind[w.judge]
    assert sum(entry["customers"] for entry in figures.values()) == len(w.judge)
    for group, entry in figures.items():
        planted_kind = int(np.bincount(kind[named == group]).argmax())
        effect, left = entry["effect"], entry["opt_out_rate"]
        true_effect, true_left = w.effect[planted_kind], 0.12 if planted_kind >= 2 else 0.01
        for figure, true, off in ((effect, true_effect, 0.07), (left, true_left, 0.03)):
            assert figure["observed"]["value"] == pytest.approx(true, abs=off)
            assert figure["predicted"]["value"] == pytest.approx(true, abs=off)
            assert figure["observed"]["low"] - 0.01 <= true <= figure["observed"]["high"] + 0.01


def test_the_observed_effect_is_right_where_the_log_sent_to_the_eager() -> None:
    """Sends went to the eager four times as often: a plain comparison would take their eagerness for an effect."""
    g = np.random.default_rng(3)
    n = 12_000
    eager = g.random(n) < 0.5
    send = np.where(eager, 0.8, 0.2)
    sent = g.random(n) < send
    bought = g.random(n) < np.where(eager, 0.4, 0.1) + 0.05 * sent
    held = ~sent
    odds = np.where(held, send / (1 - send), 0.0)
    columns = {
        "sent": sent, "sent_outcome": sent * bought, "held": odds, "held_outcome": odds * bought,
        "effect_predicted": 0.05 * sent, "time": np.ones(n), "outcome": bought,
    }  # fmt: skip
    names = ("time", "outcome", "outcome_predicted", "sends", "opt_outs", "opt_outs_predicted", "opens_predicted",
             "opens", "sent", "sent_outcome", "held", "held_outcome", "effect_predicted")  # fmt: skip
    table = np.stack([np.asarray(columns.get(name, np.zeros(n)), dtype=float) for name in names], axis=1)
    entry = group_figures(
        CustomerSums(table, np.arange(n), False, True), np.zeros(n, dtype=int), np.zeros((n, 1)), ("a",), 0
    )[0]
    effect = entry["effect"]["observed"]
    assert effect["low"] < 0.05 < effect["high"]
    assert bought[sent].mean() - bought[held].mean() > 0.15
    assert entry["opt_out_rate"]["observed"] is None


def test_without_logged_probabilities_no_effect_is_called_observed() -> None:
    w = planted()
    grid = w.grid.take(w.judge)
    unknown = replace(grid, action_prob=np.full_like(grid.action_prob, np.nan))
    some = customer_sums(w.model, w.rows_of(w.judge), unknown, w.people(w.judge), w.catalogue, 4, "purchased")
    entry = group_figures(some, np.zeros(len(w.judge), dtype=int), found()[1].effect, ("a", "b"), seed=0)[0]
    assert entry["effect"]["observed"] is None
    assert entry["effect"]["predicted"]["value"] > 0


def test_intervals_are_wider_where_customers_come_in_groups() -> None:
    alike = np.repeat(sums().table[:300], 5, axis=0)
    one = np.zeros(len(alike), dtype=int)
    width = {}
    for name, unit in (("alone", np.arange(len(alike))), ("grouped", np.arange(len(alike)) // 5)):
        some = replace(sums(), table=alike, unit=unit)
        rate = group_figures(some, one, np.zeros((len(alike), 1)), ("a",), seed=0)[0]["outcome_rate"]["observed"]
        width[name] = rate["high"] - rate["low"]
    assert 1.7 < width["grouped"] / width["alone"] < 2.8  # the root of five


def test_groups_of_fewer_than_ten_customers_have_no_figures() -> None:
    group = np.zeros(len(planted().judge), dtype=int)
    group[: LEAST_CUSTOMERS - 1] = 1
    group[20 : 20 + LEAST_CUSTOMERS] = 2
    assert set(group_figures(sums(), group, found()[1].effect, ("a", "b"), seed=0)) == {0, 2}


def test_what_nobody_did_still_has_an_upper_limit() -> None:
    table = sums().table.copy()
    table[:, 4] = 0.0  # opt-outs
    none = group_figures(replace(sums(), table=table), np.zeros(len(table), int), found()[1].effect, ("a", "b"), 0)[0]
    left = none["opt_out_rate"]["observed"]
    assert left["value"] == 0
    assert left["high"] == pytest.approx(3.69 / table[:, 3].sum())


def test_customers_whom_the_network_answers_alike_make_one_segment() -> None:
    w = planted()
    train = w.people(w.train).features.numpy()
    same = find_segments(np.ones((len(train), 3)), train, w.encoder, seed=0)
    assert same.tree.rules() == {0: "everyone"}
    assert set(same.nearest(np.ones((5, 3)))) == {0}
    assert "no kinds to tell apart" in describe(same, {})["notes"][0]


def test_a_continuum_is_called_one() -> None:
    w = planted()
    train = w.people(w.train).features.numpy()
    cloud = np.random.default_rng(0).normal(size=(len(train), 6))
    assert "cuts through a continuum" in " ".join(describe(find_segments(cloud, train, w.encoder, 0), {})["notes"])


def test_attributions_are_complete_and_rank_the_planted_columns_first() -> None:
    attributed = gradients()
    for name, values in attributed.values.items():
        explained = attributed.answer[name] - attributed.baseline[name]
        np.testing.assert_allclose(
            values.sum(axis=1), explained, atol=0.02
        )  # the integral is a sum, and embeddings have kinks
        assert np.abs(explained).max() > 0.05, name
    first = {name: [row["column"] for row in rows] for name, rows in importance_of(attributed).items()}
    assert set(first["outcome"][:2]) == {"income", "age"}
    assert set(first["effect"][:2]) == {"income", "age"}
    assert first["unsubscribed"][0] == "region"


def test_shuffling_noise_costs_nothing_and_shuffling_what_tells_costs_much() -> None:
    w = planted()
    report = permutation_importance(
        w.model, w.rows_of(w.judge), w.people(w.judge), w.catalogue, w.encoder, "purchased", seed=0
    )
    bought = {row["column"]: row["drop"] for row in report["purchased"]["columns"]}
    left = {row["column"]: row["drop"] for row in report["unsubscribed"]["columns"]}
    assert CONTEXT in bought
    for column in NOISE:
        assert abs(bought[column]) < 0.1 * min(bought["income"], bought["age"])
        assert abs(left[column]) < 0.1 * left["region"]
    assert abs(bought["region"]) < 0.1 * bought["income"]


def test_a_range_of_whole_numbers_reads_as_a_person_would_write_it() -> None:
    visits = np.random.default_rng(2).integers(0, 8, 3000)
    users = pd.DataFrame({"visits": visits})
    encoder = fit_encoder(users, "users")
    columns = own_columns(encoder.encode(users), encoder)
    table = own_table(encoder.encode(users), encoder, columns)
    group = np.select([visits < 2, visits == 2, visits < 6], [0, 1, 2], 3)
    tree = fit_rules(table, columns, group, seed=0)
    assert tree.rules() == {0: "visits < 2", 1: "visits is 2", 2: "visits >= 3 and < 6", 3: "visits >= 6"}
    assert (tree.assign(table) == group).all()


@pytest.mark.parametrize("family", ["logistic", "gbdt"])
def test_other_families_have_profiles_too_and_trees_no_gradients(family: str) -> None:
    w = planted(family)
    train, judge = w.people(w.train).features, w.people(w.judge)
    said = answers(w.model, train, moments(), w.catalogue, SENDS, "purchased")
    segmentation = find_segments(said.values, train.numpy(), w.encoder, seed=0)
    rules = " ".join(segmentation.tree.rules().values())
    assert "region" in rules
    assert not any(column in rules for column in NOISE)
    report = permutation_importance(w.model, w.rows_of(w.judge), judge, w.catalogue, w.encoder, "purchased", seed=0)
    assert {row["column"] for row in report["purchased"]["columns"][:2]} == {"income", "age"}
    few = (judge.features[:20], train.mean(dim=0), w.encoder, moments(), w.catalogue, SENDS, "purchased")
    attributed = attribute(w.model, *few)
    if family == "gbdt":
        assert attributed is None
    else:
        assert attributed is not None
        assert attributed.gap < 0.01


def test_examples_hold_no_id_and_look_like_ten_others() -> None:
    w = planted()
    judge = w.people(w.judge).features.numpy()
    columns = own_columns(judge, w.encoder)
    table = own_table(judge, w.encoder, columns)
    shown = examples(gradients(), np.arange(150), table, columns, found()[3])
    assert len(shown) == 4
    users = w.users.iloc[w.judge]
    for example in shown:
        assert example["alike"] >= LEAST_CUSTOMERS
        assert example["columns"]
        told = {entry["column"]: entry["told"] for entry in example["columns"]}
        if "region" in told:
            assert (users["region"] == told["region"]).sum() >= example["alike"]
        assert "user_id" not in told
    assert not any(f'"{user}"' in json.dumps(shown) for user in users["user_id"])


def test_missing_numbers_flags_and_many_levels_can_be_named() -> None:
    g = np.random.default_rng(0)
    n = 4000
    users = pd.DataFrame(
        {
            "spend": np.where(g.random(n) < 0.3, np.nan, g.gamma(2.0, 0.4, n)),
            "member": g.random(n) < 0.5,
            "city": g.choice([f"c{i}" for i in range(12)], n),
        }
    )
    encoder = fit_encoder(users, "users")
    features = encoder.encode(users)
    columns = own_columns(features, encoder)
    table = own_table(features, encoder, columns)
    group = np.where(users["spend"].isna(), 0, np.where(users["member"], 1, np.where(users["city"] == "c3", 2, 3)))
    tree = fit_rules(table, columns, group, seed=0)
    assert (tree.assign(table) == group).mean() > 0.99
    assert tree.rules()[0] == "spend is missing"
    assert "member is yes" in tree.rules()[1]
    assert "city is c3" in tree.rules()[2]
    assert "city is not c3" in tree.rules()[3]
