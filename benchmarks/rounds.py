"""A year of monthly rounds in a reference market that drifts: `python -m benchmarks.rounds [--figure FILE]`.

Month 0 is logged by the reference logger. Then every month: the last two months' logs are learned from as
`scripts/run.py data=log previous=...` does it (networks, PPO that goes on from where it stood, choice in the judging
market, refit on all), and the policy that was chosen serves for 28 days through its own session, exploration included.
Customers stay; whoever opts out is replaced by somebody new. Contents' appeal walks and fatigue grows from month to
month (`Variant.appeal_drift`, `Variant.fatigue_drift`).

A line a month: what a customer is worth in the truth over 28 days (in expectation, costs taken off) among the very
customers who are served, from the state in which they are, under the same noise: by the logger; by the first learned
policy, never adjusted; by the policy of the month before; by the one that serves; and, in a market of its own, by
rounds whose policies explore nothing. `--figure` draws it, `--out` keeps all figures, both from month to month. Two
minutes of processor time a month on a machine that was busy with other work.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from hydra import compose, initialize_config_dir

from benchmarks.policy_path import CONF
from benchmarks.served_log import Serving, begin_serving, log_month, serve_month
from campaigns.audience import make_catalogue, make_population
from campaigns.grid import make_grid
from campaigns.history import History
from campaigns.logs import LogSettings, make_log, write_log
from campaigns.objective import Objective
from campaigns.replay import history_before
from conf.schema import RunConfig, register_schemas, settings_from
from envs.reference.market import NOISE_COLUMNS
from envs.reference.variants import VARIANTS, Variant, find_variant
from envs.reference.world import ReferenceWorld
from envs.truth import make_truth
from evaluation.intervals import mean_interval
from evaluation.rollout import rollout
from policies.policy import Policy, load_policy
from scripts.pipeline.agent_stage import agent_stage
from scripts.pipeline.changes_stage import served_stage
from scripts.pipeline.context import JUDGE, TRAIN
from scripts.pipeline.fit_stage import incumbent_stage, network_stage
from scripts.pipeline.judge_stage import INCUMBENT, load_rollouts, worlds_stage
from scripts.pipeline.pipeline import final_policy, open_study
from scripts.pipeline.stage import write_json
from scripts.pipeline.summary import choose

DAYS = 28
SETTINGS = (
    "debug=fast", "panel=[ppo]", "propensity.epochs=8", "market.judge_customers=400", "agent.ppo.steps=400000",
    "agent.ppo.refit_steps=100000", "agent.ppo.rows=1024", "agent.ppo.rollout_slots=24", "agent.ppo.batch_size=8192",
    "tracking.tensorboard=false", f"objective.horizon_days={DAYS}", f"previous_days={2 * DAYS}", "data=log",
)  # fmt: skip
"""Small, so that a year takes less than half an hour."""

LINES = {
    "logger": "the logger",
    "first": "first learned policy, never adjusted",
    "before": "last month's policy",
    "served": "adjusted every month",
    "without": "adjusted, without exploration",
}


@dataclass
class Chain:
    """Rounds of one company.

    Attributes:
        folder: for its logs and runs.
        serving: its market.
        log: the latest month's decisions.
        overrides: settings of its own.
        run: folder of its latest run; None before the first.
    """

    folder: Path
    serving: Serving
    log: pd.DataFrame
    overrides: tuple[str, ...]
    run: Path | None = None

    def adjust(self, month: int, settings: Sequence[str]) -> tuple[Policy, dict[str, Any]]:
        """Learns from the latest month's log and what is known from before; returns the policy that serves next."""
        path, run = self.folder / f"log-{month}", self.folder / f"run-{month}"
        users = self.serving.world.users
        users = users[users["user_id"].isin(self.log["user_id"].unique())]
        write_log({"users": users, "contents": self.serving.world.contents, "decisions": self.log}, path)
        previous = [] if self.run is None else [f"previous={self.run}"]
        choice = run_round(composed([*settings, *self.overrides, f"data.path={path}", *previous]), run)
        self.run = run
        return load_policy(run / "policy"), choice

    def serve(self, policy: Policy, month: int) -> None:
        """Lets a policy serve for a month, whose log takes the place of the last."""
        slots = DAYS * self.serving.world.clock.slots_per_day
        self.log = serve_month(self.serving, policy, self.log, slots, seed=month)

    def histories(self) -> History:
        """What is known of those who are served, by the latest month's log."""
        world, users = self.serving.world, self.serving.users
        everybody = world.users[world.users["user_id"].isin({*users["user_id"], *self.log["user_id"]})]
        log = make_log(
            {"users": everybody, "contents": world.contents, "decisions": self.log},
            LogSettings(timezone=world.clock.timezone, slot_hours=world.clock.slot_hours),
        )
        policy = load_policy(self.run / "policy") if self.run else None
        assert policy is not None
        catalogue = make_catalogue(log.contents, policy.content_encoder, policy.objective)
        people = make_population(log.users, policy.user_encoder, catalogue.channels, world.clock.timezone, holdout=0.0)
        grid = make_grid(log)
        known = history_before(grid, people, catalogue, world.clock, grid.slots)
        return known.take(torch.from_numpy(pd.Index(log.users["user_id"]).get_indexer(pd.Index(users["user_id"]))))


