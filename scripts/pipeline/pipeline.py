"""The whole path: data, networks, gate, agents, worlds, offline, choice, refit, summary, report."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from campaigns.errors import MarketRefused
from campaigns.leaks import split_check
from conf.schema import RunConfig
from policies.policy import Policy, load_policy
from review.report import write_report
from scripts.pipeline.agent_stage import agent_stage, plain_rules, trained_names, what_forbids_all
from scripts.pipeline.ahead import computing_ahead
from scripts.pipeline.changes_stage import changes_stage, served_stage
from scripts.pipeline.context import JUDGE, TRAIN, Study, agent_names, check_config, check_log, halves_of, inputs_of
from scripts.pipeline.data_stage import data_stage
from scripts.pipeline.families_stage import families_stage
from scripts.pipeline.fit_stage import (
    EARLY,
    gate_stage,
    incumbent_stage,
    metrics_stage,
    network_stage,
    serving_guardrails,
)
from scripts.pipeline.judge_stage import (
    INCUMBENT,
    load_held,
    load_menu,
    load_rollouts,
    load_thin,
    offline_stage,
    panel_policies,
    worlds_stage,
)
from scripts.pipeline.profile_stage import profile_stage
from scripts.pipeline.stage import Stage, StageRunner, check_writable, digest, write_json
from scripts.pipeline.summary import Worlds, behaviour_of, choose, one_shot_behaviour, summarise

log = logging.getLogger("campaign")


@dataclass(frozen=True)
class Fitted:
    """What was learned of a log's customers.

    Attributes:
        train, judge: networks of the two halves.
        incumbent: the fitted logging policy and the limits of support.
        gate: the market gate's report; None for a one-shot log, which has no market.
        refused: whether the gate forbids training.
    """

    train: Stage
    judge: Stage
    incumbent: Stage
    gate: dict[str, Any] | None
    refused: bool


@dataclass(frozen=True)
class Evaluation:
    """What every policy of the panel is worth.

    Attributes:
        worlds: rollouts by policy, world and figure; empty for a one-shot log.
        estimates: the offline stage's report.
    """

    worlds: Worlds
    estimates: dict[str, Any]


def open_study(config: RunConfig, run_folder: Path, policies: bool = True) -> Study:
    """Checks the settings, and runs or fetches the data stage.

    Args:
        config: the settings.
        run_folder: the run's.
        policies: whether policies are to be learned; purchase probabilities alone can be fitted to logs without sends,
            or without holds.
    """
    check_config(config, policies)
    cache = Path(config.cache_dir)
    check_writable(cache, "cache_dir")
    check_writable(run_folder, "hydra.run.dir")
    runner = StageRunner(run_folder, cache, config=digest(_lasting(config)))
    study = Study(config, runner, data_stage(config, runner))
    check_log(study, policies)
    # What preparation did is known only now: it is fitted to the training half.
    notes = [*study.user_encoder.notes, *study.content_encoder.notes]
    split = split_check({side: study.population.units[rows].numpy() for side, rows in study.halves.items()})
    write_json(run_folder / "data" / "report.json", study.log.report | {"preparation": notes, "split": split})
    write_json(run_folder / "propensity" / "inputs.json", inputs_of(study))
    halves_of(study).to_parquet(run_folder / "propensity" / "halves.parquet", index=False)
    return study


def fit_networks(study: Study) -> tuple[Stage, Stage]:
    """Fits a network to each half of the customers, and judges the training half's on what it has not seen."""
    train, judge = network_stage(study, TRAIN), network_stage(study, JUDGE)
    half = TRAIN if study.config.data.split != "time" else EARLY
    judged = train if half == TRAIN else network_stage(study, half)
    metrics_stage(study, judged, judge)
    families_stage(study, judged, half)
    return train, judge


def fit_responses(study: Study) -> Fitted:
    """Fits a network to each half of the customers and the incumbent, and lets the market pass its gate."""
    train, judge = fit_networks(study)
    incumbent = incumbent_stage(study)
    profile_stage(study, train)
    if study.is_one_shot:
        return Fitted(train, judge, incumbent, None, False)
    stage = gate_stage(study, train, incumbent)
    gate = json.loads((stage.folder / "gate.json").read_text(encoding="utf-8"))
    log.info("market gate: %s. %s", gate["verdict"], gate["note"])
    return Fitted(train, judge, incumbent, gate, gate["verdict"] == "fail" and study.config.market.gate == "strict")


def train_agents(study: Study, fitted: Fitted) -> dict[str, Stage]:
    """Trains the panel in the training half's market, or on a one-shot log; nothing where the gate refused."""
    if fitted.refused:
        return {}
    names = trained_names(study)
    for name in agent_names(study.config):
        if name not in names:
            log.info("one decision a customer: there is no sequence for %s to learn; it is left out", name)
    return {name: agent_stage(study, name, fitted.train, fitted.incumbent) for name in names}


