"""A one-shot log as a Parquet file, or a folder of them, with the evaluated policy's probabilities; read in parts.

Columns: `action` (null, or `hold`, where nothing was sent), `reward`, `action_prob`, optional `customer`;
`target_NAME`, the evaluated policy's probability of the action NAME, for every action; optional `predicted_NAME`, the
expected reward of the action NAME by a model that has not seen the row's customer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from campaigns.errors import CampaignError
from evaluation.estimators import LoggedDecisions

HOLD_NAME = "hold"
COLUMNS, UNIFORM = "columns", "uniform"
"""Targets that are not the name of an action: as the columns say; each action with the same probability."""

NEEDED = ("action", "reward", "action_prob")


NO_PROBABILITY = (
    " Where nobody kept how likely each decision was, write the log as tables and let scripts/run.py data=log fit the "
    "logging policy: it knows the customers, which this file does not."
)
"""What can be done without `action_prob`."""


@dataclass(frozen=True)
class LogPart:
    """Some rows of a log file.

    Attributes:
        logged: n decisions; `customer` is a hash of the file's customer, or the row's number where there is none.
        target: the policy's probabilities. Shape [n, 1 + K].
        predicted: expected rewards, None where the file has none. Shape [n, 1 + K].
        place: where the rows lie, for messages.
    """

    logged: LoggedDecisions
    target: np.ndarray
    predicted: np.ndarray | None
    place: str


@dataclass(frozen=True)
class LogFile:
    """A log file that was looked into, and what is evaluated on it.

    Attributes:
        files: in the order of their names.
        rows: in all files.
        actions: names of the actions, hold first whether or not it occurs.
        target: COLUMNS, UNIFORM or the name of an action that is always taken.
        holds: whether hold is one of the file's actions.
        customers: whether the file says whose rows they are.
        predicts: whether it has expected rewards.
    """

    files: tuple[Path, ...]
    rows: int
    actions: tuple[str, ...]
    target: str
    holds: bool
    customers: bool
    predicts: bool
    _index: pd.Index = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_index", pd.Index(self.actions))

    def parts(self, rows: int) -> Iterator[LogPart]:
        """Reads the log, at most `rows` rows at a time.

        Raises:
            CampaignError: naming file and rows where something cannot be used.
        """
        begin = 0
        names = [name for name in self.actions if self.holds or name != HOLD_NAME]
        wanted = [*NEEDED, *(["customer"] if self.customers else [])]
        wanted += [f"target_{name}" for name in names] if self.target == COLUMNS else []
        wanted += [f"predicted_{name}" for name in names] if self.predicts else []
        for file in self.files:
            first = 0
            with _opened(file) as opened:
                batches = opened.iter_batches(batch_size=rows, columns=wanted)
                while (batch := _next(file, batches)) is not None:
                    place = f"{file.name}, rows counted from row {first:,} of the file"
                    try:
                        yield self._part(batch, begin + first, place)
                    except CampaignError as error:
                        raise CampaignError(f"{place}: {error}") from None
                    first += len(batch)
            begin += first

    def _part(self, batch: pa.RecordBatch, begin: int, place: str) -> LogPart:
        action = self._index.get_indexer(pd.Index(_names(batch["action"])))
        if (action < 0).any():
            row = int(np.flatnonzero(action < 0)[0])
            name = _names(batch["action"])[row]
            raise CampaignError(f"action: row {row} has {name!r}, for which there is no column target_{name}; add it.")
        reward, logged_prob = (_numbers(batch, name) for name in ("reward", "action_prob"))
        customer = np.arange(begin, begin + len(batch)) if not self.customers else _customers(batch["customer"])
        logged = LoggedDecisions(customer, action.astype(np.int64), reward, logged_prob)
        predicted = self._columns(batch, "predicted") if self.predicts else None
        return LogPart(logged, self._target(batch), predicted, place)

    def _target(self, batch: pa.RecordBatch) -> np.ndarray:
        if self.target == COLUMNS:
            return self._columns(batch, "target")
        target = np.zeros((len(batch), len(self.actions)))
        if self.target == UNIFORM:
            first = 0 if self.holds else 1
            target[:, first:] = 1 / (len(self.actions) - first)
        else:
            target[:, self.actions.index(self.target)] = 1.0
        return target

    def _columns(self, batch: pa.RecordBatch, kind: str) -> np.ndarray:
        values = np.zeros((len(batch), len(self.actions)))
        for index, name in enumerate(self.actions):
            if self.holds or index:
                values[:, index] = _numbers(batch, f"{kind}_{name}")
        return values


def open_log_file(path: str, target: str = COLUMNS) -> LogFile:
    """Looks into a log file: which columns and actions it has.

    Args:
        path: a Parquet file, or a folder of Parquet files with the same columns.
        target: COLUMNS, UNIFORM, or the name of an action. Of the last two the actions are those that occur, which
            takes a pass over the column `action`.
    Raises:
        CampaignError: naming the file, what it lacks, and how it is written.
    """
    files = _files(Path(path))
    schemas = []
    rows = 0
    for file in files:
        try:
            with _opened(file) as opened:
                schemas.append(opened.schema_arrow)
                rows += opened.metadata.num_rows
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(file, error) from None
    columns = schemas[0].names
    for file, schema in zip(files, schemas, strict=True):
        if schema.names != columns:
            odd = sorted(set(schema.names) ^ set(columns)) or ["in another order"]
            raise CampaignError(
                f"{file.name}: not the columns of {files[0].name} ({', '.join(odd)}); write them alike."
            )
        if "customer" in columns and schema.field("customer").type != schemas[0].field("customer").type:
            raise CampaignError(f"{file.name}: customer is of another type than in {files[0].name}; write them alike.")
    missing = [name for name in NEEDED if name not in columns]
    if missing:
        raise CampaignError(
            f"{files[0].name}: column(s) {', '.join(missing)} missing; a log has action, reward, action_prob, optional "
            "customer, and target_NAME with the policy's probability of each action NAME."
            + (NO_PROBABILITY if "action_prob" in missing else "")
        )
    if not rows:
        raise CampaignError(f"{files[0].name}: the log has no rows.")
    named = [name.removeprefix("target_") for name in columns if name.startswith("target_")]
    if target == COLUMNS and not named:
        raise CampaignError(
            f"{files[0].name}: no column target_NAME says what the policy would do; add one for every action (and "
            "target_hold if nothing is sent at times), or set target=uniform or target=ACTION."
        )
    found = named if target == COLUMNS else _occurring(files)
    if target not in (COLUMNS, UNIFORM) and target not in found:
        raise CampaignError(
            f"target={target}: no action of that name occurs in {path}; it may be columns, uniform, or one of "
            f"{', '.join(found[:20])}."
        )
    predicted = [name.removeprefix("predicted_") for name in columns if name.startswith("predicted_")]
    lacking = sorted(set(found) - set(predicted))
    if predicted and lacking:
        raise CampaignError(
            f"{files[0].name}: there is no column predicted_{lacking[0]}; expected rewards are needed of every action, "
            "or of none."
        )
    actions = (HOLD_NAME, *(name for name in found if name != HOLD_NAME))
    return LogFile(files, rows, actions, target, HOLD_NAME in found, "customer" in columns, bool(predicted))


def _opened(file: Path) -> pq.ParquetFile:
    """The file, of which no more is read ahead than a buffer a column: by default all that was read is kept."""
    return pq.ParquetFile(file, pre_buffer=False, buffer_size=1 << 20)


def _files(path: Path) -> tuple[Path, ...]:
    if path.is_dir():
        files = tuple(sorted(path.glob("*.parquet")))
        if not files:
            raise CampaignError(f"log={path}: there is no file *.parquet in this folder.")
        return files
    if not path.is_file():
        raise CampaignError(f"log={path}: there is no such file or folder.")
    if path.suffix != ".parquet":
        raise CampaignError(f"log={path}: must be a Parquet file (or a folder of them); write the table as Parquet.")
    return (path,)


def _occurring(files: tuple[Path, ...]) -> list[str]:
    """Names of the actions that occur, sorted."""
    names: set[str] = set()
    for file in files:
        try:
            with _opened(file) as opened:
                for batch in opened.iter_batches(columns=["action"]):
                    names.update(_names(pc.unique(batch["action"])))
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(file, error) from None
    return sorted(names)


def _names(column: pa.Array) -> np.ndarray:
    """Actions as text, null being a hold. Shape [n], object."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_floating(column.type):
        raise CampaignError(f"action: is {column.type}; write names or whole numbers (null where nothing was sent).")
    text = pc.fill_null(column.cast(pa.string()), HOLD_NAME)
    names: np.ndarray = text.to_numpy(zero_copy_only=False)
    return names


