"""Wrong logged probabilities are caught, also where they are right on average; honest ones are not accused."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from evaluation.diagnostics import check_logged_probabilities
from evaluation.estimators import LoggedDecisions
from evaluation.probability_check import check_probabilities, conditional_check
from tests.evaluation.bandit_worlds import bandit_world


def log_and_features(seed: int, rows: int = 4000) -> tuple[LoggedDecisions, np.ndarray]:
    log, context = bandit_world(seed).log(rows, np.random.default_rng(seed))
    return log, np.eye(8)[context]


def shuffled_within_decisions(log: LoggedDecisions, seed: int) -> LoggedDecisions:
    """Every decision keeps its own probabilities, on other rows."""
    probs, generator = log.logged_prob.copy(), np.random.default_rng(seed)
    for decision in np.unique(log.action):
        rows = log.action == decision
        probs[rows] = generator.permutation(probs[rows])
    return replace(log, logged_prob=probs)


@pytest.mark.parametrize("seed", range(6))
def test_probabilities_shuffled_between_rows_of_one_decision_are_caught(seed: int) -> None:
    log, features = log_and_features(seed)
    wrong = shuffled_within_decisions(log, seed)
    assert not check_logged_probabilities(wrong, 4).contradicted.any()  # on average nothing is wrong
    assert check_probabilities(log, features, 4).reason is None
    reason = check_probabilities(wrong, features, 4, names=("hold", "news", "sale", "gift")).reason
    assert reason is not None
    assert "shuffled" in reason
    assert any(name in reason for name in ("hold", "news", "sale", "gift"))


def test_constants_in_place_of_what_varied_are_caught() -> None:
    log, features = log_and_features(1)
    share = np.bincount(log.action) / len(log)
    constant = replace(log, logged_prob=share[log.action])
    assert check_probabilities(constant, None, 4).reason is None
    assert check_probabilities(constant, features, 4).reason is not None


def test_a_constant_factor_is_caught() -> None:
    log, features = log_and_features(2)
    found = check_probabilities(replace(log, logged_prob=0.8 * log.logged_prob), features, 4)
    assert found.reason is not None
    assert "times as often as its probabilities say" in found.reason


def test_honest_logs_are_not_accused_also_where_decisions_are_forced_or_impossible() -> None:
    accused = 0
    for seed in range(200):
        generator = np.random.default_rng(seed)
        features = generator.normal(size=(1500, 6))
        logits = features @ generator.normal(size=(6, 5)) * 0.7
        logits[:, 4] = np.where(features[:, 0] > 0, -np.inf, logits[:, 4])  # impossible for some
        logits[features[:, 1] > 1, 1:] = -np.inf  # a forced hold for others
        probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        action = (generator.random((1500, 1)) > probs.cumsum(axis=1)[:, :-1]).sum(axis=1)
        logged = LoggedDecisions(np.arange(1500), action, np.zeros(1500), probs[np.arange(1500), action])
        found = conditional_check(logged, features, 5)
        assert found is not None
        accused += bool(found.contradicted.any())
    assert accused == 0


def test_features_that_say_nothing_or_are_missing_do_no_harm() -> None:
    log, _ = log_and_features(3)
    nothing = np.full((len(log), 2), np.nan)
    assert check_probabilities(log, nothing, 4).reason is None
    certain = replace(log, logged_prob=np.ones(len(log)))
    assert conditional_check(certain, nothing, 4) is None


def test_fitted_probabilities_are_given_more_room() -> None:
    log, features = log_and_features(4, rows=40_000)
    slightly = replace(log, logged_prob=log.logged_prob / 1.15)
    assert check_probabilities(slightly, features, 4).reason is not None
    assert check_probabilities(slightly, features, 4, fitted=True).reason is None
    far = check_probabilities(replace(log, logged_prob=log.logged_prob / 1.5), features, 4, fitted=True)
    assert far.reason is not None
    assert "fitted in place of action_prob" in far.reason


def test_the_report_is_json_able() -> None:
    log, features = log_and_features(5)
    found = json.loads(json.dumps(check_probabilities(log, features, 4).to_dict(("hold", "a", "b", "c"))))
    assert [row["decision"] for row in found["checks"]] == ["hold", "a", "b", "c"]
    assert found["checks"][0]["bins"]
    assert found["contradicted"] is False
