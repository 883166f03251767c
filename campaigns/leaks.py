"""What makes a model look better than it is: features that know the outcome, copies of customers, leaky splits.

These are warnings, not refusals: a check sees what is suspicious, and people know whether it is right.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.tree import DecisionTreeClassifier

from campaigns.columns import AMOUNTS, FLAGS
from campaigns.encoding import fit_encoder
from campaigns.grid import DecisionGrid
from campaigns.logs import CampaignLog, late_snapshots

TOO_GOOD = 0.95
"""Out-of-sample AUC from which on one column alone knows an outcome suspiciously well. Honest single features of
purchases rarely pass .85; what was computed from the outcome comes close to 1."""
FEWEST = 20
"""Customers with and without an outcome below which an AUC says nothing."""
MOST_CUSTOMERS = 20_000
"""Customers drawn for the trees; more change no verdict."""
COPIES, LEAST_COPIES, AGREE = 0.01, 10, 0.5
"""Copies are suspected from this share and number of customers on, and where pairs of customers with equal features
agree in all that was done and came of it by at least this share of what is left above chance."""


def leak_checks(log: CampaignLog, grid: DecisionGrid, seed: int = 0) -> dict[str, Any]:
    """All checks of a log before it is split.

    Returns:
        `passed`, `warnings` in plain words, `features` (see `features_too_good`), `late_snapshots` (customers whose
        features were taken after their first decision; None without `users.as_of`) and `copies` (see
        `copied_customers`). JSON-able.
    """
    features = features_too_good(log.users, grid, seed)
    suspicious = [row for row in features if row["auc"] >= TOO_GOOD]
    late = late_snapshots(log.users, log.decisions)
    copies = copied_customers(log.users, grid)
    warnings = [
        f"users.{row['column']}: alone it tells who {row['outcome']} more than others with an AUC of {row['auc']:.2f} "
        "among customers not used for it. Was it known before the decisions? If it was computed from what came of "
        "them, drop the column."
        for row in suspicious
    ]
    if copies["suspected"]:
        warnings.append(
            f"users: {copies['copies']} of {len(log.users)} customers are copies of others in every column, decision "
            "and outcome, more than chance explains. If the log was oversampled, take the copies out: else one copy "
            "is learned from and the other judged on."
        )
    return {
        "passed": not warnings and not late,
        "warnings": warnings,
        "features": features[:10],
        "late_snapshots": late,
        "copies": copies,
    }


def features_too_good(users: pd.DataFrame, grid: DecisionGrid, seed: int = 0) -> list[dict[str, Any]]:
    """How well each column alone tells customers with more of an outcome from those with less.

    A customer's outcome is summed over labelled decisions and cut at the median, above or below it, whichever divides
    customers more evenly; a tree of at most 16 leaves on one
    column's encoded values predicts it for customers of other folds (3, stratified).

    Args:
        users: N rows.
        grid: of the same customers.
        seed: of the draw of customers and the folds.
    Returns:
        For each column `column`, the `outcome` that it tells best and its `auc`; the best first.
    """
    generator = np.random.default_rng(seed)
    chosen = np.sort(generator.permutation(len(users))[:MOST_CUSTOMERS])
    targets = {}
    for name in (*FLAGS, *AMOUNTS):
        if name not in grid.outcomes:
            continue
        total = np.nansum(np.where(grid.labelled, grid.outcomes[name], np.nan)[chosen], axis=1)
        # Where most have the median itself, as with a flag that mostly happened, it counts to the larger.
        more = max((total > np.median(total), total >= np.median(total)), key=lambda m: min(m.sum(), (~m).sum()))
        if min(more.sum(), (~more).sum()) >= FEWEST:
            targets[name] = more
    encoder = fit_encoder(users.iloc[chosen], "users")
    encoded = encoder.encode(users.iloc[chosen])
    found, begin = [], 0
    for column in encoder.columns:
        block = encoded[:, begin : begin + column.width]
        begin += column.width
        best = max(((_auc(block, more, seed), name) for name, more in targets.items()), default=None)
        if best is not None:
            found.append({"column": column.name, "outcome": best[1], "auc": best[0]})
    return sorted(found, key=lambda row: -float(row["auc"]))


def _auc(block: np.ndarray, more: np.ndarray, seed: int) -> float:
    tree = DecisionTreeClassifier(max_leaf_nodes=16, min_samples_leaf=5, random_state=seed)
    folds = StratifiedKFold(3, shuffle=True, random_state=seed)
    chance = cross_val_predict(tree, block, more, cv=folds, method="predict_proba")[:, 1]
    return float(roc_auc_score(more, chance))


def copied_customers(users: pd.DataFrame, grid: DecisionGrid) -> dict[str, Any]:
    """Whether customers were copied under new ids, as oversampling before a split does.

    Coarse columns make strangers look alike, so equal features alone prove nothing. Among pairs of customers with
    equal features, the share that agrees in every decision and outcome is held against the share q among all pairs:
    copies always agree, strangers about as often as any two. With agreement a, (a - q) / (1 - q) of such pairs are
    copies.

    Returns:
        `copies` (customers beyond the first of each group alike in everything), `agreement` a and `by_chance` q
        (None where no two have equal features), and whether copies are `suspected`.
    """
    features = _row_keys(users.drop(columns=["user_id", "group_id"], errors="ignore"))
    answers = _grid_keys(grid)
    pairs, same = _pairs(pd.DataFrame({"f": features})), _pairs(pd.DataFrame({"f": features, "a": answers}))
    everybody = len(users) * (len(users) - 1) / 2
    copies = len(users) - len(pd.DataFrame({"f": features, "a": answers}).drop_duplicates())
    if not pairs:
        return {"copies": 0, "agreement": None, "by_chance": None, "suspected": False}
    agreement, by_chance = same / pairs, _pairs(pd.DataFrame({"a": answers})) / everybody
    beyond = (agreement - by_chance) / (1 - by_chance) if by_chance < 1 else 0.0
    return {
        "copies": copies,
        "agreement": agreement,
        "by_chance": by_chance,
        "suspected": bool(copies >= max(LEAST_COPIES, COPIES * len(users)) and beyond >= AGREE),
    }


def split_check(sides: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Whether a split keeps every customer on one side.

    Args:
        sides: rows of the customers of each side's decisions, by name; a customer may occur often.
    Returns:
        `sizes` (customers by side), `shared` (customers on more than one side) and `passed`.
    """
    customers = [np.unique(rows) for rows in sides.values()]
    _, times = np.unique(np.concatenate(customers), return_counts=True)
    shared = int((times > 1).sum())
    return {
        "sizes": {name: len(own) for name, own in zip(sides, customers, strict=True)},
        "shared": shared,
        "passed": shared == 0,
    }


def _pairs(keys: pd.DataFrame) -> float:
    """Pairs of equal rows."""
    sizes = keys.groupby(list(keys.columns)).size().to_numpy(dtype=np.float64)
    return float((sizes * (sizes - 1) / 2).sum())


def _row_keys(frame: pd.DataFrame) -> np.ndarray:
    """A hash of each row. Shape [N], uint64."""
    if not frame.shape[1]:
        return np.zeros(len(frame), dtype=np.uint64)
    text = frame.apply(lambda column: column.astype(str) if column.dtype == object else column)
    keys: np.ndarray = pd.util.hash_pandas_object(text, index=False).to_numpy()
    return keys


def _grid_keys(grid: DecisionGrid) -> np.ndarray:
    """A hash of each customer's decisions and outcomes: sums of random multiples modulo 2^64. Shape [N], uint64."""
    generator = np.random.default_rng(0)
    keys = np.zeros(len(grid.decision), dtype=np.uint64)
    for table in (grid.decision, *grid.outcomes.values()):
        for column in table.T:  # one slot at a time: no copy of the table
            factor = generator.integers(1, 2**63, dtype=np.uint64)
            keys += np.ascontiguousarray(column).view(np.uint32).astype(np.uint64) * factor
    return keys
