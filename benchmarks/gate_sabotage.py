"""The gate against honest and sabotaged markets: `python benchmarks/gate_sabotage.py --seeds 0 1 2 3 4`.

Sabotages: `no effect` and `doubled effect` of a send on purchases, visits and opt-outs, levelled so that the totals
under the logger stay right; `no fatigue`, whose network is fitted and asked without anything that tells of recent
sends; `shuffled contents`, fitted to a log in which contents were dealt out anew among the sends of each slot.
Prints one line a market and, at the end, a Markdown table; `--out FILE` adds the lines to a file as JSON, and
`--table FILE` prints the table of such a file alone. About two minutes a seed and variant on one core.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from campaigns.audience import Catalogue, Population, make_catalogue, make_population
from campaigns.encoding import fit_encoder
from campaigns.features import CANDIDATE_FEATURES, STATE_FEATURES
from campaigns.grid import DecisionGrid, make_grid
from campaigns.guardrails import NO_GUARDRAILS
from campaigns.history import HOLD
from campaigns.logging_policy import LoggingPolicyModel, fit_logging_policy
from campaigns.logs import CampaignLog, LogSettings, make_log
from campaigns.objective import Objective
from campaigns.replay import DecisionRows, decision_rows
from envs.market import make_market
from envs.reference.simulate import simulate
from envs.reference.variants import VARIANTS, find_variant
from evaluation.gate import MarketGate, market_gate
from evaluation.gate_checks import OUTCOMES
from evaluation.logged_answers import collect_answers
from evaluation.market_log import write_market_log
from policies.incumbent import Incumbent
from propensity.fit import fit_network
from propensity.fit_settings import FitSettings
from propensity.model import PropensityModel
from propensity.response import Response

HONEST = "honest"
SABOTAGES = ("no effect", "doubled effect", "no fatigue", "shuffled contents")


def tells_of_sends(name: str) -> bool:
    """Whether a feature tells how long ago or how often something was sent."""
    words = ("hours since send", "hours since content", "hours since category", "sends in", "sends, halved", "unopened",
             "content never", "content sends", "category sends", "load")  # fmt: skip
    return any(word in name for word in words) and "daypart" not in name


FROZEN_STATE = [i for i, name in enumerate(STATE_FEATURES) if tells_of_sends(name)]
FROZEN_CANDIDATE = [i for i, name in enumerate(CANDIDATE_FEATURES) if tells_of_sends(name)]


def frozen(state: Tensor, candidate: Tensor) -> tuple[Tensor, Tensor]:
    """Features with everything that tells of recent sends at 0."""
    state, candidate = state.clone(), candidate.clone()
    state[..., FROZEN_STATE], candidate[..., FROZEN_CANDIDATE] = 0.0, 0.0
    return state, candidate


class Tireless(PropensityModel):
    """Asked without anything that tells of recent sends."""

    def respond(
        self, customers: Tensor, state: Tensor, contents: Tensor, candidate: Tensor, sent: Tensor,
        member: Tensor | None = None, projected: Tensor | None = None,
    ) -> Response:  # fmt: skip
        """As the model's, features frozen."""
        return super().respond(customers, *_between(state, contents, candidate), sent, member, projected)


