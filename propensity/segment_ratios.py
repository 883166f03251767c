"""Observed over expected events by segment: where a model that is right on the whole is wrong for some."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from campaigns.audience import Catalogue
from campaigns.clock import DAYPARTS
from campaigns.column_groups import grouped_columns
from campaigns.features import STATE_FEATURES
from campaigns.replay import DecisionRows

Z95 = 1.959964
NONE_SEEN = -np.log(0.025)
"""Upper end of the exact 95 % interval of a Poisson mean of which nothing was seen."""
LEAST_CUSTOMERS = 10
"""Segments of fewer customers are left out: k-anonymity with k = 10."""
LEAST_EXPECTED = 5.0
"""Expected or observed events below which a segment says nothing of a ratio."""
MOST_CONTENTS, MOST_COLUMNS = 24, 12
RECENT = ((0, "0"), (1, "1 or 2"), (3, "3 to 5"), (6, "6 or more"))
"""Buckets of sends in the last seven days: the least of each, and its name."""
CLEAR, MATTERS = 4.0, 0.1
"""A segment is off from this many standard errors on, and from this distance of its ratio from 1 on."""


def row_groups(rows: DecisionRows, catalogue: Catalogue, users: pd.DataFrame | None) -> dict[str, pd.Series]:
    """Segments of decisions, by name: each a categorical of length R, null where a row is in none.

    Args:
        rows: R decisions; dayparts and recent sends are read from their state features.
        catalogue: of the contents that they name.
        users: the customers' own columns, of which the first twelve that split them into few groups are taken.
    """
    found: dict[str, pd.Series] = {}
    state = rows.state.numpy()
    if state.shape[1] == len(STATE_FEATURES):
        daypart = state[:, [STATE_FEATURES.index(name) for name in DAYPARTS]].argmax(axis=1)
        sends = np.rint(np.expm1(state[:, STATE_FEATURES.index("sends in 7 days")].astype(np.float64)))
        bucket = np.searchsorted([least for least, _ in RECENT], sends, side="right") - 1
        found["daypart"] = _categorical(daypart, list(DAYPARTS))
        found["sends in 7 days"] = _categorical(bucket, [name for _, name in RECENT])
    decision = rows.decision.numpy()
    often = np.argsort(-np.bincount(decision, minlength=1 + len(catalogue)), kind="stable")[:MOST_CONTENTS]
    sent = np.where(np.isin(decision, often), decision, -1)
    found["content"] = _categorical(sent, ["hold", *(str(one) for one in catalogue.ids)])
    if users is not None:
        customer = rows.customer.numpy()
        for place, (name, groups) in enumerate(grouped_columns(users)):
            if place == MOST_COLUMNS:
                break
            found[f"customer's {name}" if name in found else name] = groups.iloc[customer].reset_index(drop=True)
    return found


def observed_over_expected(
    predicted: np.ndarray,
    observed: np.ndarray,
    weight: np.ndarray,
    customer: np.ndarray,
    groups: Mapping[str, pd.Series],
) -> list[dict[str, Any]]:
    """The ratio R = sum w y / sum w p of every segment with its 95 % interval.

    The error is clustered by customer: se R = sqrt(sum over customers of (sum of w (y - R p))^2) / sum w p, the
    delta method for a ratio of sums; the interval is exp(log R +- 1.96 se R / R). Where nothing was observed it runs
    from 0 to the end of the exact Poisson interval, 3.69 / expected. A segment is `off` where its ratio is 10 % or more
    away from 1 and sum w (y - p) is four or more standard errors away from 0; of the clustered error and the one
    that the model itself expects, sum w^2 p (1 - p), the larger counts: few events vary less than they could.

    Args:
        predicted: probabilities. Shape [n].
        observed: 0 or 1. Shape [n].
        weight: rows of the log that each stands for. Shape [n].
        customer: whose. Shape [n], int64.
        groups: as of `row_groups`, of length n.
    Returns:
        Rows of `segment` ("column = level"), `customers`, `rows`, `observed` and `expected` events, `ratio`, `low`,
        `high` and `off`; segments of fewer than ten customers, or of fewer than five events both observed and
        expected, are left out.
    """
    found: list[dict[str, Any]] = []
    for name, column in groups.items():
        codes = column.cat.codes.to_numpy()
        for code, level in enumerate(column.cat.categories):
            inside = codes == code
            _, whose = np.unique(customer[inside], return_inverse=True)
            if not len(whose) or whose.max() + 1 < LEAST_CUSTOMERS:
                continue
            y, p, w = observed[inside], predicted[inside], weight[inside]
            seen, expected = float((w * y).sum()), float((w * p).sum())
            if max(seen, expected) < LEAST_EXPECTED:
                continue
            ratio = seen / max(expected, 1e-12)
            low, high = _limits(ratio, expected, np.bincount(whose, weights=w * (y - ratio * p)))
            clustered = float((np.bincount(whose, weights=w * (y - p)) ** 2).sum())
            error = float(np.sqrt(max(clustered, float((w**2 * p * (1 - p)).sum()), 1e-24)))
            far = abs(seen - expected) >= CLEAR * error
            found.append(
                {
                    "segment": f"{name} = {level}",
                    "customers": int(whose.max()) + 1,
                    "rows": round(float(w.sum())),
                    "observed": seen,
                    "expected": expected,
                    "ratio": ratio,
                    "low": low,
                    "high": high,
                    "off": bool(far and abs(ratio - 1) >= MATTERS),
                }
            )
    return found


def _limits(ratio: float, expected: float, scores: np.ndarray) -> tuple[float, float]:
    if ratio == 0:
        return 0.0, float(NONE_SEEN / expected)
    error = float(np.sqrt((scores**2).sum())) / max(expected, 1e-12)
    factor = float(np.exp(Z95 * error / ratio))
    return ratio / factor, ratio * factor


def _categorical(codes: np.ndarray, labels: list[str]) -> pd.Series:
    # Ids 7 and "7" are one text; categories must differ.
    unique = [label if labels.index(label) == i else f"{label} ({i})" for i, label in enumerate(labels)]
    return pd.Series(pd.Categorical.from_codes(codes.astype(np.int64), categories=pd.Index(unique)))
