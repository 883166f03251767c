"""Turns the columns of a customers or contents table into numbers, fitted on training rows alone."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from campaigns.errors import CampaignError
from campaigns.flags import read_flags

MAX_LEVELS = 24
"""Most frequent levels of a categorical column that get a column of their own."""

LARGEST = 1e30
"""Numbers beyond it count as it: no feature is larger, and its square still fits a float."""

FAR = 3.0
"""A number further outside the central 98 % of the training rows than this many times their width is clipped."""

RESERVED = frozenset({"user_id", "group_id", "content_id", "timezone", "as_of", "text", "cost"})
"""Columns that are never features; `consent_*` columns are left out too."""


@dataclass(frozen=True)
class ColumnEncoding:
    """How one column becomes numbers.

    Attributes:
        name: the column.
        kind: `number` (standardised, clipped to the trained range) or `category` (one column a level). Booleans, and
            yes and no as text where a number was trained, count as 1 and 0.
        mean, scale: for numbers, of the training rows.
        low, high: for numbers, the training range; values beyond it are clipped to it.
        missing: for numbers, whether training rows lacked it (adds an indicator column).
        levels: for categories; any other value encodes as all zeros.
    """

    name: str
    kind: str
    mean: float = 0.0
    scale: float = 1.0
    low: float = 0.0
    high: float = 0.0
    missing: bool = False
    levels: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        """Number of columns that this one becomes."""
        return len(self.levels) if self.kind == "category" else 1 + int(self.missing)


@dataclass(frozen=True)
class FeatureEncoder:
    """The fitted encodings of one table.

    Attributes:
        table: `users` or `contents`; named in errors.
        columns: one encoding a feature column.
        notes: what preparation did and left out, in plain words.
    """

    table: str
    columns: tuple[ColumnEncoding, ...]
    notes: tuple[str, ...] = field(default=())

    @property
    def width(self) -> int:
        """F, the number of encoded columns."""
        return sum(column.width for column in self.columns)

    @property
    def names(self) -> list[str]:
        """Name of each encoded column. Length F."""
        names: list[str] = []
        for column in self.columns:
            if column.kind == "category":
                names += [f"{column.name}={level}" for level in column.levels]
            else:
                names += [column.name] + ([f"{column.name} missing"] if column.missing else [])
        return names

    def encode(self, frame: pd.DataFrame) -> np.ndarray:
        """Encodes a table with at least the trained columns; extra columns are ignored.

        Args:
            frame: N rows.
        Returns:
            float32, shape [N, F].
        Raises:
            CampaignError: when a trained column is missing.
        """
        absent = [column.name for column in self.columns if column.name not in frame.columns]
        if absent:
            raise CampaignError(
                f"{self.table}: missing feature column(s) {', '.join(absent)} that the model was trained on; "
                f"the table has {', '.join(map(str, frame.columns))}. Add them (missing values are allowed)."
            )
        for column in self.columns:
            if isinstance(frame[column.name], pd.DataFrame):
                raise CampaignError(f"{self.table}: column {column.name} occurs more than once; keep one of them.")
        blocks = [_encode_column(column, frame[column.name]) for column in self.columns]
        if not blocks:
            return np.zeros((len(frame), 0), dtype=np.float32)
        return np.concatenate(blocks, axis=1).astype(np.float32)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return asdict(self)

    @staticmethod
    def from_dict(stored: Mapping[str, Any]) -> FeatureEncoder:
        """The inverse of `to_dict`."""
        columns = tuple(ColumnEncoding(**{**c, "levels": tuple(c["levels"])}) for c in stored["columns"])
        return FeatureEncoder(stored["table"], columns, tuple(stored["notes"]))

    def digest(self) -> str:
        """A short hash of what was fitted, by which two feature specs are compared."""
        return hashlib.sha256(repr(self.columns).encode()).hexdigest()[:12]


def fit_encoder(frame: pd.DataFrame, table: str, exclude: Collection[str] = ()) -> FeatureEncoder:
    """Fits an encoder on training rows.

    Numbers and booleans are standardised, text-like columns become one column a level. Constant and empty columns
    are left out; so are ids, time stamps, lists, and text that is another in every row. Outliers are clipped. Where
    nothing else tells contents apart, their ids do.

    Args:
        frame: the training rows of the table.
        table: `users` or `contents`.
        exclude: further columns to leave out.
    Returns:
        The encoder, with notes on what it left out.
    """
    notes: list[str] = []
    fitted: list[ColumnEncoding | None] = []
    for name in frame.columns:
        if name in RESERVED or name in exclude or str(name).startswith("consent_"):
            continue
        series, label = frame[name], f"{table}.{name}"
        if pd.api.types.is_datetime64_any_dtype(series):
            notes.append(f"{label}: a time stamp, not used as a feature")
        elif pd.api.types.is_numeric_dtype(series):  # booleans count as numbers here
            fitted.append(_fit_number(series, label, notes))
        else:
            fitted.append(_fit_category(series, label, notes))
    columns = [column for column in fitted if column is not None]
    if table == "contents" and not columns and "content_id" in frame.columns:
        levels = tuple(sorted(str(i) for i in _texts(frame["content_id"].dropna())))[:MAX_LEVELS]
        columns.append(ColumnEncoding("content_id", "category", levels=levels))
        notes.append(
            "contents: no column tells contents apart, so their ids do; nothing learned carries over to new contents"
        )
    return FeatureEncoder(table, tuple(columns), tuple(notes))


def _fit_number(series: pd.Series, label: str, notes: list[str]) -> ColumnEncoding | None:
    values = _numbers(series)
    known = values[np.isfinite(values)]
    if known.size == 0 or np.ptp(known) == 0:
        notes.append(f"{label}: constant or empty, left out")
        return None
    known, clipped = _without_outliers(known)
    if clipped:
        notes.append(f"{label}: {clipped} outliers clipped to {known.min():g} .. {known.max():g}")
    missing = values.size - known.size
    if missing:
        notes.append(f"{label}: missing in {missing} rows, filled with the mean and flagged")
    mean, scale = float(known.mean()), float(known.std()) or 1.0
    return ColumnEncoding(
        str(series.name), "number", mean, scale, float(known.min()), float(known.max()), missing=missing > 0
    )


def _fit_category(series: pd.Series, label: str, notes: list[str]) -> ColumnEncoding | None:
    known = series.dropna()
    if len(known) and isinstance(known.iloc[0], list | tuple | set | dict | np.ndarray):
        notes.append(f"{label}: lists, left out; give one column a number")
        return None
    counts = _texts(known).value_counts().sort_index().sort_values(ascending=False, kind="stable")
    if len(counts) == 0 or (len(counts) == 1 and len(known) == len(series)):
        notes.append(f"{label}: constant or empty, left out")
        return None
    if len(counts) > MAX_LEVELS and counts.iloc[0] == 1:
        notes.append(f"{label}: another text in every row, left out")
        return None
    if len(counts) > MAX_LEVELS:
        notes.append(f"{label}: {len(counts)} levels, the {MAX_LEVELS} most frequent are kept")
    levels = tuple(sorted(str(level) for level in counts.index[:MAX_LEVELS]))
    return ColumnEncoding(str(series.name), "category", levels=levels)


def _numbers(series: pd.Series) -> np.ndarray:
    """The column as float64, NaN where it is missing, infinite or no number. Shape [N]."""
    if isinstance(series.dtype, pd.CategoricalDtype):
        series = series.astype(object)
    values: np.ndarray = pd.to_numeric(series, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan, copy=True)
    if series.dtype == object or pd.api.types.is_string_dtype(series):
        values = np.where(np.isnan(values), read_flags(series), values)
    values[~np.isfinite(values)] = np.nan
    clipped: np.ndarray = np.clip(values, -LARGEST, LARGEST)
    return clipped


def _without_outliers(values: np.ndarray) -> tuple[np.ndarray, int]:
    """The values with those far outside the central 98 % clipped, and how many those were."""
    # Of few rows, too, one alone must not count as the centre.
    low, high = np.quantile(values, 0.01, method="higher"), np.quantile(values, 0.99, method="lower")
    width = FAR * (high - low)
    if width <= 0:  # nearly constant: what differs is rare, not far
        return values, 0
    bounded = np.clip(values, low - width, high + width)
    return bounded, int((bounded != values).sum())


def _texts(series: pd.Series) -> pd.Series:
    """Levels as text; a whole number reads alike whether a null elsewhere made it a float or not."""
    if pd.api.types.is_float_dtype(series):
        return series.map(lambda x: str(int(x)) if float(x).is_integer() else str(x), na_action="ignore").astype(
            "string"
        )
    return series.astype("string").str.strip()


def _encode_column(column: ColumnEncoding, series: pd.Series) -> np.ndarray:
    if column.kind == "category":
        codes = pd.Index(column.levels, dtype=object).get_indexer(pd.Index(_texts(series).to_numpy(dtype=object)))
        block = np.zeros((len(series), len(column.levels)), dtype=np.float32)
        known = np.flatnonzero(codes >= 0)
        block[known, codes[known]] = 1.0
        return block
    values = _numbers(series)
    absent = np.isnan(values)
    standard: np.ndarray = (np.clip(values, column.low, column.high) - column.mean) / column.scale
    standard[absent] = 0.0
    if not column.missing:
        return standard[:, None]
    return np.stack([standard, absent.astype(np.float64)], axis=1)