def _between(state: Tensor, contents: Tensor, candidate: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    state, candidate = frozen(state, candidate)
    return state, contents, candidate


@dataclass(frozen=True)
class Scaled(PropensityModel):
    """The effect of a send on what may happen without one, times `factor`; opens and clicks stay as they are.

    Attributes:
        factor: 0 for none, 2 for a doubled effect.
        level: by outcome, what keeps the totals under the logger.
    """

    factor: float = 1.0
    level: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def respond(
        self, customers: Tensor, state: Tensor, contents: Tensor, candidate: Tensor, sent: Tensor,
        member: Tensor | None = None, projected: Tensor | None = None,
    ) -> Response:  # fmt: skip
        """As the model's, effects scaled."""
        rest = (state, contents, candidate)
        mine = super().respond(customers, *rest, sent, member, projected)
        idle = super().respond(customers, *rest, torch.zeros_like(sent), member, projected)

        def scaled(one: Tensor, none: Tensor, level: float) -> Tensor:
            return (level * (none + self.factor * (one - none))).clamp(0.0, 1.0)

        opened = mine.opened
        clicked = mine.clicked / opened.clamp(min=1e-12)
        visited = scaled(mine.visited, idle.visited, self.level[1])
        return replace(
            mine,
            purchase=scaled(mine.purchase, idle.purchase, self.level[0]),
            open_if_bought=opened, open_if_not=opened, click_if_bought=clicked, click_if_not=clicked,
            visit_if_bought=visited, visit_if_not=visited,
            unsubscribe=scaled(mine.unsubscribe, idle.unsubscribe, self.level[2]),
        )  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One log with what all its markets share."""

    variant: str
    seed: int
    log: CampaignLog
    grid: DecisionGrid
    population: Population
    catalogue: Catalogue
    logger: LoggingPolicyModel
    train: np.ndarray
    judge: np.ndarray


def make_case(variant: str, seed: int, customers: int, days: int) -> Case:
    """Simulates a log and fits its logging policy."""
    log = make_log(simulate(find_variant(variant), customers, days, seed), LogSettings())
    order = np.random.default_rng([seed, 17]).permutation(len(log.users))
    train, judge = np.sort(order[: len(order) // 2]), np.sort(order[len(order) // 2 :])
    users, contents = fit_encoder(log.users.iloc[train], "users"), fit_encoder(log.contents, "contents")
    catalogue = make_catalogue(log.contents, contents, Objective())
    population = make_population(log.users, users, catalogue.channels, "UTC", holdout=0.0)
    grid = make_grid(log)
    logger = fit_logging_policy(grid, population, catalogue, log.clock, seed)
    return Case(variant, seed, log, grid, population, catalogue, logger, train, judge)


def training_rows(case: Case, grid: DecisionGrid) -> DecisionRows:
    """Decisions of the training half."""
    settings = FitSettings()
    rows = decision_rows(grid, case.population, case.catalogue, case.log.clock, settings.hold_share, case.seed)
    mine = torch.zeros(len(case.population), dtype=torch.bool)
    mine[torch.from_numpy(case.train)] = True
    return rows.take(mine[rows.customer])


def shuffled(grid: DecisionGrid, seed: int) -> DecisionGrid:
    """The grid with contents dealt out anew among the sends of each slot."""
    generator, decision = np.random.default_rng(seed), grid.decision.copy()
    for column in range(grid.slots):
        sent = np.flatnonzero(decision[:, column] > HOLD)
        decision[sent, column] = decision[generator.permutation(sent), column]
    credited = {name: np.where(flags, np.maximum(decision, HOLD), HOLD) for name, flags in grid.happened.items()}
    return replace(grid, decision=decision, happened_content=credited)


def make_models(case: Case, kinds: Iterable[str]) -> dict[str, PropensityModel]:
    """Fits what is asked for; no effect and doubled effect reuse the honest network."""
    kinds = list(kinds)
    rows = training_rows(case, case.grid)

    def fit(table: DecisionRows) -> PropensityModel:
        return fit_network(table, case.population, case.catalogue, FitSettings(), case.seed * 10 + 1)

    found: dict[str, PropensityModel] = {}
    honest = fit(rows) if {HONEST, "no effect", "doubled effect"} & set(kinds) else None
    for kind in kinds:
        if kind == "no fatigue":
            state, candidate = frozen(rows.state, rows.candidate)
            made = fit(replace(rows, state=state, candidate=candidate))
            found[kind] = Tireless(made.predictor, made.calibration, made.known)
        elif kind == "shuffled contents":
            found[kind] = fit(training_rows(case, shuffled(case.grid, case.seed)))
        elif honest is not None:
            factor = {HONEST: 1.0, "no effect": 0.0, "doubled effect": 2.0}[kind]
            found[kind] = honest if kind == HONEST else levelled(honest, factor, rows, case)
    return found


def levelled(model: PropensityModel, factor: float, rows: DecisionRows, case: Case) -> Scaled:
    """The model with scaled effects and unchanged totals over the rows."""
    scaled = Scaled(model.predictor, model.calibration, model.known, factor)
    totals = np.zeros((2, 3))
    content = (rows.decision - 1).clamp(min=0)
    for part in torch.arange(len(rows)).split(65_536):
        for place, answer in enumerate((model, scaled)):
            response = answer.respond(
                case.population.features[rows.customer[part]], rows.state[part], case.catalogue.features[content[part]],
                rows.candidate[part], rows.decision[part] > HOLD,
            )  # fmt: skip
            outcomes = (response.purchase, response.visited, response.unsubscribe)
            totals[place] += [float((rows.weight[part] * values).sum()) for values in outcomes]
    levels = totals[0] / np.maximum(totals[1], 1e-12)
    return replace(scaled, level=(float(levels[0]), float(levels[1]), float(levels[2])))


class _Serves:
    def __init__(self, chooser: Incumbent) -> None:
        self.probabilities_of = chooser.probabilities


def gate_of(case: Case, model: PropensityModel) -> MarketGate:
    """The gate as `scripts/fit.py` runs it."""
    grid, pool = case.grid.take(case.train), case.population.take(torch.from_numpy(case.train))
    others = case.population.take(torch.from_numpy(case.judge))
    clock = case.log.clock
    market = make_market(model, pool, case.catalogue, clock, NO_GUARDRAILS, grid.first_slot, grid.slots)
    names = tuple(name for name in OUTCOMES.values() if name in grid.outcomes)
    policy = _Serves(Incumbent(case.logger))
    simulated = write_market_log(market, policy, len(pool), grid.slots, case.seed + 5, names)
    answers = collect_answers(
        case.grid.take(case.judge), others, case.catalogue, clock, model, case.logger, case.seed
    )  # fmt: skip
    return market_gate(grid, simulated, case.catalogue, clock.slots_per_day, answers, seed=case.seed)


def line_of(case: Case, kind: str, gate: MarketGate) -> dict[str, Any]:
    """One market's verdict and what failed."""
    auc = next((check.simulated for check in gate.checks if check.kind == "realism"), float("nan"))
    failed = [check.name for check in gate.checks if check.passed is False and check.decides]
    minor = [check.name for check in gate.checks if check.passed is False and not check.decides]
    return {"market": kind, "variant": case.variant, "seed": case.seed, "verdict": gate.verdict, "failed": failed,
            "minor": minor, "auc": round(auc, 3), "checks": len(gate.checks),
            "undecided": sum(check.passed is None for check in gate.checks)}  # fmt: skip


def table_of(lines: list[dict[str, Any]]) -> str:
    """A Markdown table, a row a market."""
    rows = ["| market | variant | seed | verdict | AUC | checks failed |", "|---|---|---|---|---|---|"]
    order = [HONEST, *SABOTAGES]
    for line in sorted(lines, key=lambda x: (order.index(x["market"]), x["variant"], x["seed"])):
        names = line["failed"][:4] + ([f"{len(line['failed']) - 4} more"] if len(line["failed"]) > 4 else [])
        rows.append(
            f"| {line['market']} | {line['variant']} | {line['seed']} | {line['verdict']} | {line['auc']:.3f} | "
            f"{'; '.join(names) or '-'} |"
        )
    return "\n".join(rows)


def main() -> None:
    """Runs what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--variants", nargs="+", default=["ecommerce"], choices=list(VARIANTS))
    parser.add_argument("--markets", nargs="+", default=[HONEST, *SABOTAGES], choices=[HONEST, *SABOTAGES])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--customers", type=int, default=8000)
    parser.add_argument("--days", type=int, default=28)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--table", type=Path)
    asked = parser.parse_args()
    lines: list[dict[str, Any]] = []
    if asked.table is not None:
        lines = [json.loads(line) for line in asked.table.read_text(encoding="utf-8").splitlines()]
    for variant in () if asked.table is not None else asked.variants:
        for seed in asked.seeds:
            case = make_case(variant, seed, asked.customers, asked.days)
            for kind, model in make_models(case, asked.markets).items():
                lines.append(line_of(case, kind, gate_of(case, model)))
                print(json.dumps(lines[-1]), flush=True)
                if asked.out is not None:
                    with asked.out.open("a", encoding="utf-8") as stream:
                        stream.write(json.dumps(lines[-1]) + "\n")
    print(table_of(lines))


if __name__ == "__main__":
    main()
