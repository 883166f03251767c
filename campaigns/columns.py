"""The names of a table's columns: which are known, and what a near miss is taken for."""

from __future__ import annotations

import difflib
import re

import pandas as pd

from campaigns.errors import CampaignError

FLAGS = ("opened", "clicked", "visited", "purchased", "unsubscribed")
AMOUNTS = ("revenue", "value")
REQUIRED = {
    "users": ("user_id",),
    "contents": ("content_id",),
    "decisions": ("user_id", "time", "content_id"),
    "events": ("user_id", "time", "event"),
}
OPTIONAL = {
    "users": ("timezone", "as_of", "group_id"),
    "contents": ("category", "channel", "cost", "text"),
    "decisions": ("action_prob", "eligible", *FLAGS, *AMOUNTS),
    "events": ("content_id", *AMOUNTS),
}
NAMELESS = re.compile(r"|Unnamed: \d+|__index_level_\d+__")
"""Columns that writing a data frame with its row numbers leaves behind."""


def tidy_columns(frame: pd.DataFrame, table: str, file: str, warnings: list[str]) -> pd.DataFrame:
    """The table with its known columns under their right names.

    `User_ID` and ` user id ` are read as `user_id`. Row numbers that were saved along are dropped. Decisions and
    events have no features, so their other columns are dropped too.

    Args:
        frame: as it was read; a named index counts as a column.
        table: which table it is.
        file: its file, for messages.
        warnings: takes what was renamed or dropped.
    Raises:
        CampaignError: where a name occurs twice, a key column is missing, or an outcome's name is misspelt.
    """
    named = [name for name in frame.index.names if name is not None and name not in frame.columns]
    frame = frame.reset_index(named) if named else frame.copy(deep=False)
    frame.columns = pd.Index([str(name) for name in frame.columns])
    frame = frame.loc[:, [not NAMELESS.fullmatch(name.strip()) for name in frame.columns]]
    _refuse_repeated(frame, file)
    for name in frame.columns:
        if pd.api.types.is_object_dtype(frame[name]) and any(isinstance(value, bytes) for value in frame[name]):
            frame = frame.assign(**{name: frame[name].map(_decoded)})
    known = (*REQUIRED[table], *OPTIONAL[table])
    renamed: dict[str, str] = {}
    for name in frame.columns:
        plain = plain_name(name)
        if plain == name or not (plain in known or (table == "users" and plain.startswith("consent_"))):
            continue
        if plain in frame.columns or plain in renamed.values():
            raise CampaignError(f"{file}: columns {plain!r} and {name!r} are the same name; keep one of them.")
        renamed[name] = plain
        warnings.append(f"{file}: column {name!r} is read as {plain!r}.")
    frame = frame.rename(columns=renamed)
    require_columns(frame, table, file)
    others = [name for name in frame.columns if name not in known]
    if table in ("users", "contents"):
        _note_near_misses(others, table, file, list(frame.columns), warnings)
        return frame
    for name in others:
        near = difflib.get_close_matches(plain_name(name), known, n=1, cutoff=0.8)
        if near and near[0] not in frame.columns:
            raise CampaignError(f"{file}: column {name!r} is not known; did you mean {near[0]!r}? Rename or remove it.")
    if others:
        warnings.append(f"{file}: not used: {', '.join(others)}. Features belong in users or contents.")
    return frame.drop(columns=others)


def require_columns(frame: pd.DataFrame, table: str, file: str) -> None:
    """Checks that the key columns are there.

    Raises:
        CampaignError: naming the file, the column and the nearest right name.
    """
    for column in REQUIRED[table]:
        if column not in frame.columns:
            near = difflib.get_close_matches(column, map(str, frame.columns), n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]!r}?" if near else "."
            raise CampaignError(
                f"{file}: column {column!r} is missing{hint} "
                f"The table has: {', '.join(map(str, frame.columns)) or 'no columns'}."
            )


def plain_name(name: str) -> str:
    """A column's name in small letters, with underscores for spaces and dashes."""
    return re.sub(r"[\s-]+", "_", name.strip().strip("\ufeff").strip().lower())


def _decoded(value: object) -> object:
    return value.decode("utf-8", errors="backslashreplace") if isinstance(value, bytes) else value


def _refuse_repeated(frame: pd.DataFrame, file: str) -> None:
    repeated = frame.columns[frame.columns.duplicated()]
    if len(repeated):
        raise CampaignError(f"{file}: column {repeated[0]!r} occurs more than once; keep one of them.")


def _note_near_misses(others: list[str], table: str, file: str, there: list[str], warnings: list[str]) -> None:
    for name in others:
        if table == "users" and "consent" in name.lower() and not name.startswith("consent_"):
            warnings.append(
                f"{file}: {name!r} is taken as a feature; consent binds only in columns named consent_CHANNEL."
            )
            continue
        near = difflib.get_close_matches(plain_name(name), OPTIONAL[table], n=1, cutoff=0.88)
        if near and near[0] not in there:
            warnings.append(f"{file}: {name!r} is taken as a feature; if it is the {near[0]}, name it {near[0]!r}.")
