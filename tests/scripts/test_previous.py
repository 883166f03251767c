"""Rounds: a policy serves, its log comes back, and a run goes on from the one that proposed it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from agents.lesson import LEARNED
from benchmarks.rounds import run_round
from benchmarks.served_log import Serving, begin_serving, log_month, serve_month
from campaigns.errors import CampaignError
from campaigns.logs import write_log
from envs.reference.variants import find_variant
from envs.reference.world import ReferenceWorld
from policies.policy import load_policy
from scripts.pipeline.changes_stage import changes_stage, served_stage
from scripts.pipeline.context import JUDGE, TRAIN
from scripts.pipeline.fit_stage import exploration_source, incumbent_policy, incumbent_stage, network_stage, world
from scripts.pipeline.pipeline import open_study
from scripts.pipeline.previous_run import previous_files
from tests.scripts.settings import composed

DAYS, CUSTOMERS = 5, 80
TINY = (
    "debug=fast", "data=log", "panel=[ppo]", "objective.horizon_days=3", "market.judge_customers=40",
    "propensity.epochs=1", "propensity.members=2", "propensity.width=16", "agent.ppo.steps=2048",
    "agent.ppo.refit_steps=2048", "agent.ppo.rows=128", "guardrails.holdout=0.1",
)  # fmt: skip


def written(folder: Path, serving: Serving, decisions: pd.DataFrame) -> Path:
    """A log folder of those who were decided on."""
    users = serving.world.users
    users = users[users["user_id"].isin(decisions["user_id"])]
    return write_log({"users": users, "contents": serving.world.contents, "decisions": decisions}, folder)


@pytest.fixture(scope="module")
def rounds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A first run on the logger's log, whose PPO then served; and a log of the logger in its stead."""
    place = tmp_path_factory.mktemp("rounds")
    serving = begin_serving(ReferenceWorld(find_variant("ecommerce"), CUSTOMERS + 20, 0, days=3 * DAYS), CUSTOMERS)
    first = log_month(serving, 6 * DAYS, seed=1)
    settings = (*TINY, f"cache_dir={place}/cache")
    run_round(composed(*settings, f"data.path={written(place / 'first', serving, first)}"), place / "run")
    # Whatever such a small world chose: here PPO serves.
    shutil.rmtree(place / "run" / "policy")
    shutil.copytree(place / "run" / "agents" / "ppo" / "policy", place / "run" / "policy")
    summary = json.loads((place / "run" / "summary.json").read_text())
    summary["policies"][0]["name"] = summary["chosen"] = "ppo"
    (place / "run" / "summary.json").write_text(json.dumps(summary))
    serving.rows = np.arange(10, CUSTOMERS + 5)  # some left, some came
    before = replace(serving)
    policy = load_policy(place / "run" / "policy")
    second = serve_month(serving, policy, first, 6 * DAYS, seed=2)
    others = log_month(before, 6 * DAYS, seed=2)
    return {
        "settings": (*settings, f"previous={place / 'run'}"),
        "place": place,
        "new": written(place / "second", serving, second),
        "others": written(place / "others", before, others),
        "policy": policy,
    }


def test_a_run_goes_on_from_the_one_whose_policy_served(rounds: dict[str, Any], tmp_path: Path) -> None:
    study = open_study(composed(*rounds["settings"], f"data.path={rounds['new']}"), tmp_path)
    served, policy = served_stage(study), rounds["policy"]
    assert served is not None
    told = json.loads((served.folder / "served.json").read_text())
    assert told["match"]["agreeing"] == 1.0
    assert told["delivered"]["days"] == 3
    held_out = [
        u for u in study.log.users["user_id"] if u not in set(study.log.users["user_id"].iloc[study.players("all")])
    ]
    assert told["delivered"]["customers"] == len(study.players("all"))
    assert {f"c{i:02d}" for i in range(10)} <= set(held_out)  # who left is no part of worlds either

    earlier = pd.read_parquet(rounds["place"] / "run" / "propensity" / "halves.parquet").set_index("user_id")["half"]
    for half in (TRAIN, JUDGE):
        known = study.log.users["user_id"].iloc[study.halves[half]]
        assert set(earlier.reindex(known).dropna()) == {half}
    assert study.user_encoder == policy.user_encoder

    incumbent = incumbent_stage(study)
    assert incumbent_policy(study, incumbent).chooser.kind == "actor"
    source = exploration_source(study, incumbent).tensors()
    for name, weights in policy.incumbent.tensors().items():
        assert torch.equal(source[name], weights)  # exploration does not narrow from round to round
    market = world(study, network_stage(study, TRAIN), TRAIN, policy.guardrails)
    assert market.first_slot == study.grid.first_slot + 6 * DAYS
    assert market.start is not None
    assert int(market.start.total[:, 0].max()) > 0  # histories as they were when the policy began to serve


