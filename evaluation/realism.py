"""Trajectory realism: can a classifier tell the market's customers from the log's? (Lopez-Paz and Oquab 2017)

Each customer is summed up over the log's span: how much was sent, opened, clicked and bought, when, at what spacing,
and what followed recent sends and repeats. Customer i of the log and of the market are one person with one logging
policy, and stand in the same fold. AUC 0.5: nothing tells them apart.
"""

from __future__ import annotations

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from campaigns.clock import DAYPARTS, MINUTES_PER_DAY
from campaigns.grid import DecisionGrid
from campaigns.history import HOLD
from evaluation.gate_checks import GateCheck
from evaluation.gate_strata import RECENT_HOURS, recent_sends
from evaluation.logged import customer_index
from evaluation.market_log import MarketLog

LARGEST_AUC = 0.70
"""Honest markets of the reference variants reach 0.55 to 0.68 (benchmarks/gate_sabotage.py, seeds from 100 on); 0.68
where clicks and visits go together, which the joint law draws apart."""

FOLDS = 5
MOST_CUSTOMERS = 4000
LEAST_CUSTOMERS = 50


def trajectory_features(
    grid: DecisionGrid, minute: np.ndarray, slots_per_day: int, outcomes: dict[str, np.ndarray]
) -> tuple[np.ndarray, list[str]]:
    """Sums up each customer's trajectory.

    Args:
        grid: N customers by T slots.
        minute: local minute of the day. Shape [N, T].
        slots_per_day: of the grid; 0 where a slot is a week.
        outcomes: the grid's outcomes, unknown ones as 0. Shape [N, T] each.
    Returns:
        Shape [N, F], float32, NaN where a share has no base; and the F names.
    """
    decision = grid.decision
    sent = decision > HOLD
    columns: dict[str, np.ndarray] = {}
    week = np.minimum(np.arange(grid.slots) // max(1, 7 * slots_per_day), 3)
    daypart = minute.astype(np.int64) // (MINUTES_PER_DAY // len(DAYPARTS))
    recent = recent_sends(decision, RECENT_HOURS * slots_per_day // 24)
    events = {"sends": sent, **{name: values != 0 for name, values in outcomes.items() if name != "value"}}
    for name, flags in events.items():
        columns[name] = flags.sum(axis=1)
        if name in {"sends", "opened", "purchased"}:
            for number in range(week.max() + 1):
                columns[f"{name} in week {number + 1}"] = flags[:, week == number].sum(axis=1)
            for part, word in enumerate(DAYPARTS):
                columns[f"{name}, {word}"] = (flags & (daypart == part)).sum(axis=1)
    if "value" in outcomes:
        bought = np.maximum((outcomes["value"] != 0).sum(axis=1), 1)
        columns["value"] = outcomes["value"].sum(axis=1)
        columns["value of a purchase"] = np.where(
            outcomes["value"].any(axis=1), outcomes["value"].sum(axis=1) / bought, np.nan
        )
    for name in ("opened", "clicked", "purchased"):
        if name in events:
            for least, most, word in ((0, 0, "rested"), (1, 2, "after 1 or 2"), (3, 99, "after 3 or more")):
                base = sent & (recent >= least) & (recent <= most)
                share = (events[name] & base).sum(axis=1) / np.maximum(base.sum(axis=1), 1)
                columns[f"{name} {word}"] = np.where(base.any(axis=1), share, np.nan)
    columns["spacing, median"], columns["spacing, shortest"] = _spacing(sent)
    most = int(decision.max())
    counts = np.stack([(decision == 1 + k).sum(axis=1) for k in range(max(most, 1))], axis=1)
    columns["contents"] = (counts > 0).sum(axis=1)
    columns["most of one content"] = counts.max(axis=1)
    if "opened" in events:
        columns["longest run unopened"] = _longest_unopened(sent, events["opened"])
    if "purchased" in events:
        columns["purchases unasked"] = (events["purchased"] & ~sent).sum(axis=1)
    return np.stack(list(columns.values()), axis=1).astype(np.float32), list(columns)


def _spacing(sent: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Median and shortest gap between a customer's sends, in slots; NaN with fewer than two. Shape [N] each."""
    row, slot = np.nonzero(sent)
    gap, same = np.diff(slot), np.diff(row) == 0
    gap, owner = gap[same], row[1:][same]
    median, shortest = np.full(len(sent), np.nan), np.full(len(sent), np.nan)
    if len(gap):
        order = np.lexsort((gap, owner))
        gap, owner = gap[order], owner[order]
        first = np.flatnonzero(np.diff(owner, prepend=-1))
        count = np.diff(np.append(first, len(owner)))
        shortest[owner[first]] = gap[first]
        median[owner[first]] = gap[first + count // 2]
    return median, shortest


def _longest_unopened(sent: np.ndarray, opened: np.ndarray) -> np.ndarray:
    """Longest run of sends that were not opened. Shape [N]."""
    run = longest = np.zeros(len(sent), dtype=np.int64)
    for slot in range(sent.shape[1]):
        run = np.where(opened[:, slot], 0, run + (sent[:, slot] & ~opened[:, slot]))
        longest = np.maximum(longest, run)
    return longest


def check_realism(
    grid: DecisionGrid,
    simulated: MarketLog,
    slots_per_day: int,
    level: float,
    draws: int,
    seed: int,
    units: np.ndarray | None = None,
) -> tuple[GateCheck | None, list[str]]:
    """Cross-validated AUC of telling market from log.

    Args:
        grid: the log.
        simulated: of the same customers and slots, in order. Slots that the log does not show count in neither.
        slots_per_day: of the grid; 0 where a slot is a week.
        level, draws, seed: of the interval, by bootstrap of customers.
        units: what the bootstrap draws as one, such as households; None where each customer stands alone. Shape [N].
    Returns:
        The check, which fails where the whole interval lies above `LARGEST_AUC`, and the three features that tell most
        (by the AUC of each alone); None where the log has too few customers.
    """
    shown = (grid.decision >= HOLD) & grid.labelled
    names = [name for name in simulated.grid.outcomes if name in grid.outcomes]
    there = np.flatnonzero(shown.any(axis=1))
    if len(there) < LEAST_CUSTOMERS:
        return None, []
    generator = np.random.default_rng([seed, 31])
    rows = np.sort(generator.permutation(there)[:MOST_CUSTOMERS])
    sides = []
    for side in (grid, simulated.grid):
        part = side.take(rows)
        hidden = ~shown[rows]
        part.decision[hidden] = HOLD
        outcomes = {name: np.where(hidden, 0.0, np.nan_to_num(part.outcomes[name])) for name in names}
        sides.append(trajectory_features(part, simulated.minute[rows], slots_per_day, outcomes))
    features = np.concatenate([sides[0][0], sides[1][0]])
    is_market = np.repeat([0, 1], len(rows))
    fold = np.tile(generator.permutation(len(rows)) % FOLDS, 2)
    score = np.zeros(len(features))
    filled = np.nan_to_num(features, nan=-1.0)  # trees refuse a column of which nobody has a value
    for number in range(FOLDS):
        model = HistGradientBoostingClassifier(max_iter=60, max_leaf_nodes=12, learning_rate=0.1, random_state=seed)
        model.fit(filled[fold != number], is_market[fold != number])
        score[fold == number] = model.predict_proba(filled[fold == number])[:, 1]
    auc = float(roc_auc_score(is_market, score))
    unit, drawn = customer_index(rows if units is None else units[rows])
    low, high = _auc_interval(score, unit, drawn, level, draws, generator)
    passed = False if low > LARGEST_AUC else True if high <= LARGEST_AUC else None
    alone = [abs(_auc(values) - 0.5) for values in features.T]
    telling = [sides[0][1][i] for i in np.argsort(alone)[::-1][:3]]
    check = GateCheck(
        "telling market from log (AUC)", 0.5, auc, float("nan"), low, high, passed, "realism", LARGEST_AUC
    )
    return check, telling


def _auc(values: np.ndarray) -> float:
    half = len(values) // 2
    known = np.isfinite(values)
    labels = np.repeat([0, 1], half)[known]
    if len(np.unique(labels)) < 2:
        return 0.5
    return float(roc_auc_score(labels, values[known]))


def _auc_interval(
    score: np.ndarray, unit: np.ndarray, units: int, level: float, draws: int, generator: np.random.Generator
) -> tuple[float, float]:
    """Interval of the AUC by bootstrap of customers, each with both of its trajectories; `unit` is of each customer."""
    customers = len(unit)
    order = np.argsort(score, kind="stable")
    is_market, owner = order >= customers, unit[order % customers]
    # Ties count half: ranks of equal scores are shared.
    _, tie = np.unique(score[order], return_inverse=True)
    found = []
    for _ in range(min(draws, 300)):
        weight = generator.poisson(1.0, units).astype(np.float64)[owner]
        log, market = np.where(is_market, 0.0, weight), np.where(is_market, weight, 0.0)
        by_tie = np.bincount(tie, weights=log)
        below = np.cumsum(by_tie) - by_tie
        found.append(float((market * (below + 0.5 * by_tie)[tie]).sum() / max(log.sum() * market.sum(), 1e-9)))
    tail = 100 * (1 - level) / 2
    low, high = np.percentile(found, [tail, 100 - tail])
    return float(low), float(high)
