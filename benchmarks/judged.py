"""Whether judgements can be trusted: `OMP_NUM_THREADS=1 python -m benchmarks.judged [--variants ...] [--seeds ...]`.

One log of a reference market, worlds of each half of its customers, and some two dozen policies: agents and rules that
learned in the training half's world or from its log, rules that people write, the incumbent, and blends with it. Each
policy plays in the training world, in the judging world, which shares neither customers nor weights with it, and in the
truth: the same `--customers` there for every policy, with the same noise. A JSON line a variant and seed tells

- `policies`: the paired gain over the incumbent in each world, per customer over the horizon;
- `spearman`: rank correlation of judged and true values over all policies; beside it that of training and true ones;
- `regret`: what the policy with the highest judged value falls short of the truly best one, `of_best_gain` as a share
  of the best true gain over the incumbent, `of_range` as a share of the range between worst and best policy;
- `agents`: of everything that learned, the exploitation gap (training - judged) / training gain over the incumbent,
  none where that gain may be nothing; judged - truth in the objective's unit, and as a share of the training gain;
- `others`: the same of rules that learned nowhere, and so exploited nothing: what they lose is how the worlds differ.

`--remedies` instead trains PPO alone, with the support mask off, with pessimism, and with other numbers of members in
the training world's network, and tells the same of each. The default guardrails are stricter than the mask, so that
`guardrails=none` is what lets it bind. Further arguments are settings of the run (data.customers=2000).

`--both-ways` trains PPO in each half's world and lets both policies play in both, and in the truth. Part of a gap that
is found one way is that one fit thinks better of sending than the other; turned round it has the other sign, so that
the mean of both is what having learned in a world brings in that world alone.

Intervals (95 %) come from a bootstrap over customers. They tell the chance of who is drawn, not that of the one log,
fit and training: for that there are seeds. How to read it: docs/evidence.md.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import rankdata

from agents.panel import BEST_RULE, PANEL
from benchmarks import policy_path
from benchmarks.policy_path import far_rules, study_of
from benchmarks.worlds import GRID, TRAINING, TRUTH, gaps_of, interval_of, replicates, with_market
from campaigns.guardrails import Guardrails
from envs.reference.held_back import HELD_BACK
from envs.reference.variants import VARIANTS
from envs.world import World
from evaluation.intervals import Interval, mean_interval
from evaluation.rollout import rollout
from policies.incumbent import Incumbent
from policies.policy import Policy, load_policy
from policies.rules import CapDaypartContent
from scripts.pipeline.agent_stage import agent_stage
from scripts.pipeline.context import JUDGE, TRAIN, Study, load_logging_policy
from scripts.pipeline.fit_stage import incumbent_stage, network_stage, serving_guardrails
from scripts.pipeline.judge_stage import INCUMBENT, panel_policies
from scripts.pipeline.stage import Stage
from scripts.pipeline.worlds import truth, world

JUDGED = "judged"

LEARNERS = (
    "ppo", "linucb", "thompson", "neural_linear", "epsilon_greedy", "doubly_robust", "propensity_greedy",
    "uplift_threshold", "uplift_knapsack", BEST_RULE,
)  # fmt: skip
"""What learns from the training half: in its world, or from its log."""

RULES = {
    "favourite, evening, 3 a week": CapDaypartContent(3, "evening", "favourite"),
    "favourite, morning, daily": CapDaypartContent(7, "morning", "favourite"),
    "contents in turn, afternoon, 5 a week": CapDaypartContent(5, "afternoon", "rotate"),
    "contents in turn, any time, 1 a week": CapDaypartContent(1, "any", "rotate"),
}
"""Further rules, of other caps, dayparts and contents than those of `benchmarks.policy_path`."""

BLENDS = {"ppo": (0.25, 0.5), BEST_RULE: (0.5,)}
"""Shares of decisions that are the policy's, the rest being the incumbent's."""

REMEDIES: dict[str, dict[str, dict[str, Any]]] = {
    **{label: {"market": changed} for label, changed in GRID.items()},
    **{label: {"propensity": policy_path.REMEDIES[label]} for label in ("one member", "eight members")},
}
"""Settings under which PPO is trained for `--remedies`, by group. As they are: support .999, pessimism 0, 4 members."""

Values = dict[str, dict[str, np.ndarray]]


def panel_of(study: Study, train: Stage, incumbent: Stage, learners: Sequence[str]) -> dict[str, Policy]:
    """Everything that is judged, by name."""
    stages = {name: agent_stage(study, name, train, incumbent) for name in learners}
    panel = {name: policy for name, (policy, _) in panel_policies(study, stages, incumbent).items()}
    guardrails = serving_guardrails(study, incumbent)
    for name, rule in {**far_rules(study), **RULES}.items():
        panel[name] = study.make_policy(name, rule, None, guardrails, plain=True)
    source = Incumbent(load_logging_policy(incumbent.folder))
    for name, shares in BLENDS.items():
        for share in shares if name in panel else ():
            # A blend is a policy that explores the incumbent often.
            panel[blend_name(name, share)] = replace(panel[name], exploration=1 - share, incumbent=source)
    return panel


def blend_name(name: str, share: float) -> str:
    """Of the blend of a policy with the incumbent."""
    return f"{name}, {share:.0%}"


def play(study: Study, panel: Mapping[str, Policy], train: Stage, judge: Stage, customers: int) -> Values:
    """What every policy earns in every world, customer by customer. Shape [customers] each."""
    made: dict[Guardrails, dict[str, World[Any]]] = {}
    found: Values = {}
    for name, policy in panel.items():
        rules = policy.guardrails
        if rules not in made:
            made[rules] = {
                TRAINING: world(study, train, TRAIN, rules),
                JUDGED: world(study, judge, JUDGE, rules),
                TRUTH: truth(study, rules, customers),
            }
        found[name] = {
            where: rollout(place, policy, study.objective, customers, study.config.seed + 123).value
            for where, place in made[rules].items()
        }
    return found


def gains_over(values: Mapping[str, np.ndarray], incumbent: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Paired gains by world. Shape [N] each."""
    return {where: values[where] - incumbent[where] for where in (TRAINING, JUDGED, TRUTH)}


