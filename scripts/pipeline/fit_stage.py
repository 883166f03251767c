"""Stages `propensity/*` and `market`: networks on disjoint customers, the incumbent, support, and the gate."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from campaigns.features import STATE_FEATURES, candidate_names
from campaigns.guardrails import NO_GUARDRAILS, Guardrails
from campaigns.history import ABSENT
from campaigns.logging_policy import LoggingPolicyModel, fit_logging_policy
from campaigns.replay import DecisionRows
from campaigns.support import fit_support, narrowed
from campaigns.trials import free_trials
from evaluation.gate import market_gate
from evaluation.gate_checks import OUTCOMES
from evaluation.logged_answers import collect_answers
from evaluation.market_log import write_market_log
from evaluation.thin_support import LogSupport, fit_log_support
from policies.chooser import Chooser
from policies.incumbent import Incumbent
from policies.policy import Policy
from propensity.effect_metrics import effect_metrics
from propensity.fit_model import fit_model
from propensity.logistic import Logistic
from propensity.metrics import propensity_metrics
from propensity.model import PropensityModel
from scripts.pipeline.context import JUDGE, TRAIN, Study, load_logging_policy, load_model, save_model
from scripts.pipeline.progress import StageProgress
from scripts.pipeline.stage import Stage, write_json
from scripts.pipeline.worlds import world

FREE = "free"
"""Where the incumbent stage keeps the logging policy of decisions that were free, which offline estimates need."""

EARLY = "early"
"""The first slots of all customers, where `data.split=time`: what comes later is only for the metrics."""

EARLY_SHARE = 0.7
"""Share of the log's slots that are early."""

LOG_SUPPORT = "log_support.safetensors"
"""Where it keeps the log's decisions to which a policy's are compared."""

SEEDS = {TRAIN: 1, JUDGE: 2, "all": 3, EARLY: 4}


def fitting_rows(study: Study, half: str) -> DecisionRows:
    """The rows of one half of the customers, of `all`, or all customers' `early` ones."""
    rows = _of_customers(study, study.rows, study.halves.get(half))
    return rows.take(rows.slot < _late(study)) if half == EARLY else rows


def judging_rows(study: Study) -> DecisionRows:
    """The rows on which fitted models are judged: of customers, or of a time, that they have not seen."""
    if study.config.data.split == "time":
        return study.rows.take(study.rows.slot >= _late(study))
    return _of_customers(study, study.rows, study.halves[JUDGE])


def _of_customers(study: Study, rows: DecisionRows, customers: np.ndarray | None) -> DecisionRows:
    """The rows of some customers, or all."""
    if customers is None:
        return rows
    chosen = torch.zeros(len(study.population), dtype=torch.bool)
    chosen[torch.from_numpy(customers)] = True
    return rows.take(chosen[rows.customer])


def _late(study: Study) -> int:
    """The first slot that is not early."""
    return study.grid.first_slot + round(EARLY_SHARE * study.grid.slots)


def network_stage(study: Study, half: str) -> Stage:
    """Fits a model to one half of the customers, to `all`, or to the `early` slots; the judging half's may be of a
    family of its own (`market.judge_kind`)."""
    config = study.config
    fit = replace(config.propensity, kind=study.family(half))

    def work(folder: Path, progress: StageProgress) -> None:
        rows = fitting_rows(study, half)
        epochs = fit.for_log(rows.one_shot).epochs
        model = fit_model(
            rows, study.population, study.catalogue, fit, config.seed * 10 + SEEDS[half],
            lambda done, loss: progress.update(done, epochs, f"loss {loss:.4f}"), study.device,
        )  # fmt: skip
        save_model(model, folder)
        write_coefficients(study, model, folder)

    settings = {
        "fit": asdict(fit),
        "half": half,
        "seed": config.seed,
        "objective": asdict(config.objective),
        "device": study.device.type,
    }
    return study.runner.run(f"propensity/{half}", settings, (study.data,), work, show_as=f"propensity/{half}")


def write_coefficients(study: Study, model: PropensityModel, folder: Path) -> None:
    """Writes `coefficients.csv`, where the model is a logistic regression."""
    if isinstance(model.predictor, Logistic):
        told = list(candidate_names(study.catalogue.tells_channels))
        names = (study.user_encoder.names, list(STATE_FEATURES), study.content_encoder.names, told)
        model.predictor.table(names).to_csv(folder / "coefficients.csv", index=False, float_format="%.6g")


def incumbent_stage(study: Study) -> Stage:
    """Fits the logging policy and the limits of what the log supports."""
    config = study.config

    def work(folder: Path, progress: StageProgress) -> None:
        log = (study.grid, study.population, study.catalogue, study.log.clock, config.seed)
        save_model(fit_logging_policy(*log), folder)
        if np.isnan(study.grid.action_prob[study.grid.decision != ABSENT]).any():
            (folder / FREE).mkdir(exist_ok=True)
            save_model(fit_logging_policy(*log, respect_eligible=True), folder / FREE)
        support = fit_support(study.grid, study.population, study.catalogue, study.log.clock, config.market.support)
        write_json(folder / "support.json", asdict(support))
        if not study.is_one_shot:
            save_file(fit_log_support(*log[:4], config.market.thin, config.seed).tensors(), folder / LOG_SUPPORT)

    settings = {"support": config.market.support, "thin": config.market.thin, "seed": config.seed}
    return study.runner.run("propensity/incumbent", settings, (study.data,), work, show_as="propensity/incumbent")


