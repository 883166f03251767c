"""Are budgets and opt-out ceilings kept on new customers, and at what price? `python -m benchmarks.limits`.

Agents learn without a limit, then with a budget or an opt-out ceiling at half of what PPO uses without. All act in the
market that they learned in, in the judging half's, and in the reference truth among customers drawn anew. `restraint
alone` is PPO that learned without a limit and was restrained afterwards: what learning with prices adds to that.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from agents.restraint import restrain
from benchmarks.policy_path import study_of
from campaigns.objective import Objective
from envs.reference.variants import VARIANTS
from evaluation.intervals import mean_interval
from evaluation.limits import Limit, limits_of
from evaluation.rollout import rollout
from policies.policy import Policy, load_policy
from scripts.pipeline.agent_stage import NOISE, agent_stage, load_restraints
from scripts.pipeline.context import JUDGE, TRAIN, Study
from scripts.pipeline.fit_stage import incumbent_stage, network_stage
from scripts.pipeline.worlds import truth, world

CUSTOMERS = 4000
AGENTS = ("ppo", "propensity_greedy", "best_rule")
FREE = (Limit("budget", 0.0), Limit("optout_ceiling", 0.0))


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints, for every agent and limit, what is used and earned in the three worlds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variant", default="ecommerce", choices=list(VARIANTS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path, default=Path(".cache"))
    options, overrides = parser.parse_known_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        study = study_of(options.variant, options.seed, Path(folder), options.cache, overrides)
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


def _with(study: Study, objective: Objective) -> Study:
    return Study(replace(study.config, objective=objective), study.runner, study.data)


def _shown(figures: object) -> str:
    interval = mean_interval(figures)  # type: ignore[arg-type]
    return f"{interval.value:.4f} [{interval.low:.4f}, {interval.high:.4f}]"


if __name__ == "__main__":
    main()