def test_a_round_learns_chooses_and_says_what_changes(rounds: dict[str, Any], tmp_path: Path) -> None:
    config = composed(*rounds["settings"], f"data.path={rounds['new']}")
    choice = run_round(config, tmp_path)
    assert choice["match"]["agreeing"] == 1.0
    study = open_study(config, tmp_path)
    incumbent = incumbent_stage(study)
    other = load_policy(tmp_path / "agents" / "ppo" / "policy")
    values = {
        name: {"judged": {"value": np.arange(40.0) * gain, "sends": np.ones(40)}}
        for name, gain in (("ppo", 2), ("incumbent", 1))
    }
    stage = changes_stage(study, {"chosen": "ppo"}, values, other, incumbent, (incumbent,))
    assert stage is not None
    found = json.loads((stage.folder / "changes.json").read_text())
    assert 0 < found["changed"] < 1
    assert found["difference"]["value"] == np.arange(1, 40, 2).mean()
    assert found["joined"]["new"]["customers"] == CUSTOMERS - 5


def test_a_log_of_another_policy_is_refused(rounds: dict[str, Any], tmp_path: Path) -> None:
    study = open_study(composed(*rounds["settings"], f"data.path={rounds['others']}"), tmp_path)
    with pytest.raises(CampaignError, match=r"another policy wrote the new log: of \d+ sends only \d+% have"):
        served_stage(study)


def test_the_earlier_log_again_is_refused(rounds: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(CampaignError, match="decisions are in both"):
        open_study(composed(*rounds["settings"], f"data.path={rounds['place'] / 'first'}"), tmp_path)


def test_another_question_than_the_previous_runs_is_refused(rounds: dict[str, Any], tmp_path: Path) -> None:
    path, begun = f"data.path={rounds['new']}", tmp_path / "begun"
    begun.mkdir()
    (begun / "summary.json").write_text("{}")
    for setting, message in (
        ("objective.horizon_days=4", r"other settings: objective.horizon_days=4 \(there 3\)"),
        ("objective.unsubscribe_cost=9", r"objective.unsubscribe_cost=9.0 \(there 3.0\)"),
        ("data.slot_hours=6", r"data.slot_hours=6 \(there 4\)"),
        ("data.timezone=Europe/Berlin", r"data.timezone=Europe/Berlin \(there UTC\)"),
        ("previous=/nowhere", "previous=/nowhere: there is no such folder"),
        (f"previous={rounds['place']}", "that is no run's folder"),
        (f"previous={begun}", r"policy/policy.json, policy/weights.safetensors and 7 more missing; finish"),
        ("previous_days=0", "previous_days=0: must be at least 1"),
    ):
        with pytest.raises(CampaignError, match=message):
            open_study(composed(*rounds["settings"], path, setting), tmp_path)
    with pytest.raises(CampaignError, match="give data=log"):
        previous_files(composed(f"previous={rounds['place'] / 'run'}"))


def test_a_previous_run_of_other_features_is_refused(rounds: dict[str, Any], tmp_path: Path) -> None:
    run = shutil.copytree(rounds["place"] / "run", tmp_path / "run")
    file = run / "propensity" / "inputs.json"
    inputs = json.loads(file.read_text())
    inputs["features"]["state"].append("moon_phase")
    file.write_text(json.dumps(inputs))
    with pytest.raises(CampaignError, match=r"other state features \(moon_phase\)"):
        open_study(composed(*rounds["settings"], f"data.path={rounds['new']}", f"previous={run}"), tmp_path / "next")


def test_ppo_does_not_go_on_in_a_network_of_another_size(rounds: dict[str, Any], tmp_path: Path) -> None:
    assert (rounds["place"] / "run" / "agents" / "ppo" / LEARNED).is_file()
    config = composed(*rounds["settings"], f"data.path={rounds['new']}", "agent.ppo.width=16")
    with pytest.raises(CampaignError, match=r"has shape .* there and .* here"):
        run_round(config, tmp_path)
