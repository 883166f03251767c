"""Stages `agents/*`: every agent of the panel, and the rules that it has to beat."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from agents.lesson import Lesson, LoggedCustomers
from agents.panel import PANEL
from agents.restraint import Restraint, restrain
from campaigns.guardrails import why_nothing_may_be_sent
from evaluation.limits import limits_of
from policies.chooser import Chooser
from policies.rules import CapDaypartContent, Never, Random
from review.selection import TO_ALL
from scripts.pipeline.context import TRAIN, Study, agent_names, load_logging_policy, load_model
from scripts.pipeline.fit_stage import exploration_source, serving_guardrails
from scripts.pipeline.progress import StageProgress
from scripts.pipeline.stage import Stage, show, write_json
from scripts.pipeline.worlds import training_world

RESTRAINT, NOISE = "restraint.json", 51
"""File of what it took to keep to limits, and what tells the noise of that search from all other."""


def trained_names(study: Study) -> list[str]:
    """The agents that a run trains: those that it names, as far as its log can train them, and those of every run."""
    named = [*agent_names(study.config), *(name for name, agent in PANEL.items() if agent.always)]
    return [name for name in named if PANEL[name].one_shot or not study.is_one_shot]


def agent_stage(
    study: Study, name: str, network: Stage, incumbent: Stage, half: str = TRAIN, before: Stage | None = None
) -> Stage:
    """Trains one agent in the market of `half`, or on its log where it needs no market or there is none.

    The stage's folder holds `policy/`, and for PPO its training curve.

    Args:
        study: the run.
        name: of the agent.
        network, incumbent: finished stages.
        half: whose market.
        before: the same agent's stage in another half's market, from which PPO goes on; else it goes on from
            where a previous run left it.
    """
    config, agent = study.config, PANEL[name]
    guardrails = serving_guardrails(study, incumbent)
    own = None if agent.settings is None else getattr(config.agent, name)

    def work(folder: Path, progress: StageProgress) -> None:
        forbidden = what_forbids_all(study)
        if forbidden is not None:
            progress.note(f"{forbidden}: nothing may be sent, so {name} holds")
            study.make_policy(name, Never(), None, guardrails, plain=True).save(folder / "policy")
            return
        lesson = Lesson(
            settings=own,
            objective=study.objective,
            guardrails=guardrails,
            seed=config.seed,
            device=study.device,
            folder=folder,
            progress=progress,
            log=lambda: logged_customers(study, half),
            network=lambda: load_model(network.folder),
            logging_policy=lambda: load_logging_policy(incumbent.folder),
            market=lambda: training_world(study, network, half, guardrails),
            before=_earlier(study, name) if before is None else before.folder,
            tensorboard=config.tracking.tensorboard,
        )
        explores = exploration_source(study, incumbent)
        chooser = agent.learn(lesson)
        policy = study.make_policy(name, chooser, explores, guardrails, plain=agent.always)
        if limits_of(study.objective):
            policy, took = restrain(policy, training_world(study, network, half, guardrails), config.seed + NOISE)
            for part in took:
                progress.note(told(name, part))
            write_json(folder / RESTRAINT, [asdict(part) for part in took])
        policy.save(folder / "policy")
        (folder / "checkpoint.pt").unlink(missing_ok=True)

    # Limits are kept in a market, also by what learned without one.
    in_market = agent.market or bool(limits_of(study.objective))
    settings = {
        "agent": name,
        "half": half,
        "settings": {} if own is None else asdict(own),
        "guardrails": asdict(guardrails),
        "objective": asdict(config.objective),
        "policy": asdict(config.policy),
        "market": config.market.source if in_market else None,
        "pessimism": config.market.pessimism if in_market else None,
        "seed": config.seed,
        "device": study.device.type,
    }
    shown = f"agents/{name}" if half == TRAIN else None
    after = (network, incumbent) if before is None else (network, incumbent, before)
    return study.runner.run(f"agents/{name}-{half}", settings, after, work, show_as=shown)


def what_forbids_all(study: Study) -> str | None:
    """What leaves no room for any send within the horizon, a limit or a rule; None where something may be sent."""
    limit = next((limit.name for limit in limits_of(study.objective) if limit.most == 0), None)
    if limit is not None:
        return f"objective.{limit}=0"
    return why_nothing_may_be_sent(
        study.config.guardrails, study.population, study.catalogue, study.log.clock,
        study.grid.first_slot + study.start_column, study.objective.slots(study.log.clock),
    )  # fmt: skip


def _earlier(study: Study, name: str) -> Path | None:
    """Where the agent stood at the end of a previous run, if there was one that kept it."""
    return None if study.previous is None else study.previous.learned.get(name)


def told(name: str, restraint: Restraint) -> str:
    """One line on what it took a policy to keep to a limit."""
    text = f"{name}, objective.{restraint.limit}={restraint.most:g}: uses {restraint.before:.4g} in its market"
    if restraint.strength:
        text += f", {restraint.after:.4g} once restrained"
    if restraint.surely > restraint.after:
        text += f", at most {restraint.surely:.4g} with the confidence asked for"
    if restraint.exploration_dropped:
        text += "; exploration alone used too much, so it is given up"
    if restraint.surely > restraint.most:
        text += "; it cannot be made to keep to the limit there"
    return text


def load_restraints(folder: Path) -> list[dict[str, Any]]:
    """What it took the agent of an `agents/NAME` folder to keep to its objective's limits; empty where nothing did."""
    file = folder / RESTRAINT
    found: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else []
    return found


def cannot_keep(restraints: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a limit of a policy's is passed in its own market all the same, by the figure that restraint went by."""
    return any(part["surely"] > part["most"] for part in restraints)


def logged_customers(study: Study, half: str) -> LoggedCustomers:
    """The log of one half's customers, or of all."""
    everyone = half == "all"
    grid = study.grid if everyone else study.grid.take(study.halves[half])
    people = study.population if everyone else study.population.take(torch.from_numpy(study.halves[half]))
    return LoggedCustomers(grid, people, study.catalogue, study.log.clock, study.is_one_shot)


def plain_rules(study: Study) -> dict[str, Chooser]:
    """Rules that need no search: the ends of the scale, and on one-shot logs each content to everyone."""
    rules: dict[str, Chooser] = {"never": Never(), "random": Random(1.0 if study.is_one_shot else 0.1)}
    if study.is_one_shot:
        for content in study.catalogue.ids:
            rules[f"{content}{TO_ALL}"] = CapDaypartContent(1, "any", str(content))
    return rules


def show_policy(stage: Stage, run_folder: Path) -> None:
    """Puts a stage's policy where the run folder's chosen one belongs."""
    show(stage.folder / "policy", run_folder / "policy")
