"""Stages `evaluation/*`: what every policy earns in the training world, in the judging world and in the truth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agents.panel import PANEL, RULE
from campaigns.observation import Observation
from campaigns.plans import PlanMenu
from evaluation.by_attributes import kinds_of
from evaluation.intervals import mean_interval
from evaluation.offline import check_slots, collect_slots, evaluate_offline, refused_entry
from evaluation.offline_evidence import offline_evidence, one_shot_details, twins_of
from evaluation.plans_chosen import PlanDiary
from evaluation.rollout import Rollout, rollout
from evaluation.sequences import collect_sequences
from evaluation.sequential import evaluate_sequences
from evaluation.thin_support import ThinCount
from policies.following import Follower, following
from policies.plans import menu_behind
from policies.policy import Policy, load_policy
from scripts.pipeline.agent_stage import plain_rules
from scripts.pipeline.context import (
    JUDGE,
    TRAIN,
    Study,
    content_categories,
    load_model,
    settings_of,
)
from scripts.pipeline.fit_stage import (
    incumbent_policy,
    log_support_of,
    offline_logger,
    sequence_customers,
    serving_guardrails,
)
from scripts.pipeline.progress import StageProgress
from scripts.pipeline.stage import Stage, write_json
from scripts.pipeline.worlds import truth, world

INCUMBENT = "incumbent"
TRUTH_CUSTOMERS = 2
"""The truth is asked with this many times the judging worlds' customers, as they are new draws."""


def panel_policies(study: Study, agents: dict[str, Stage], incumbent: Stage) -> dict[str, tuple[Policy, str]]:
    """Every policy that is compared, with its kind: the incumbent, rules and agents."""
    guardrails = serving_guardrails(study, incumbent)
    panel = {INCUMBENT: (incumbent_policy(study, incumbent), INCUMBENT)}
    for name, rule in plain_rules(study).items():
        panel[name] = (study.make_policy(name, rule, None, guardrails, plain=True), RULE)
    for name, stage in agents.items():
        panel[name] = (load_policy(stage.folder / "policy"), kind_of(name))
    return panel


def kind_of(name: str) -> str:
    """`incumbent`, `agent` or `rule`."""
    if name == INCUMBENT:
        return INCUMBENT
    return PANEL[name].kind if name in PANEL else RULE


def worlds_stage(
    study: Study, name: str, agents: dict[str, Stage], train: Stage, judge: Stage, incumbent: Stage
) -> Stage:
    """Rolls one policy of the panel out in all worlds. Customers, members and noise are the same for all policies."""
    config = study.config
    after = (agents[name],) if name in agents else ()

    def work(folder: Path, progress: StageProgress) -> None:
        policy, kind = panel_policies(study, agents, incumbent)[name]
        worlds: dict[str, Any] = {
            "market": world(study, train, TRAIN, policy.guardrails),
            "judged": world(study, judge, JUDGE, policy.guardrails),
        }
        customers = config.market.judge_customers
        sizes = {"market": customers, "judged": customers}
        if config.data.source == "reference":
            worlds["truth"] = truth(study, policy.guardrails, TRUTH_CUSTOMERS * customers)
            sizes["truth"] = TRUTH_CUSTOMERS * customers
        horizon = study.objective.slots(study.log.clock)
        parts: dict[str, np.ndarray] = {}
        held: dict[str, float] = {}
        thin = ThinCount(log_support_of(incumbent), seed=config.seed)
        menu, asked = menu_behind(policy.chooser), following(policy)
        diary = PlanDiary(asked) if menu is not None and isinstance(asked, Follower) else None

        def watch(seen: Observation, decision: Tensor) -> None:
            thin(seen, decision)
            if diary is not None:
                diary(seen, decision)

        for number, (where, place) in enumerate(worlds.items()):
            done = number * horizon
            result = rollout(
                place, asked if where == "judged" else policy, study.objective, sizes[where], config.seed + 100, None,
                lambda slot, done=done: progress.update(done + slot, len(worlds) * horizon),
                *((policy.guardrails, watch) if where == "judged" else ()),
            )  # fmt: skip
            held |= result.held_because
            parts |= {f"{where}.{key}": values for key, values in _arrays(result).items()}
        if diary is not None:
            parts["judged.plans"] = diary.plans()
        np.savez_compressed(folder / "rollouts.npz", **parts)
        write_json(
            folder / "policy.json",
            {
                "name": name,
                "kind": kind,
                "mode": policy.mode,
                "held_because": held,
                "frequencies": None if menu is None else list(menu.frequencies),
            }
            | thin.shares(),
        )

    settings = {
        "policy": name,
        "customers": config.market.judge_customers,
        "objective": settings_of(config.objective),
        "guardrails": settings_of(config.guardrails),
        "serving": settings_of(config.policy),
        "seed": config.seed,
        "truth": config.data.variant if config.data.source == "reference" else None,
    }
    return study.runner.run(f"evaluation/{name}", settings, (train, judge, incumbent, *after), work)


