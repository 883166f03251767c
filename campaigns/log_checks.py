"""What is wrong with a log's tables: fields are set aside with their reason, rows only where their key is unusable.

Pandera finds the offending fields of a table in one pass; what it cannot see (keys across tables, impossible
combinations) is checked here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pandera.pandas as pa

from campaigns.clock import SlotClock, is_timezone
from campaigns.columns import FLAGS
from campaigns.embeddings import holds_vectors, read_vectors
from campaigns.errors import CampaignError
from campaigns.flags import read_flags
from campaigns.ids import MISSING_WORDS, id_keys, kept_ids
from campaigns.times import read_times

EVENTS = ("open", "click", "visit", "purchase", "unsubscribe", "refund")
MOSTLY_NUMBERS = 0.8
"""A text column of which this share are numbers is one of numbers; the rest is set aside."""

SHOWN = 3
"""How many offending rows a message names."""
LONGEST = 200
"""Letters that are kept of an offending value."""


@dataclass
class Quarantine:
    """What was set aside, and the rows in which it was.

    Attributes:
        parts: tables with the columns table, row, column, value, reason.
        sizes: rows read, by table.
    """

    parts: list[pd.DataFrame] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)

    def add(self, table: str, column: str, rows: Iterable[int], values: Iterable[object], reason: str) -> None:
        """Sets fields aside; `rows` are numbers of data rows, from 0."""
        rows, values = list(rows), pd.Series(list(values), dtype=object)
        if rows:
            shown = [None if gone else str(v)[:LONGEST] for v, gone in zip(values, pd.isna(values), strict=True)]
            self.parts.append(
                pd.DataFrame({"table": table, "row": rows, "column": column, "value": shown, "reason": reason})
            )

    def frame(self) -> pd.DataFrame:
        """Everything set aside."""
        columns = ["table", "row", "column", "value", "reason"]
        return pd.concat(self.parts, ignore_index=True) if self.parts else pd.DataFrame(columns=columns)

    def summary(self) -> list[dict[str, object]]:
        """One entry a table, column and reason: how many, and the first rows."""
        frame = self.frame()
        entries: list[dict[str, object]] = []
        for (table, column, reason), part in frame.groupby(["table", "column", "reason"], sort=True):
            entries.append(
                {
                    "table": table,
                    "column": column,
                    "reason": reason,
                    "count": len(part),
                    "example_rows": [int(r) for r in part["row"].iloc[:SHOWN]],
                }
            )
        return entries

    def commonest(self, table: str) -> str:
        """The commonest reasons of a table with their counts and first rows, in a sentence or none."""
        reasons = sorted((e for e in self.summary() if e["table"] == table), key=lambda e: -int(str(e["count"])))
        return "; ".join(
            f"{e['column']}: {e['reason']} ({e['count']} times, first in rows {e['example_rows']})"
            for e in reasons[:SHOWN]
        )

    def refuse_beyond(self, limit: float) -> None:
        """Stops where more than a share of a table's rows has something set aside.

        Raises:
            CampaignError: naming the commonest reasons, their counts and first rows.
        """
        frame = self.frame()
        for table, size in self.sizes.items():
            touched = frame.loc[frame["table"] == table, "row"].nunique()
            if size and touched / size > limit:
                raise CampaignError(
                    f"{table}: {touched} of {size} rows ({touched / size:.1%}) have faults, more than "
                    f"data.max_rejected={limit:.1%} allows. {self.commonest(table)}. Mend the table (rows are counted "
                    "from 0, without the header), or raise data.max_rejected."
                )


def clean_flags(frame: pd.DataFrame, table: str, quarantine: Quarantine) -> pd.DataFrame:
    """Outcome flags as float32 0, 1 or NaN; anything else is set aside."""
    for column in [c for c in FLAGS if c in frame.columns]:
        flags = read_flags(frame[column])
        bad = np.isnan(flags) & frame[column].notna().to_numpy(dtype=bool)
        quarantine.add(table, column, frame.index[bad], frame.loc[bad, column], "neither 0 nor 1")
        frame[column] = flags
    return frame


def clean_numbers(
    frame: pd.DataFrame, table: str, bounds: dict[str, pa.Column], quarantine: Quarantine
) -> pd.DataFrame:
    """Number columns as float64; text, infinities and values outside their bounds are set aside.

    Args:
        frame: the table.
        table: its name.
        bounds: a pandera column of checks for each number column.
        quarantine: takes the faults.
    """
    present = [c for c in bounds if c in frame.columns]
    for column in present:
        frame[column] = _as_numbers(frame[column], table, quarantine)
    schema = pa.DataFrameSchema({c: bounds[c] for c in present})
    try:
        schema.validate(frame[present], lazy=True)
    except pa.errors.SchemaErrors as errors:
        cases = errors.failure_cases.dropna(subset=["index"])
        for (column, check), part in cases.groupby(["column", "check"]):
            rows = part["index"].astype(int)
            quarantine.add(table, str(column), rows, part["failure_case"], str(check))
            frame.loc[rows, str(column)] = np.nan
    return frame


def _as_numbers(series: pd.Series, table: str, quarantine: Quarantine) -> pd.Series:
    """The column as float64; what is no number, or infinite, is set aside."""
    numbers = pd.to_numeric(_plain(series), errors="coerce").astype("float64")
    bad = (numbers.isna() & series.notna()).to_numpy(dtype=bool)
    quarantine.add(table, str(series.name), series.index[bad], series[bad], "not a number")
    infinite = np.isinf(numbers.to_numpy(dtype=np.float64))
    quarantine.add(table, str(series.name), series.index[infinite], numbers[infinite], "infinite")
    return numbers.mask(infinite)


def _as_vectors(series: pd.Series, table: str, quarantine: Quarantine) -> pd.Series:
    """A column of vectors as lists of numbers; those that are not finite are set aside.

    Raises:
        CampaignError: where they differ in length.
    """
    vectors, known = read_vectors(series, table)
    bad = ~known & series.notna().to_numpy(dtype=bool)
    quarantine.add(table, str(series.name), series.index[bad], series[bad], "a vector that is empty or not finite")
    lists = [vector.tolist() if there else None for vector, there in zip(vectors, known, strict=True)]
    return pd.Series(lists, index=series.index, dtype=object)


def _plain(series: pd.Series) -> pd.Series:
    """A categorical column as its values; lists and records as text, so that no function stumbles over them."""
    if isinstance(series.dtype, pd.CategoricalDtype):
        series = series.astype(object)
    if series.dtype == object:
        series = series.map(lambda value: str(value) if isinstance(value, list | dict | np.ndarray) else value)
    return series


LEAST_CHANCE = 1e-30
"""Probabilities below it are 0 in single precision."""
LARGEST_AMOUNT = 1e12
"""Amounts beyond it are no basket in any currency, and would drown every mean."""

ACTION_PROB = pa.Column(
    float,
    pa.Check(lambda s: (s > LEAST_CHANCE) & (s <= 1), error="a probability must lie in (0, 1]"),
    nullable=True,
)
AMOUNT = pa.Column(
    float, pa.Check(lambda s: s.abs() <= LARGEST_AMOUNT, error=f"beyond {LARGEST_AMOUNT:g} either way"), nullable=True
)
COST = pa.Column(
    float,
    pa.Check(lambda s: s.between(0, LARGEST_AMOUNT), error=f"a cost must lie in [0, {LARGEST_AMOUNT:g}]"),
    nullable=True,
)


def clean_times(
    frame: pd.DataFrame, table: str, clock: SlotClock, quarantine: Quarantine, warnings: list[str], column: str = "time"
) -> pd.Series:
    """Times as naive wall clock of the grid's zone; NaT where they cannot be read. See `campaigns.times`.

    Raises:
        CampaignError: where day and month cannot be told apart.
    """
    series = frame[column]
    read = read_times(series, clock, f"{table}.{column}")
    warnings.extend(read.notes)
    bad = read.times.isna().to_numpy(dtype=bool)
    lost = "; the row is left out" if column == "time" else ""
    if pd.api.types.is_numeric_dtype(series) and not series.isna().all():
        reason = f"a number, not a time stamp such as 2025-03-31T16:00{lost}"
    else:
        reason = f"not a time stamp{lost}"
    if column != "time":
        bad = bad & series.notna().to_numpy(dtype=bool)
    quarantine.add(table, column, frame.index[bad], series[bad], reason)
    return read.times


def clean_users(users: pd.DataFrame, clock: SlotClock, quarantine: Quarantine, warnings: list[str]) -> pd.DataFrame:
    """One row a customer; unknown zones, unreadable consent and impossible features are set aside."""
    users = _unique_keys(users, "users", "user_id", quarantine)
    if "timezone" in users.columns:
        names = _plain(users["timezone"]).map(lambda name: name.strip() if isinstance(name, str) else name)
        known = {name: is_timezone(name) for name in names.dropna().unique()}
        bad = names.map(known).eq(False).fillna(False).to_numpy(dtype=bool)
        quarantine.add(
            "users", "timezone", users.index[bad], users.loc[bad, "timezone"], "unknown zone; the grid's own is used"
        )
        users["timezone"] = names.astype(object).mask(bad | names.isna().to_numpy(dtype=bool), None)
    if "as_of" in users.columns:
        users["as_of"] = clean_times(users, "users", clock, quarantine, warnings, "as_of")
    consents = [c for c in users.columns if str(c).startswith("consent_")]
    for column in consents:
        flags = read_flags(users[column])
        missing = users[column].isna().to_numpy(dtype=bool)
        # A consent that cannot be read protects the customer: it counts as not given.
        unreadable = np.isnan(flags) & ~missing
        quarantine.add(
            "users", column, users.index[unreadable], users.loc[unreadable, column], "unreadable consent; none assumed"
        )
        if missing.any():
            warnings.append(f"users.{column}: missing for {int(missing.sum())} customers, taken as given.")
        users[column] = pd.Series(flags == 1, index=users.index, dtype="boolean").mask(missing)
    if not consents:
        warnings.append("users: no consent_CHANNEL column; consent is taken as given.")
    features = [c for c in users.columns if c not in ("user_id", "group_id", "timezone", "as_of", *consents)]
    return _clean_features(users, "users", features, quarantine, warnings).reset_index(drop=True)


def clean_contents(contents: pd.DataFrame, quarantine: Quarantine, warnings: list[str]) -> pd.DataFrame:
    """One row a content; impossible costs and attributes are set aside, channels written in small letters."""
    contents = _unique_keys(contents, "contents", "content_id", quarantine)
    if len(contents) == 1:
        warnings.append("contents: only one content; which content to send cannot be learned.")
    contents = clean_numbers(contents, "contents", {"cost": COST}, quarantine)
    for column in [c for c in ("channel", "category") if c in contents.columns]:
        text = _plain(contents[column]).astype("string").str.strip()
        contents[column] = (text.str.lower() if column == "channel" else text).astype(object).where(text.notna(), None)
    for column in [c for c in ("channel", "category", "text") if c in contents.columns]:
        if _plain(contents[column]).astype("string").fillna("").str.strip().eq("").all():
            warnings.append(f"contents.{column}: empty, no row has a value; not used.")
    features = [c for c in contents.columns if c not in ("content_id", "cost", "text", "channel", "category")]
    return _clean_features(contents, "contents", features, quarantine, warnings).reset_index(drop=True)


def note_consent(users: pd.DataFrame, contents: pd.DataFrame, warnings: list[str]) -> None:
    """Says where channels and consent columns do not belong together."""
    consents = {str(c).removeprefix("consent_") for c in users.columns if str(c).startswith("consent_")}
    channels = set(contents["channel"].dropna()) if "channel" in contents.columns else {"push"}
    for channel in sorted(channels - consents) if consents else ():
        warnings.append(f"users: no consent_{channel} column; consent is taken as given on that channel.")
    for channel in sorted(consents - channels):
        warnings.append(f"users.consent_{channel}: no content goes by this channel; not used.")


def _unique_keys(frame: pd.DataFrame, table: str, key: str, quarantine: Quarantine) -> pd.DataFrame:
    """Rows with an id of their own; the index keeps the row numbers of the file."""
    frame = frame.reset_index(drop=True)
    keys = pd.Series(id_keys(frame[key], table))
    missing = keys.isna() | keys.str.lower().isin(MISSING_WORDS)
    repeated = keys.duplicated() & ~missing
    quarantine.add(table, key, frame.index[missing], frame.loc[missing, key], "missing id; the row is left out")
    quarantine.add(table, key, frame.index[repeated], frame.loc[repeated, key], "repeated id; the first row is kept")
    kept = frame[~missing & ~repeated].copy()
    if not len(kept):
        raise CampaignError(f"{table}: {'no row with a usable ' + key if len(frame) else 'the table is empty'}.")
    kept[key] = kept_ids(kept[key], table)
    return kept


def _clean_features(
    frame: pd.DataFrame, table: str, features: list[str], quarantine: Quarantine, warnings: list[str]
) -> pd.DataFrame:
    """Features as numbers, booleans, times or text, one type a column."""
    for column in features:
        series = frame[column]
        if isinstance(series.dtype, pd.CategoricalDtype):
            series = series.astype(object)
        known = series.dropna()
        if series.dtype == object or pd.api.types.is_string_dtype(series):
            kinds = set(known.map(type))
            if holds_vectors(series):
                frame[column] = _as_vectors(series, table, quarantine)
                continue
            if kinds & {list, dict, np.ndarray, tuple, set}:
                frame[column] = series.map(lambda value: None if value is None else str(value))
                warnings.append(f"{table}.{column}: lists of other things than numbers; each counts as one text.")
                continue
            if kinds <= {bool, np.bool_} and len(known):
                frame[column] = series.astype("boolean")
                continue
            numbers = pd.to_numeric(known, errors="coerce").notna()
            codes = known.astype(str).str.fullmatch(r"\s*0\d+\s*").any()
            if len(known) and numbers.mean() >= MOSTLY_NUMBERS and not codes:
                if str in kinds:
                    warnings.append(f"{table}.{column}: text that holds numbers is read as numbers.")
                frame[column] = _as_numbers(series, table, quarantine)
            else:
                frame[column] = known.astype(str).reindex(series.index).astype(object).where(series.notna(), None)
        elif pd.api.types.is_float_dtype(series):
            frame[column] = _as_numbers(series, table, quarantine)
        if frame[column].isna().all():
            warnings.append(f"{table}.{column}: empty, no row has a value; not used.")
        elif len(frame) > 1 and frame[column].nunique() <= 1:
            warnings.append(f"{table}.{column}: constant, tells nothing.")
    return frame