def exploitation(gains: Mapping[str, np.ndarray], seed: int) -> dict[str, Any]:
    """How much less a policy gains in the judging world than in its training world, and than in the truth.

    Args:
        gains: by world. Shape [N] each.
        seed: of the bootstrap.
    """
    gap, over = gaps_of(gains, seed)[JUDGED]
    training = float(gains[TRAINING].mean())
    # The noise of the training gain, by which it is divided, is left aside here.
    share = Interval(over.value / training, over.low / training, over.high / training)
    return {
        "exploitation_gap": None if gap is None else gap.to_dict(),
        "judged_minus_truth": over.to_dict(),
        "judged_minus_truth_share": None if gap is None else share.to_dict(),
    }


def agreement(judged: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation over policies, draw by draw.

    Args:
        judged, true: mean values. Shape [P, D] each.
    Returns:
        Shape [D].
    """
    ranks = [rankdata(values, axis=0) for values in (judged, true)]
    first, second = (rank - rank.mean(axis=0) for rank in ranks)
    found: np.ndarray = (first * second).sum(axis=0) / np.sqrt((first**2).sum(axis=0) * (second**2).sum(axis=0))
    return found


def regrets(judged: np.ndarray, true: np.ndarray, incumbent: int) -> tuple[np.ndarray, np.ndarray]:
    """What choosing by judged values costs in the truth, draw by draw.

    Args:
        judged, true: mean values. Shape [P, D] each.
        incumbent: its row.
    Returns:
        As a share of the best true gain over the incumbent, NaN where nothing beats it; and of the range of true
        values. Shape [D] each.
    """
    chosen = np.take_along_axis(true, judged.argmax(axis=0)[None], axis=0)[0]
    lost, reachable = true.max(axis=0) - chosen, true.max(axis=0) - true[incumbent]
    with np.errstate(divide="ignore", invalid="ignore"):
        of_gain = np.where(reachable > 0, lost / reachable, np.nan)
    return of_gain, lost / np.ptp(true, axis=0)


def figures_of(values: Values, learners: Sequence[str], seed: int) -> dict[str, Any]:
    """All figures of part a, from what every policy earned in every world.

    Args:
        values: by policy and world. Shape [N] each.
        learners: names of the policies whose exploitation gap is told.
        seed: of the bootstrap.
    """
    names, base = list(values), values[INCUMBENT]
    gains = {name: gains_over(found, base) for name, found in values.items()}
    means = {
        where: replicates(np.stack([values[name][where] for name in names]), seed + number)
        for number, where in enumerate((TRAINING, JUDGED, TRUTH))
    }
    learned = {INCUMBENT, *learners, *(blend_name(name, share) for name in BLENDS for share in BLENDS[name])}
    of_gain, of_range = regrets(means[JUDGED], means[TRUTH], names.index(INCUMBENT))
    best = {where: names[int(mean[:, -1].argmax())] for where, mean in means.items()}
    return {
        "incumbent": {where: mean_interval(found).to_dict() for where, found in base.items()},
        "policies": {
            name: {where: mean_interval(gain).to_dict() for where, gain in found.items()}
            for name, found in gains.items()
            if name != INCUMBENT
        },
        "spearman": interval_of(agreement(means[JUDGED], means[TRUTH])).to_dict(),
        "spearman_training": interval_of(agreement(means[TRAINING], means[TRUTH])).to_dict(),
        "regret": {
            "chosen": best[JUDGED],
            "truly_best": best[TRUTH],
            "of_best_gain": interval_of(of_gain).to_dict(),
            "of_range": interval_of(of_range).to_dict(),
        },
        "agents": {name: exploitation(gains[name], seed) for name in names if name in learners},
        "others": {name: exploitation(gains[name], seed) for name in names if name not in learned},
    }


def both_ways(study: Study, incumbent: Stage, customers: int) -> dict[str, Any]:
    """PPO of each half in the world of each, and what is gained by having learned in the world in which one plays.

    Gains are compared within a world, between the policy that learned in it and the one that learned in the other.
    """
    stages = {half: network_stage(study, half) for half in (TRAIN, JUDGE)}
    guardrails = serving_guardrails(study, incumbent)
    where = {half: world(study, stage, half, guardrails) for half, stage in stages.items()}
    where[TRUTH] = truth(study, guardrails, customers)
    policies = {
        half: load_policy(agent_stage(study, "ppo", stage, incumbent, half=half).folder / "policy")
        for half, stage in stages.items()
    }
    policies[INCUMBENT] = panel_policies(study, {}, incumbent)[INCUMBENT][0]
    values = {
        (name, place): rollout(made, policy, study.objective, customers, study.config.seed + 123).value
        for name, policy in policies.items()
        for place, made in where.items()
    }

    def gain(own: str, place: str) -> np.ndarray:
        return values[own, place] - values[INCUMBENT, place]

    gains = {
        TRAINING: (gain(TRAIN, TRAIN) + gain(JUDGE, JUDGE)) / 2,
        JUDGED: (gain(JUDGE, TRAIN) + gain(TRAIN, JUDGE)) / 2,
        TRUTH: (gain(TRAIN, TRUTH) + gain(JUDGE, TRUTH)) / 2,
    }
    each = {
        f"learned in {own}": {place: mean_interval(gain(own, place)).to_dict() for place in where} for own in stages
    }
    mean = {place: mean_interval(found).to_dict() for place, found in gains.items()}
    return each | {"mean": mean} | exploitation(gains, study.config.seed)


def remedied(study: Study, judge: Stage, labels: Sequence[str], customers: int) -> dict[str, Any]:
    """Part b: PPO as each remedy trains it; its gain in every world, and how far it is exploited."""
    found = {}
    for label in labels:
        changed = with_market(study, **REMEDIES[label].get("market", {}))
        propensity = replace(study.config.propensity, **REMEDIES[label].get("propensity", {}))
        changed.config = replace(changed.config, propensity=propensity)
        train, incumbent = network_stage(changed, TRAIN), incumbent_stage(changed)
        panel = panel_of(changed, train, incumbent, ["ppo"])
        values = play(changed, {name: panel[name] for name in (INCUMBENT, "ppo")}, train, judge, customers)
        gains = gains_over(values["ppo"], values[INCUMBENT])
        told = {where: mean_interval(gain).to_dict() for where, gain in gains.items()}
        found[label] = told | exploitation(gains, study.config.seed)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints a JSON line a variant and seed."""
    known = [*VARIANTS, *HELD_BACK]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", nargs="+", default=known, choices=known)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--customers", type=int, default=3000, help="who play every policy, in each world")
    parser.add_argument("--learners", nargs="+", default=list(LEARNERS), choices=list(PANEL))
    parser.add_argument("--remedies", nargs="*", choices=list(REMEDIES), help="these alone; none named: all")
    parser.add_argument("--both-ways", action="store_true", help="PPO alone, learned in each half's world")
    parser.add_argument("--cache", type=Path, default=Path(".cache"))
    options, overrides = parser.parse_known_args(arguments)
    torch.set_num_threads(1)
    for variant in options.variants:
        for seed in options.seeds:
            began = time.perf_counter()
            with tempfile.TemporaryDirectory() as folder:
                study = study_of(variant, seed, Path(folder), options.cache, overrides)
                judge = network_stage(study, JUDGE)
                if options.both_ways:
                    found = {"both_ways": both_ways(study, incumbent_stage(study), options.customers)}
                elif options.remedies is not None:
                    found = {"remedies": remedied(study, judge, options.remedies or list(REMEDIES), options.customers)}
                else:
                    train, incumbent = network_stage(study, TRAIN), incumbent_stage(study)
                    panel = panel_of(study, train, incumbent, options.learners)
                    values = play(study, panel, train, judge, options.customers)
                    found = figures_of(values, options.learners, seed)
            seconds = round(time.perf_counter() - began, 1)
            line = {"variant": variant, "seed": seed, "customers": options.customers} | found | {"seconds": seconds}
            print(
                json.dumps(json.loads(json.dumps(line), parse_float=lambda figure: round(float(figure), 4))), flush=True
            )


if __name__ == "__main__":
    main()
