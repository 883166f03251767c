"""To whom: how much, and what, a policy sends to groups of customers by their own columns."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

LEAST_CUSTOMERS = 10
"""Groups of fewer customers are left out."""

MOST_LEVELS = 8
"""Columns with more levels are not split by."""


def behaviour_by_segment(
    users: pd.DataFrame,
    sends: np.ndarray,
    opted_out: np.ndarray,
    contents: np.ndarray,
    content_ids: tuple[object, ...],
    weeks: float,
    columns: int = 3,
) -> list[dict[str, Any]]:
    """What a policy does in each group of the columns by which it differs most.

    Numbers are cut into thirds. A column's difference is the share of the variance of sends that lies between its
    groups (eta squared); columns without any are left out.

    Args:
        users: the customers' own columns; ids, time zones and consents are not split by. N rows.
        sends: sends of each customer. Shape [N].
        opted_out: whether the customer opted out. Shape [N], bool.
        contents: sends by content. Shape [N, K].
        content_ids: names of the contents. Length K.
        weeks: length of the horizon.
        columns: how many columns are shown.
    Returns:
        Rows of `segment` ("column = level"), `customers`, `sends_per_week`, `opt_out_share`, `top_content` (None where
        nothing is sent) and `top_share` of the segment's sends; the column that tells most first.
    """
    found = []
    for name in users.columns:
        if str(name).startswith("consent_") or name in {"user_id", "timezone", "as_of"}:
            continue
        groups = _groups(users[name])
        if groups is None:
            continue
        told = _between(groups, sends)
        if told > 0:
            found.append((told, str(name), groups))
    found.sort(key=lambda entry: (-entry[0], entry[1]))
    rows = []
    for _, name, groups in found[:columns]:
        for level in groups.cat.categories:
            inside = (groups == level).to_numpy()
            if inside.sum() < LEAST_CUSTOMERS:
                continue
            by_content = contents[inside].sum(axis=0)
            total = float(by_content.sum())
            rows.append(
                {
                    "segment": f"{name} = {level}",
                    "customers": int(inside.sum()),
                    "sends_per_week": float(sends[inside].mean() / weeks),
                    "opt_out_share": float(opted_out[inside].mean()),
                    "top_content": str(content_ids[int(by_content.argmax())]) if total else None,
                    "top_share": float(by_content.max() / total) if total else None,
                }
            )
    return rows


def _groups(column: pd.Series) -> pd.Series | None:
    """The column as a categorical of 2 to MOST_LEVELS levels, or None where it does not split customers so."""
    if pd.api.types.is_datetime64_any_dtype(column):
        return None
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column) and column.nunique() > 4:
        values = pd.to_numeric(column, errors="coerce")
        edges = np.unique(values.dropna().quantile([0, 1 / 3, 2 / 3, 1]).to_numpy())
        if len(edges) < 3:
            return None
        labels = [f"{_plain(low)} to {_plain(high)}" for low, high in pairwise(edges)]
        labels[1:] = [f"above {label}" for label in labels[1:]]
        codes = np.searchsorted(edges[1:-1], values.to_numpy(dtype=np.float64), side="left")
        codes = np.where(values.isna(), -1, codes)
        return pd.Series(pd.Categorical.from_codes(codes, categories=pd.Index(labels)), index=column.index)
    groups = column.astype("string").astype("category")
    return groups if 2 <= len(groups.cat.categories) <= MOST_LEVELS else None


def _plain(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _between(groups: pd.Series, values: np.ndarray) -> float:
    """Eta squared, less what chance alone would give (epsilon squared, Kelley 1935); not below 0."""
    series = pd.Series(values.astype(np.float64))
    codes = groups.cat.codes.to_numpy()
    total = float(((series - series.mean()) ** 2).sum())
    levels, n = len(np.unique(codes)), len(series)
    if not total or n <= levels:
        return 0.0
    means = series.groupby(codes).transform("mean")
    within = float(((series - means) ** 2).sum())
    return max(0.0, 1.0 - (within / (n - levels)) / (total / (n - 1)))
