"""Offline estimates of whole months against the truth: `python -m benchmarks.sequential_truth [--variants health ...]`.

The reference market writes a log of 28 days; half of the customers fit a reward model, the other half's log is what
policies are judged by. The panel is seven rules and their blends with the logging policy at several shares: from near
to far. The truth is played by new customers with common random numbers. For every variant: rank correlation (Spearman),
regret@1 (as a share of the panel's range) and root mean squared error of every estimator's difference to the log, among
the entries that the recommended one does not refuse; how often its bounds hold; and by share, as a figure.
`--coverage N` instead: the blends' one-sided lower bounds on N small logs of a week. About 80 s a variant of one core,
and 2 s a small log.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
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
        reachable = people.law.customers.consent & ~state.truth.opted_out
        chances, _ = people.logger.probabilities(minute, recent, reachable)
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


def truths_of(market: Market, panel: dict[str, Serves], customers: int, seed: int) -> dict[tuple[str, float], float]:
    """True difference to the logging policy by policy and share."""
    base = play(market, None, 0.0, customers, seed)
    return {
        (name, share): float((play(market, policy, share, customers, seed) - base).mean())
        for name, policy in panel.items()
        for share in SHARES
        if share != 0.75
    }


@dataclass(frozen=True)
class Judged:
    """Entries of a panel: true difference, the estimators', bounds and share. Shapes [P]; NaN where refused."""

    truth: np.ndarray
    recommended: np.ndarray
    fqe: np.ndarray
    low: np.ndarray
    high: np.ndarray
    share: np.ndarray


def judged(report: dict[str, dict[str, Any]], truth: dict[tuple[str, float], float]) -> Judged:
    """Beside each other: what was estimated, and what is true."""
    rows = [
        [truth[name, b["share"]], *(np.nan if b[k] is None else b[k] for k in ("value", "fqe", "low", "high", "share"))]
        for name, entry in report.items()
        for b in entry["blends"]
        if (name, b["share"]) in truth
    ]
    return Judged(*np.array(rows, dtype=np.float64).T)


def show(variant: str, found: Judged) -> None:
    """Prints what was found of one variant."""
    kept = np.isfinite(found.recommended)
    truth, span = found.truth[kept], np.ptp(found.truth[kept])
    print(
        f"{variant}: {kept.sum()} of {len(kept)} not refused; true differences {truth.min():.2f} to {truth.max():.2f}"
    )
    for name, estimate in (("recommended", found.recommended[kept]), ("FQE", found.fqe[kept])):
        regret = (truth.max() - truth[estimate.argmax()]) / span
        error = np.sqrt(np.mean((estimate - truth) ** 2))
        print(f"  {name:12s} Spearman {spearmanr(estimate, truth)[0]:.2f}  regret@1 {regret:.2f}  error {error:.2f}")
    print(
        f"  lower bounds hold {np.mean(found.low[kept] <= truth):.2f}, upper {np.mean(found.high[kept] >= truth):.2f}"
    )
    for share in np.unique(found.share):
        here = kept & (found.share == share)
        if here.any():
            error = np.abs(found.recommended - found.truth)[here].mean()
            width = (found.high - found.low)[here].mean()
            print(f"    share {share:.2f}: {here.sum()} kept, mean error {error:.2f}, width {width:.2f}", flush=True)


def draw(panels: dict[str, Judged], path: Path) -> None:
    """How the recommended estimate decays with the distance from the log."""
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6))
    for variant, found in panels.items():
        shares = np.unique(found.share)
        scale = np.ptp(found.truth)
        with np.errstate(invalid="ignore"):
            errors = [np.nanmean(np.abs(found.recommended - found.truth)[found.share == a]) / scale for a in shares]
        kept = [np.isfinite(found.recommended[found.share == a]).mean() for a in shares]
        axes[0].plot(shares, errors, marker="o", label=variant)
        axes[1].plot(shares, kept, marker="o", label=variant)
    axes[0].set(xlabel="share of decisions that are the policy's", ylabel="mean error / range of true differences")
    axes[1].set(xlabel="share of decisions that are the policy's", ylabel="estimates not refused", ylim=(0, 1.05))
    axes[0].legend(frameon=False, fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def coverage(variants: Sequence[str], logs: int, customers: int, days: int, seed: int, kind: str) -> None:
    """Prints how often lower bounds of blends hold on small logs: each by itself, and all of a policy's at once."""
    each, jointly, refused = [], [], 0
    for variant in variants:
        first = make_market(variant, 2 * customers, days, seed + 90_000)
        model, panel = fit_half(first, kind), panel_of(first.catalogue)
        panel = {name: panel[name] for name in ("random .5", "favourite, evening, daily")}
        truth = truths_of(first, panel, 8000, seed)
        for number in range(logs):
            market = make_market(variant, customers, days, seed + number, first)
            found = judge(market, model, panel, np.arange(customers), number, draws=400)
            for name, entry in found.items():
                bounds = [(b["low"], truth[name, b["share"]]) for b in entry["blends"] if (name, b["share"]) in truth]
                refused += sum(low is None for low, _ in bounds)
                held = [low <= true for low, true in bounds if low is not None]
                each += held
                jointly += [all(held)] if held else []
        print(
            f"{variant}: lower bounds hold {np.mean(each):.3f} of {len(each)}, all of a policy's at once "
            f"{np.mean(jointly):.3f} of {len(jointly)}; {refused} refused (all variants so far)", flush=True,
        )  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the tables and writes the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--customers", type=int, default=8000)
    parser.add_argument("--judged", type=int, default=2000, help="customers whose sequences are evaluated")
    parser.add_argument("--truth", type=int, default=3000, help="customers who play the truth")
    parser.add_argument("--kind", default="logistic", help="family of the reward model")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--figure", type=Path, default=None)
    parser.add_argument("--coverage", type=int, default=0, help="small logs a variant")
    options = parser.parse_args(arguments)
    if options.coverage:
        coverage(options.variants, options.coverage, 800, 7, options.seed, options.kind)
        return
    panels = {}
    for variant in options.variants:
        market = make_market(variant, options.customers, 28, options.seed)
        model, panel = fit_half(market, options.kind), panel_of(market.catalogue)
        rows = np.arange(1, options.customers, 2)[: options.judged]
        report = judge(market, model, panel, rows, options.seed)
        panels[variant] = judged(report, truths_of(market, panel, options.truth, options.seed))
        show(variant, panels[variant])
    if options.figure is not None:
        draw(panels, options.figure)


if __name__ == "__main__":
    main()