def composed(overrides: Sequence[str]) -> RunConfig:
    """The settings of a round."""
    register_schemas()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return settings_from(compose("config", list(overrides)))


def run_round(config: RunConfig, folder: Path) -> dict[str, Any]:
    """What `scripts/run.py` does of a run that matters to a round: no gate, no estimates from the log, no report."""
    study = open_study(config, folder)
    served = served_stage(study)
    train, judge, incumbent = network_stage(study, TRAIN), network_stage(study, JUDGE), incumbent_stage(study)
    agents = {"ppo": agent_stage(study, "ppo", train, incumbent)}
    worlds = {
        name: load_rollouts(worlds_stage(study, name, agents, train, judge, incumbent)) for name in (INCUMBENT, "ppo")
    }
    choice = choose(study, worlds, {}, refused=False)
    final_policy(study, choice, agents, incumbent)
    judged = mean_interval(worlds[choice["chosen"]]["judged"]["value"]).to_dict()
    write_json(folder / "summary.json", {**choice, "policies": [{"name": choice["chosen"], "judged": judged}]})
    told = {} if served is None else json.loads((served.folder / "served.json").read_text(encoding="utf-8"))
    return {**choice, "served": told.get("delivered"), "match": told.get("match")}


def value_of(serving: Serving, policy: Policy, history: History, seed: int) -> np.ndarray:
    """What each served customer is worth over the month that begins, if this policy served. Shape [N]."""
    world = serving.world.later(serving.state, serving.recent, torch.from_numpy(serving.rows))
    clock = world.clock
    truth = make_truth(world, policy.user_encoder, policy.content_encoder, policy.objective, clock, policy.guardrails)
    return rollout(replace(truth, start=history), policy, policy.objective, len(serving.rows), seed).value


def value_of_logger(serving: Serving, objective: Objective, seed: int) -> np.ndarray:
    """The same, had the logger served. Shape [N]."""
    world = serving.world.later(serving.state, serving.recent, torch.from_numpy(serving.rows))
    generator = torch.Generator().manual_seed(seed)
    (state, recent), people = world.warm, len(serving.rows)
    value = torch.zeros(people)
    for _ in range(objective.slots(world.clock)):
        noise = torch.rand(people, 1 + NOISE_COLUMNS, generator=generator)
        decision, _, _ = world.logged_decisions(state, recent, noise[:, 0])
        state, outcome = world.step(state, decision, noise[:, 1:])
        recent = world.logger.remember(recent, decision, world.clock.slot_hours)
        costs = world.variant.send_cost * (decision > 0) + objective.unsubscribe_cost * outcome.expected_unsubscribed
        value += outcome.expected_value - costs
    return value.numpy()


