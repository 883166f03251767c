"""Offline estimates of whole months against the truth: `python -m benchmarks.sequential_truth [--variants health ...]`.

The reference market writes a log of 28 days; half of the customers fit a reward model, the other half's log is what
policies are judged by. The panel is seven rules and their blends with the logging policy at several shares: from near
to far. The truth is played by new customers with common random numbers. For every variant: rank correlation (Spearman),
regret@1 (as a share of the panel's range) and root mean squared error of every estimator's difference to the log, among
the entries that the recommended one does not refuse; what an estimate without bias and with the log's own standard
errors would reach; how often its bounds hold; and by share, as a figure. `--coverage N` instead: the blends' one-sided
lower bounds on N small logs of a week. About 80 s a variant of one core, and 2 s a small log.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import torch
from scipy.stats import spearmanr

from campaigns.audience import Catalogue, Population, make_catalogue, make_population
from campaigns.encoding import FeatureEncoder, fit_encoder
from campaigns.grid import DecisionGrid, make_grid
from campaigns.guardrails import Guardrails
from campaigns.logging_policy import LoggingPolicyModel, LoggingPolicySpec
from campaigns.logs import CampaignLog, LogSettings, make_log
from campaigns.objective import Objective
from campaigns.observation import Observation
from campaigns.replay import decision_rows
from envs.reference.simulate import simulate
from envs.reference.variants import VARIANTS
from envs.reference.world import ReferenceWorld
from envs.truth import make_truth
from envs.world import slot_reward
from evaluation.intervals import minimum_detectable_difference
from evaluation.offline import logged_rewards
from evaluation.offline_settings import OfflineSettings
from evaluation.sequences import collect_sequences
from evaluation.sequential import SHARES, evaluate_sequences
from policies.chooser import Chooser, sample
from policies.rules import CapDaypartContent, Never, Random
from propensity.fit_model import fit_model
from propensity.fit_settings import FitSettings
from propensity.model import PropensityModel

GUARDRAILS = Guardrails(holdout=0.0)
TRUTH_SEED = 1_000_003
"""Customers of the truth are others than those of any log."""


class Serves:
    """A chooser as logs and worlds ask it."""

    def __init__(self, chooser: Chooser) -> None:
        self.chooser = chooser

    def probabilities_of(self, observation: Observation) -> torch.Tensor:
        """Shape [N, 1 + K]."""
        return self.chooser.probabilities(observation)


@dataclass(frozen=True)
class Market:
    """A variant's log, and what a half of it taught."""

    variant: str
    log: CampaignLog
    users: FeatureEncoder
    contents: FeatureEncoder
    catalogue: Catalogue
    population: Population
    grid: DecisionGrid
    objective: Objective

    @property
    def logging_policy(self) -> LoggingPolicyModel:
        """Never asked: the reference market logs its probabilities."""
        spec = LoggingPolicySpec(self.population.features.shape[1], self.catalogue.features.shape[1])
        return LoggingPolicyModel(spec, tuple(map(str, self.catalogue.ids))).eval()


def make_market(variant: str, customers: int, days: int, seed: int, like: Market | None = None) -> Market:
    """A log of a variant; encoded as another one's, where that is given."""
    log = make_log(simulate(VARIANTS[variant], customers, days, seed), LogSettings())
    objective = Objective(horizon_days=days)
    users = fit_encoder(log.users.iloc[::2], "users") if like is None else like.users
    contents = fit_encoder(log.contents, "contents") if like is None else like.contents
    catalogue = make_catalogue(log.contents, contents, objective)
    population = make_population(log.users, users, catalogue.channels, log.clock.timezone, holdout=0.0)
    return Market(variant, log, users, contents, catalogue, population, make_grid(log), objective)


def fit_half(market: Market, kind: str) -> PropensityModel:
    """A reward model of every other customer."""
    rows = np.arange(0, len(market.population), 2)
    people = market.population.take(torch.from_numpy(rows))
    decisions = decision_rows(market.grid.take(rows), people, market.catalogue, market.log.clock)
    return fit_model(decisions, people, market.catalogue, replace(FitSettings(), kind=kind), 1)


