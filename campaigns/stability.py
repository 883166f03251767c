"""Whether a log's later half is like its first: who is decided on, what is done, and what comes of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import chi2
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict

from campaigns.columns import AMOUNTS, FLAGS
from campaigns.encoding import RESERVED, fit_encoder
from campaigns.grid import DecisionGrid
from campaigns.history import ABSENT, HOLD
from campaigns.logs import CampaignLog

MODERATE, LARGE = 0.1, 0.25
"""Population stability index from which on a column shifts somewhat, and clearly (Siddiqi 2006)."""
TELLING = 0.6
"""AUC of a classifier that tells early rows from late, from which on the halves differ."""
BINS, MOST_LEVELS = 10, 20
FEWEST = 20
"""Customers in each half below which nothing is compared."""
MOST_ROWS = 12_000
"""Rows drawn for the classifier."""


def stability_check(log: CampaignLog, grid: DecisionGrid, seed: int = 0) -> dict[str, Any]:
    """Compares the decisions of the first and the last half of the log's slots.

    Returns:
        `passed` (no column shifts and no classifier tells the halves apart; None where it cannot be tested), `note`
        in plain words, `columns` (rows of `column`, `psi`, `by_chance` and `shifts`, the largest first) and
        `adversarial`: `auc`, `low`, `high`. JSON-able.
    """
    half = grid.slots // 2
    there = (grid.decision != ABSENT) & grid.labelled
    early, late = np.zeros_like(there), np.zeros_like(there)
    early[:, :half], late[:, half:] = there[:, :half], there[:, half:]
    if half == 0 or min(early.any(axis=1).sum(), late.any(axis=1).sum()) < FEWEST:
        return {
            "passed": None,
            "note": f"the log has no two halves of {FEWEST} customers and more each; they were not compared",
            "columns": [],
            "adversarial": None,
        }
    columns = _customer_columns(log.users, early, late) + _decision_columns(log, grid, early, late)
    columns.sort(key=lambda row: (-float(row["psi"]), str(row["column"])))
    told = adversarial_auc(log.users, grid, early, late, seed)
    apart = told["auc"] >= TELLING and told["low"] > 0.5
    shifted = [f"{row['column']} (index {row['psi']:.2f})" for row in columns if row["shifts"]]
    notes = []
    if shifted:
        notes.append(f"between the first and the last half of the log the distribution shifts of {', '.join(shifted)}")
    if apart:
        notes.append(f"a classifier tells late decisions from early ones with an AUC of {told['auc']:.2f}")
    note = (
        "; ".join(notes) + ": what was learned early may not hold later"
        if notes
        else ("the last half of the log is like its first: no column shifts, and no classifier tells them apart")
    )
    return {"passed": not notes, "note": note, "columns": columns, "adversarial": told}


def stability_index(first: np.ndarray, last: np.ndarray) -> float:
    """Population stability index of two samples' counts in B bins: sum (p - q) ln(p / q), half a row added to each.

    0 for equal distributions; symmetric. Source: Siddiqi (2006), Credit Risk Scorecards, chapter 8.
    """
    p, q = (first + 0.5) / (first + 0.5).sum(), (last + 0.5) / (last + 0.5).sum()
    return float(((p - q) * np.log(p / q)).sum())


def index_by_chance(bins: int, first: int, last: int, level: float = 0.99) -> float:
    """What chance alone stays below: PSI / (1/n + 1/m) is about chi-squared with B - 1 degrees (Yurdakul 2018).

    Args:
        bins: B.
        first, last: n and m, the independent units of each sample: customers, since their rows are not.
        level: quantile.
    """
    return float(chi2.ppf(level, max(bins - 1, 1)) * (1 / first + 1 / last))


def adversarial_auc(
    users: pd.DataFrame, grid: DecisionGrid, early: np.ndarray, late: np.ndarray, seed: int = 0
) -> dict[str, float]:
    """AUC with which boosted trees tell rows of `late` from rows of `early`, for customers of other folds.

    They see the customer's columns, what was sent and what came of it, but no clock. The interval is Hanley and
    McNeil's (1982) with customers for rows, and so rather too wide.

    Args:
        users: N rows.
        grid: of the same customers.
        early, late: the decisions of each half. Shape [N, T], bool.
        seed: of the draw of rows and the folds.
    """
    generator = np.random.default_rng(seed)
    parts = []
    for half in (early, late):
        customer, column = np.nonzero(half)
        taken = generator.permutation(len(customer))[: MOST_ROWS // 2]
        parts.append((customer[taken], column[taken]))
    customer, column = (np.concatenate(both) for both in zip(*parts, strict=True))
    is_late = np.repeat([False, True], [len(part[0]) for part in parts])
    people = fit_encoder(users, "users").encode(users)[customer]
    decision = grid.decision[customer, column]
    outcomes = [values[customer, column] for values in grid.outcomes.values()]
    features = np.column_stack([people, decision, decision > HOLD, *outcomes]).astype(np.float32)
    features = np.nan_to_num(features, nan=-1.0)  # trees refuse a column of which no row of a fold has a value
    trees = HistGradientBoostingClassifier(max_iter=40, max_leaf_nodes=15, early_stopping=False, random_state=seed)
    chance = cross_val_predict(
        trees, features, is_late, groups=customer, cv=GroupKFold(3), method="predict_proba"
    )[:, 1]  # fmt: skip
    auc = float(roc_auc_score(is_late, chance))
    n, m = (len(np.unique(part[0])) for part in parts)
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = (auc * (1 - auc) + (n - 1) * (q1 - auc**2) + (m - 1) * (q2 - auc**2)) / (n * m)
    half_width = 1.959964 * float(np.sqrt(max(variance, 0.0)))
    return {"auc": auc, "low": max(0.0, auc - half_width), "high": min(1.0, auc + half_width)}


def _customer_columns(users: pd.DataFrame, early: np.ndarray, late: np.ndarray) -> list[dict[str, Any]]:
    """Who is decided on: the customers' columns, each customer as often as decided on."""
    counts = early.sum(axis=1), late.sum(axis=1)
    customers = int((counts[0] > 0).sum()), int((counts[1] > 0).sum())
    rows = []
    for name in users.columns:
        if name in RESERVED or str(name).startswith("consent_") or _is_no_feature(users[name]):
            continue
        bins = _bins(users[name], counts[0] > 0)
        size = int(bins.max()) + 1
        first, last = (np.bincount(bins, weights=count, minlength=size) for count in counts)
        rows.append(_row(f"users.{name}", first, last, customers))
    return rows


