"""What a policy learned from one log alone recovers of what could be reached: `python -m benchmarks.recovered`.

For every variant and seed: one log of 8,000 customers x 28 days; PPO as the product trains it (in the market of half of
the customers, then going on in that of all). The ceiling is the best of three PPO agents that train in the truth itself
(`market=reference`), among other customers, far longer; beside it stands the best cap x daypart x content rule that a
search *in the truth* finds. All act in the truth among the same customers, drawn anew, with the same noise, within the
same guardrails (what the log supports narrows the product's alone), in serving mode, nobody held out.
`--ablations` says what each ingredient is worth.

    recovered = (policy - incumbent) / (ceiling - incumbent)

with an interval from a bootstrap over customers of the ratio. `--ceiling-steps` is the ceiling's training; its seconds
are printed. Everything is kept in `--cache`, so that a run that was stopped goes on.

Growth with the log: `--ceiling-customers 8000 data.customers=2000`, and again with 8000 and 32000. The ceiling, which
is trained once, then stays that of 8,000 customers of the truth, whatever the log holds.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from agents.panel import BEST_RULE
from agents.ppo_settings import PPOSettings
from benchmarks.policy_path import study_of
from campaigns.guardrails import NO_GUARDRAILS
from envs.reference.held_back import HELD_BACK
from envs.reference.variants import VARIANTS
from evaluation.intervals import mean_interval
from evaluation.rollout import rollout
from policies.incumbent import Incumbent
from policies.policy import Policy, load_policy
from scripts.pipeline.agent_stage import agent_stage
from scripts.pipeline.context import TRAIN, Study, load_logging_policy
from scripts.pipeline.fit_stage import incumbent_stage, network_stage
from scripts.pipeline.worlds import truth

CUSTOMERS = 6000
"""In the truth, on whom everything is reported."""

CEILINGS = 3
"""Trainings in the truth, of which the best counts."""

DRAWS = 1000


def _decisions(times: float) -> list[str]:
    """Settings with so many times the decisions that PPO takes by default."""
    settings = PPOSettings()
    return [f"agent.ppo.{name}={int(times * getattr(settings, name))}" for name in ("steps", "refit_steps")]


ABLATIONS = {
    "as it is": [],
    "drawn rewards": ["agent.ppo.expected_reward=false"],
    "small steps in large minibatches": ["agent.ppo.learning_rate=0.001", "agent.ppo.batch_size=8192"],
    "half as many decisions": _decisions(0.5),
    "twice as many decisions": _decisions(2.0),
    "mask at the 97.5 % quantile": ["market.support=0.975"],
    "pessimism 1": ["market.pessimism=1.0"],
    "one member": ["propensity.members=1"],
    "no tastes": ["propensity.tastes=0"],
}
"""Settings of the product, not of the ceiling, that `--ablations` compares."""


def play(study: Study, policy: Policy) -> np.ndarray:
    """What the policy earns in the truth, by customer over the horizon. Shape [CUSTOMERS]."""
    world = truth(study, policy.guardrails, CUSTOMERS)
    values: np.ndarray = rollout(world, policy, study.objective, CUSTOMERS, study.config.seed + 123).value
    return values


def learned(study: Study) -> dict[str, Policy]:
    """The product's policies from the log: of half the customers, and going on with all."""
    incumbent = incumbent_stage(study)
    half = agent_stage(study, "ppo", network_stage(study, TRAIN), incumbent)
    everyone = agent_stage(study, "ppo", network_stage(study, "all"), incumbent, half="all", before=half)
    chooser = Incumbent(load_logging_policy(incumbent.folder))
    rule = agent_stage(study, BEST_RULE, network_stage(study, TRAIN), incumbent)
    return {
        "incumbent": study.make_policy("incumbent", chooser, None, NO_GUARDRAILS, plain=True),
        "best rule of the market": load_policy(rule.folder / "policy"),
        "ppo, half the customers": load_policy(half.folder / "policy"),
        "ppo": load_policy(everyone.folder / "policy"),
    }


