"""Free-running replay by stratum: what sends bring by content, daypart and recent sends, and how often they go out.

A family of strata is one check: the root mean squared relative deviation of the market's rates from the log's, weighted
by the log's own counts and freed of sampling noise. Single strata are noisy, and there are many.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from campaigns.clock import DAYPARTS, MINUTES_PER_DAY
from campaigns.grid import DecisionGrid
from campaigns.history import ABSENT, HOLD
from evaluation.gate_checks import OUTCOMES, RARE_MARGIN, GateCheck, customer_weights, within
from evaluation.market_log import MarketLog

RECENT_HOURS = 72
"""Sends within so many hours before a decision are recent."""

RECENT_NAMES = ("none", "1", "2", "3 or more")

LEAST_EVENTS = 30
"""Events in the log below which a stratum is left out."""

LEAST_SHARE = 0.5
"""A family is judged where the strata with enough events hold at least this share of it."""


@dataclass(frozen=True)
class Stratum:
    """One stratum of one family.

    Attributes:
        family: what is compared by what, such as `opens by content`.
        name: of the stratum.
        observed, simulated: rate in the log and in the market; per send, or sends per decision.
        ratio, low, high: simulated over observed with its interval.
    """

    family: str
    name: str
    observed: float
    simulated: float
    ratio: float
    low: float
    high: float


def recent_sends(decision: np.ndarray, slots: int) -> np.ndarray:
    """Sends in the `slots` slots before each slot. `decision` and result of shape [N, T], int64."""
    sent = np.cumsum(decision > HOLD, axis=1)
    before = np.concatenate([np.zeros((len(decision), 1), dtype=sent.dtype), sent], axis=1)
    start = np.maximum(np.arange(decision.shape[1]) - slots, 0)
    counts: np.ndarray = before[:, :-1] - before[:, start]
    return counts


def check_strata(
    grid: DecisionGrid,
    simulated: MarketLog,
    content_names: list[str],
    slots_per_day: int,
    margin: float,
    level: float,
    draws: int,
    seed: int,
    units: np.ndarray | None = None,
) -> tuple[list[GateCheck], list[Stratum]]:
    """Compares rates by stratum.

    Args:
        grid: the log, N customers by T slots.
        simulated: of the same customers and slots in the same order, under the fitted logging policy.
        content_names: of the K contents.
        slots_per_day: of the grid; 0 where a slot is a week.
        margin: largest root mean squared deviation, relative.
        level, draws, seed: of the intervals, by customer bootstrap, the same customers drawn in log and market.
        units: what the bootstrap draws as one, such as households; None where each customer stands alone. Shape [N].
    Returns:
        One check a family, and its single strata for the report. Families of sends decide nothing by themselves: the
        logging policy is fitted apart from the market.
    """
    weights = customer_weights(len(grid.decision), draws, seed, units)
    minute = simulated.minute.astype(np.int64)
    daypart = minute // (MINUTES_PER_DAY // len(DAYPARTS))
    recent_slots = RECENT_HOURS * slots_per_day // 24
    checks: list[GateCheck] = []
    strata: list[Stratum] = []
    for by, names in (("content", content_names), ("daypart", list(DAYPARTS)), ("recent sends", list(RECENT_NAMES))):
        groups = []
        for decision in (grid.decision, simulated.grid.decision):
            if by == "content":
                groups.append(decision.astype(np.int64) - 1)
            elif by == "daypart":
                groups.append(daypart)
            else:
                groups.append(np.minimum(recent_sends(decision, recent_slots), len(RECENT_NAMES) - 1))
        families: list[tuple[str, str | None]] = [(f"{plural} by {by}", column) for plural, column in OUTCOMES.items()]
        if by != "content":
            families.append((f"sends by {by}", None))
        for family, column in families:
            if column is not None and column not in grid.outcomes:
                continue
            log = _sums(grid.decision, grid.labelled, grid.outcomes.get(column or ""), groups[0], len(names))
            there = np.ones_like(grid.labelled)
            market = _sums(simulated.grid.decision, there, simulated.expected.get(column or ""), groups[1], len(names))
            check, parts = _compare(
                family, names, log, market, weights, margin * (RARE_MARGIN if column == "unsubscribed" else 1.0), level,
                column is not None,
            )  # fmt: skip
            strata += parts
            if check is not None:
                checks.append(check)
    return checks, strata


def _sums(
    decision: np.ndarray, labelled: np.ndarray, outcome: np.ndarray | None, group: np.ndarray, groups: int
) -> tuple[np.ndarray, np.ndarray]:
    """By customer and stratum: outcome and sends, or sends and decisions where there is no outcome. [N, S] each."""
    sent = decision > HOLD
    if outcome is None:
        counted, upper = decision != ABSENT, sent.astype(np.float32)
    else:
        counted = sent & labelled & np.isfinite(outcome)
        upper = np.where(counted, np.nan_to_num(outcome), 0.0)
    counted = counted & (group >= 0) & (group < groups)
    customer = np.broadcast_to(np.arange(len(decision))[:, None], decision.shape)
    cell = (customer * groups + np.clip(group, 0, groups - 1))[counted]
    size = len(decision) * groups
    over = np.bincount(cell, weights=upper[counted], minlength=size).reshape(-1, groups)
    under = np.bincount(cell, minlength=size).reshape(-1, groups).astype(np.float64)
    return over, under


def _compare(
    family: str,
    names: list[str],
    log: tuple[np.ndarray, np.ndarray],
    market: tuple[np.ndarray, np.ndarray],
    weights: np.ndarray,
    margin: float,
    level: float,
    decides: bool,
) -> tuple[GateCheck | None, list[Stratum]]:
    events = (log[0] != 0).sum(axis=0)
    kept = np.flatnonzero((events >= LEAST_EVENTS) & (market[1].sum(axis=0) > 0) & (log[0].sum(axis=0) > 0))
    if not len(kept):
        return None, []

    def rates(sums: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        over, under = (weights @ part[:, kept].astype(np.float32) for part in sums)
        result: np.ndarray = over / np.maximum(under, 1e-9)
        return result

    observed, simulated = rates(log), rates(market)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = simulated / observed
    ratio[~np.isfinite(ratio)] = np.nan
    tail = 100 * (1 - level) / 2
    low, high = np.nanpercentile(ratio[1:], [tail, 100 - tail], axis=0)
    strata = [
        Stratum(
            family, names[k], float(observed[0, i]), float(simulated[0, i]), float(ratio[0, i]), float(low[i]),
            float(high[i]),
        )
        for i, k in enumerate(kept)
    ]  # fmt: skip
    share = log[0][:, kept].sum(axis=0)
    if share.sum() < LEAST_SHARE * log[0].sum() or len(kept) < 2:
        return None, strata
    share = share / share.sum()
    noise = np.nanvar(ratio[1:], axis=0)
    squared = ((ratio[0] - 1) ** 2 - noise) @ share
    # A resampled ratio strays from the observed one by as much again as that one from the truth.
    drawn = np.nan_to_num((ratio[1:] - 1) ** 2 - 2 * noise) @ share
    bounds = np.sqrt(np.clip(np.percentile(drawn, [tail, 100 - tail]), 0.0, None))
    off = float(np.sqrt(max(squared, 0.0)))
    passed = within(float(bounds[0]), float(bounds[1]), 0.0, margin)
    check = GateCheck(
        family, 0.0, off, float("nan"), float(bounds[0]), float(bounds[1]), passed, "strata", margin, decides
    )
    return check, strata
