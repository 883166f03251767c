"""Columns that hold a vector in every row: an embedding of a picture, a sound, a text, of any modality."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from campaigns.errors import CampaignError

BRACKETS = re.compile(r"\s*\[([^\[\]]*)\]\s*")
"""How a vector looks in a CSV: `[0.1, 0.2]`, with commas or spaces between the numbers."""


def holds_vectors(series: pd.Series) -> bool:
    """Whether every known value is a list of numbers, or text that reads as one; False where nothing is known."""
    if series.dtype != object and not pd.api.types.is_string_dtype(series):
        return False
    known = [value for value in series if not _is_missing(value)]
    return bool(known) and all(_vector(value) is not None for value in known)


def read_vectors(series: pd.Series, table: str) -> tuple[np.ndarray, np.ndarray]:
    """Reads a column of vectors.

    Args:
        series: N lists of numbers, arrays, or text as in BRACKETS; missing, empty and not finite ones count as missing.
        table: named in errors.
    Returns:
        The vectors, 0 where missing, shape [N, D], float64; and which are known, shape [N], bool.
    Raises:
        CampaignError: where lengths differ or a value is no vector, naming the column, the first such row and lengths.
    """
    label = f"{table}.{series.name}"
    vectors: list[np.ndarray | None] = []
    for row, value in enumerate(series):
        vector = None if _is_missing(value) else _vector(value)
        if vector is None and not _is_missing(value):
            raise CampaignError(
                f"{label}: row {row} holds {str(value)[:40]!r}, the others lists of numbers; mend it or leave it empty."
            )
        vectors.append(vector if vector is not None and len(vector) and np.isfinite(vector).all() else None)
    lengths = pd.Series([len(vector) for vector in vectors if vector is not None], dtype="int64")
    known = np.array([vector is not None for vector in vectors], dtype=bool)
    if not len(lengths):
        return np.zeros((len(series), 0)), known
    usual = int(lengths.mode().iloc[0])
    for row, vector in enumerate(vectors):
        if vector is not None and len(vector) != usual:
            raise CampaignError(
                f"{label}: the vector in row {row} has {len(vector)} numbers, the others have {usual}; all vectors of "
                "a column must be equally long (rows are counted from 0). Mend the row, or leave it empty."
            )
    return np.stack([np.zeros(usual) if vector is None else vector for vector in vectors]), known


def _is_missing(value: object) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value))


def _vector(value: object) -> np.ndarray | None:
    """The value as float64 of one dimension, or None where it is no vector."""
    if isinstance(value, str):
        inside = BRACKETS.fullmatch(value)
        if inside is None:
            return None
        value = [part for part in re.split(r"[,\s]+", inside[1]) if part]
    elif not isinstance(value, list | tuple | np.ndarray) or any(isinstance(part, str | bool) for part in value):
        return None
    try:
        vector = np.array([np.nan if part is None else part for part in value], dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        return None
    return vector if vector.ndim == 1 else None
