"""What is wrong with a log's tables: fields are set aside with their reason, rows only where their key is unusable.

Pandera finds the offending fields of a table in one pass; what it cannot see (keys across tables, impossible
combinations) is checked here.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pandera.pandas as pa

from campaigns.clock import SlotClock, is_timezone
from campaigns.errors import CampaignError

FLAGS = ("opened", "clicked", "visited", "purchased", "unsubscribed")
AMOUNTS = ("revenue", "value")
EVENTS = ("open", "click", "visit", "purchase", "unsubscribe", "refund")
REQUIRED = {
    "users": ("user_id",),
    "contents": ("content_id",),
    "decisions": ("user_id", "time", "content_id"),
    "events": ("user_id", "time", "event"),
}
TRUE, FALSE = {"1", "1.0", "true", "t", "yes"}, {"0", "0.0", "false", "f", "no"}
SHOWN = 3
"""How many offending rows a message names."""


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
        rows = list(rows)
        if rows:
            shown = [None if v is None else str(v) for v in values]
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

    def refuse_beyond(self, limit: float) -> None:
        """Stops where more than a share of a table's rows has something set aside.

        Raises:
            CampaignError: naming the commonest reasons, their counts and first rows.
        """
        frame = self.frame()
        for table, size in self.sizes.items():
            touched = frame.loc[frame["table"] == table, "row"].nunique()
            if size and touched / size > limit:
                reasons = sorted(
                    (e for e in self.summary() if e["table"] == table), key=lambda e: -int(str(e["count"]))
                )
                told = "; ".join(
                    f"{e['column']}: {e['reason']} ({e['count']} times, first in rows {e['example_rows']})"
                    for e in reasons[:SHOWN]
                )
                raise CampaignError(
                    f"{table}: {touched} of {size} rows ({touched / size:.1%}) have faults, more than "
                    f"data.max_rejected={limit:.1%} allows. {told}. Mend the table, or raise data.max_rejected."
                )


def require_columns(frame: pd.DataFrame, table: str, file: str) -> None:
    """Checks that the key columns are there.

    Raises:
        CampaignError: naming the file, the column and the nearest right name.
    """
    for column in REQUIRED[table]:
        if column not in frame.columns:
            near = difflib.get_close_matches(column, map(str, frame.columns), n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise CampaignError(
                f"{file}: column {column!r} is missing{hint} The table has: {', '.join(map(str, frame.columns))}."
            )


def clean_flags(frame: pd.DataFrame, table: str, quarantine: Quarantine) -> pd.DataFrame:
    """Outcome flags as float32 0, 1 or NaN; anything else is set aside."""
    for column in [c for c in FLAGS if c in frame.columns]:
        series = frame[column]
        text = series.astype("string").str.strip().str.lower()
        numbers = pd.Series(np.nan, index=frame.index, dtype="float32")
        numbers[text.isin(TRUE).fillna(False)] = 1.0
        numbers[text.isin(FALSE).fillna(False)] = 0.0
        bad = numbers.isna() & series.notna()
        quarantine.add(table, column, np.flatnonzero(bad), series[bad], "neither 0 nor 1")
        frame[column] = numbers
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
        numbers = pd.to_numeric(frame[column], errors="coerce").astype("float64")
        bad = numbers.isna() & frame[column].notna()
        quarantine.add(table, column, np.flatnonzero(bad), frame.loc[bad, column], "not a number")
        infinite = np.isinf(numbers)
        quarantine.add(table, column, np.flatnonzero(infinite), numbers[infinite], "infinite")
        frame[column] = numbers.mask(infinite)
    schema = pa.DataFrameSchema({c: bounds[c] for c in present})
    try:
        schema.validate(frame[present], lazy=True)
    except pa.errors.SchemaErrors as errors:
        cases = errors.failure_cases.dropna(subset=["index"])
        for (column, check), part in cases.groupby(["column", "check"]):
            rows = part["index"].astype(int)
            quarantine.add(table, str(column), rows, part["failure_case"], str(check))
            frame.loc[frame.index[rows], column] = np.nan
    return frame


ACTION_PROB = pa.Column(
    float,
    pa.Check(lambda s: (s > 0) & (s <= 1), error="a probability must lie in (0, 1]"),
    nullable=True,
)
AMOUNT = pa.Column(float, nullable=True)


def clean_times(frame: pd.DataFrame, table: str, clock: SlotClock, quarantine: Quarantine) -> pd.Series:
    """Times as naive wall clock of the grid's zone; NaT where they cannot be read (then the row's key is lost).

    Text is parsed (ISO 8601 first), aware times are converted, naive ones are taken as they are.
    """
    series = frame["time"]
    if pd.api.types.is_datetime64_any_dtype(series):
        times = series
    elif pd.api.types.is_numeric_dtype(series):
        times = pd.Series(pd.NaT, index=series.index)
    else:
        text = series.astype("string")
        aware = text.str.contains(r"(?:Z|[+-]\d\d:?\d\d)$", regex=True).fillna(False).astype(bool)
        times = pd.to_datetime(text.where(~aware), errors="coerce", format="mixed").astype("datetime64[us]")
        if aware.any():
            zoned = pd.to_datetime(text.where(aware), errors="coerce", format="mixed", utc=True)
            zoned = zoned.dt.tz_convert(clock.timezone).dt.tz_localize(None).astype("datetime64[us]")
            times = times.where(~aware, zoned)
    if getattr(times.dt, "tz", None) is not None:
        times = times.dt.tz_convert(clock.timezone).dt.tz_localize(None)
    bad = times.isna()
    quarantine.add(table, "time", np.flatnonzero(bad), series[bad], "not a time stamp; the row is left out")
    return times.astype("datetime64[us]")


def clean_users(users: pd.DataFrame, quarantine: Quarantine, warnings: list[str]) -> pd.DataFrame:
    """One row a customer; unknown zones and infinite features are set aside."""
    users = _unique_keys(users, "users", "user_id", quarantine)
    if "timezone" in users.columns:
        known = {name: is_timezone(name) for name in users["timezone"].dropna().unique()}
        bad = users["timezone"].map(known).eq(False).fillna(False).to_numpy(dtype=bool)
        quarantine.add(
            "users", "timezone", users.index[bad], users.loc[bad, "timezone"], "unknown zone; the grid's own is used"
        )
        users.loc[bad, "timezone"] = None
    consents = [c for c in users.columns if str(c).startswith("consent_")]
    for column in consents:
        text = users[column].astype("string").str.strip().str.lower()
        flags = pd.Series(pd.NA, index=users.index, dtype="boolean")
        flags[text.isin(TRUE).fillna(False)] = True
        flags[text.isin(FALSE).fillna(False)] = False
        # A consent that cannot be read protects the customer: it counts as not given.
        unreadable = flags.isna() & users[column].notna()
        quarantine.add(
            "users", column, users.index[unreadable], users.loc[unreadable, column], "unreadable consent; none assumed"
        )
        flags[unreadable] = False
        if flags.isna().any():
            warnings.append(f"users.{column}: missing for {int(flags.isna().sum())} customers, taken as given.")
        users[column] = flags
    if not consents:
        warnings.append("users: no consent_CHANNEL column; consent is taken as given.")
    return _finite_features(users, "users", quarantine, warnings)


def clean_contents(contents: pd.DataFrame, quarantine: Quarantine, warnings: list[str]) -> pd.DataFrame:
    """One row a content; infinite attributes are set aside."""
    contents = _unique_keys(contents, "contents", "content_id", quarantine)
    if len(contents) == 1:
        warnings.append("contents: only one content; which content to send cannot be learned.")
    return _finite_features(contents, "contents", quarantine, warnings)


def _unique_keys(frame: pd.DataFrame, table: str, key: str, quarantine: Quarantine) -> pd.DataFrame:
    frame = frame.reset_index(drop=True)
    missing, repeated = frame[key].isna(), frame[key].duplicated() & frame[key].notna()
    quarantine.add(table, key, frame.index[missing], frame.loc[missing, key], "missing id; the row is left out")
    quarantine.add(table, key, frame.index[repeated], frame.loc[repeated, key], "repeated id; the first row is kept")
    kept = frame[~missing & ~repeated].copy()
    if not len(kept):
        raise CampaignError(f"{table}: no row with a usable {key}.")
    return kept.reset_index(drop=True)


def _finite_features(frame: pd.DataFrame, table: str, quarantine: Quarantine, warnings: list[str]) -> pd.DataFrame:
    for column in frame.select_dtypes(include="number").columns:
        values = frame[column].to_numpy(dtype=np.float64, na_value=np.nan)
        infinite = np.isinf(values)
        if infinite.any():
            quarantine.add(table, str(column), np.flatnonzero(infinite), values[infinite], "infinite")
            frame[column] = frame[column].astype("float64").mask(infinite)
        if len(frame) > 1 and frame[column].nunique() <= 1 and column not in ("cost",):
            warnings.append(f"{table}.{column}: constant, tells nothing.")
    return frame
