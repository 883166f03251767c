"""The market gate: may an agent believe this market?

Free-running: the fitted logging policy runs in the training market, and totals, rates by stratum and whole
trajectories are held against the log of the same customers. Teacher-forced: on customers that the market's network
did not see, in the states of their own log, predicted effects of sending are held against observed ones, and the values
of tilted policies against doubly robust estimates; running free, neither could be told from what the log shows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from campaigns.audience import Catalogue
from campaigns.grid import DecisionGrid
from campaigns.history import ABSENT, HOLD
from evaluation.gate_checks import OUTCOMES, GateCheck, customer_weights, within
from evaluation.gate_effects import EffectTable, check_effects
from evaluation.gate_strata import Stratum, check_strata
from evaluation.logged_answers import LoggedAnswers
from evaluation.market_log import MarketLog
from evaluation.realism import check_realism
from evaluation.season import Season, season_of
from evaluation.tilts import check_tilts

SURE_LEVEL = 0.99
"""Of the intervals of strata, effects and tilted policies: there are dozens, and one in twenty would be too many."""

NAMED = 5
"""Failed checks of a kind that the note names."""


@dataclass(frozen=True)
class MarketGate:
    """All checks and what follows from them.

    Attributes:
        verdict: `pass`, `warn` (a total or an effect is undecided, nothing ever happened, or a check that does not
            decide fails) or `fail`.
        margin: relative equivalence margin of totals.
        checks: in the order in which they are made.
        note: the verdict in words.
        strata: single strata behind the checks of kind `strata`.
        effects: effects of sending by tenth of the predicted effect.
        season: what the market assumes about weeks beyond the log.
        telling: what tells simulated from logged trajectories most.
    """

    verdict: str
    margin: float
    checks: tuple[GateCheck, ...]
    note: str
    strata: tuple[Stratum, ...] = ()
    effects: tuple[EffectTable, ...] = ()
    season: Season | None = None
    telling: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {
            "verdict": self.verdict,
            "margin": self.margin,
            "note": self.note,
            "checks": [check.to_dict() for check in self.checks],
            "strata": [dict(vars(stratum)) for stratum in self.strata],
            "effects": [table.to_dict() for table in self.effects],
            "season": None if self.season is None else self.season.to_dict(),
            "telling": list(self.telling),
        }


def market_gate(
    grid: DecisionGrid,
    simulated: MarketLog,
    catalogue: Catalogue,
    slots_per_day: int,
    answers: LoggedAnswers | None = None,
    margin: float = 0.10,
    level: float = 0.95,
    draws: int = 1000,
    seed: int = 0,
    units: np.ndarray | None = None,
) -> MarketGate:
    """Holds a market against a log.

    Args:
        grid: the log; N customers by T slots.
        simulated: the fitted logging policy, run free in the market: same customers, same slots, cold start.
        catalogue: the K contents.
        slots_per_day: of the grid; 0 where a slot is a week.
        answers: of the market's network to the log of customers that it did not see; None leaves effects and tilted
            policies out.
        margin: equivalence margin of totals, strata and tilted policies, relative.
        level: of the totals' intervals; the others' is `SURE_LEVEL`.
        draws: bootstrap draws of customers.
        seed: of the bootstrap.
        units: what the bootstrap draws as one, such as households; None where each customer stands alone. Shape [N].
    """
    checks = check_totals(grid, simulated, catalogue, margin, level, draws, seed, units)
    few = min(draws, 400)
    names = [str(content) for content in catalogue.ids]
    found, strata = check_strata(grid, simulated, names, slots_per_day, margin, SURE_LEVEL, few, seed, units)
    checks += found
    effects: list[EffectTable] = []
    if answers is not None:
        found, effects = check_effects(answers, SURE_LEVEL, few, seed)
        checks += found + check_tilts(answers, margin, SURE_LEVEL, few, seed)
    realism, telling = check_realism(grid, simulated, slots_per_day, level, few, seed, units)
    if realism is not None:
        checks.append(realism)
    season = season_of(grid, simulated, slots_per_day, margin, level, few, seed, units)
    verdict, note = judge(checks, margin, season)
    return MarketGate(verdict, margin, tuple(checks), note, tuple(strata), tuple(effects), season, tuple(telling))


def check_totals(
    grid: DecisionGrid,
    simulated: MarketLog,
    catalogue: Catalogue,
    margin: float,
    level: float,
    draws: int,
    seed: int,
    units: np.ndarray | None = None,
) -> list[GateCheck]:
    """Sends, outcomes and sends by content, per customer, over the customers' slots that the log shows.

    Outcomes of the market are conditional expectations along drawn trajectories. Sends by content do not decide.
    """
    decided = grid.decision != ABSENT
    labelled = decided & grid.labelled
    customers = max(int(decided.any(axis=1).sum()), 1)
    weights = customer_weights(len(decided), draws, seed, units)
    ran = simulated.grid.decision

    figures = [("sends", "total", (grid.decision > HOLD).sum(axis=1), ((ran > HOLD) & decided).sum(axis=1))]
    for name, column in OUTCOMES.items():
        if column in grid.outcomes:
            known = labelled & np.isfinite(grid.outcomes[column])
            shown = np.where(known, np.nan_to_num(grid.outcomes[column]), 0.0).sum(axis=1)
            figures.append((name, "total", shown, np.where(known, simulated.expected[column], 0.0).sum(axis=1)))
    for index, content in enumerate(catalogue.ids):
        pair = (((side == 1 + index) & decided).sum(axis=1) for side in (grid.decision, ran))
        figures.append((f"sends of {content}", "sends by content", *pair))
    checks = []
    for name, kind, log, market in figures:
        observed = float(log.sum() / customers)
        if observed == 0:
            continue
        over, under = (weights @ part.astype(np.float32) for part in (market, log))
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios = np.where(under == 0, np.nan, over / under)
        tail = 100 * (1 - (level if kind == "total" else SURE_LEVEL)) / 2
        low, high = (float(q) for q in np.nanpercentile(ratios[1:], [tail, 100 - tail]))
        low, high = min(low, high), max(low, high)
        passed = within(low, high, 1 - margin, 1 + margin)
        simulation = float(market.sum() / customers)
        checks.append(
            GateCheck(
                name, observed, simulation, simulation / observed, low, high, passed, kind, margin, kind == "total"
            )
        )
    return checks


def judge(checks: list[GateCheck], margin: float, season: Season | None = None) -> tuple[str, str]:
    """Verdict and note."""
    failed = [check for check in checks if check.passed is False and check.decides]
    if failed:
        return "fail", " ".join(_failure(kind, failed) for kind in dict.fromkeys(check.kind for check in failed))
    minor = [check.name for check in checks if check.passed is False]
    important = [c for c in checks if c.kind in {"total", "effect"} and c.decides]
    undecided = [check.name for check in important if check.passed is None]
    others = sum(check.passed is None for check in checks) - len(undecided)
    rest = f" Of the finer checks {others} cannot be told from a log of this size." if others else ""
    warning = season.warning if season is not None else ""
    if not any(check.name in OUTCOMES for check in checks):
        return "warn", "No outcome ever happened in this log: nothing but sends could be compared, and no effect seen."
    if minor or undecided or warning:
        parts = [
            "The market gives back the log's totals"
            if all(check.passed for check in important if check.kind == "total")
            else "No total is clearly off"
        ]
        if minor:
            parts.append(f"outside the margin: {', '.join(minor)}")
        if undecided:
            parts.append(f"too uncertain to tell: {', '.join(undecided)}")
        if warning:
            parts.append(warning)
        return "warn", "; ".join(parts) + "." + rest
    return (
        "pass",
        f"The market gives back the log within {margin:.0%}, and its effects of sending are the log's." + rest,
    )


def _failure(kind: str, failed: list[GateCheck]) -> str:
    names = [check.name.removeprefix("effect on ") for check in failed if check.kind == kind]
    listed = ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
    said = {
        "total": "The market does not give back the log's {}.",
        "strata": "Its rates are off by stratum: {}.",
        "effect": "Its effects of sending are not what other customers' log shows: {}.",
        "tilted policy": "It misprices policies unlike the logger's: {}.",
        "realism": "Its customers can be told from the log's: {}.",
    }
    return said[kind].format(listed)
