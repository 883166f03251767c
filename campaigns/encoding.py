"""Turns the columns of a customers or contents table into numbers, fitted on training rows alone."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from campaigns.embeddings import holds_vectors, read_vectors
from campaigns.errors import CampaignError
from campaigns.flags import read_flags
from campaigns.reduction import Reduction, fit_reduction
from campaigns.text import TEXTS, hashed_counts, inverse_document_frequency, plain_texts, sentence_vectors

MAX_LEVELS = 24
"""Most frequent levels of a categorical column that get a column of their own."""

LARGEST = 1e30
"""Numbers beyond it count as it: no feature is larger, and its square still fits a float."""

FAR = 3.0
"""A number further outside the central 98 % of the training rows than this many times their width is clipped."""

RESERVED = frozenset({"user_id", "group_id", "content_id", "timezone", "as_of", "text", "cost"})
"""Columns that are never features; `consent_*` columns are left out too, `text` is read where texts are."""

WORDS_OF_A_TEXT = 3
"""Words that the values of a column have on average before it counts as text; shorter ones are names or codes."""

MOST_TEXTS = 2000
"""Different texts that an encoding is fitted to, evenly spread over all in their order."""

ROWS_AT_ONCE = 8192
"""Texts turned into vectors at a time, which bounds memory."""


@dataclass(frozen=True)
class ColumnEncoding:
    """How one column becomes numbers.

    Attributes:
        name: the column.
        kind: `number` (standardised, clipped to the trained range), `category` (one column a level), `text` or
            `embedding` (a vector in every row), both reduced to few columns. Booleans, and yes and no as text where a
            number was trained, count as 1 and 0.
        mean, scale: for numbers, of the training rows.
        low, high: for numbers, the training range; values beyond it are clipped to it.
        missing: for all but categories, whether training rows lacked it (adds an indicator column).
        levels: for categories; any other value encodes as all zeros.
        text: for texts, how they become vectors: `hashed` or `minilm`.
        weights: for hashed texts, the inverse document frequency of each bucket.
        reduction: for texts and embeddings, from the vector to columns.
    """

    name: str
    kind: str
    mean: float = 0.0
    scale: float = 1.0
    low: float = 0.0
    high: float = 0.0
    missing: bool = False
    levels: tuple[str, ...] = ()
    text: str = ""
    weights: tuple[float, ...] = ()
    reduction: Reduction | None = None

    @property
    def names(self) -> list[str]:
        """Name of each column that this one becomes."""
        if self.kind == "category":
            return [f"{self.name}={level}" for level in self.levels]
        flag = [f"{self.name} missing"] if self.missing else []
        if self.reduction is None:
            return [self.name, *flag]
        return [f"{self.name} [{number}]" for number in range(1, self.reduction.width + 1)] + flag

    @property
    def width(self) -> int:
        """Number of columns that this one becomes."""
        if self.kind == "category":
            return len(self.levels)
        return (1 if self.reduction is None else self.reduction.width) + int(self.missing)

    @staticmethod
    def from_dict(stored: Mapping[str, Any]) -> ColumnEncoding:
        """The inverse of `dataclasses.asdict`, also after a round trip through JSON."""
        reduction = stored.get("reduction")
        return ColumnEncoding(
            **{
                **stored,
                "levels": tuple(stored["levels"]),
                "weights": tuple(stored.get("weights", ())),
                "reduction": None if reduction is None else Reduction.from_dict(reduction),
            }
        )


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
        return [name for column in self.columns for name in column.names]

    def encode(self, frame: pd.DataFrame) -> np.ndarray:
        """Encodes a table with at least the trained columns; extra columns are ignored.

        Args:
            frame: N rows.
        Returns:
            float32, shape [N, F].
        Raises:
            CampaignError: when a trained column is missing, or vectors are not as long as the trained ones.
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
        blocks = [_encode_column(column, frame[column.name], self.table) for column in self.columns]
        if not blocks:
            return np.zeros((len(frame), 0), dtype=np.float32)
        return np.concatenate(blocks, axis=1).astype(np.float32)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return asdict(self)

    @staticmethod
    def from_dict(stored: Mapping[str, Any]) -> FeatureEncoder:
        """The inverse of `to_dict`."""
        columns = tuple(ColumnEncoding.from_dict(column) for column in stored["columns"])
        return FeatureEncoder(stored["table"], columns, tuple(stored["notes"]))

    def digest(self) -> str:
        """A short hash of what was fitted, by which two feature specs are compared."""
        return hashlib.sha256(repr(self.columns).encode()).hexdigest()[:12]


def fit_encoder(frame: pd.DataFrame, table: str, exclude: Collection[str] = (), text: str = "none") -> FeatureEncoder:
    """Fits an encoder on training rows.

    Numbers and booleans are standardised, text-like columns become one column a level, vectors and texts a few
    columns. Constant and empty columns are left out; so are ids, time stamps, lists of other things than numbers,
    and, unless texts are read, text that is another in every row. Outliers are clipped. Where nothing else tells
    contents apart, their ids do.

    Args:
        frame: the training rows of the table.
        table: `users` or `contents`.
        exclude: further columns to leave out.
        text: how the column `text`, and other columns of a text in every row, are read: `none` (not at all),
            `hashed` or `minilm`.
    Returns:
        The encoder, with notes on what it left out.
    Raises:
        CampaignError: where vectors of a column differ in length, or `minilm` is not installed.
    """
    if text not in TEXTS:
        raise CampaignError(f"data.text={text}: must be one of {', '.join(TEXTS)}.")
    notes: list[str] = []
    fitted: list[ColumnEncoding | None] = []
    for name in frame.columns:
        if name in exclude or str(name).startswith("consent_"):
            continue
        series, label = frame[name], f"{table}.{name}"
        if name == "text" and text != "none":
            fitted.append(_fit_text(series, label, notes, text))
            continue
        if name in RESERVED:
            continue
        if pd.api.types.is_datetime64_any_dtype(series):
            notes.append(f"{label}: a time stamp, not used as a feature")
        elif pd.api.types.is_numeric_dtype(series):  # booleans count as numbers here
            fitted.append(_fit_number(series, label, notes))
        elif holds_vectors(series):
            fitted.append(_fit_embedding(series, table, notes))
        elif text != "none" and _is_prose(series):
            fitted.append(_fit_text(series, label, notes, text))
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
        notes.append(f"{label}: lists of other things than numbers, left out")
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


