"""Estimators on worlds whose answer is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from campaigns.errors import CampaignError
from evaluation.estimators import DM, DR, IPS, SNIPS, LoggedDecisions, per_decision_dr
from evaluation.intervals import bootstrap, mean_interval
from evaluation.verdict import diagnose, diagnose_weights, verdict

ARMS = 4


class Bandit:
    """A logistic bandit: rewards depend on a context and an arm; its true values are sums over contexts."""

    def __init__(self, seed: int = 0, contexts: int = 30) -> None:
        generator = np.random.default_rng(seed)
        self.mean = 1 / (1 + np.exp(-generator.normal(-1, 1, (contexts, ARMS))))
        self.logging = generator.dirichlet(np.full(ARMS, 3.0), contexts)
        self.target = generator.dirichlet(np.full(ARMS, 1.0), contexts)

    @property
    def value(self) -> float:
        return float((self.target * self.mean).sum(axis=1).mean())

    def log(self, rows: int, seed: int) -> tuple[LoggedDecisions, np.ndarray]:
        generator = np.random.default_rng(seed)
        context = generator.integers(len(self.mean), size=rows)
        action = (self.logging[context].cumsum(axis=1) < generator.random((rows, 1))).sum(axis=1)
        reward = (generator.random(rows) < self.mean[context, action]).astype(float)
        return LoggedDecisions(np.arange(rows), action, reward, self.logging[context, action]), context


@pytest.mark.parametrize("estimator", [IPS(), SNIPS(), DR()])
def test_estimates_are_unbiased_where_probabilities_are_right(estimator: IPS | SNIPS | DR) -> None:
    bandit = Bandit()
    estimates = []
    for seed in range(300):
        logged, context = bandit.log(400, seed)
        wrong = np.full((400, ARMS), 0.4)  # a poor reward model must not matter
        estimates.append(estimator.contributions(logged, bandit.target[context], wrong).value)
    z = (np.mean(estimates) - bandit.value) / (np.std(estimates) / 300**0.5)
    assert abs(z) < 4


def test_dr_is_right_with_a_right_model_and_wrong_probabilities() -> None:
    bandit = Bandit()
    logged, context = bandit.log(40_000, 1)
    wrong = LoggedDecisions(logged.customer, logged.action, logged.reward, np.full(len(logged), 0.5))
    target, model = bandit.target[context], bandit.mean[context]
    truth = float((target * model).sum(axis=1).mean())
    assert DR().contributions(wrong, target, model).value == pytest.approx(truth, abs=0.01)
    assert DM().contributions(wrong, target, model).value == pytest.approx(truth)
    assert abs(IPS().contributions(wrong, target).value - truth) > 0.05


def test_dr_varies_less_than_ips_with_a_good_model() -> None:
    bandit = Bandit()
    spread = {"IPS": [], "DR": []}
    for seed in range(80):
        logged, context = bandit.log(500, seed)
        for estimator in (IPS(), DR()):
            made = estimator.contributions(logged, bandit.target[context], bandit.mean[context])
            spread[estimator.name].append(made.value)
    assert np.std(spread["DR"]) < np.std(spread["IPS"])


def test_bootstrap_intervals_cover_as_they_say() -> None:
    bandit = Bandit()
    hits = 0
    for seed in range(300):
        logged, context = bandit.log(600, seed)
        made = {"DR": DR().contributions(logged, bandit.target[context], bandit.mean[context])}
        interval = bootstrap(made, logged.customer, draws=300, seed=seed).interval("DR")
        hits += interval.low <= bandit.value <= interval.high
    assert 0.91 < hits / 300 < 0.98


def test_paired_differences_are_narrower_than_unpaired_ones() -> None:
    bandit = Bandit()
    logged, context = bandit.log(2000, 0)
    near = 0.9 * bandit.target + 0.1 / ARMS
    made = {name: IPS().contributions(logged, t[context]) for name, t in (("a", bandit.target), ("b", near))}
    result = bootstrap(made, logged.customer)
    width = result.difference("a", "b").high - result.difference("a", "b").low
    unpaired = np.hypot(*(result.interval(n).high - result.interval(n).low for n in "ab"))
    assert width < 0.3 * unpaired


def test_rows_of_one_customer_are_drawn_together() -> None:
    generator = np.random.default_rng(0)
    own = generator.normal(size=100)
    customer = np.repeat(np.arange(100), 20)
    logged = LoggedDecisions(customer, np.zeros(2000, dtype=int), own[customer], np.ones(2000))
    target = np.tile([1.0, 0.0], (2000, 1))
    clustered = bootstrap({"x": IPS().contributions(logged, target)}, customer).interval("x")
    naive = bootstrap({"x": IPS().contributions(logged, target)}, np.arange(2000)).interval("x")
    assert clustered.high - clustered.low > 3 * (naive.high - naive.low)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000), shift=st.floats(-5, 5))
def test_evaluating_the_logging_policy_gives_back_the_mean_and_snips_moves_with_the_reward(
    seed: int, shift: float
) -> None:
    bandit = Bandit(seed % 7)
    logged, context = bandit.log(200, seed)
    own = bandit.logging[context]
    assert IPS().contributions(logged, own).value == pytest.approx(logged.reward.mean())
    assert SNIPS().contributions(logged, own).value == pytest.approx(logged.reward.mean())
    moved = LoggedDecisions(logged.customer, logged.action, logged.reward + shift, logged.logged_prob)
    target = bandit.target[context]
    before, after = (SNIPS().contributions(log, target).value for log in (logged, moved))
    assert after - before == pytest.approx(shift, abs=1e-9)


def test_per_decision_dr_is_unbiased_over_several_slots() -> None:
    """Two slots in which the second's reward depends on the first's action."""
    generator = np.random.default_rng(3)
    mu, pi = np.array([0.6, 0.4]), np.array([0.2, 0.8])
    truth = pi @ [0.0, 1.0] + pi @ (np.array([[0.5, 1.0], [2.0, 0.0]]) @ pi)
    estimates = []
    for _ in range(200):
        action = (generator.random((500, 2)) > mu[0]).astype(int)
        reward = np.stack([action[:, 0] * 1.0, np.array([[0.5, 1.0], [2.0, 0.0]])[action[:, 0], action[:, 1]]], axis=1)
        reward += generator.normal(0, 0.3, reward.shape)
        value, weight = per_decision_dr(
            action, reward, mu[action], np.tile(pi, (500, 2, 1)), np.zeros((500, 2, 2)), np.ones((500, 2), dtype=bool)
        )
        estimates.append(value.mean())
        assert weight.mean() == pytest.approx(1, abs=0.5)
    z = (np.mean(estimates) - truth) / (np.std(estimates) / 200**0.5)
    assert abs(z) < 4


def test_a_trajectory_ends_where_it_is_no_longer_known() -> None:
    action = np.zeros((1, 3), dtype=int)
    ones = np.ones((1, 3))
    known = np.array([[True, True, False]])
    value, _ = per_decision_dr(action, ones, ones, np.tile([1.0, 0.0], (1, 3, 1)), np.zeros((1, 3, 2)), known)
    assert value.tolist() == [2.0]


def test_logged_probabilities_off_by_a_factor_are_refused() -> None:
    bandit = Bandit()
    logged, context = bandit.log(20_000, 0)
    half = LoggedDecisions(logged.customer, logged.action, logged.reward, logged.logged_prob / 2)
    assert diagnose(logged, bandit.target[context]).refused is None
    refused = diagnose(half, bandit.target[context]).refused
    assert refused is not None
    assert "mean weight" in refused


def test_verdicts_follow_the_interval() -> None:
    weights = 1 + 0.1 * (-1.0) ** np.arange(1000)  # weights of 1 alone would be the log's own policy
    fine = diagnose_weights(weights)
    sure = np.full(1000, 0.5)
    sure[:500] += 0.1
    assert verdict(mean_interval(sure), fine) == "better"
    assert verdict(mean_interval(-sure), fine) == "worse"
    assert verdict(mean_interval(np.array([-1.0, 1.0])), fine) == "cannot tell"
    assert verdict(mean_interval(sure), diagnose_weights(weights, unsupported=0.9)) == "not identifiable"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"logged_prob": np.array([0.5, 0.0])}, r"action_prob must lie in \(0, 1\].*row 1"),
        ({"logged_prob": np.array([1.5, 0.5])}, "first row 0"),
        ({"logged_prob": np.array([np.nan, 0.5])}, "action_prob"),
        ({"reward": np.array([np.nan, 0.0])}, "reward must be a finite number"),
        ({"reward": np.array([0.0])}, "one shape"),
    ],
)
def test_impossible_logs_are_named(change: dict[str, np.ndarray], message: str) -> None:
    parts = {
        "customer": np.arange(2),
        "action": np.zeros(2, dtype=int),
        "reward": np.zeros(2),
        "logged_prob": np.full(2, 0.5),
    }
    with pytest.raises(CampaignError, match=message):
        LoggedDecisions(**{**parts, **change})


@pytest.mark.parametrize("target", [np.array([[0.5, 0.4]] * 2), np.array([[1.2, -0.2]] * 2), np.array([[1.0]] * 2)])
def test_target_probabilities_must_be_probabilities(target: np.ndarray) -> None:
    logged = LoggedDecisions(np.arange(2), np.array([0, 1]), np.zeros(2), np.full(2, 0.5))
    with pytest.raises(CampaignError, match="target probabilities"):
        IPS().contributions(logged, target)


def test_hillstroms_arms_come_out_as_published(data_folder: Path) -> None:
    table = pd.read_csv(data_folder / "hillstrom" / "hillstrom.csv.gz")
    action = table["segment"].map({"No E-Mail": 0, "Womens E-Mail": 1, "Mens E-Mail": 2}).to_numpy()
    logged = LoggedDecisions(np.arange(len(table)), action, table["visit"].to_numpy(float), np.full(len(table), 1 / 3))
    model = np.tile([0.1, 0.1, 0.1], (len(table), 1))
    for arm, visits in enumerate((0.106, 0.151, 0.183)):
        made = DR().contributions(logged, np.eye(3)[np.full(len(table), arm)], model)
        assert made.value == pytest.approx(visits, abs=0.005)
        assert SNIPS().contributions(logged, np.eye(3)[np.full(len(table), arm)]).value == pytest.approx(
            visits, abs=5e-4
        )
