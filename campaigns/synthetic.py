"""Customers who do not exist: drawn from the shape of a users table, none of them a row of it.

A Gaussian copula (Sklar 1959): every column becomes normal scores by rank, the scores' correlations are kept, and drawn
scores are turned back by each column's own quantiles. Numbers are drawn between neighbouring quantiles and never beyond
the 1st and 99th percentile; levels of a category that fewer than k = 10 customers share are drawn as missing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.special import ndtr, ndtri

from campaigns.errors import CampaignError

LEAST_SHARED = 10
"""k: a level, or a whole row, that fewer real customers share says something about one of them."""

LEAST_CUSTOMERS = 50
QUANTILES = 200
ROUNDS = 50
SHRINKAGE = 0.02
"""Towards no correlation, so that a few odd customers do not carry it."""


def synthetic_users(users: pd.DataFrame, columns: Sequence[str], customers: int, seed: int) -> pd.DataFrame:
    """Draws a users table.

    Args:
        users: N real customers with `user_id`.
        columns: to be drawn: features, `timezone`, `consent_*`. Others are left out.
        customers: M, how many are drawn.
        seed: of the draw.
    Returns:
        M rows: `user_id` ("synthetic-0" and on, none a real one) and the columns. No row equals a real customer's in
        all columns, except where at least k = 10 real customers share it and all columns are categories.
    Raises:
        CampaignError: where the table is too small, or its rows cannot be told from real ones' in `ROUNDS` draws.
    """
    if len(users) < LEAST_CUSTOMERS:
        raise CampaignError(
            f"users: {len(users)} customers are too few to draw others from; at least {LEAST_CUSTOMERS}."
        )
    generator = np.random.default_rng([seed, 41])
    kept = [users[name] for name in columns]
    scores = np.stack([_scores(series, generator) for series in kept], axis=1) if kept else np.zeros((len(users), 0))
    # Of every pair of columns, the customers of whom both are known.
    correlation = pd.DataFrame(scores).corr().to_numpy(copy=True) if kept else np.zeros((0, 0))
    correlation = (1 - SHRINKAGE) * np.nan_to_num(correlation) + SHRINKAGE * np.eye(len(kept))
    np.fill_diagonal(correlation, 1.0)
    values, axes = np.linalg.eigh(correlation)
    root = axes * np.sqrt(np.clip(values, 0.0, None))

    def draw(rows: int) -> pd.DataFrame:
        chances = ndtr(generator.standard_normal((rows, len(kept))) @ root.T)
        drawn = {s.name: _values(s, chances[:, i], generator) for i, s in enumerate(kept)}
        return pd.DataFrame(drawn, index=range(rows))

    frame = draw(customers)
    if kept:
        shared = _row_keys(users[list(columns)]).value_counts()
        alone = set(shared.index[shared < LEAST_SHARED] if all(map(_is_category, kept)) else shared.index)
        for _ in range(ROUNDS):
            real = np.flatnonzero(_row_keys(frame).isin(alone).to_numpy())
            if not len(real):
                break
            again = draw(len(real))
            for name in frame.columns:
                values_of = frame[name].astype(object)
                values_of.iloc[real] = again[name].astype(object).to_numpy()
                frame[name] = values_of.astype(frame[name].dtype)
        else:
            raise CampaignError(
                f"users: {len(real)} of {customers} drawn customers still equal a real one in {', '.join(columns)}; "
                "leave out columns whose values are too few to hide anybody in, or draw fewer customers."
            )
    taken = set(users["user_id"].astype(str))
    prefix = "synthetic-"
    while any(identity.startswith(prefix) for identity in taken):
        prefix = f"{prefix}x-"
    frame.insert(0, "user_id", [f"{prefix}{number}" for number in range(customers)])
    return frame


def _is_category(series: pd.Series) -> bool:
    return not pd.api.types.is_numeric_dtype(series) or pd.api.types.is_bool_dtype(series)


def _levels(series: pd.Series) -> pd.Series:
    """Counts of the levels that enough customers share, the most frequent first."""
    counts = series.dropna().astype(str).value_counts()
    return counts[counts >= LEAST_SHARED].sort_index().sort_values(ascending=False, kind="stable")


def _scores(series: pd.Series, generator: np.random.Generator) -> np.ndarray:
    """Normal scores of a column, ties broken at random, NaN where it is missing. Shape [N]."""
    if _is_category(series):
        order = {level: place for place, level in enumerate(_levels(series).index)}
        ranked = series.astype(str).map(order).to_numpy(dtype=np.float64, na_value=np.nan, copy=True)
        ranked[series.isna().to_numpy()] = np.nan
    else:
        ranked = pd.to_numeric(series, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    result = np.full(len(series), np.nan)
    known = np.flatnonzero(np.isfinite(ranked))
    order_of = np.lexsort((generator.random(len(known)), ranked[known]))
    place = np.empty(len(known))
    place[order_of] = np.arange(len(known))
    result[known] = ndtri((place + 0.5) / max(len(known), 1))
    return result


def _values(series: pd.Series, chance: np.ndarray, generator: np.random.Generator) -> pd.Series:
    """A column's values at `chance` [M], with as many missing as it has."""
    if _is_category(series):
        counts = _levels(series)
        missing = 1.0 - counts.sum() / len(series)
        if counts.empty:
            return pd.Series([None] * len(chance), dtype=object)
        edges = np.cumsum(counts.to_numpy()) / counts.sum()
        place = np.minimum(np.searchsorted(edges, chance, side="right"), len(counts) - 1)
        first = {str(value): value for value in reversed(series.dropna().tolist())}
        drawn = np.array([first[level] for level in counts.index], dtype=object)[place]
        if missing <= 0 and pd.api.types.is_bool_dtype(series):
            return pd.Series(drawn.astype(bool))
    else:
        numbers = pd.to_numeric(series, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
        known = numbers[np.isfinite(numbers)]
        missing = 1.0 - len(known) / len(series)
        if not len(known):
            return pd.Series(np.full(len(chance), np.nan))
        grid = np.linspace(0.01, 0.99, min(QUANTILES, len(known)))
        values = np.interp(0.01 + 0.98 * chance, grid, np.quantile(known, grid))
        whole = bool((known == np.round(known)).all())
        decimals = 0 if whole else 4
        drawn = np.round(values, decimals)
        if whole and missing <= 0:
            return pd.Series(drawn.astype(np.int64))
    lost = generator.random(len(chance)) < missing
    result = pd.Series(drawn)
    return result.mask(lost) if lost.any() else result


def _row_keys(frame: pd.DataFrame) -> pd.Series:
    """One text a row, by which rows are compared: numbers by value, whatever their type."""
    parts = []
    for name in frame.columns:
        series = frame[name]
        if _is_category(series):
            parts.append(series.astype(object).where(series.notna(), "").astype(str))
        else:
            numbers = pd.to_numeric(series, errors="coerce").astype(np.float64)
            parts.append(numbers.map(lambda value: "" if np.isnan(value) else f"{value:.6g}"))
    keys = parts[0]
    for part in parts[1:]:
        keys = keys.str.cat(part, sep="\x1f")
    return keys