def _fit_embedding(series: pd.Series, table: str, notes: list[str]) -> ColumnEncoding | None:
    vectors, known = read_vectors(series, table)
    column = ColumnEncoding(str(series.name), "embedding")
    return _fit_vectors(column, vectors[known], known, f"{table}.{series.name}", notes)


def _fit_text(series: pd.Series, label: str, notes: list[str], text: str) -> ColumnEncoding | None:
    texts = plain_texts(series)
    known = np.array([bool(value) for value in texts], dtype=bool)
    different = sorted({value for value in texts if value})
    if len(different) > MOST_TEXTS:
        different = [different[row] for row in np.linspace(0, len(different) - 1, MOST_TEXTS).astype(np.int64)]
    if len(different) < 2:
        notes.append(f"{label}: constant or empty, left out")
        return None
    if text == "hashed":
        counts = hashed_counts(different)
        weights = inverse_document_frequency(counts).round(6)
        column = ColumnEncoding(str(series.name), "text", text=text, weights=tuple(weights.tolist()))
        vectors = counts * weights
    else:
        column = ColumnEncoding(str(series.name), "text", text=text)
        vectors = sentence_vectors(different)
    return _fit_vectors(column, vectors, known, label, notes)


def _fit_vectors(
    column: ColumnEncoding, vectors: np.ndarray, known: np.ndarray, label: str, notes: list[str]
) -> ColumnEncoding | None:
    """Reduces a column's training vectors; `known` says which rows of the table have one."""
    reduction = fit_reduction(vectors) if vectors.size else None
    if reduction is None:
        notes.append(f"{label}: constant or empty, left out")
        return None
    missing = int((~known).sum())
    if missing:
        notes.append(f"{label}: missing in {missing} rows, filled with the mean and flagged")
    kind = f"{column.text} text" if column.kind == "text" else f"vectors of {vectors.shape[1]} numbers"
    notes.append(f"{label}: {kind} as {reduction.width} column{'s' * (reduction.width > 1)}")
    return replace(column, missing=missing > 0, reduction=reduction)


def _is_prose(series: pd.Series) -> bool:
    """Whether a column holds sentences: too many different values for levels, of several words each."""
    texts = _texts(series.dropna())
    if texts.nunique() <= MAX_LEVELS:
        return False
    return float(np.mean([len(str(text).split()) for text in texts])) >= WORDS_OF_A_TEXT


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


def _encode_column(column: ColumnEncoding, series: pd.Series, table: str) -> np.ndarray:
    if column.kind == "category":
        codes = pd.Index(column.levels, dtype=object).get_indexer(pd.Index(_texts(series).to_numpy(), dtype=object))
        block = np.zeros((len(series), len(column.levels)), dtype=np.float32)
        known = np.flatnonzero(codes >= 0)
        block[known, codes[known]] = 1.0
        return block
    if column.reduction is not None:
        encode = _encode_texts if column.kind == "text" else _encode_vectors
        reduced, there = encode(column, column.reduction, series, table)
        return np.column_stack([reduced, ~there]) if column.missing else reduced
    values = _numbers(series)
    absent = np.isnan(values)
    standard: np.ndarray = (np.clip(values, column.low, column.high) - column.mean) / column.scale
    standard[absent] = 0.0
    if not column.missing:
        return standard[:, None]
    return np.stack([standard, absent.astype(np.float64)], axis=1)


def _encode_vectors(
    column: ColumnEncoding, reduction: Reduction, series: pd.Series, table: str
) -> tuple[np.ndarray, np.ndarray]:
    vectors, known = read_vectors(series, table)
    trained = len(reduction.centre)
    if not known.any():
        return np.zeros((len(series), reduction.width)), known
    if vectors.shape[1] != trained:
        raise CampaignError(
            f"{table}.{column.name}: vectors of {vectors.shape[1]} numbers, but the model was trained on {trained}; "
            "use the same encoder as in training."
        )
    return reduction.apply(vectors, known), known


def _encode_texts(
    column: ColumnEncoding, reduction: Reduction, series: pd.Series, table: str
) -> tuple[np.ndarray, np.ndarray]:
    texts = plain_texts(series)
    known = np.array([bool(text) for text in texts], dtype=bool)
    parts = [np.zeros((0, reduction.width))]
    for begin in range(0, len(texts), ROWS_AT_ONCE):
        part = texts[begin : begin + ROWS_AT_ONCE]
        vectors = hashed_counts(part) * np.array(column.weights) if column.text == "hashed" else sentence_vectors(part)
        parts.append(reduction.apply(vectors, known[begin : begin + ROWS_AT_ONCE]))
    return np.concatenate(parts), known
