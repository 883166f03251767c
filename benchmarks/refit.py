"""What learning again from all customers is worth in the truth: `python -m benchmarks.refit [--variant ecommerce]`.

PPO is trained in the market of half the customers; then in that of all, going on from where it stood
(`agent.ppo.refit_steps`) or from scratch (`agent.ppo.steps`). All three act in the reference truth among the same
customers drawn anew, with the same noise. About six minutes on one core.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.policy_path import study_of
from envs.reference.variants import VARIANTS
from evaluation.intervals import mean_interval
from evaluation.rollout import rollout
from policies.policy import load_policy
from scripts.pipeline.agent_stage import agent_stage
from scripts.pipeline.context import TRAIN
from scripts.pipeline.fit_stage import incumbent_stage, network_stage
from scripts.pipeline.worlds import truth

CUSTOMERS = 6000


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints values per customer over the horizon, and paired differences, with 95 % intervals."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variant", default="ecommerce", choices=list(VARIANTS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path, default=Path(".cache"))
    options, overrides = parser.parse_known_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        study = study_of(options.variant, options.seed, Path(folder), options.cache, overrides)
        incumbent, everyone = incumbent_stage(study), network_stage(study, "all")
        half = agent_stage(study, "ppo", network_stage(study, TRAIN), incumbent)
        stages = {
            "half the customers": half,
            "all, going on": agent_stage(study, "ppo", everyone, incumbent, half="all", before=half),
            "all, from scratch": agent_stage(study, "ppo", everyone, incumbent, half="all"),
        }
        values: dict[str, np.ndarray] = {}
        for name, stage in stages.items():
            policy = load_policy(stage.folder / "policy")
            world = truth(study, policy.guardrails, CUSTOMERS)
            played = rollout(world, policy, study.objective, CUSTOMERS, study.config.seed + 123)
            values[name] = played.value
            print(
                f"{name}: {mean_interval(played.value).to_dict()}, opted out {played.opted_out.mean():.3f}", flush=True
            )
        for name in ("half the customers", "all, from scratch"):
            print(f"going on less {name}: {mean_interval(values['all, going on'] - values[name]).to_dict()}")


if __name__ == "__main__":
    main()
