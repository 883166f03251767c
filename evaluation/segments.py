"""To whom: how much, and what, a policy sends to groups of customers by their own columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from campaigns.column_groups import grouped_columns

LEAST_CUSTOMERS = 10
"""Groups of fewer customers are left out."""


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
    rows = []
    for name, groups in telling_groups(users, sends, columns):
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


def telling_groups(users: pd.DataFrame, values: np.ndarray, columns: int) -> list[tuple[str, pd.Series]]:
    """The customers' columns, as groups, by which `values` ([N]) differ most; those that tell nothing are left out."""
    found = []
    for name, groups in grouped_columns(users):
        told = _between(groups, values)
        if told > 0:
            found.append((told, name, groups))
    found.sort(key=lambda entry: (-entry[0], entry[1]))
    return [(name, groups) for _, name, groups in found[:columns]]


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
