"""Tables that commands read and write: files in, a file out, and one clear message where that cannot be."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from campaigns.errors import CampaignError
from campaigns.log_reader import SUFFIXES, read_table


def read_input(name: str, path: str) -> pd.DataFrame:
    """The table in the file that the setting `name` names."""
    file = Path(path)
    if not file.is_file():
        raise CampaignError(f"{name}={path}: there is no such file.")
    if not file.name.endswith(SUFFIXES):
        raise CampaignError(f"{name}={path}: must be a table that ends in {', '.join(SUFFIXES)}.")
    return read_table(file)


def target_file(target: Path) -> Path:
    """The file to write, whose folder is there: said before anything is computed."""
    if target.suffix not in (".csv", ".parquet") or target.is_dir():
        raise CampaignError(f"out={target}: must be a file that ends in .csv or .parquet.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CampaignError(f"out={target}: its folder cannot be made ({error.strerror}).") from None
    return target


def write_output(frame: pd.DataFrame, target: Path) -> None:
    """Writes a table as Parquet or CSV by the ending of `target`."""
    try:
        if target.suffix == ".parquet":
            frame.to_parquet(target, index=False)
        else:
            frame.to_csv(target, index=False)
    except OSError as error:
        raise CampaignError(f"out={target}: cannot be written ({error.strerror}).") from None
