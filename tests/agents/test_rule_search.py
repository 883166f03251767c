"""The search for the best rule: it finds what the market rewards, and respects the guardrails' room."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from agents.rule_search import candidate_rules, search_rule
from agents.rule_settings import RuleSearchSettings
from campaigns.errors import CampaignError
from campaigns.guardrails import Guardrails
from campaigns.objective import Objective
from evaluation.rollout import rollout
from tests.envs.hand_made import Law, hand_made_market, its_objective
from tests.worlds import Serves, small_market

SEARCH = RuleSearchSettings(first_customers=20, kept=6, last_customers=120)


def test_candidates_stay_within_the_weekly_cap() -> None:
    rules = candidate_rules(small_market(Guardrails(max_per_week=3, holdout=0.0)))
    assert {rule.cap for rule in rules} == {1, 2, 3}
    assert {rule.daypart for rule in rules} == {"morning", "afternoon", "evening", "any"}
    assert {rule.content for rule in rules} >= {"rotate", "favourite", "fashion_new"}


def test_the_found_rule_beats_most_rules_on_other_customers_and_noise() -> None:
    market, objective = small_market(), Objective(outcome="opened", horizon_days=2)
    best = search_rule(market, objective, SEARCH, seed=0)
    rules = candidate_rules(market)[::9]
    values = [rollout(market, Serves(rule), objective, 200, seed=77).value.mean() for rule in rules]
    found = rollout(market, Serves(best), objective, 200, seed=77).value.mean()
    assert sum(found >= value for value in values) >= 0.9 * len(values)


def test_the_one_content_that_pays_is_found_and_sent_as_often_as_may_be() -> None:
    market = small_market()
    names = [str(i) for i in market.catalogue.ids]
    cost = torch.full((len(names),), 5.0)
    cost[names.index("home_ideas")] = -1.0  # a sponsor pays for it
    market = replace(market, catalogue=replace(market.catalogue, cost=cost))
    best = search_rule(market, Objective(horizon_days=4, unsubscribe_cost=0.0), SEARCH, seed=1)
    assert best.content == "home_ideas"
    assert best.cap >= 2  # one content may be sent twice a week


def test_the_same_seed_finds_the_same_rule() -> None:
    found = {search_rule(small_market(), Objective(horizon_days=1), SEARCH, seed=5) for _ in range(2)}
    assert len(found) == 1


def test_a_search_of_nobody_is_refused() -> None:
    with pytest.raises(CampaignError, match=r"agent\.best_rule\.kept=0"):
        RuleSearchSettings(kept=0)


@pytest.mark.parametrize("seed", range(3))
def test_a_planted_best_rule_is_found(seed: int) -> None:
    # One content sells, in the evening alone; every send costs. A day has one evening slot in most zones.
    best = search_rule(hand_made_market(days=4), its_objective(4), SEARCH, seed)
    assert (best.content, best.daypart) == ("good", "evening")
    assert best.cap >= 4


def test_where_every_send_loses_the_least_of_them_is_found() -> None:
    progress: list[tuple[int, int]] = []
    market = hand_made_market(Law(gain=0.0), days=3, cost=1.0)
    best = search_rule(market, its_objective(3), SEARCH, 0, lambda done, total: progress.append((done, total)))
    assert best.cap == 1
    assert progress == [(i + 1, 36) for i in range(36)]
