"""Decides with a saved policy: `decide.py run=FOLDER users=FILE contents=FILE time=2025-04-01T16:00 out=FILE`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from scripts.cli import launch

if TYPE_CHECKING:
    import pandas as pd

USAGE = "decide.py run=FOLDER users=FILE contents=FILE time=2025-04-01T16:00"


def decide(config: Any, run_folder: Path) -> None:
    """Writes one row a customer: user_id, content_id (empty = hold), action_prob, reason.

    Args:
        config: `run` is a run's folder or a policy's own; `users` and `contents` are tables as Parquet or CSV; `time`
            is the start of a slot; `out` is the file to write, as Parquet or CSV by its ending.
        run_folder: takes `decisions.csv` where `out` is not set.
    Raises:
        CampaignError: where one of them is missing or cannot be used.
    """
    from campaigns.errors import CampaignError
    from policies import load_policy

    for setting in ("run", "users", "contents", "time"):
        if not getattr(config, setting):
            raise CampaignError(f"{setting} is not set; write {USAGE}.")
    tables = {name: _read(name, getattr(config, name)) for name in ("users", "contents")}
    folder = Path(config.run)
    if not folder.is_dir():
        raise CampaignError(f"run={config.run}: there is no such folder; give a run's folder or a saved policy's.")
    policy = load_policy(folder / "policy" if (folder / "policy").is_dir() else folder)
    target = _target(Path(config.out) if config.out else run_folder / "decisions.csv")
    frame = policy.start(tables["users"], tables["contents"]).decide(config.time)
    _write(frame, target)
    print(f"{target}: {len(frame):,} customers, {int(frame['content_id'].notna().sum()):,} sends")


def _read(name: str, path: str) -> pd.DataFrame:
    from campaigns.errors import CampaignError
    from campaigns.log_reader import SUFFIXES, read_table

    file = Path(path)
    if not file.is_file():
        raise CampaignError(f"{name}={path}: there is no such file.")
    if not file.name.endswith(SUFFIXES):
        raise CampaignError(f"{name}={path}: must be a table that ends in {', '.join(SUFFIXES)}.")
    return read_table(file)


def _target(target: Path) -> Path:
    """The file to write, whose folder is there: said before anything is computed."""
    from campaigns.errors import CampaignError

    if target.suffix not in (".csv", ".parquet") or target.is_dir():
        raise CampaignError(f"out={target}: must be a file that ends in .csv or .parquet.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CampaignError(f"out={target}: its folder cannot be made ({error.strerror}).") from None
    return target


def _write(frame: pd.DataFrame, target: Path) -> None:
    from campaigns.errors import CampaignError

    try:
        if target.suffix == ".parquet":
            frame.to_parquet(target, index=False)
        else:
            frame.to_csv(target, index=False)
    except OSError as error:
        raise CampaignError(f"out={target}: cannot be written ({error.strerror}).") from None


if __name__ == "__main__":
    launch(decide)
