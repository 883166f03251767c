"""A customers' column as a few groups: its levels, or thirds of its numbers."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pandas as pd

MOST_LEVELS = 8
"""A column of more levels splits customers too finely to be read."""
NOT_GROUPED = frozenset({"user_id", "group_id", "timezone", "as_of"})


def grouped_columns(users: pd.DataFrame) -> Iterator[tuple[str, pd.Series]]:
    """The columns that split customers into groups, by name; ids, time zones and consents do not."""
    for name in users.columns:
        if str(name).startswith("consent_") or name in NOT_GROUPED:
            continue
        groups = column_groups(users[name])
        if groups is not None:
            yield str(name), groups


def column_groups(column: pd.Series) -> pd.Series | None:
    """The column as a categorical of 2 to MOST_LEVELS levels, or None where it does not split customers so."""
    if pd.api.types.is_datetime64_any_dtype(column):
        return None
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column) and column.nunique() > 4:
        values = pd.to_numeric(column, errors="coerce")
        edges = np.unique(values.dropna().quantile([0, 1 / 3, 2 / 3, 1]).to_numpy())
        if len(edges) < 3:
            return None
        whole = bool((values.dropna() % 1 == 0).all())
        labels = [_between(low, high, part == 0, whole) for part, (low, high) in enumerate(pairwise(edges))]
        codes = np.searchsorted(edges[1:-1], values.to_numpy(dtype=np.float64), side="left")
        codes = np.where(values.isna(), -1, codes)
        return pd.Series(pd.Categorical.from_codes(codes, categories=pd.Index(labels)), index=column.index)
    groups = column.astype("string").astype("category")
    return groups if 2 <= len(groups.cat.categories) <= MOST_LEVELS else None


def _between(low: float, high: float, first: bool, whole: bool) -> str:
    """A range that begins where the one before it ended: of whole numbers at the next, else just above."""
    if whole:
        low, high = np.ceil(low) if first else np.floor(low) + 1, np.floor(high)
        return _plain(low) if low == high else f"{_plain(low)} to {_plain(high)}"
    return f"{_plain(low)} to {_plain(high)}" if first else f"over {_plain(low)}, to {_plain(high)}"


def _plain(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
