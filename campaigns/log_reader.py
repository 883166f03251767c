"""Reads one table of a log from Parquet or CSV, whatever its separator and encoding, keeping ids as they are."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path

import pandas as pd
import pyarrow as pa

from campaigns.errors import CampaignError

SUFFIXES = (".parquet", ".csv", ".csv.gz")
ID_COLUMNS = ("user_id", "content_id")


def find_table(folder: Path, table: str) -> Path | None:
    """The file that holds `table`, or None.

    Raises:
        CampaignError: where there is more than one.
    """
    found = [folder / f"{table}{suffix}" for suffix in SUFFIXES if (folder / f"{table}{suffix}").is_file()]
    if len(found) > 1:
        raise CampaignError(
            f"{folder}: {table} is there more than once ({', '.join(p.name for p in found)}); keep one of them."
        )
    return found[0] if found else None


def read_table(path: Path) -> pd.DataFrame:
    """Reads one table.

    CSV may have a byte-order mark and be separated by comma, semicolon or tab. Ids in a CSV stay strings, so that
    "007" stays apart from "7".

    Raises:
        CampaignError: where the file cannot be read; the message names it and says what is wrong.
    """
    if path.suffix == ".parquet":
        try:
            return pd.read_parquet(path)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise CampaignError(
                f"{path.name}: not a readable Parquet file ({_first_line(error)}). It may be truncated; write it again."
            ) from None
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        text = raw.decode("utf-8-sig")
    except (OSError, EOFError) as error:
        raise CampaignError(f"{path.name}: not readable ({_first_line(error)}).") from None
    except UnicodeDecodeError as error:
        raise CampaignError(f"{path.name}: not UTF-8 (byte {error.start}); save it as UTF-8.") from None
    header = text.split("\n", 1)[0]
    if not header.strip():
        raise CampaignError(f"{path.name}: the file is empty; the first line must hold the column names.")
    separator = max(",;\t", key=header.count)
    names = next(csv.reader(io.StringIO(header), delimiter=separator))
    as_text = {name: "str" for name in names if name in ID_COLUMNS}
    try:
        return pd.read_csv(io.StringIO(text), sep=separator, dtype=as_text, keep_default_na=True)
    except (pd.errors.ParserError, ValueError) as error:
        raise CampaignError(f"{path.name}: not a readable CSV ({_first_line(error)}).") from None


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:200]
