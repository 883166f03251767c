"""How the exploitation gap shrinks: `python -m benchmarks.worlds [--variants ecommerce ...] [--seeds 0 ...]`.

PPO, or another `--agent`, learns in the training half's world as the settings are, with the support mask off
(`market.support=1.0`: only what goes beyond all of the log is masked), with pessimism, and with both. Each policy then
acts among the same customers, with the same noise, in the training world (without its pessimism), in judging worlds of
every family, all fitted to the other half, and in the truth. Printed are the paired gains over the incumbent; the
exploitation gap, (training - judged) / training gain; and judged - truth, in the objective's unit. Intervals (95 %)
tell the chance of who is drawn, not that of the one log, fit and training. Thin are sends that lie where the log is
thin (docs/gate.md), in the judging world of the first family.

Last comes a rule that learned nowhere: it cannot have exploited anything, so what its gain loses from world to world is
how the fits differ. The default guardrails are stricter than the support mask; `guardrails=none` lets it bind. Some ten
minutes a variant on one core of its own.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from agents.panel import AGENTS
from benchmarks.policy_path import far_rules, study_of
from envs.reference.variants import VARIANTS
from evaluation.intervals import Interval, customer_weights, mean_interval, quantile
from propensity.fit_settings import KINDS
from scripts.pipeline.agent_stage import agent_stage
from scripts.pipeline.context import JUDGE, TRAIN, Study
from scripts.pipeline.fit_stage import incumbent_stage, network_stage, serving_guardrails
from scripts.pipeline.judge_stage import INCUMBENT, load_rollouts, load_thin, worlds_stage
from scripts.pipeline.progress import StageProgress
from scripts.pipeline.stage import Stage

GRID: dict[str, dict[str, float]] = {
    "as it is": {},
    "support mask off": {"support": 1.0},
    "pessimism 0.5": {"pessimism": 0.5},
    "pessimism 1": {"pessimism": 1.0},
    "support mask off, pessimism 1": {"support": 1.0, "pessimism": 1.0},
}
"""Settings of `market` under which the agent is trained."""

RULE = "favourite, evening, daily"
"""The rule, of `benchmarks.policy_path.far_rules`, that learned nowhere."""

TRAINING, TRUTH, PLAYED = "training", "truth", "played"
DRAWS = 2000


def with_market(study: Study, **changed: Any) -> Study:
    """The same study, its log at hand, under other settings of its market."""
    other = copy(study)
    other.config = replace(study.config, market=replace(study.config.market, **changed))
    return other


def rule_stage(study: Study, incumbent: Stage) -> Stage:
    """Saves the rule that learned nowhere as a stage saves an agent."""
    guardrails = serving_guardrails(study, incumbent)

    def work(folder: Path, progress: StageProgress) -> None:
        study.make_policy(RULE, far_rules(study)[RULE], None, guardrails, plain=True).save(folder / "policy")

    return study.runner.run("agents/rule", {"rule": RULE, "guardrails": asdict(guardrails)}, (incumbent,), work)


def gains_of(
    study: Study, agent: Stage, train: Stage, judges: Mapping[str, Stage], incumbent: Stage
) -> tuple[dict[str, np.ndarray], float | None]:
    """A policy's gains over the incumbent, customer by customer, and its share of sends where the log is thin.

    Args:
        study: as it is: every policy is compared to the same log, whatever its own limits were.
        agent: the stage that saved the policy.
        train: the training world's model.
        judges: models of the judging worlds, by family.
        incumbent: the fitted logging policy, and the log to which decisions are compared.
    Returns:
        By world (training, families of judging worlds, truth). Shape [N] each; and the share.
    """
    gains: dict[str, np.ndarray] = {}
    thin = None
    for kind, judge in judges.items():
        judged_by = with_market(study, judge_kind=kind)
        mine = worlds_stage(judged_by, PLAYED, {PLAYED: agent}, train, judge, incumbent)
        base = load_rollouts(worlds_stage(judged_by, INCUMBENT, {}, train, judge, incumbent))
        found = {place: part["value"] - base[place]["value"] for place, part in load_rollouts(mine).items()}
        gains.setdefault(TRAINING, found["market"])
        gains[kind] = found["judged"]
        thin = load_thin(mine)["thin_send_share"] if thin is None else thin
    gains[TRUTH] = found["truth"]
    return gains, thin


def gaps_of(gains: Mapping[str, np.ndarray], seed: int) -> dict[str, tuple[Interval | None, Interval]]:
    """By judging family the exploitation gap, a share, None without a sure gain in training; and judged - truth.

    Worlds have customers of their own, who are drawn anew world by world (bootstrap, percentile intervals).
    """
    means = {world: replicates(gain, seed + number) for number, (world, gain) in enumerate(gains.items())}
    sure = quantile(means[TRAINING][:-1], 0.025) > 0
    found = {}
    for kind in gains:
        if kind not in (TRAINING, TRUTH):
            share = interval_of(1 - means[kind] / means[TRAINING]) if sure else None
            found[kind] = (share, interval_of(means[kind] - means[TRUTH]))
    return found


def replicates(values: np.ndarray, seed: int) -> np.ndarray:
    """Means over customers who are drawn anew, the same for every row; the mean itself stands last.

    Args:
        values: customer by customer. Shape [..., N].
        seed: of the draws.
    Returns:
        Shape [..., DRAWS + 1].
    """
    weights = np.concatenate(list(customer_weights(values.shape[-1], DRAWS, seed)))
    drawn = values @ weights.T / weights.sum(axis=1)
    return np.concatenate([drawn, values.mean(axis=-1, keepdims=True)], axis=-1)


def interval_of(replicated: np.ndarray) -> Interval:
    """Of draws that end with the estimate itself. Shape [DRAWS + 1]."""
    return Interval(float(replicated[-1]), quantile(replicated[:-1], 0.025), quantile(replicated[:-1], 0.975))


def table_of(found: Mapping[str, tuple[dict[str, np.ndarray], float | None]], seed: int) -> str:
    """Two Markdown tables, a row a setting: gains, and what of them is lost from world to world."""
    kinds = [world for world in next(iter(found.values()))[0] if world not in (TRAINING, TRUTH)]
    judging = [f"judging, {kind}" for kind in kinds]
    gains = [("trained with", TRAINING, *judging, TRUTH, "thin sends")]
    gaps = [("trained with", *(f"gap, {kind}" for kind in kinds), *(f"{kind} - truth" for kind in kinds))]
    for label, (gain, thin) in found.items():
        share = "-" if thin is None else f"{thin:.1%}"
        gains.append((label, *(_said(mean_interval(values)) for values in gain.values()), share))
        lost = gaps_of(gain, seed).values()
        shares = ["-" if gap is None else _said(gap, "{:+.0%}") for gap, _ in lost]
        gaps.append((label, *shares, *(_said(over) for _, over in lost)))
    return f"{_markdown(gains)}\n\n{_markdown(gaps)}"


def _said(interval: Interval, form: str = "{:+.2f}") -> str:
    return f"{form} [{form}, {form}]".format(interval.value, interval.low, interval.high)


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def main(arguments: Sequence[str] | None = None) -> None:
    """Trains, plays and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", nargs="+", default=["ecommerce"], choices=list(VARIANTS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--families", nargs="+", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--agent", default="ppo", choices=AGENTS)
    parser.add_argument("--settings", nargs="+", default=list(GRID), choices=list(GRID))
    parser.add_argument("--cache", type=Path, default=Path(".cache"))
    options, overrides = parser.parse_known_args(arguments)
    for variant in options.variants:
        for seed in options.seeds:
            with tempfile.TemporaryDirectory() as folder:
                study = study_of(variant, seed, Path(folder), options.cache, overrides)
                train, incumbent = network_stage(study, TRAIN), incumbent_stage(study)
                judges = {kind: network_stage(with_market(study, judge_kind=kind), JUDGE) for kind in options.families}
                found = {}
                for label in options.settings:
                    changed = with_market(study, **GRID[label])
                    agent = agent_stage(changed, options.agent, train, incumbent_stage(changed))
                    found[label] = gains_of(study, agent, train, judges, incumbent)
                    print(f"{variant}, seed {seed}, {label}: done", flush=True)
                found[f"not trained: {RULE}"] = gains_of(study, rule_stage(study, incumbent), train, judges, incumbent)
            print(f"\n{variant}, seed {seed}\n\n{table_of(found, seed)}\n", flush=True)


if __name__ == "__main__":
    main()
