"""What each column of a customers or contents table holds: how much is missing, how many values, how far they reach."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from campaigns.encoding import FAR, RESERVED

LEAST_CUSTOMERS = 10
"""Levels of fewer customers are counted, not named."""


def column_quality(frame: pd.DataFrame, table: str) -> list[dict[str, Any]]:
    """One row a column that may become a feature.

    Args:
        frame: N rows.
        table: `users` or `contents`.
    Returns:
        `column`, `kind` (`number`, `flag`, `category`, `time`, `list`), `missing` (a share), `distinct` values; for
        numbers `low`, `median`, `high` (1st, 50th and 99th percentile, null where one row in a hundred is fewer than
        ten) and `far` (values that encoding clips: outside the central 98 % by more than three times their width);
        for categories and flags `top`, the commonest level (null where fewer than ten rows of `users` have it), its
        `top_share`, and `rare`, how many levels fewer than ten rows have. JSON-able.
    """
    rows: list[dict[str, Any]] = []
    for name in frame.columns:
        if name in RESERVED or str(name).startswith("consent_"):
            continue
        series = frame[name]
        known = series.dropna()
        row: dict[str, Any] = {
            "table": table,
            "column": str(name),
            "kind": _kind(series, known),
            "missing": 1 - len(known) / len(series) if len(series) else 0.0,
        }
        if row["kind"] != "list":
            row["distinct"] = int(known.nunique())
        if row["kind"] == "number":
            row |= _reach(pd.to_numeric(known, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan))
        elif row["kind"] in {"category", "flag"} and len(known):
            counts = known.astype("string").str.strip().value_counts()
            named = table != "users" or int(counts.iloc[0]) >= LEAST_CUSTOMERS
            row |= {
                "top": str(counts.index[0]) if named else None,
                "top_share": float(counts.iloc[0] / len(known)) if named else None,
                "rare": int((counts < LEAST_CUSTOMERS).sum()),
            }
        rows.append(row)
    return rows


def _kind(series: pd.Series, known: pd.Series) -> str:
    if pd.api.types.is_datetime64_any_dtype(series):
        return "time"
    if pd.api.types.is_bool_dtype(series):
        return "flag"
    if pd.api.types.is_numeric_dtype(series):
        return "flag" if set(known.unique()) <= {0, 1} else "number"
    if len(known) and isinstance(known.iloc[0], list | tuple | set | dict | np.ndarray):
        return "list"
    return "category"


def _reach(values: np.ndarray) -> dict[str, Any]:
    values = values[np.isfinite(values)]
    if not len(values):
        return {}
    low, high = np.quantile(values, 0.01, method="higher"), np.quantile(values, 0.99, method="lower")
    width = FAR * (high - low)
    far = int(((values < low - width) | (values > high + width)).sum()) if width > 0 else 0
    safe = len(values) >= 100 * LEAST_CUSTOMERS
    median = float(np.median(values)) if len(values) >= LEAST_CUSTOMERS else None
    return {
        "low": float(low) if safe else None,
        "median": median,
        "high": float(high) if safe else None,
        "far": far,
    }
