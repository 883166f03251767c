"""Reads one table of a log from Parquet or CSV, whatever its separator and encoding, keeping ids as they are."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from campaigns.columns import plain_name
from campaigns.errors import CampaignError

SUFFIXES = (".parquet", ".csv", ".csv.gz")
TEXT_COLUMNS = ("user_id", "content_id", "time", "event", "timezone", "as_of", "channel", "category", "text")
"""Columns of a CSV that stay text whatever they hold: "007" stays apart from "7"."""

SEPARATORS = ",;\t|"
NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
COMMA_NUMBER = r"[+-]?(?:\d{1,3}(?:\.\d{3})+|\d+),\d+"
GROUPED = r"[+-]?\d{1,3}(?:\.\d{3})+"
CODE = r"0\d+"
"""Digits after a leading zero are a code (a postcode), not a number."""


def find_table(folder: Path, table: str) -> Path | None:
    """The file that holds `table`, or None.

    Raises:
        CampaignError: where there is more than one, or a folder stands in its place.
    """
    there = [folder / f"{table}{suffix}" for suffix in SUFFIXES if (folder / f"{table}{suffix}").exists()]
    if len(there) > 1:
        raise CampaignError(
            f"{folder}: {table} is there more than once ({', '.join(p.name for p in there)}); keep one of them."
        )
    if there and not there[0].is_file():
        raise CampaignError(f"{folder}: {there[0].name} is a folder; write the table as one file of that name.")
    return there[0] if there else None


def read_table(path: Path) -> pd.DataFrame:
    """Reads one table.

    CSV may be UTF-8 or UTF-16 (with its byte-order mark), separated by comma, semicolon, tab or bar, with decimal
    commas where the separator is another. Ids, times and names in a CSV stay text.

    Raises:
        CampaignError: where the file cannot be read; the message names it and says what is wrong.
    """
    if path.suffix == ".parquet":
        return _read_parquet(path)
    text = _decoded(path)
    if not text.strip():
        raise CampaignError(f"{path.name}: the file is empty; the first line must hold the column names.")
    separator, text = _separator(text)
    header = _check_shape(text, separator, path.name)
    try:
        frame = pd.read_csv(io.StringIO(text), sep=separator, dtype=object, index_col=False, usecols=range(len(header)))
    except (pd.errors.ParserError, ValueError) as error:
        raise CampaignError(f"{path.name}: not a readable CSV ({_first_line(error)}).") from None
    frame.columns = pd.Index(header)
    return _typed(frame, separator, path.name)


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        # One file is meant, never a data set of folders whose names would become columns.
        table = pq.read_table(path, partitioning=None)
        repeated = {name for name in table.column_names if table.column_names.count(name) > 1}
        if repeated:
            raise CampaignError(f"{path.name}: column {min(repeated)!r} occurs more than once; keep one of them.")
        frame: pd.DataFrame = table.to_pandas()
        for field in table.schema:
            # A null would turn integers into floats, and long ids into others.
            if field.name in frame.columns and pa.types.is_integer(field.type) and table[field.name].null_count:
                wide = "UInt64" if pa.types.is_unsigned_integer(field.type) else "Int64"
                frame[field.name] = pd.array(table[field.name].to_pylist(), dtype=wide)
            elif pa.types.is_decimal(field.type):
                frame[field.name] = frame[field.name].astype("float64")
    except (pa.ArrowException, OSError, ValueError) as error:
        raise CampaignError(
            f"{path.name}: not a readable Parquet file ({_first_line(error)}). It may be truncated; write it again."
        ) from None
    return frame


def _decoded(path: Path) -> str:
    try:
        raw = path.read_bytes()
        raw = gzip.decompress(raw) if path.suffix == ".gz" else raw
    except (OSError, EOFError, zlib.error) as error:
        raise CampaignError(f"{path.name}: not readable ({_first_line(error)}). It may be truncated.") from None
    wide = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = raw.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise CampaignError(
            f"{path.name}: not {'UTF-16' if wide else 'UTF-8'} (byte {error.start}); save it as UTF-8."
        ) from None
    if "\x00" in text:
        raise CampaignError(f"{path.name}: holds zero bytes, so it is not text in UTF-8; save it as UTF-8.")
    return text


def _separator(text: str) -> tuple[str, str]:
    """The separator, and the text from the line of column names on."""
    text = text.lstrip("\r\n")
    told = re.match(r"sep=(.)\r?\n", text)
    if told:  # Excel's own way of saying it
        return told[1], text[told.end() :]
    header = re.sub(r'"[^"]*"', "", text.split("\n", 1)[0])
    return max(SEPARATORS, key=header.count), text


def _check_shape(text: str, separator: str, file: str) -> list[str]:
    """The column names, once every row was seen to have as many fields as they.

    Raises:
        CampaignError: naming the first row that has not; a short row would read as "unknown", or as a hold.
    """
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    header: list[str] = []
    try:
        for number, row in enumerate(filter(None, rows)):
            if not header:
                header = row
            elif len(row) != len(header) and (len(row) < len(header) or any(row[len(header) :])):
                if len(row) == 1 and not row[0].strip():
                    continue
                raise CampaignError(
                    f"{file}: row {number - 1} (line {rows.line_num}) has {len(row)} fields, the header has "
                    f"{len(header)}. The file may be truncated, or a text with {separator!r} in it lacks its quotes."
                )
    except csv.Error as error:
        raise CampaignError(f"{file}: line {rows.line_num}: {error}; a quote may never be closed.") from None
    if len(header) > 1 and not header[-1].strip():
        header = header[:-1]  # every line ends in a separator
    repeated = [name for name in header if name.strip() and header.count(name) > 1]
    if repeated:
        raise CampaignError(f"{file}: column {repeated[0]!r} occurs more than once; keep one of them.")
    return header


def _typed(frame: pd.DataFrame, separator: str, file: str) -> pd.DataFrame:
    """Columns of text as numbers or booleans where all that is known in them is one."""
    columns = [
        name for name in frame.columns if plain_name(str(name)) not in TEXT_COLUMNS and frame[name].notna().any()
    ]
    commas = [] if separator == "," else [name for name in columns if _share(frame[name], COMMA_NUMBER) > 0]
    numbers = {}
    for name in columns:
        text = frame[name].str.strip()
        if name in commas:
            with_points = _share(text, rf"(?!{GROUPED}$){NUMBER}") - _share(text, r"[+-]?\d+")
            if with_points <= 0 and _share(text, COMMA_NUMBER) + _share(text, rf"[+-]?\d+|{GROUPED}") > 0.5:
                text = text.str.replace(".", "", regex=False).str.replace(",", ".", regex=False)
        elif commas and _share(text, GROUPED) > 0 and _share(text, rf"{GROUPED}|\d+") == 1:
            first = text[text.str.fullmatch(GROUPED).fillna(False).astype(bool)].iloc[0]
            raise CampaignError(
                f"{file}: {name!r} holds {first!r} in a file with decimal commas ({commas[0]!r}): that may be "
                f"{first.replace('.', '')} or {first.replace('.', ',')}. Write numbers without separators of thousands."
            )
        numbers[name] = _as_type(text)
    return frame.assign(**numbers)


def _as_type(text: pd.Series) -> pd.Series:
    known = text.dropna()
    lower = known.str.lower()
    if lower.isin(("true", "false")).all():
        return (
            text.str.lower().map({"true": True, "false": False}).astype("boolean" if len(known) < len(text) else bool)
        )
    if known.str.fullmatch(CODE).any():
        return text
    numbers = pd.to_numeric(text, errors="coerce")
    return numbers if numbers[known.index].notna().all() else text


def _share(text: pd.Series, pattern: str) -> float:
    known = text.dropna().str.strip()
    return float(np.mean(known.str.fullmatch(pattern).to_numpy(dtype=bool))) if len(known) else 0.0


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:200]