def panel_of(catalogue: Catalogue) -> dict[str, Serves]:
    """Seven rules; with their blends 28 policies from near the log to far."""
    rules: dict[str, Chooser] = {
        "never": Never(),
        "random .1": Random(0.1),
        "random .5": Random(0.5),
        "favourite, evening, daily": CapDaypartContent(7, "evening", "favourite"),
        "in turn, as often as allowed": CapDaypartContent(10, "any", "rotate"),
        "in turn, morning, 2 a week": CapDaypartContent(2, "morning", "rotate"),
        "second content alone": CapDaypartContent(10, "any", str(catalogue.ids[1])),
    }
    return {name: Serves(rule) for name, rule in rules.items()}


@torch.no_grad()
def play(market: Market, policy: Serves | None, share: float, customers: int, seed: int) -> np.ndarray:
    """True value a customer of a blend with the logging policy itself. Shape [customers]."""
    clock, days = market.log.clock, market.objective.horizon_days
    people = ReferenceWorld(
        VARIANTS[market.variant], customers, TRUTH_SEED + seed, clock.slot_hours, clock.timezone, days=days
    )
    world = make_truth(people, market.users, market.contents, market.objective, clock, GUARDRAILS)
    generator = torch.Generator().manual_seed(seed + 5)
    state, recent = world.begin(torch.arange(customers), generator), people.warm[1]
    value = torch.zeros(customers)
    for _ in range(market.objective.slots(clock)):
        noise = torch.rand(customers, 2 + world.noise_columns, generator=generator)
        seen = world.observe(state)
        minute, _ = people.law.clocks(state.truth.slot)
        chances, _ = people.logger.probabilities(minute, recent, people.law.reachable(state.truth))
        decision = sample(chances, noise[:, 0])
        if policy is not None:
            own = sample(policy.probabilities_of(seen), noise[:, 0])
            decision = torch.where(noise[:, 1] < share, own, decision)
        state, outcome = world.step(state, decision, noise[:, 2:], seen)
        recent = people.logger.remember(recent, decision, clock.slot_hours)
        value += slot_reward(market.objective, outcome, decision, world.catalogue, expected=True)
    result: np.ndarray = value.numpy()
    return result


def judge(
    market: Market, model: PropensityModel, panel: dict[str, Serves], rows: np.ndarray, seed: int, draws: int = 1000
) -> dict[str, dict[str, Any]]:
    """The recommended estimator's report on some customers' log."""
    sequences = collect_sequences(
        market.grid.take(rows), market.population.take(torch.from_numpy(rows)), market.catalogue, market.log.clock,
        GUARDRAILS, market.objective, panel, model, market.logging_policy,
    )  # fmt: skip
    return evaluate_sequences(sequences, OfflineSettings(draws=draws), seed)


@dataclass(frozen=True)
class Truth:
    """A true difference to the logging policy, and its standard error, for it is played by some customers."""

    difference: float
    error: float


def earned_in(market: Market, rows: np.ndarray) -> float:
    """What a customer earned in the log, on average over those at `rows`."""
    earned = logged_rewards(market.grid, market.catalogue, market.objective, market.grid.slots)
    return float(earned[rows].sum(axis=1).mean())


def truths_of(market: Market, panel: dict[str, Serves], customers: int, seed: int) -> dict[tuple[str, float], Truth]:
    """True difference to the logging policy by policy and share."""
    base, found = play(market, None, 0.0, customers, seed), {}
    for name, policy in panel.items():
        for share in SHARES:
            if share != 0.75:
                apart = play(market, policy, share, customers, seed) - base
                found[name, share] = Truth(float(apart.mean()), float(apart.std()) / customers**0.5)
    return found