def metrics_stage(study: Study, train: Stage, judge: Stage) -> Stage:
    """Judges the training half's network on the other half's customers, or an early one's on later slots."""
    config = study.config

    def work(folder: Path, progress: StageProgress) -> None:
        model = load_model(train.folder)
        rows = judging_rows(study)
        metrics = propensity_metrics(model, rows, study.population, study.catalogue, study.log.users)
        effects: dict[str, Any] = {"note": "effects are judged on customers not seen, not on later slots"}
        if config.data.split != "time":
            half = study.halves[JUDGE]
            people = study.population.take(torch.from_numpy(half))
            trials = free_trials(study.grid.take(half), people, study.catalogue, study.log.clock, seed=config.seed)
            effects = effect_metrics(model, trials, people, study.catalogue, config.evaluation.draws, config.seed)
        write_json(folder / "metrics.json", metrics | {"split": config.data.split, "effects": effects})

    settings = {"draws": config.evaluation.draws, "seed": config.seed, "split": config.data.split}
    return study.runner.run("propensity/metrics", settings, (train, judge), work, show_as="propensity")


def gate_stage(study: Study, train: Stage, incumbent: Stage) -> Stage:
    """Lets the fitted logging policy run free in the training market, asks its network about the other half's log, and
    holds both against what happened."""
    config = study.config

    def work(folder: Path, progress: StageProgress) -> None:
        half, first = study.players(TRAIN), study.start_column
        grid = study.grid.take(half).columns(first, study.grid.slots - first)
        policy = incumbent_policy(study, incumbent)
        market = world(study, train, TRAIN, policy.guardrails, grid.slots)
        simulated = write_market_log(
            market, policy, len(half), grid.slots, config.seed + 5,
            tuple(name for name in OUTCOMES.values() if name in grid.outcomes),
            lambda done: progress.update(done, grid.slots),
        )  # fmt: skip
        others = study.halves[JUDGE]
        answers = collect_answers(
            study.grid.take(others), study.population.take(torch.from_numpy(others)), study.catalogue, study.log.clock,
            load_model(train.folder), offline_logger(incumbent), config.seed,
        )  # fmt: skip
        gate = market_gate(
            grid, simulated, study.catalogue, study.log.clock.slots_per_day, answers, config.market.margin,
            seed=config.seed, units=study.population.take(torch.from_numpy(half)).units.numpy(),
        )  # fmt: skip
        write_json(folder / "gate.json", gate.to_dict())

    settings = {"margin": config.market.margin, "seed": config.seed}
    return study.runner.run("market", settings, (train, incumbent), work, show_as="market")


def support_of(incumbent: Stage) -> Guardrails:
    """The limits that the incumbent stage fitted."""
    return Guardrails(**json.loads((incumbent.folder / "support.json").read_text(encoding="utf-8")))


def offline_logger(incumbent: Stage) -> LoggingPolicyModel:
    """Who decided so far, as the incumbent stage fitted it for estimates from the log: of free decisions alone, where
    the log does not say how likely they all were."""
    free = incumbent.folder / FREE
    return load_logging_policy(free if free.is_dir() else incumbent.folder)


def sequence_customers(study: Study, rows: np.ndarray) -> np.ndarray:
    """Those of `rows` on whom whole horizons are estimated: at most as many as the setting of this name, drawn."""
    config = study.config
    if len(rows) <= config.evaluation.sequence_customers:
        return rows
    generator = np.random.default_rng([config.seed, 31])
    return np.sort(generator.choice(rows, config.evaluation.sequence_customers, replace=False))


def log_support_of(incumbent: Stage) -> LogSupport:
    """The log's decisions that the incumbent stage kept, to which a policy's are compared."""
    return LogSupport.from_tensors(load_file(incumbent.folder / LOG_SUPPORT))


def serving_guardrails(study: Study, incumbent: Stage) -> Guardrails:
    """The configured guardrails, narrowed by what the log supports where agents learn from it."""
    if study.config.market.source == "reference":
        return study.config.guardrails
    return narrowed(study.config.guardrails, support_of(incumbent))


def incumbent_policy(study: Study, incumbent: Stage) -> Policy:
    """What is done now: the policy that a previous run left to serve, or else the logging policy as it was fitted."""
    if study.previous is not None and study.previous.served:
        return replace(study.previous.policy, name="incumbent")
    chooser = Incumbent(load_logging_policy(incumbent.folder))
    return study.make_policy("incumbent", chooser, None, NO_GUARDRAILS, plain=True)


def exploration_source(study: Study, incumbent: Stage) -> Chooser:
    """What exploration draws from: the logging policy as it was fitted. After a previous run what that run explored
    with, since a logger fitted to a policy that hardly explores would explore less from round to round."""
    return Incumbent(load_logging_policy(incumbent.folder)) if study.previous is None else study.previous.explores
