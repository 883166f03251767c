"""Ids of customers and contents: they keep their type, and are compared across tables by their text.

A table of integers, one of strings and one that a null turned into floats then still mean the same customers:
7, "7", 7.0 and "7.0" are one id; "007" is another.
"""

from __future__ import annotations

import numbers
import unicodedata

import numpy as np
import pandas as pd

from campaigns.errors import CampaignError

MISSING_WORDS = frozenset({"", "nan", "none", "null", "na", "n/a", "<na>", "nat"})
"""What a missing value looks like once a table was turned into text."""

EXACT_FLOAT = 2.0**53
"""Beyond it, neighbouring integers are one float: digits of an id are lost."""


def id_keys(ids: pd.Series, table: str) -> np.ndarray:
    """The text by which ids are compared.

    Args:
        ids: N ids of any type; its name is the column's.
        table: named in errors.
    Returns:
        Text, None where the id is missing or blank. Shape [N], object.
    Raises:
        CampaignError: where an id is a list or table, or a float too large to be exact.
    """
    if isinstance(ids.dtype, pd.CategoricalDtype):
        ids = ids.astype(object)
    try:
        codes, unique = pd.factorize(ids, use_na_sentinel=True)
    except TypeError:
        raise CampaignError(f"{table}.{ids.name}: ids must be text or whole numbers, not lists or records.") from None
    texts = np.array([*(_key(value, f"{table}.{ids.name}") for value in unique), None], dtype=object)
    keys: np.ndarray = texts[codes]  # code -1, missing, takes the None at the end
    return keys


def kept_ids(ids: pd.Series, table: str) -> pd.Series:
    """Ids without missing values in one type: as they are, integers where a null had made them floats, else text."""
    kinds = set(ids.map(type))
    if all(issubclass(kind, str) for kind in kinds) or pd.api.types.is_integer_dtype(ids):
        return ids
    if all(issubclass(kind, numbers.Real) and not issubclass(kind, bool) for kind in kinds):
        values = [int(i) if float(i).is_integer() else i for i in ids]
        if all(isinstance(i, int) and abs(i) < 2**63 for i in values):
            return pd.Series(values, index=ids.index, name=ids.name, dtype="int64")
    return pd.Series(id_keys(ids, table), index=ids.index, name=ids.name, dtype=object)


def rows_of(keys: np.ndarray, table_keys: np.ndarray) -> np.ndarray:
    """The row of each id in a table, -1 where it is not there.

    Args:
        keys: text of N ids, None where missing.
        table_keys: text of the table's M ids, each once.
    Returns:
        Shape [N], int64.
    """
    rows = np.asarray(pd.Index(table_keys, dtype=object).get_indexer(pd.Index(keys, dtype=object)), dtype=np.int64)
    unmatched = np.flatnonzero((rows < 0) & ~pd.isna(keys))
    if not len(unmatched):
        return rows
    whole = pd.Index([_whole(key) for key in table_keys], dtype=object)
    if whole.is_unique:
        rows[unmatched] = whole.get_indexer(pd.Index([_whole(key) for key in keys[unmatched]], dtype=object))
    return rows


def _whole(key: object) -> object:
    """A number's text without a fraction of zeros, which a null leaves behind when a table is saved as text."""
    if isinstance(key, str) and "." in key:
        digits, _, fraction = key.partition(".")
        if digits.lstrip("-").isdigit() and fraction and not fraction.strip("0"):
            return digits
    return key


def _key(value: object, column: str) -> str | None:
    if isinstance(value, str):
        # One letter can be written in two ways (é, or e with an accent); both mean the same customer.
        return unicodedata.normalize("NFC", value).strip() or None
    if isinstance(value, np.floating):
        value = float(value)
    if isinstance(value, float):
        if abs(value) >= EXACT_FLOAT:
            raise CampaignError(
                f"{column}: {value!r} is a floating-point number too large to be exact, so ids have lost digits; "
                "write ids as integers or text."
            )
        return str(int(value)) if value.is_integer() else str(value)
    if isinstance(value, list | dict | np.ndarray):
        raise CampaignError(f"{column}: ids must be text or whole numbers, not lists or records.")
    return str(value)
