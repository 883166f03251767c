"""The whole path: data, networks, gate, agents, worlds, offline, choice, refit, summary."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from campaigns.errors import MarketRefused
from conf.schema import RunConfig
from policies.policy import load_policy
from scripts.pipeline.agent_stage import RULE, agent_stage, plain_rules
from scripts.pipeline.context import JUDGE, TRAIN, Study, check_config, check_log
from scripts.pipeline.data_stage import data_stage
from scripts.pipeline.fit_stage import gate_stage, incumbent_stage, metrics_stage, network_stage
from scripts.pipeline.judge_stage import INCUMBENT, load_rollouts, offline_stage, worlds_stage
from scripts.pipeline.stage import Stage, StageRunner, check_writable, write_json
from scripts.pipeline.summary import behaviour_of, choose, summarise

log = logging.getLogger("campaign")


def open_study(config: RunConfig, run_folder: Path) -> Study:
    """Checks the settings, and runs or fetches the data stage."""
    check_config(config)
    cache = Path(config.cache_dir)
    check_writable(cache, "cache_dir")
    check_writable(run_folder, "hydra.run.dir")
    runner = StageRunner(run_folder, cache)
    study = Study(config, runner, data_stage(config, runner))
    check_log(study)
    return study


def run_pipeline(config: RunConfig, run_folder: Path) -> dict[str, Any]:
    """Runs everything and writes the run folder.

    Returns:
        The summary.
    Raises:
        MarketRefused: where the gate fails and `market.gate=strict`; everything up to the gate is saved.
    """
    study = open_study(config, run_folder)
    names = list(config.panel if config.panel is not None else config.agent.names)
    if study.is_one_shot:
        if "ppo" in names:
            log.info("one decision a customer: there is no sequence for PPO to learn; it is left out")
        names = [name for name in names if name != "ppo"]
    train, judge = network_stage(study, TRAIN), network_stage(study, JUDGE)
    incumbent = incumbent_stage(study)
    metrics_stage(study, train, judge)
    gate = None
    refused = False
    if not study.is_one_shot:
        stage = gate_stage(study, train, incumbent)
        gate = json.loads((stage.folder / "gate.json").read_text(encoding="utf-8"))
        refused = gate["verdict"] == "fail" and config.market.gate == "strict"
        log.info("market gate: %s. %s", gate["verdict"], gate["note"])
    agents: dict[str, Stage] = {}
    if not refused:
        learners = [*names, *([] if study.is_one_shot else [RULE])]
        agents = {name: agent_stage(study, name, train, incumbent) for name in learners}
    panel = [INCUMBENT, *plain_rules(study), *agents]
    worlds = {}
    if not study.is_one_shot:
        worlds = {name: load_rollouts(worlds_stage(study, name, agents, train, judge, incumbent)) for name in panel}
    offline = offline_stage(study, agents, train, incumbent)
    estimates = json.loads((offline.folder / "offline.json").read_text(encoding="utf-8"))
    write_json(run_folder / "evaluation" / "behaviour.json", behaviour_of(study, worlds))
    choice = choose(study, worlds, estimates, refused)
    _final_policy(study, choice, agents, incumbent)
    summary = summarise(study, worlds, estimates, gate, choice)
    write_json(run_folder / "summary.json", summary)
    from review.report import write_report

    write_report(run_folder)
    if refused:
        assert gate is not None
        raise MarketRefused(
            f"{gate['note']} No agent was trained. Everything else is in {run_folder}; see its report. "
            "To train anyway, set market.gate=warn."
        )
    return summary


def _final_policy(study: Study, choice: dict[str, Any], agents: dict[str, Stage], incumbent: Stage) -> None:
    """Writes `policy/`: the chosen one, learned again from all customers where it was learned."""
    name = choice["chosen"]
    target = study.runner.run_folder / "policy"
    if name in agents:
        everyone = network_stage(study, "all")
        stage = agent_stage(study, name, everyone, incumbent, half="all")
        policy = load_policy(stage.folder / "policy")
    else:
        from scripts.pipeline.judge_stage import panel_policies

        policy = panel_policies(study, {}, incumbent)[name][0]
        if name == INCUMBENT:
            from scripts.pipeline.fit_stage import serving_guardrails

            policy = replace(policy, guardrails=serving_guardrails(study, incumbent))
    replace(policy, recommended=choice["recommended"]).save(target)
