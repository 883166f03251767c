"""Stages `agents/*`: every agent of the panel, and the rules that it has to beat."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch

from agents.linucb import LinUCB, train_linucb
from agents.rule_search import search_rule
from campaigns.guardrails import Guardrails
from campaigns.history import HOLD
from campaigns.replay import replay
from evaluation.offline import logged_rewards
from policies.bandit import bandit_features
from policies.chooser import Chooser
from policies.greedy import PropensityGreedy
from policies.incumbent import Incumbent
from policies.rules import CapDaypartContent, Never, Random
from scripts.pipeline.context import TRAIN, Study, load_logging_policy, load_model
from scripts.pipeline.fit_stage import serving_guardrails, world
from scripts.pipeline.progress import StageProgress
from scripts.pipeline.stage import Stage, show

RULE = "best_rule"
LEARNED = "learned.safetensors"
"""What PPO's training keeps, from which it goes on when all customers are there."""


def agent_stage(
    study: Study, name: str, network: Stage, incumbent: Stage, half: str = TRAIN, before: Stage | None = None
) -> Stage:
    """Trains one agent in the market of `half`, or on its log where there is one slot a customer.

    The stage's folder holds `policy/`, and for PPO its training curve.

    Args:
        study: the run.
        name: of the agent.
        network, incumbent: finished stages.
        half: whose market.
        before: the same agent's stage in another half's market, from which PPO goes on.
    """
    config = study.config
    guardrails = serving_guardrails(study, incumbent)

    def work(folder: Path, progress: StageProgress) -> None:
        chooser = _learn(study, name, network, guardrails, half, folder, progress, before)
        explores = Incumbent(load_logging_policy(incumbent.folder))
        plain = name == RULE
        study.make_policy(name, chooser, explores, guardrails, plain).save(folder / "policy")
        (folder / "checkpoint.pt").unlink(missing_ok=True)

    settings = {
        "agent": name,
        "half": half,
        "settings": asdict(getattr(config.agent, name)) if hasattr(config.agent, name) else {},
        "guardrails": asdict(guardrails),
        "objective": asdict(config.objective),
        "policy": asdict(config.policy),
        "pessimism": config.market.pessimism,
        "seed": config.seed,
        "device": study.device.type,
    }
    shown = f"agents/{name}" if half == TRAIN else None
    after = (network, incumbent) if before is None else (network, incumbent, before)
    return study.runner.run(f"agents/{name}-{half}", settings, after, work, show_as=shown)


def _learn(
    study: Study,
    name: str,
    network: Stage,
    guardrails: Guardrails,
    half: str,
    folder: Path,
    progress: StageProgress,
    before: Stage | None,
) -> Chooser:
    config = study.config
    if name == "propensity_greedy":
        return PropensityGreedy(load_model(network.folder), study.objective)
    if study.is_one_shot:
        if name == "linucb":
            return _linucb_from_log(study, guardrails, half)
        raise AssertionError(f"{name} needs a sequential log")  # run_pipeline leaves it out
    market = world(study, network, half, guardrails, pessimism=config.market.pessimism)
    if name == "linucb":
        slots = config.agent.linucb.slots
        return train_linucb(
            market, study.objective, config.agent.linucb, config.seed, lambda done: progress.update(done, slots)
        )
    if name == RULE:
        return search_rule(market, study.objective, config.agent.best_rule, config.seed, progress.update)
    return _ppo(study, market, folder, progress, before)


def _ppo(study: Study, market: object, folder: Path, progress: StageProgress, before: Stage | None) -> Chooser:
    from stable_baselines3.common.logger import CSVOutputFormat, Logger, TensorBoardOutputFormat

    from agents.ppo import train_ppo
    from envs.market import Market

    assert isinstance(market, Market)
    config = study.config
    writers = [CSVOutputFormat(str(folder / "progress.csv"))]
    if config.tracking.tensorboard:
        writers.append(TensorBoardOutputFormat(str(folder / "tensorboard")))
    steps = config.agent.ppo.steps if before is None else config.agent.ppo.refit_steps
    device = study.device
    moved = market if device.type == "cpu" else market.to(device)
    return train_ppo(
        moved, study.objective, config.agent.ppo, config.seed, device=device, checkpoint=folder / "checkpoint.pt",
        start=None if before is None else before.folder / LEARNED, keep=folder / LEARNED,
        logger=Logger(None, writers), progress=lambda done: progress.update(done, steps),
        on_resume=lambda done: progress.note(f"resumed from step {done:,} of {steps:,}"),
    )  # fmt: skip


def _linucb_from_log(study: Study, guardrails: Guardrails, half: str) -> Chooser:
    """A one-shot log is itself a bandit's experience: the statistics of its decisions are the policy."""
    rows = torch.arange(len(study.population)) if half == "all" else torch.from_numpy(study.halves[half])
    grid, people = study.grid.take(rows.numpy()), study.population.take(rows)
    step = next(iter(replay(grid, people, study.catalogue, study.log.clock)))
    known = torch.from_numpy(grid.labelled[:, 0]) & (step.decision >= HOLD) & (step.decision <= len(study.catalogue))
    features = bandit_features(step.observation)
    taken = features.gather(
        1, step.decision.clamp(0, len(study.catalogue)).view(-1, 1, 1).expand(-1, 1, features.shape[2])
    ).squeeze(1)
    earned = torch.from_numpy(logged_rewards(grid, study.catalogue, study.objective, 1)[:, 0]).float()
    learner = LinUCB(features.shape[2], study.config.agent.linucb)
    learner.update(taken[known], earned[known])
    return learner.chooser(alpha=0.0)


def plain_rules(study: Study) -> dict[str, Chooser]:
    """Rules that need no search: the ends of the scale, and on one-shot logs each content to everyone."""
    rules: dict[str, Chooser] = {"never": Never(), "random": Random(1.0 if study.is_one_shot else 0.1)}
    if study.is_one_shot:
        for content in study.catalogue.ids:
            rules[f"{content} to all"] = CapDaypartContent(1, "any", str(content))
    return rules


def show_policy(stage: Stage, run_folder: Path) -> None:
    """Puts a stage's policy where the run folder's chosen one belongs."""
    show(stage.folder / "policy", run_folder / "policy")
