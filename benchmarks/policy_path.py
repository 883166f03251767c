"""Predictions along policies' own paths in the truth: `python -m benchmarks.policy_path [--variants banking ...]`.

A market is made of one log of the reference market; PPO is trained in it, and five rules far from the logging policy
are written down. Each then acts in the truth, among customers drawn anew, and the network is asked about every state
and decision that comes about. A line a policy: predicted over true sums of opens, clicks, purchases, opt-outs and
value, with the true sums per customer in brackets. `--network train` asks the market in which PPO was trained, made of
half the customers; `--network all` the one that is refitted on all of them. The reference world also answers
`--remedies`: what each part of the network closes, on rules alone. About three minutes a variant on one core.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from hydra import compose, initialize_config_dir

from campaigns.guardrails import Guardrails
from conf.schema import register_schemas, settings_from
from envs.reference.variants import VARIANTS
from evaluation.own_path import PathCheck, own_path
from policies.policy import Policy, load_policy
from policies.rules import CapDaypartContent, Random
from propensity.fit import fit_network
from propensity.model import PropensityModel
from scripts.pipeline.agent_stage import agent_stage
from scripts.pipeline.context import TRAIN, Study, load_model
from scripts.pipeline.fit_stage import fitting_rows, incumbent_stage, network_stage, serving_guardrails
from scripts.pipeline.pipeline import open_study
from scripts.pipeline.worlds import truth

CONF = Path(__file__).resolve().parents[1] / "conf"
CUSTOMERS = 4000
REMEDIES = {
    "as it is": {},
    "no product of tastes and contents": {"tastes": 0},
    "weak decay": {"weight_decay": 0.01},
    "embedded numbers": {"bins": 32},
    "embedded numbers, dropout": {"bins": 32, "dropout": 0.15},
    "one member": {"members": 1},
    "eight members": {"members": 8},
}
"""Versions of the network's settings that `--remedies` compares."""


def far_rules(study: Study) -> dict[str, CapDaypartContent | Random]:
    """Five rules far from the logging policy."""
    second = str(study.catalogue.ids[1])
    return {
        "favourite, evening, daily": CapDaypartContent(7, "evening", "favourite"),
        f"{second} alone": CapDaypartContent(10, "any", second),
        "half of all slots, any content": Random(0.5),
        "contents in turn, as often as allowed": CapDaypartContent(10, "any", "rotate"),
        "contents in turn, morning, 2 a week": CapDaypartContent(2, "morning", "rotate"),
    }


def study_of(variant: str, seed: int, folder: Path, cache: Path, overrides: Sequence[str]) -> Study:
    """The run's log, simulated or from the cache."""
    register_schemas()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", [f"data.variant={variant}", f"seed={seed}", f"cache_dir={cache}", *overrides])
    return open_study(settings_from(config), folder)


def checks_of(
    study: Study, guardrails: Guardrails, policies: dict[str, Policy], model: PropensityModel
) -> dict[str, list[PathCheck]]:
    """Every policy's path in the truth, as the model sees it."""
    world = truth(study, guardrails, CUSTOMERS)
    return {
        name: own_path(world, policy, model, study.objective, CUSTOMERS, study.config.seed + 7)
        for name, policy in policies.items()
    }


def show(variant: str, label: str, checks: dict[str, list[PathCheck]]) -> None:
    """Prints a line a policy, and how many figures lie within 10 %."""
    print(f"{variant}, {label}")
    for name, found in checks.items():
        print(f"  {name:38s} " + "  ".join(f"{c.name} {c.ratio:.2f} ({c.true:.3g})" for c in found), flush=True)
    off = {c.name: [abs(x.ratio - 1) for f in checks.values() for x in f if x.name == c.name] for c in found}
    parts = [f"{n} {sum(o <= 0.1 for o in v)} of {len(v)}, worst {max(v):.0%}" for n, v in off.items()]
    print(
        "  within 10 %: " + "; ".join(parts) + f"; mean {np.mean([x for v in off.values() for x in v]):.1%}", flush=True
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--network", nargs="+", default=[TRAIN, "all"], choices=[TRAIN, "all"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--remedies", action="store_true")
    parser.add_argument("--cache", type=Path, default=Path(".cache"))
    options, overrides = parser.parse_known_args(arguments)
    for variant in options.variants:
        with tempfile.TemporaryDirectory() as folder:
            study = study_of(variant, options.seed, Path(folder), options.cache, overrides)
            incumbent = incumbent_stage(study)
            guardrails = serving_guardrails(study, incumbent)
            policies = {
                name: study.make_policy(name, rule, None, guardrails, plain=True)
                for name, rule in far_rules(study).items()
            }
            if options.remedies:
                rows = fitting_rows(study, TRAIN)
                for label, changed in REMEDIES.items():
                    settings = replace(study.config.propensity, **changed)
                    model = fit_network(rows, study.population, study.catalogue, settings, seed=1)
                    show(variant, label, checks_of(study, guardrails, policies, model))
                continue
            stages = {half: network_stage(study, half) for half in {TRAIN, *options.network}}
            agent = agent_stage(study, "ppo", stages[TRAIN], incumbent)
            policies = {"PPO": load_policy(agent.folder / "policy"), **policies}
            for half in options.network:
                label = "half the customers" if half == TRAIN else "all customers"
                show(variant, label, checks_of(study, guardrails, policies, load_model(stages[half].folder)))


if __name__ == "__main__":
    main()