def judged(
    variant: str, report: dict[str, dict[str, Any]], truth: dict[tuple[str, float], Truth], earned: float
) -> pd.DataFrame:
    """Beside each other, an entry of the panel a row: what was estimated, and what is true; null where refused.

    `error` is the standard error of the corrected estimate, `earned` what a customer earned in the log.
    """
    one = minimum_detectable_difference(1.0)
    rows = [
        {
            "variant": variant,
            "policy": name,
            "share": b["share"],
            "truth": truth[name, b["share"]].difference,
            "truth_error": truth[name, b["share"]].error,
            "recommended": b["value"],
            "error": None if b["minimum_detectable"] is None else b["minimum_detectable"] / one,
            **{key: b[key] for key in ("fqe", "low", "high")},
            "earned": earned,
        }
        for name, entry in report.items()
        for b in entry["blends"]
        if (name, b["share"]) in truth
    ]
    return pd.DataFrame(rows).astype({key: float for key in ("recommended", "error", "low", "high")})


def regret(estimate: np.ndarray, truth: np.ndarray) -> float:
    """What the entry estimated best falls short of the truly best one, as a share of the range. Shapes [P]."""
    return float((truth.max() - truth[estimate.argmax()]) / np.ptp(truth))


def attainable(kept: pd.DataFrame, draws: int = 2000, seed: int = 0) -> tuple[float, float]:
    """Median Spearman and regret@1 of the truth plus noise of the log's standard errors.

    A policy's blends share their noise, which grows along them; different policies have independent noise.
    """
    generator, truth = np.random.default_rng(seed), kept["truth"].to_numpy()
    policy, names = pd.factorize(kept["policy"])
    noise = generator.normal(size=(draws, len(names)))[:, policy] * kept["error"].to_numpy()
    ranks = [float(spearmanr(truth + own, truth)[0]) for own in noise]
    return float(np.median(ranks)), float(np.median([regret(truth + own, truth) for own in noise]))


def show(variant: str, found: pd.DataFrame) -> None:
    """Prints what was found of one variant."""
    kept = found[found["recommended"].notna()]
    truth = kept["truth"].to_numpy()
    print(
        f"{variant}: {len(kept)} of {len(found)} not refused; a customer earned {found['earned'].iloc[0]:.2f}; true "
        f"differences {truth.min():.2f} to {truth.max():.2f}, spread {truth.std():.2f} (known to "
        f"{kept['truth_error'].mean():.2f}); standard error of the log {kept['error'].mean():.2f}"
    )
    for name in ("recommended", "fqe"):
        estimate = kept[name].to_numpy()
        error = np.sqrt(np.mean((estimate - truth) ** 2))
        print(
            f"  {name:12s} Spearman {spearmanr(estimate, truth)[0]:.2f}  regret@1 {regret(estimate, truth):.2f}  "
            f"error {error:.2f}"
        )
    rank, lost = attainable(kept)
    print(f"  {'attainable':12s} Spearman {rank:.2f}  regret@1 {lost:.2f}  (truth and the log's noise, median)")
    print(
        f"  lower bounds hold {(kept['low'] <= truth).mean():.2f}, upper {(kept['high'] >= truth).mean():.2f}",
        flush=True,
    )


def decay(found: pd.DataFrame) -> pd.DataFrame:
    """By share: mean error and width as a share of what a customer earned, bounds that hold, share not refused."""
    kept = found[found["recommended"].notna()]
    figures = kept.assign(
        error=(kept["recommended"] - kept["truth"]).abs() / kept["earned"],
        width=(kept["high"] - kept["low"]) / kept["earned"],
        holds=((kept["low"] <= kept["truth"]).astype(float) + (kept["high"] >= kept["truth"])) / 2,
    )
    table: pd.DataFrame = figures.groupby("share")[["error", "width", "holds"]].mean()
    return table.assign(told=found.groupby("share")["recommended"].apply(lambda values: values.notna().mean()))


