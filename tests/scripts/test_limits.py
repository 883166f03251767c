"""Limits in a run: what breaks one is not chosen, what cannot be kept to is refused, and nothing may mean nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from campaigns.errors import CampaignError
from evaluation.limits import Limit
from policies.policy import load_policy
from review.limits import limits_words
from scripts.pipeline.agent_stage import cannot_keep, what_forbids_all
from scripts.pipeline.pipeline import run_pipeline
from scripts.pipeline.summary import Worlds, _choose_by_world, choose
from tests.campaigns.logs_on_disk import clean_tables
from tests.scripts.settings import composed
from tests.scripts.test_splits import one_shot, study

FAMILIES = {"training": "network", "judging": "network"}
BUDGET = (Limit("budget", 1.0),)
NOTHING = ("objective.budget=0", "objective.optout_ceiling=0")


def worlds(**figures: tuple[float, float]) -> Worlds:
    """Policies whose value and spend a customer are nearly `figures`."""
    luck = np.random.default_rng(0).normal(0, 0.05, 200)
    return {
        name: {"judged": {"value": value + luck, "spent": spent + 0.1 * luck}}
        for name, (value, spent) in figures.items()
    }


def test_of_those_within_the_budget_the_best_is_chosen() -> None:
    played = worlds(incumbent=(1.0, 0.5), never=(0.5, 0.0), frugal=(2.0, 0.9), lavish=(9.0, 3.0))
    assert _choose_by_world(played, FAMILIES)["chosen"] == "lavish"
    limited = _choose_by_world(played, FAMILIES, BUDGET)
    assert (limited["chosen"], limited["recommended"]) == ("frugal", True)
    assert "within the limits" in limited["reason"]


def test_what_cannot_be_made_to_keep_to_a_limit_where_it_learned_is_no_choice() -> None:
    played = worlds(incumbent=(1.0, 0.5), never=(0.5, 0.0), lucky=(9.0, 0.9), frugal=(2.0, 0.9))
    assert _choose_by_world(played, FAMILIES, BUDGET)["chosen"] == "lucky"
    beyond = {
        name for name, surely in (("lucky", 1.6), ("frugal", 0.99)) if cannot_keep([{"surely": surely, "most": 1.0}])
    }
    assert _choose_by_world(played, FAMILIES, BUDGET, beyond)["chosen"] == "frugal"


def test_an_incumbent_that_breaks_the_budget_is_no_choice_and_holding_takes_its_place() -> None:
    played = worlds(incumbent=(5.0, 4.0), never=(0.5, 0.0), frugal=(2.0, 0.9))
    found = _choose_by_world(played, FAMILIES, BUDGET)
    assert (found["chosen"], found["recommended"]) == ("frugal", True)
    assert "+1.50 a customer over sending nothing" in found["reason"]
    assert found["reason"].endswith("The incumbent breaks a limit, so going on is no choice.")


def test_where_nothing_within_the_budget_pays_nothing_is_sent() -> None:
    played = worlds(incumbent=(5.0, 4.0), never=(0.5, 0.0), useless=(0.4, 0.9))
    found = _choose_by_world(played, FAMILIES, BUDGET)
    assert (found["chosen"], found["recommended"]) == ("never", False)


def test_the_report_says_what_is_spent_and_what_one_more_unit_would_earn() -> None:
    use = {"value": 0.99, "low": 0.97, "high": 1.01, "share_of_limit": 0.99, "verdict": "kept"}
    over = {"value": 2.0, "low": 1.9, "high": 2.1, "share_of_limit": 2.0, "verdict": "broken"}
    summary = {
        "objective": {"outcome": "value", "budget": 1.0},
        "policies": [
            {"name": "incumbent", "judged": {"limits": {"budget": over}}},
            {
                "name": "ppo",
                "judged": {"limits": {"budget": use}},
                "restraints": [{"limit": "budget", "strength": 0.7, "price": 3.25}],
            },
        ],
    }
    told = limits_words(summary, "ppo")
    assert told.startswith("Budget 1.000: 0.990 [0.970 to 1.010] spent a customer in the judging world, so it is kept.")
    assert "One more currency unit of budget would earn about 3.25" in told
    assert told.endswith("The incumbent breaks it, with 2.000.")
    assert limits_words({"objective": {"outcome": "value"}, "policies": summary["policies"]}, "ppo") == ""


def test_the_report_says_what_opt_outs_may_come_to() -> None:
    use = {"value": 0.021, "low": 0.02, "high": 0.022, "share_of_limit": 0.84, "verdict": "kept"}
    held = {"limit": "optout_ceiling", "strength": 0.7, "price": 30.0, "after": 0.0204, "surely": 0.025}
    summary = {
        "objective": {"outcome": "value", "optout_ceiling": 0.025, "optout_confidence": 0.9},
        "policies": [{"name": "ppo", "judged": {"limits": {"optout_ceiling": use}}, "restraints": [held]}],
    }
    told = limits_words(summary, "ppo")
    assert "expects 2.0\xa0%; by what the log's opt-outs can tell it is 2.5\xa0% at most, with 90\xa0% conf" in told
    assert "at most" not in limits_words(summary | {"policies": [summary["policies"][0] | {"restraints": []}]}, "ppo")


def test_a_limit_on_a_log_of_one_decision_a_customer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CampaignError, match=r"objective\.budget=1: this log decides once on every customer"):
        study(tmp_path, one_shot(clean_tables(60)), "objective.budget=1", policies=True)


def test_a_budget_for_what_costs_nothing_is_refused(tmp_path: Path) -> None:
    tables = clean_tables(60)
    tables["contents"] = tables["contents"].assign(cost=0.0)
    with pytest.raises(CampaignError, match=r"objective\.budget=1: no content costs anything"):
        study(tmp_path, tables, "objective.budget=1", policies=True)


def test_what_leaves_no_room_for_a_send_is_named_and_then_holding_is_the_choice(tmp_path: Path) -> None:
    tables, day = clean_tables(60), ("guardrails.quiet_from=0", "guardrails.quiet_until=24")
    quiet = study(tmp_path / "quiet", tables, *day, policies=True)
    forbidden = what_forbids_all(quiet)
    assert forbidden == "guardrails: quiet hours from 0 to 24 cover every slot"
    choice = choose(quiet, {}, {}, refused=False, forbidden=forbidden)
    assert (choice["chosen"], choice["recommended"]) == ("never", False)
    assert forbidden in choice["reason"]
    for name, setting in enumerate((*NOTHING, "guardrails.quiet_from=1")):
        found = what_forbids_all(study(tmp_path / str(name), tables, setting, policies=True))
        assert found == (setting if setting in NOTHING else None)
    tables["users"] = tables["users"].assign(consent_push=False)
    assert "no customer consents" in str(what_forbids_all(study(tmp_path / "none", tables, policies=True)))


@pytest.mark.slow
@pytest.mark.parametrize("limit", [*NOTHING, "guardrails.quiet_from=0"])
def test_a_limit_of_nothing_sends_nothing(tmp_path: Path, limit: str) -> None:
    few = ("debug=fast", "data.customers=150", "market.judge_customers=60", "panel=[propensity_greedy]")
    until = ("guardrails.quiet_until=24",) if "quiet" in limit else ()
    summary = run_pipeline(composed(*few, limit, *until, f"cache_dir={tmp_path}/cache"), tmp_path / "run")
    assert (summary["chosen"], summary["recommended"]) == ("never", False)
    assert load_policy(tmp_path / "run" / "policy").chooser.kind == "never"
    behaviour = json.loads((tmp_path / "run" / "evaluation" / "behaviour.json").read_text())["policies"]
    assert behaviour["best_rule"]["sends_per_week"] == behaviour["propensity_greedy"]["sends_per_week"] == 0
