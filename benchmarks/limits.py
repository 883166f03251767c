"""Are budgets and opt-out ceilings kept on new customers, and at what price? `python -m benchmarks.limits`.

Agents learn without a limit, then with a budget or an opt-out ceiling at half of what PPO uses without. All act in the
market that they learned in, in the judging half's, and in the reference truth among customers drawn anew. `restraint
alone` is PPO that learned without a limit and was restrained afterwards: what learning with prices adds to that.
`--ceilings-only --variants ... --seeds ...`: for several logs PPO alone, restrained to half of its opt-outs at each of
`--confidences`, a line a log and confidence and at the end in how many logs the ceiling is kept in the truth.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from agents.restraint import restrain
from benchmarks.policy_path import study_of
from campaigns.objective import Objective
from envs.reference.variants import VARIANTS
from envs.world import World
from evaluation.intervals import mean_interval
from evaluation.limits import TOLERANCE, Limit, limits_of
from evaluation.rollout import Rollout, rollout
from policies.policy import Policy, load_policy
from scripts.pipeline.agent_stage import NOISE, agent_stage, load_restraints
from scripts.pipeline.context import JUDGE, TRAIN, Study
from scripts.pipeline.fit_stage import incumbent_stage, network_stage
from scripts.pipeline.worlds import truth, world

CUSTOMERS = 4000
AGENTS = ("ppo", "propensity_greedy", "best_rule")
FREE = (Limit("budget", 0.0), Limit("optout_ceiling", 0.0))


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", nargs="+", default=["ecommerce"], choices=list(VARIANTS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--ceilings-only", action="store_true")
    parser.add_argument("--confidences", nargs="+", type=float, default=[0.5, 0.9])
    parser.add_argument("--cache", type=Path, default=Path(".cache"))
    options, overrides = parser.parse_known_args(arguments)
    logs = [(variant, seed) for variant in options.variants for seed in options.seeds]
    if options.ceilings_only:
        show_ceilings(logs, options.confidences, options.cache, overrides)
    else:
        for variant, seed in logs:
            show_limits(variant, seed, options.cache, overrides)


def show_limits(variant: str, seed: int, cache: Path, overrides: Sequence[str]) -> None:
    """Prints, for every agent and limit of one log, what is used and earned in the three worlds."""
    with tempfile.TemporaryDirectory() as folder:
        study = study_of(variant, seed, Path(folder), cache, overrides)
        train, judge, incumbent = network_stage(study, TRAIN), network_stage(study, JUDGE), incumbent_stage(study)

        def compare(name: str, policy: Policy, limits: Sequence[Limit]) -> dict[str, float]:
            worlds = {
                "market": world(study, train, TRAIN, policy.guardrails),
                "judged": world(study, judge, JUDGE, policy.guardrails),
                "truth": truth(study, policy.guardrails, CUSTOMERS),
            }
            used: dict[str, float] = {}
            for where, place in worlds.items():
                played = rollout(place, policy, policy.objective, CUSTOMERS, study.config.seed + 123)
                told = f"{name:34} {where:7} value {_shown(played.value)}"
                for limit in limits:
                    figures = getattr(played, limit.figure)
                    used.setdefault(limit.name, float(figures.mean()))
                    share = f" = {figures.mean() / limit.most:.3f} of {limit.most:.4f}" if limit.most else ""
                    told += f"  {limit.figure} {_shown(figures)}{share}"
                print(f"{told}  opted out {played.opted_out.mean():.4f}", flush=True)
            return used

        free = {name: agent_stage(study, name, train, incumbent) for name in AGENTS}
        used = {name: compare(name, load_policy(stage.folder / "policy"), FREE) for name, stage in free.items()}
        for limit in FREE:
            objective = replace(study.config.objective, **{limit.name: round(used["ppo"][limit.name] / 2, 4)})
            limits = limits_of(objective)
            market = world(study, train, TRAIN, load_policy(free["ppo"].folder / "policy").guardrails)
            plain = replace(load_policy(free["ppo"].folder / "policy"), objective=objective)
            after, took = restrain(plain, market, study.config.seed + NOISE)
            print([asdict(part) for part in took], flush=True)
            compare(f"ppo, {limit.name}, restraint alone", after, limits)
            limited = _with(study, objective)
            for name in AGENTS:
                stage = agent_stage(limited, name, train, incumbent)
                print(load_restraints(stage.folder), flush=True)
                compare(f"{name}, {limit.name}", load_policy(stage.folder / "policy"), limits)


def show_ceilings(
    logs: Sequence[tuple[str, int]], confidences: Sequence[float], cache: Path, overrides: Sequence[str]
) -> None:
    """Prints how much of a ceiling at half of PPO's opt-outs is used where each log's market found it kept."""
    shares: dict[float, list[float]] = {confidence: [] for confidence in confidences}
    for variant, seed in logs:
        with tempfile.TemporaryDirectory() as folder:
            study = study_of(variant, seed, Path(folder), cache, overrides)
            events = np.nansum(study.grid.outcomes["unsubscribed"][study.halves[TRAIN]])
            print(f"{variant} {seed}: {events:.0f} opt-outs in the half", flush=True)
            for confidence, share in ceilings_kept(study, confidences).items():
                shares[confidence].append(share)
    for confidence, used in shares.items():
        kept = sum(share <= 1.0 + TOLERANCE for share in used)
        told = f"kept in {kept} of {len(used)} logs; used {np.mean(used):.3f} on average, {max(used):.3f} at most"
        print(f"at {confidence:g}: {told}", flush=True)


def ceilings_kept(study: Study, confidences: Sequence[float]) -> dict[float, float]:
    """Prints what one log's PPO uses of the ceiling; returns what it uses in the truth, by confidence."""
    train, judge, incumbent = network_stage(study, TRAIN), network_stage(study, JUDGE), incumbent_stage(study)
    policy = load_policy(agent_stage(study, "ppo", train, incumbent).folder / "policy")
    market = world(study, train, TRAIN, policy.guardrails)
    judged, true = world(study, judge, JUDGE, policy.guardrails), truth(study, policy.guardrails, CUSTOMERS)
    worlds: dict[str, World[Any]] = {"market": market, "judged": judged, "truth": true}

    def play(served: Policy) -> dict[str, Rollout]:
        noise = study.config.seed + 123
        return {name: rollout(place, served, served.objective, CUSTOMERS, noise) for name, place in worlds.items()}

    free = play(policy)
    lost = {name: float(played.lost.mean()) for name, played in free.items()}
    told = ", ".join(f"{name} {share:.4f}" for name, share in lost.items())
    print(f"  no ceiling: {told}; earns {free['truth'].value.mean():.2f} in the truth", flush=True)
    shares = {}
    for confidence in confidences:
        most = round(lost["market"] / 2, 4)
        objective = replace(study.config.objective, optout_ceiling=most, optout_confidence=confidence)
        after, (took,) = restrain(replace(policy, objective=objective), market, study.config.seed + NOISE)
        played = play(after)
        used = {name: found.lost / most for name, found in played.items()}
        shares[confidence] = float(used["truth"].mean())
        told = ", ".join(f"{name} {_shown(figures)}" for name, figures in used.items())
        print(
            f"  ceiling {most:.4f} at {confidence:g}, expected {took.after / most:.3f} of it: {told}; "
            f"earns {played['truth'].value.mean():.2f} in the truth",
            flush=True,
        )
    return shares


def _with(study: Study, objective: Objective) -> Study:
    return Study(replace(study.config, objective=objective), study.runner, study.data)


def _shown(figures: object) -> str:
    interval = mean_interval(figures)  # type: ignore[arg-type]
    return f"{interval.value:.4f} [{interval.low:.4f}, {interval.high:.4f}]"


if __name__ == "__main__":
    main()