def play_panel(study: Study, fitted: Fitted, agents: dict[str, Stage]) -> dict[str, Stage]:
    """Rolls every policy out in every world; a one-shot log has none."""
    if study.is_one_shot:
        return {}
    panel = [INCUMBENT, *plain_rules(study), *agents]
    return {name: worlds_stage(study, name, agents, fitted.train, fitted.judge, fitted.incumbent) for name in panel}


def evaluate_panel(study: Study, fitted: Fitted, agents: dict[str, Stage], played: dict[str, Stage]) -> Evaluation:
    """Estimates every policy from the log alone, beside what `play_panel` found."""
    worlds: Worlds = {name: load_rollouts(stage) for name, stage in played.items()}
    held = {name: load_held(stage) for name, stage in played.items()}
    thin = {name: load_thin(stage) for name, stage in played.items()}
    menus = {name: load_menu(stage) for name, stage in played.items()}
    offline = offline_stage(study, agents, fitted.train, fitted.incumbent)
    estimates = json.loads((offline.folder / "offline.json").read_text(encoding="utf-8"))
    does = (
        one_shot_behaviour(study, estimates["decides"])
        if study.is_one_shot
        else behaviour_of(study, worlds, held, thin, menus)
    )
    write_json(study.runner.run_folder / "evaluation" / "behaviour.json", does)
    return Evaluation(worlds, estimates)


def run_pipeline(config: RunConfig, run_folder: Path) -> dict[str, Any]:
    """Runs everything and writes the run folder.

    Returns:
        The summary.
    Raises:
        MarketRefused: where the gate fails and `market.gate=strict`; everything up to the gate is saved.
    """
    study = open_study(config, run_folder)
    served_stage(study)
    with computing_ahead(study):
        fitted = fit_responses(study)
        agents = train_agents(study, fitted)
        played = play_panel(study, fitted, agents)
    # What follows has one thing to do at a time, on all cores.
    found = evaluate_panel(study, fitted, agents, played)
    summary = sum_up(study, fitted, found)
    proposed = final_policy(study, summary, agents, fitted.incumbent)
    changes_stage(study, summary, found.worlds, proposed, fitted.incumbent, (fitted.incumbent, *played.values()))
    write_report(run_folder)
    refuse(fitted, run_folder)
    return summary


def sum_up(study: Study, fitted: Fitted, found: Evaluation) -> dict[str, Any]:
    """Chooses a policy, and writes and returns `summary.json`."""
    choice = choose(study, found.worlds, found.estimates, fitted.refused, what_forbids_all(study))
    summary = summarise(study, found.worlds, found.estimates, fitted.gate, fitted.refused, choice)
    write_json(study.runner.run_folder / "summary.json", summary)
    return summary


def refuse(fitted: Fitted, run_folder: Path) -> None:
    """Ends a run whose market the gate refused, once everything is saved.

    Raises:
        MarketRefused: saying what the market got wrong and how to go on.
    """
    if fitted.refused and fitted.gate is not None:
        raise MarketRefused(
            f"{fitted.gate['note']} No agent was trained. Everything else is in {run_folder}. "
            "To train anyway, set market.gate=warn."
        )


def final_policy(study: Study, choice: dict[str, Any], agents: dict[str, Stage], incumbent: Stage) -> Policy:
    """Writes and returns `policy/`: the chosen one, learned again from all customers where it was learned."""
    name = choice["chosen"]
    if name in agents:
        everyone = network_stage(study, "all")
        again = agent_stage(study, name, everyone, incumbent, half="all", before=agents[name])
        policy = load_policy(again.folder / "policy")
    else:
        policy = panel_policies(study, {}, incumbent)[name][0]
        if name == INCUMBENT and study.previous is not None and study.previous.served:
            policy = study.previous.policy  # it goes on as it served
        elif name == INCUMBENT:
            policy = replace(policy, guardrails=serving_guardrails(study, incumbent))
    policy = replace(policy, recommended=choice["recommended"])
    policy.save(study.runner.run_folder / "policy")
    return policy


def _lasting(config: RunConfig) -> dict[str, Any]:
    """The settings that results depend on: not where files lie."""
    kept = asdict(config)
    files = ("cache_dir", "run", "previous", "out", "users", "contents", "campaign", "policy_folder", "log")
    for key in (*files, "processes", "time", "content", "target"):
        kept.pop(key, None)
    kept["data"] = {key: value for key, value in kept["data"].items() if key != "path"}
    return kept