def _decision_columns(
    log: CampaignLog, grid: DecisionGrid, early: np.ndarray, late: np.ndarray
) -> list[dict[str, Any]]:
    """What is done and what comes of it: sends, contents, flags, and the size of amounts that are not 0."""
    rows = []
    sent = grid.decision > HOLD
    series = {"sends": (sent, np.ones_like(sent)), "content of sends": (grid.decision, sent)}
    series |= {name: (grid.outcomes[name] > 0, np.isfinite(grid.outcomes[name]))
               for name in FLAGS if name in grid.outcomes}  # fmt: skip
    for name, (values, used) in series.items():
        sides = [half & used for half in (early, late)]
        customers = int(sides[0].any(axis=1).sum()), int(sides[1].any(axis=1).sum())
        if min(customers) < FEWEST:
            continue
        size = len(log.contents) + 1 if name == "content of sends" else 2
        first, last = (np.bincount(values[side].astype(np.int64), minlength=size) for side in sides)
        rows.append(_row(f"decisions.{name}", first, last, customers))
    for name in [name for name in AMOUNTS if name in grid.outcomes]:
        values = grid.outcomes[name]
        sides = [half & np.isfinite(values) & (values != 0) for half in (early, late)]
        customers = int(sides[0].any(axis=1).sum()), int(sides[1].any(axis=1).sum())
        if min(customers) < FEWEST:
            continue
        edges = np.unique(np.quantile(values[sides[0]], np.linspace(0, 1, BINS + 1)[1:-1]))
        first, last = (
            np.bincount(np.searchsorted(edges, values[side], side="right"), minlength=len(edges) + 1) for side in sides
        )
        rows.append(_row(f"decisions.{name}, if any", first, last, customers))
    return rows


def _row(name: str, first: np.ndarray, last: np.ndarray, customers: tuple[int, int]) -> dict[str, Any]:
    used = (first + last) > 0
    # Rows of one customer repeat each other: the counts are brought to the number of customers.
    first, last = (counts[used] * (size / counts.sum()) for counts, size in zip((first, last), customers, strict=True))
    psi, by_chance = stability_index(first, last), index_by_chance(int(used.sum()), *customers)
    return {"column": name, "psi": psi, "by_chance": by_chance, "shifts": bool(psi >= MODERATE and psi > by_chance)}


def _is_no_feature(column: pd.Series) -> bool:
    known = column.dropna()
    holds_lists = len(known) > 0 and isinstance(known.iloc[0], list | tuple | set | dict | np.ndarray)
    return bool(pd.api.types.is_datetime64_any_dtype(column) or holds_lists)


def _bins(column: pd.Series, first: np.ndarray) -> np.ndarray:
    """Bin of each customer: deciles of those of the first half, or levels; missing ones have a bin of their own."""
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        values = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
        known = np.isfinite(values)
        if not (known & first).any():
            return np.zeros(len(values), dtype=np.int64)
        edges = np.unique(np.quantile(values[known & first], np.linspace(0, 1, BINS + 1)[1:-1]))
        bins = np.searchsorted(edges, np.where(known, values, 0.0), side="right")
        bins[~known] = len(edges) + 1
        return bins.astype(np.int64)
    text = column.astype("string").fillna("")
    levels = text.value_counts().index[:MOST_LEVELS]
    codes = pd.Index(levels).get_indexer(pd.Index(text))
    return np.where(codes < 0, len(levels), codes).astype(np.int64)