def draw(found: pd.DataFrame, path: Path) -> None:
    """How the recommended estimate decays with the distance from the log."""
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    titles = {
        "error": "mean error / what a customer earns",
        "width": "width between the bounds / the same",
        "holds": "one-sided bounds that hold",
        "told": "estimates not refused",
    }
    figure, axes = plt.subplots(1, len(titles), figsize=(13, 3.4))
    lines = {str(name): (decay(part), {"alpha": 0.6}) for name, part in found.groupby("variant", sort=False)}
    lines["all variants"] = (decay(found), {"color": "black", "linewidth": 2.0})
    for axis, (column, title) in zip(axes, titles.items(), strict=True):
        for name, (table, style) in lines.items():
            axis.plot(table.index, table[column], marker="o", markersize=3, label=name, **style)
        axis.set(title=title, xlabel="share of decisions that are the policy's")
        axis.title.set_fontsize(9)
        axis.set_ylim(0, 1.05 if column in {"holds", "told"} else None)
    axes[2].axhline(0.95, color="grey", linestyle=":", linewidth=1)
    axes[0].legend(frameon=False, fontsize=8)
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)


def coverage(variants: Sequence[str], logs: int, customers: int, days: int, seed: int, kind: str) -> pd.DataFrame:
    """Prints how often lower bounds of blends hold on small logs: each by itself, and all of a policy's at once."""
    parts = []
    for variant in variants:
        first = make_market(variant, 2 * customers, days, seed + 90_000)
        model, panel = fit_half(first, kind), panel_of(first.catalogue)
        panel = {name: panel[name] for name in ("random .5", "favourite, evening, daily")}
        truth = truths_of(first, panel, 8000, seed)
        for number in range(logs):
            market = make_market(variant, customers, days, seed + number, first)
            report = judge(market, model, panel, np.arange(customers), number, draws=400)
            parts.append(judged(variant, report, truth, earned_in(market, np.arange(customers))).assign(log=number))
        found = pd.concat(parts, ignore_index=True)
        own, kept = found[found["variant"] == variant], found[found["low"].notna()]
        told = own[own["low"].notna()]
        held = (told["low"] <= told["truth"]).mean()
        print(f"{variant}: lower bounds hold {held:.3f} of {len(told)}, {len(own) - len(told)} refused", flush=True)
    holds = kept["low"] <= kept["truth"]
    jointly = holds.groupby([kept[column] for column in ("variant", "log", "policy")]).all()
    print(f"{len(variants) * logs} logs: each {holds.mean():.3f} of {len(holds)}, all of a policy's at once", end=" ")
    print(f"{jointly.mean():.3f} of {len(jointly)}; by share:")
    print(decay(found).round(3))
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the tables and writes the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--customers", type=int, default=8000)
    parser.add_argument("--judged", type=int, default=2000, help="customers whose sequences are evaluated")
    parser.add_argument("--truth", type=int, default=3000, help="customers who play the truth")
    parser.add_argument("--kind", default="logistic", help="family of the reward model")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--figure", type=Path, default=None, help="where the decay with the distance is drawn")
    parser.add_argument("--records", type=Path, default=None, help="CSV of every entry of the panel")
    parser.add_argument("--coverage", type=int, default=0, help="small logs a variant")
    options = parser.parse_args(arguments)
    if options.coverage:
        found = coverage(options.variants, options.coverage, 800, 7, options.seed, options.kind)
        if options.records is not None:
            found.to_csv(options.records, index=False)
        return
    panels = []
    for variant in options.variants:
        market = make_market(variant, options.customers, 28, options.seed)
        model, panel = fit_half(market, options.kind), panel_of(market.catalogue)
        rows = np.arange(1, options.customers, 2)[: options.judged]
        report = judge(market, model, panel, rows, options.seed)
        panels.append(
            judged(variant, report, truths_of(market, panel, options.truth, options.seed), earned_in(market, rows))
        )
        show(variant, panels[-1])
    found = pd.concat(panels, ignore_index=True)
    print(decay(found).round(3))
    if options.records is not None:
        found.to_csv(options.records, index=False)
    if options.figure is not None:
        draw(found, options.figure)


if __name__ == "__main__":
    main()
