"""Where public data sets are kept, and how one of their files is opened."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from campaigns.errors import CampaignError


def data_folder() -> Path:
    """Where public data sets are kept: CAMPAIGN_DATA, by default `../shared/data`."""
    return Path(os.environ.get("CAMPAIGN_DATA") or "../shared/data")


def find_set(path: str | Path, folder: str, file: str) -> Path:
    """The file of a public data set, which need not be there.

    Args:
        path: the file or its folder; "" for the set's own folder in `data_folder()`.
        folder, file: the set's folder and file.
    """
    found = Path(path) if str(path) else data_folder() / folder
    return found / file if found.is_dir() or not str(path) else found


def read_set(file: Path, columns: Sequence[str], name: str, separator: str = ",") -> pd.DataFrame:
    """Reads a public data set's file.

    Args:
        file: where it is.
        columns: that it has to have.
        name: of the set, for the message.
        separator: of its fields.
    Raises:
        CampaignError: where the file is not there, is no table, or is not this data set.
    """
    if not file.is_file():
        raise CampaignError(f"data.path: {file} is not there; give the file, or set CAMPAIGN_DATA to the data folder.")
    try:
        table = pd.read_csv(file, sep=separator)
    except (ValueError, OSError, EOFError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CampaignError(f"data.path: {file} cannot be read as a table: {first}.") from None
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise CampaignError(f"{file.name}: column(s) {', '.join(missing)} missing; this is not the {name} file.")
    return table
