"""Where a policy decides what the log (hardly) ever shows: by content, by daypart and by segment of customers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from campaigns.clock import DAYPARTS
from evaluation.diagnostics import PROBABILITY_FLOOR
from evaluation.segments import LEAST_CUSTOMERS


@dataclass(frozen=True)
class SupportRows:
    """Decisions of a log, and how its logger could have decided.

    Attributes:
        action: HOLD or 1 + content index. Shape [n], int64.
        logged_prob: with which it was taken. Shape [n].
        customer: row of the customers' table. Shape [n], int64.
        daypart: the customer's own, 0..3. Shape [n], int64.
        logging: all probabilities, where they were fitted. Shape [n, 1 + K], or None.
    """

    action: np.ndarray
    logged_prob: np.ndarray
    customer: np.ndarray
    daypart: np.ndarray
    logging: np.ndarray | None = None


def unsupported_decisions(rows: SupportRows, decisions: int, floor: float = PROBABILITY_FLOOR) -> np.ndarray:
    """Which decisions the log (hardly) ever shows in each row.

    Where all probabilities are known, those below `floor`. Else those that were never taken with `floor` or more in the
    row's daypart.

    Returns:
        Shape [n, 1 + K], bool.
    """
    if rows.logging is not None:
        hardly: np.ndarray = rows.logging < floor
        return hardly
    return _never_shown(rows, rows.daypart, decisions, floor)


def support_breakdown(
    target: np.ndarray,
    rows: SupportRows,
    names: tuple[str, ...],
    groups: Iterable[tuple[str, pd.Series]],
    floor: float = PROBABILITY_FLOOR,
) -> dict[str, Any]:
    """Share of a policy's decisions that the log (hardly) ever shows, split three ways.

    Args:
        target: the policy's probabilities. Shape [n, 1 + K].
        rows: the log's.
        names: of hold and the contents. Length 1 + K.
        groups: columns of the customers' table that split it, by name (`campaigns.column_groups`).
        floor: see `unsupported_decisions`.
    Returns:
        `unsupported`: of all decisions; `contents`, `dayparts` and `segments`: rows of `name`, `customers`, `share` of
        the policy's decisions that fall there and `unsupported`, the share of these which the log does not show;
        contents also have `logged`, the log's share of that decision (None where fewer than LEAST_CUSTOMERS customers
        stand behind it). A segment also counts as not shown what its own customers never got. `suppressed`: dayparts
        and segments of fewer than LEAST_CUSTOMERS customers, which are left out.
    """
    unshown = unsupported_decisions(rows, len(names), floor)
    lost = np.where(unshown, target, 0.0)
    by_row, suppressed = lost.sum(axis=1), 0
    contents = []
    for decision, name in enumerate(names):
        mass, taken = float(target[:, decision].sum()), rows.action == decision
        people = len(np.unique(rows.customer[taken]))
        contents.append(
            {
                "name": name,
                "share": mass / len(target),
                "logged": None if 0 < people < LEAST_CUSTOMERS else float(taken.mean()),
                "unsupported": float(lost[:, decision].sum()) / mass if mass > 0 else 0.0,
            }
        )
    dayparts = []
    for part, name in enumerate(DAYPARTS):
        inside = rows.daypart == part
        if entry := _stratum(name, inside, by_row, rows.customer):
            dayparts.append(entry)
        suppressed += entry is None and bool(inside.any())
    segments = []
    for column, levels in groups:
        codes = levels.cat.codes.to_numpy()[rows.customer]
        own = np.where(unshown | _never_shown(rows, codes + 1, len(names), floor), target, 0.0).sum(axis=1)
        for code, level in enumerate(levels.cat.categories):
            inside = codes == code
            if entry := _stratum(f"{column} = {level}", inside, own, rows.customer):
                segments.append(entry)
            suppressed += entry is None and bool(inside.any())
    return {
        "unsupported": float(by_row.mean()),
        "contents": contents,
        "dayparts": dayparts,
        "segments": segments,
        "suppressed": suppressed,
    }


def _never_shown(rows: SupportRows, cell: np.ndarray, decisions: int, floor: float) -> np.ndarray:
    """Decisions never taken with `floor` or more in the row's cell [n]. Shape [n, 1 + K], bool."""
    best = np.zeros((int(cell.max()) + 1, decisions))
    np.maximum.at(best, (cell, rows.action), rows.logged_prob)
    unshown: np.ndarray = (best < floor)[cell]
    return unshown


def _stratum(name: str, inside: np.ndarray, lost: np.ndarray, customer: np.ndarray) -> dict[str, Any] | None:
    customers = len(np.unique(customer[inside]))
    if customers < LEAST_CUSTOMERS:
        return None
    return {
        "name": name,
        "customers": customers,
        "share": float(inside.mean()),
        "unsupported": float(lost[inside].mean()),
    }
