"""The real randomised campaign: what each arm is worth, and that nothing learned can be told from men's-to-all."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from evaluation.diagnostics import check_logged_probabilities, diagnose
from evaluation.estimators import DR, IPS, SNIPS, LoggedDecisions
from evaluation.intervals import Bootstrap, bootstrap, mean_interval
from evaluation.reward_model import Learner, RewardModel, cross_fitted_rewards
from evaluation.verdict import Verdict, judge

NONE, WOMENS, MENS = 0, 1, 2
CONTENTS = np.array([[1.0, 0.0], [0.0, 1.0]])  # women's, men's
RULES = {"none": NONE, "women's": WOMENS, "men's": MENS}


@dataclass(frozen=True)
class Campaign:
    """Features and the log of its customers."""

    features: np.ndarray
    logged: LoggedDecisions

    def take(self, rows: np.ndarray) -> Campaign:
        log = self.logged
        part = LoggedDecisions(log.customer[rows], log.action[rows], log.reward[rows], log.logged_prob[rows])
        return Campaign(self.features[rows], part)


def read(data_folder: Path, outcome: str) -> Campaign:
    file = data_folder / "hillstrom" / "hillstrom.csv.gz"
    if not file.is_file():
        pytest.skip(f"the Hillstrom file is not there ({file}); set CAMPAIGN_DATA to the folder of public data sets")
    table = pd.read_csv(file)
    columns = ["recency", "history", "mens", "womens", "newbie", "zip_code", "channel"]
    features = pd.get_dummies(table[columns], columns=["zip_code", "channel"]).to_numpy(dtype=np.float64)
    arms = {"No E-Mail": NONE, "Womens E-Mail": WOMENS, "Mens E-Mail": MENS}
    action = table["segment"].map(arms).to_numpy(dtype=np.int64)
    reward = table[outcome].to_numpy(dtype=np.float64).copy()
    return Campaign(features, LoggedDecisions(np.arange(len(table)), action, reward, np.full(len(table), 1 / 3)))


@pytest.fixture(scope="module")
def visits(data_folder: Path) -> Campaign:
    return read(data_folder, "visit")


@pytest.fixture(scope="module")
def spend(data_folder: Path) -> Campaign:
    return read(data_folder, "spend")


@pytest.fixture(scope="module")
def predicted(visits: Campaign) -> np.ndarray:
    return cross_fitted_rewards(RewardModel(CONTENTS), visits.features, visits.logged)


@pytest.fixture(scope="module")
def rules(visits: Campaign, predicted: np.ndarray) -> Bootstrap:
    found = {
        f"{estimator.name} {name}": estimator.contributions(visits.logged, to_all(visits, arm), predicted)
        for estimator in (DR(), SNIPS(), IPS())
        for name, arm in RULES.items()
    }
    return bootstrap(found, visits.logged.customer)


def to_all(campaign: Campaign, arm: int) -> np.ndarray:
    return np.tile(np.eye(3)[arm], (len(campaign.logged), 1))


def test_the_assignment_is_what_it_claims_to_be(visits: Campaign) -> None:
    assert len(visits.logged) == 64_000
    assert not check_logged_probabilities(visits.logged, 3).contradicted.any()


@pytest.mark.parametrize(("rule", "published"), [("none", 0.106), ("women's", 0.151), ("men's", 0.183)])
def test_every_rule_is_worth_its_arms_visits(visits: Campaign, rules: Bootstrap, rule: str, published: float) -> None:
    arm = visits.logged.reward[visits.logged.action == RULES[rule]]
    assert arm.mean() == pytest.approx(published, abs=0.0006)
    assert rules.points[f"SNIPS {rule}"] == pytest.approx(arm.mean(), abs=1e-9)
    doubly = rules.interval(f"DR {rule}")
    assert doubly.value == pytest.approx(published, abs=0.0015)
    assert doubly.low < published < doubly.high
    assert rules.points[f"IPS {rule}"] == pytest.approx(published, abs=0.002)


@pytest.mark.parametrize("arm", [NONE, WOMENS, MENS])
def test_the_reward_model_narrows_the_estimate(visits: Campaign, predicted: np.ndarray, arm: int) -> None:
    target = to_all(visits, arm)
    raw = mean_interval(visits.logged.reward[visits.logged.action == arm])
    weighted = mean_interval(IPS().contributions(visits.logged, target).numerator)
    doubly = mean_interval(DR().contributions(visits.logged, target, predicted).numerator)
    assert doubly.high - doubly.low < raw.high - raw.low < weighted.high - weighted.low


def test_the_rules_themselves_can_be_told_apart(visits: Campaign, rules: Bootstrap) -> None:
    diagnostics = diagnose(visits.logged, to_all(visits, MENS))
    assert diagnostics.effective_share == pytest.approx(1 / 3, abs=0.01)
    assert judge(rules.difference("DR men's", "DR none"), diagnostics).word == "better"
    assert judge(rules.difference("DR men's", "DR women's"), diagnostics).word == "better"
    assert judge(rules.difference("DR none", "DR women's"), diagnostics).word == "worse"


@dataclass(frozen=True)
class Trial:
    """A greedy policy learned on half of the customers, judged on the other half."""

    test: Campaign
    greedy: np.ndarray
    result: Bootstrap
    verdict: Verdict


def learn_and_judge(campaign: Campaign, learner: Learner, seed: int) -> Trial:
    half = np.random.default_rng(seed).permutation(len(campaign.logged)) % 2 == 0
    learn, test = campaign.take(half), campaign.take(~half)
    learned = RewardModel(CONTENTS, learner, seed).fit(learn.features, learn.logged.action, learn.logged.reward)
    greedy = np.eye(3)[learned.predict(test.features).argmax(axis=1)]
    model = cross_fitted_rewards(RewardModel(CONTENTS, learner, seed), test.features, test.logged)
    found = {
        name: DR().contributions(test.logged, target, model)
        for name, target in (("learned", greedy), ("men's", to_all(test, MENS)), ("none", to_all(test, NONE)))
    }
    result = bootstrap(found, test.logged.customer, seed=seed)
    diagnostics = diagnose(test.logged, greedy, contributions=found["learned"])
    difference = result.difference("learned", "men's")
    return Trial(test, greedy, result, judge(difference, diagnostics, "the learned policy", "men's-to-all"))


@pytest.mark.parametrize("learner", ["boosting", "ridge"])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_learned_policy_cannot_be_told_from_mens_to_all(visits: Campaign, learner: Learner, seed: int) -> None:
    trial = learn_and_judge(visits, learner, seed)
    assert 0.6 < trial.greedy[:, MENS].mean() < 0.99  # it is not men's-to-all itself
    assert trial.verdict.word == "cannot tell"
    assert "does not tell the learned policy from men's-to-all" in trial.verdict.sentence
    interval = trial.result.interval("learned")
    assert interval.value == pytest.approx(0.1825, abs=0.006)
    assert interval.high - interval.low < 0.015
    assert trial.result.difference("learned", "none").low > 0.05  # though it is clearly better than no mail


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_no_learned_policy_is_called_better_in_spend(spend: Campaign, seed: int) -> None:
    """Spend is so noisy that a policy learned from half of it may even be told to be worse."""
    trial = learn_and_judge(spend, "boosting", seed)
    assert trial.verdict.word in {"cannot tell", "worse"}


def test_arms_are_worth_what_they_spent(spend: Campaign) -> None:
    model = cross_fitted_rewards(RewardModel(CONTENTS), spend.features, spend.logged)
    found = {name: DR().contributions(spend.logged, to_all(spend, arm), model) for name, arm in RULES.items()}
    result = bootstrap(found, spend.logged.customer)
    for name, published in (("none", 0.65), ("women's", 1.08), ("men's", 1.42)):
        interval = result.interval(name)
        assert interval.value == pytest.approx(published, abs=0.02)
        assert interval.low < published < interval.high