def play(
    variant: Variant, rounds: int, customers: int, seed: int, folder: Path, settings: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """Plays the rounds; yields a row a month: values by the names of `LINES`, paired differences, and choices."""
    world = ReferenceWorld(variant, 3 * customers, seed, days=DAYS * (rounds + 1))
    first = begin_serving(world, customers)
    log = log_month(first, DAYS * world.clock.slots_per_day, seed=0)
    chains = {
        name: Chain(folder / name, replace(first), log, (f"policy.exploration={share}", f"seed={seed}"))
        for name, share in (("served", 0.02), ("without", 0.0))
    }
    start: Policy | None = None
    before: Policy | None = None
    for month in range(1, rounds + 1):
        values: dict[str, np.ndarray] = {}
        told: dict[str, Any] = {}
        for name, chain in chains.items():
            policy, choice = chain.adjust(month, settings)
            chain.serving.replace_lost()
            history = chain.histories()
            values[name] = value_of(chain.serving, policy, history, month)
            if name == "served":
                before = before or policy
                start = start or (None if choice["chosen"] == INCUMBENT else policy)
                values["first"] = value_of(chain.serving, start or policy, history, month)
                values["before"] = value_of(chain.serving, before, history, month)
                values["logger"] = value_of_logger(chain.serving, policy.objective, month)
                before = policy
            told[name] = choice
            chain.serve(policy, month)
            told[name]["sends_per_week"] = float(chain.log["content_id"].notna().mean() * 7 * world.clock.slots_per_day)
        yield _row(month, values, told)


def _row(month: int, values: dict[str, np.ndarray], told: dict[str, Any]) -> dict[str, Any]:
    worth = {name: mean_interval(values[name]).to_dict() for name in LINES}
    paired = {name: mean_interval(values["served"] - values[name]).to_dict() for name in ("logger", "first", "before")}
    return {"month": month, "worth": worth, "served_less": paired, "told": told}


def _line(row: dict[str, Any]) -> str:
    worth = "  ".join(f"{name} {row['worth'][name]['value']:6.2f}" for name in LINES)
    less = "  ".join(
        f"-{name} {gain['value']:+.2f} [{gain['low']:+.2f}, {gain['high']:+.2f}]"
        for name, gain in row["served_less"].items()
    )
    told = row["told"]["served"]
    return (
        f"month {row['month']:2d}  {worth}  served{less}  chosen {told['chosen']}, {told['sends_per_week']:.1f} a week"
    )


def draw(months: Sequence[dict[str, Any]], target: Path) -> None:
    """The months' values as lines, the served policy's with its interval."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.2), layout="constrained")
    axes = figure.subplots()
    at = [row["month"] for row in months]
    styles = {"served": ("#1f4e79", "-", 2.2), "without": ("#c55a11", "-", 1.4), "before": ("#1f4e79", ":", 1.4),
              "first": ("#7f7f7f", "--", 1.4), "logger": ("#bfbfbf", "-", 1.4)}  # fmt: skip
    for name, (colour, line, width) in styles.items():
        values = [row["worth"][name]["value"] for row in months]
        axes.plot(at, values, line, color=colour, lw=width, label=LINES[name], marker="o", ms=3)
    low, high = ([row["worth"]["served"][end] for row in months] for end in ("low", "high"))
    axes.fill_between(at, low, high, color="#1f4e79", alpha=0.12, lw=0)
    axes.set(xlabel="month", ylabel="value of a customer over 28 days, in the truth", xticks=at)
    axes.set_ylim(bottom=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, ncols=2)
    figure.savefig(target, metadata={"Date": None})


def main(arguments: Sequence[str] | None = None) -> None:
    """Plays the rounds, prints a line a month, and what the year was worth."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--customers", type=int, default=600)
    parser.add_argument("--variant", default="ecommerce", choices=list(VARIANTS))
    parser.add_argument("--appeal-drift", type=float, default=0.25)
    parser.add_argument("--fatigue-drift", type=float, default=0.04)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--figure", type=Path, help="SVG or PNG to draw")
    parser.add_argument("--out", type=Path, help="JSON of all figures")
    options, overrides = parser.parse_known_args(arguments)
    variant = replace(
        find_variant(options.variant), appeal_drift=options.appeal_drift, fatigue_drift=options.fatigue_drift
    )
    with tempfile.TemporaryDirectory() as folder:
        settings = [*SETTINGS, f"cache_dir={folder}/cache", *overrides]
        months = []
        for row in play(variant, options.rounds, options.customers, options.seed, Path(folder), settings):
            months.append(row)
            print(_line(row), flush=True)
            if options.out:
                options.out.write_text(json.dumps(months, indent=1) + "\n", encoding="utf-8")
            if options.figure:
                draw(months, options.figure)
    for name, label in LINES.items():
        print(f"{label}: {np.mean([row['worth'][name]['value'] for row in months]):.2f} a customer and month")


if __name__ == "__main__":
    main()