def ceilings(study: Study, steps: int, count: int) -> tuple[dict[str, Policy], float]:
    """Policies that learned in the truth, one seed each, and the seconds a training took (0 where all were kept)."""
    settings, seconds = study.config, []
    in_truth = replace(settings, market=replace(settings.market, source="reference"))
    agent = replace(in_truth.agent, ppo=replace(in_truth.agent.ppo, steps=steps, seeds=1))
    found: dict[str, Policy] = {}
    for number in range(count):
        config = replace(in_truth, agent=agent, seed=settings.seed + 1000 * number)
        # The log, and with it encoders and clock, stays that of the study; only the training's seed differs.
        own = replace(study, config=config)
        own.__dict__.update(study.__dict__ | {"config": config})
        incumbent, network = incumbent_stage(study), network_stage(study, TRAIN)
        began = time.process_time()
        stage = agent_stage(own, "ppo", network, incumbent)
        seconds.append(time.process_time() - began)
        found[f"in the truth, {number + 1}"] = load_policy(stage.folder / "policy")
        if not number:
            rule = agent_stage(own, BEST_RULE, network, incumbent)
            found["best rule of the truth"] = load_policy(rule.folder / "policy")
    return found, float(np.mean(seconds))


def share(policy: np.ndarray, incumbent: np.ndarray, ceiling: np.ndarray, seed: int) -> dict[str, float]:
    """Recovered share of the reachable gain with a 95 % interval from a bootstrap over customers."""
    gains = np.stack([policy - incumbent, ceiling - incumbent])
    drawn = np.random.default_rng(seed).integers(len(policy), size=(DRAWS, len(policy)))
    means = np.stack([gain[drawn].mean(axis=1) for gain in gains])
    low, high = np.quantile(means[0] / means[1], [0.025, 0.975])
    return {"value": float(gains[0].mean() / gains[1].mean()), "low": float(low), "high": float(high)}


def judge(study: Study, reachable: Study, steps: int, count: int) -> dict[str, object]:
    """All figures of one variant and seed.

    Args:
        study: whose log the product learns from.
        reachable: by whose settings the ceilings learn in the truth; another log's size changes no customer, draw or
            noise of the truth in which all are played, so that values stay paired.
        steps, count: of the trainings in the truth.
    """
    best, seconds = ceilings(reachable, steps, count)
    values = {name: play(study, policy) for name, policy in learned(study).items()}
    values |= {name: play(reachable, policy) for name, policy in best.items()}
    top = max((name for name in best if name.startswith("in the truth")), key=lambda name: values[name].mean())
    rule = "best rule of the truth"
    return {
        "values": {name: mean_interval(found).to_dict() for name, found in values.items()},
        "recovered": share(values["ppo"], values["incumbent"], values[top], study.config.seed),
        "recovered, half the customers": share(
            values["ppo, half the customers"], values["incumbent"], values[top], study.config.seed
        ),
        "ppo less the best rule of the truth": mean_interval(values["ppo"] - values[rule]).to_dict(),
        "ceiling": {"chosen": top, "steps": steps, "processor_seconds": round(seconds, 1)},
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints a JSON line a variant and seed."""
    known = [*VARIANTS, *HELD_BACK]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", nargs="+", default=known, choices=known)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--ceiling-steps", type=int, default=8_000_000, help="decisions of a training in the truth")
    parser.add_argument("--ceilings", type=int, default=CEILINGS, help="trainings in the truth")
    parser.add_argument("--ceiling-customers", type=int, help="in that training; as many as in the log if not given")
    parser.add_argument("--ablations", nargs="*", choices=list(ABLATIONS), help="these alone; none named: all")
    parser.add_argument("--cache", type=Path, default=Path(".cache"))
    options, overrides = parser.parse_known_args(arguments)
    for variant in options.variants:
        for seed in options.seeds:
            with tempfile.TemporaryDirectory() as folder:
                reachable = study_of(variant, seed, Path(folder), options.cache, overrides)
                if options.ceiling_customers not in (None, reachable.config.data.customers):
                    sized = [*overrides, f"data.customers={options.ceiling_customers}"]
                    reachable = study_of(variant, seed, Path(folder) / "ceiling", options.cache, sized)
                for version in ["as it is"] if options.ablations is None else options.ablations or ABLATIONS:
                    changed = [*overrides, *ABLATIONS[version]]
                    study = study_of(variant, seed, Path(folder) / "log", options.cache, changed)
                    found = judge(study, reachable, options.ceiling_steps, options.ceilings)
                    told = {"variant": variant, "seed": seed, "version": version}
                    print(json.dumps(told | found), flush=True)


if __name__ == "__main__":
    main()