def offline_stage(study: Study, agents: dict[str, Stage], train: Stage, incumbent: Stage) -> Stage:
    """Evaluates the panel on the judging half's own log, with a model that has not seen it."""
    config = study.config

    def work(folder: Path, progress: StageProgress) -> None:
        rows = study.players(JUDGE)
        grid, people = study.grid.take(rows), study.population.take(torch.from_numpy(rows))
        panel = {n: p for n, (p, kind) in panel_policies(study, agents, incumbent).items() if kind != INCUMBENT}
        slots = 1 if study.is_one_shot else config.evaluation.first_slots
        collected = collect_slots(
            grid, people, study.catalogue, study.log.clock, serving_guardrails(study, incumbent), study.objective,
            panel, load_model(train.folder), offline_logger(incumbent), slots,
            lambda done: progress.update(done, slots), study.start_column,
        )  # fmt: skip
        report = evaluate_offline(collected, config.evaluation, config.seed)
        if not study.is_one_shot and config.evaluation.sequence_customers:
            whole, wrong = _whole_horizon(study, panel, train, incumbent, progress), check_slots(collected).reason
            if wrong is not None:
                whole = {name: refused_entry(entry, wrong) for name, entry in whole.items()}
            report = {name: whole[name] | {"first_slots": short} if name in whole else short
                      for name, short in report.items()}  # fmt: skip
        # What each policy decides, on average over the customers, in the first slot.
        decides = {name: chances[:, 0].mean(axis=0).tolist() for name, chances in collected.target.items()}
        names = content_categories(study)
        kinds = kinds_of(study.log.contents, names) if names else None
        report, spread = one_shot_details(collected, report, config.evaluation, config.seed, kinds)
        found = {
            "policies": report,
            "distributions": spread,
            "fitted": collected.fitted,
            "arms": _arms(study),
            "decides": decides,
        }
        decisions = ("hold", *map(str, study.catalogue.ids))
        evidence = offline_evidence(collected, study.log.users.iloc[rows].reset_index(drop=True), decisions)
        write_json(folder / "offline.json", found | {"decides": decides} | evidence)
        write_json(folder / "twins.json", twins_of(collected, config.evaluation, config.seed))

    settings = {
        "evaluation": settings_of(config.evaluation),
        "objective": settings_of(config.objective),
        "seed": config.seed,
    }
    after = (train, incumbent, *agents.values())
    return study.runner.run("evaluation/offline", settings, after, work, show_as="evaluation")


def _whole_horizon(
    study: Study, panel: dict[str, Policy], train: Stage, incumbent: Stage, progress: StageProgress
) -> dict[str, dict[str, Any]]:
    """Evaluates policies over the whole horizon on some of the judging half's customers."""
    config, rows = study.config, sequence_customers(study, study.players(JUDGE))
    grid, people = study.grid.take(rows), study.population.take(torch.from_numpy(rows))
    slots = min(grid.slots - study.start_column, study.objective.slots(study.log.clock))
    sequences = collect_sequences(
        grid, people, study.catalogue, study.log.clock, serving_guardrails(study, incumbent), study.objective, panel,
        load_model(train.folder), offline_logger(incumbent),
        lambda done: progress.update(done, slots), study.start_column,
    )  # fmt: skip
    return evaluate_sequences(sequences, config.evaluation, config.seed)


def _arms(study: Study) -> list[dict[str, Any]]:
    """Mean reward of every logged decision, over all customers of a one-shot log."""
    if not study.is_one_shot:
        return []
    from evaluation.offline import logged_rewards

    earned = logged_rewards(study.grid, study.catalogue, study.objective, 1)[:, 0]
    arms = []
    for decision in range(1 + len(study.catalogue)):
        values = earned[study.grid.decision[:, 0] == decision]
        if len(values):
            label = "hold" if decision == 0 else str(study.catalogue.ids[decision - 1])
            arms.append({"content": label, "customers": len(values), **mean_interval(values).to_dict()})
    return arms


def _arrays(result: Rollout) -> dict[str, np.ndarray]:
    named = ("expected", "held_because")
    arrays = {name: np.asarray(getattr(result, name)) for name in result.__dataclass_fields__ if name not in named}
    return arrays | {"expected": np.array(list(result.expected.values()))}


def load_held(stage: Stage) -> dict[str, float]:
    """Why a `worlds_stage`'s policy held in the judging world: share of customers' slots by guardrail."""
    held: dict[str, float] = json.loads((stage.folder / "policy.json").read_text(encoding="utf-8"))["held_because"]
    return held


def load_menu(stage: Stage) -> PlanMenu | None:
    """The plans that a `worlds_stage`'s policy chooses from; None where it decides slot by slot."""
    frequencies = json.loads((stage.folder / "policy.json").read_text(encoding="utf-8"))["frequencies"]
    return None if frequencies is None else PlanMenu(tuple(frequencies))


def load_thin(stage: Stage) -> dict[str, float | None]:
    """What share of a `worlds_stage`'s policy's decisions and sends lay where the log is thin, in the judging world."""
    stored = json.loads((stage.folder / "policy.json").read_text(encoding="utf-8"))
    return {name: stored[name] for name in ("thin_support_share", "thin_send_share")}


def load_rollouts(stage: Stage) -> dict[str, dict[str, np.ndarray]]:
    """A `worlds_stage`'s arrays by world."""
    worlds: dict[str, dict[str, np.ndarray]] = {}
    with np.load(stage.folder / "rollouts.npz", allow_pickle=False) as stored:
        for key in stored.files:
            where, name = key.split(".", 1)
            worlds.setdefault(where, {})[name] = stored[key]
    return worlds
