"""The family of models that judges: `market.judge_kind`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from agents.panel import BEST_RULE
from campaigns.errors import CampaignError
from envs.truth import Truth
from policies.policy import load_policy
from scripts.pipeline.agent_stage import agent_stage
from scripts.pipeline.context import JUDGE, TRAIN, check_config
from scripts.pipeline.fit_stage import incumbent_stage, network_stage, serving_guardrails
from scripts.pipeline.judge_stage import INCUMBENT, load_rollouts, worlds_stage
from scripts.pipeline.pipeline import open_study, run_pipeline
from scripts.pipeline.table import print_values
from scripts.pipeline.worlds import training_world
from tests.campaigns.logs_on_disk import clean_tables
from tests.scripts.settings import composed
from tests.scripts.test_splits import one_shot
from tests.scripts.test_splits import study as study_of

TINY = ("debug=fast", "data.customers=150", "market.judge_customers=60", "panel=[]")


@pytest.fixture(scope="module")
def judged_by_regression(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run whose market is a network and whose judge a logistic regression."""
    folder = tmp_path_factory.mktemp("worlds")
    run_pipeline(composed(*TINY, f"cache_dir={folder}/cache", "market.judge_kind=logistic"), folder / "run")
    return folder / "run"


def test_a_network_trains_and_another_family_judges(judged_by_regression: Path) -> None:
    made = {half: judged_by_regression / "propensity" / half / "model.json" for half in (TRAIN, JUDGE)}
    assert {half: json.loads(file.read_text())["kind"] for half, file in made.items()} == {
        TRAIN: "network",
        JUDGE: "logistic",
    }
    alone = open_study(composed(*TINY, f"cache_dir={judged_by_regression.parent}/cache"), judged_by_regression.parent)
    other = open_study(
        composed(*TINY, f"cache_dir={judged_by_regression.parent}/cache", "market.judge_kind=logistic"),
        judged_by_regression.parent,
    )
    found = []
    for study in (alone, other):
        stages = network_stage(study, TRAIN), network_stage(study, JUDGE), incumbent_stage(study)
        found.append(load_rollouts(worlds_stage(study, INCUMBENT, {}, *stages)))
    network, regression = found
    for place in ("market", "truth"):
        np.testing.assert_array_equal(network[place]["value"], regression[place]["value"])
    assert not np.allclose(network["judged"]["value"], regression["judged"]["value"])


def test_whoever_names_the_judging_world_names_its_family(
    judged_by_regression: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = json.loads((judged_by_regression / "summary.json").read_text())
    assert summary["market"]["families"] == {"training": "network", "judging": "logistic"}
    behaviour = json.loads((judged_by_regression / "evaluation" / "behaviour.json").read_text())
    assert behaviour["where"] == "the judging world (logistic)"
    assert "logistic regression where they are judged" in (judged_by_regression / "report.html").read_text()
    print_values(summary)
    assert "a world of other customers (logistic)" in " ".join(capsys.readouterr().out.split())


def test_the_judging_family_is_the_training_family_unless_said(tmp_path: Path) -> None:
    study = open_study(composed(*TINY, f"cache_dir={tmp_path}/cache", "propensity=logistic"), tmp_path / "run")
    assert (study.family(TRAIN), study.family(JUDGE), study.family("all")) == ("logistic", "logistic", "logistic")
    study.config.market.judge_kind = "gbdt"
    assert (study.family(TRAIN), study.family(JUDGE), study.family("all")) == ("logistic", "gbdt", "logistic")


def test_a_log_with_one_decision_a_customer_has_no_judging_world_and_one_family(tmp_path: Path) -> None:
    study = study_of(tmp_path, one_shot(clean_tables()), "market.judge_kind=gbdt", policies=True)
    assert study.is_one_shot
    assert (study.family(TRAIN), study.family(JUDGE)) == ("network", "network")


def test_a_family_that_is_none_is_refused_with_the_nearest() -> None:
    with pytest.raises(CampaignError, match=r"market.judge_kind=logstic: .*network.*Did you mean 'logistic'"):
        check_config(composed("market.judge_kind=logstic"))


def test_where_agents_learn_in_the_truth_nothing_is_masked_for_want_of_a_log(judged_by_regression: Path) -> None:
    folder = judged_by_regression.parent
    rules = {}
    for source in ("learned", "reference"):
        study = open_study(composed(*TINY, f"cache_dir={folder}/cache", f"market={source}"), folder / source)
        train, incumbent = network_stage(study, TRAIN), incumbent_stage(study)
        guardrails = serving_guardrails(study, incumbent)
        place = training_world(study, train, TRAIN, guardrails)
        assert isinstance(place, Truth) == (source == "reference")
        stage = agent_stage(study, BEST_RULE, train, incumbent)
        rules[source] = load_policy(stage.folder / "policy")
    assert rules["reference"].guardrails == study.config.guardrails != rules["learned"].guardrails


def test_only_the_reference_market_has_a_truth_to_learn_in(tmp_path: Path) -> None:
    with pytest.raises(CampaignError, match="market=reference, data=log: only the reference market has a truth"):
        check_config(composed("data=log", f"data.path={tmp_path}", "market=reference"))