def _next(file: Path, batches: Iterator[pa.RecordBatch]) -> pa.RecordBatch | None:
    """The next rows of a file, None at its end."""
    try:
        return next((batch for batch in batches if len(batch)), None)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(file, error) from None


def _numbers(batch: pa.RecordBatch, name: str) -> np.ndarray:
    """A column as numbers, null as NaN. Shape [n], float64."""
    column = batch[name]
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type) or pa.types.is_boolean(column.type)):
        raise CampaignError(f"{name}: is {column.type}; write numbers.")
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    numbers: np.ndarray = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return numbers


def _customers(column: pa.Array) -> np.ndarray:
    """A number for every customer, the same in all files. Shape [n], int64."""
    if column.null_count:
        row = int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
        raise CampaignError(
            f"customer: {column.null_count} of {len(column)} are null, first in row {row}; name them, or leave the "
            "column out if every row is another customer's."
        )
    if pa.types.is_floating(column.type):
        raise CampaignError(f"customer: is {column.type}; write names or whole numbers.")
    if pa.types.is_integer(column.type):
        whole: np.ndarray = column.to_numpy(zero_copy_only=False).astype(np.int64)
        return whole
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    text = column.cast(pa.string()).to_numpy(zero_copy_only=False)
    hashed: np.ndarray = pd.util.hash_array(text, categorize=True).view(np.int64)
    return hashed


def _unreadable(file: Path, error: Exception) -> CampaignError:
    return CampaignError(f"{file.name}: not a readable Parquet file ({str(error).splitlines()[0][:200]}).")
