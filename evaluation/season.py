"""Trend and weekdays: what the log shows, what the market gives back, and what it assumes of weeks beyond the log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from campaigns.grid import DecisionGrid
from campaigns.history import HOLD
from evaluation.gate_checks import OUTCOMES, customer_weights
from evaluation.market_log import MarketLog

LEAST_WEEKS = 3
"""Whole weeks below which no trend can be told from the log's beginning and end."""

PER_SEND = ("opens", "clicks", "opt-outs")
"""Rates of sends; the others are of all decisions."""


@dataclass(frozen=True)
class Trend:
    """Change of one rate from week to week, relative to its mean.

    Attributes:
        outcome: in words.
        observed, low, high: in the log, with its interval; 0.02 is 2 % a week.
        simulated: in the market over the same weeks.
        by_weekday: rate over its mean in the log, Monday first; empty where some weekday has none.
        simulated_by_weekday: in the market.
    """

    outcome: str
    observed: float
    low: float
    high: float
    simulated: float
    by_weekday: list[float]
    simulated_by_weekday: list[float]

    @property
    def sure(self) -> bool:
        """Whether the interval leaves no change out."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Season:
    """What is carried beyond the log, and on what ground.

    Attributes:
        weeks: whole weeks that the log shows.
        trends: a rate each; empty where the log is too short.
        assumed: in words, what the market takes for granted.
        warning: trends that the market does not carry on and that would matter, in words; empty where none.
    """

    weeks: int
    trends: tuple[Trend, ...]
    assumed: str
    warning: str

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {
            "weeks": self.weeks,
            "assumed": self.assumed,
            "warning": self.warning,
            "trends": [dict(vars(trend)) | {"sure": trend.sure} for trend in self.trends],
        }


def season_of(
    grid: DecisionGrid,
    simulated: MarketLog,
    slots_per_day: int,
    margin: float,
    level: float,
    draws: int,
    seed: int,
    units: np.ndarray | None = None,
) -> Season:
    """Fits a straight line through weekly rates, of the log and of the market.

    Args:
        grid: the log.
        simulated: of the same customers and slots.
        slots_per_day: of the grid; 0 where a slot is a week.
        margin: a sure trend that adds up to more than this over four weeks is warned of.
        level, draws, seed: of the intervals, by customer bootstrap.
        units: what the bootstrap draws as one, such as households; None where each customer stands alone. Shape [N].
    """
    week = np.arange(grid.slots) // max(1, 7 * slots_per_day)
    weeks = int(grid.slots // max(1, 7 * slots_per_day))
    assumed = (
        "The market knows the time of day and the weekday, as fitted to the log, but no date: every week beyond the "
        "log is taken to be like the log's own. "
    )
    if weeks < LEAST_WEEKS:
        assumed += f"With {weeks} whole week{'' if weeks == 1 else 's'} the log cannot show a trend; none is assumed. "
        return Season(weeks, (), assumed + _years(weeks), "")
    weights = customer_weights(len(grid.decision), draws, seed, units)
    tail = 100 * (1 - level) / 2
    trends = []
    for name, column in OUTCOMES.items():
        if column not in grid.outcomes:
            continue
        shown = grid.labelled & (grid.decision >= HOLD) & np.isfinite(grid.outcomes[column])
        if not np.nansum(grid.outcomes[column][shown]):
            continue
        counted = shown & (week < weeks)
        sides = []
        for decision, outcome in (
            (grid.decision, np.nan_to_num(grid.outcomes[column])),
            (simulated.grid.decision, simulated.expected[column]),
        ):
            rows = counted & (decision > HOLD) if name in PER_SEND else counted
            by_week = [_by_group(rows, outcome, np.broadcast_to(week, rows.shape), weeks)]
            by_day = _by_group(rows, outcome, simulated.weekday.astype(np.int64), 7)
            sides.append((*by_week, by_day))
        slope = _slopes(*(weights @ part for part in sides[0][0]))
        low, high = np.nanpercentile(slope[1:], [tail, 100 - tail])
        market = float(_slopes(*(part.sum(axis=0, keepdims=True) for part in sides[1][0]))[0])
        days = [_relative(*(part.sum(axis=0) for part in side[1])) for side in sides]
        trends.append(Trend(name, float(slope[0]), float(low), float(high), market, *days))
    lost = [t for t in trends if t.sure and 4 * abs(t.observed - t.simulated) > margin and t.observed * t.low > 0]
    found = [f"{t.outcome} {t.observed:+.1%} a week ({t.low:+.1%} to {t.high:+.1%})" for t in trends if t.sure]
    assumed += f"Changes that the log shows over its {weeks} weeks: {', '.join(found) or 'none that is sure'}. "
    warning = ""
    if lost:
        warning = f"a trend that the market does not carry on: {', '.join(t.outcome for t in lost)}"
    return Season(weeks, tuple(trends), assumed + _years(weeks), warning)


def _years(weeks: int) -> str:
    if weeks >= 104:
        return "A yearly season is in the log, but not in the market: its level is the log's average."
    return "A yearly season cannot be seen in less than two years; the market assumes none."


def _by_group(rows: np.ndarray, outcome: np.ndarray, group: np.ndarray, groups: int) -> tuple[np.ndarray, np.ndarray]:
    """Sums of the outcome and counts, by customer and group. Shapes [N, groups], float32."""
    customer = np.broadcast_to(np.arange(len(rows))[:, None], rows.shape)
    cell = (customer * groups + group)[rows]
    over = np.bincount(cell, weights=outcome[rows], minlength=len(rows) * groups)
    under = np.bincount(cell, minlength=len(rows) * groups)
    return over.reshape(-1, groups).astype(np.float32), under.reshape(-1, groups).astype(np.float32)


def _slopes(over: np.ndarray, under: np.ndarray) -> np.ndarray:
    """Slope of weekly rates over their mean, weighted by counts. `over`, `under` of shape [D, W]; result [D]."""
    rate = over / np.maximum(under, 1e-9)
    weight = under / np.maximum(under.sum(axis=1, keepdims=True), 1e-9)
    place = np.arange(over.shape[1], dtype=np.float64)
    centre = (weight * place).sum(axis=1, keepdims=True)
    mean = (weight * rate).sum(axis=1, keepdims=True)
    across = (weight * (place - centre) * (rate - mean)).sum(axis=1) / np.maximum(
        (weight * (place - centre) ** 2).sum(axis=1), 1e-12
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        slopes: np.ndarray = across / mean[:, 0]
    slopes[~np.isfinite(slopes)] = np.nan
    return slopes


def _relative(over: np.ndarray, under: np.ndarray) -> list[float]:
    if (under == 0).any() or not over.sum():
        return []
    values: list[float] = (over / under * under.sum() / over.sum()).tolist()
    return values
