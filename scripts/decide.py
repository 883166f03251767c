"""Decides with a saved policy: `decide.py run=FOLDER users=FILE contents=FILE time=2025-04-01T16:00 out=FILE`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from scripts.cli import launch

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
    from scripts.pipeline.files import read_input, target_file, write_output

    for setting in ("run", "users", "contents", "time"):
        if not getattr(config, setting):
            raise CampaignError(f"{setting} is not set; write {USAGE}.")
    tables = {name: read_input(name, getattr(config, name)) for name in ("users", "contents")}
    folder = Path(config.run)
    if not folder.is_dir():
        raise CampaignError(f"run={config.run}: there is no such folder; give a run's folder or a saved policy's.")
    policy = load_policy(folder / "policy" if (folder / "policy").is_dir() else folder)
    target = target_file(Path(config.out) if config.out else run_folder / "decisions.csv")
    frame = policy.start(tables["users"], tables["contents"]).decide(config.time)
    write_output(frame, target)
    print(f"{target}: {len(frame):,} customers, {int(frame['content_id'].notna().sum()):,} sends")


if __name__ == "__main__":
    launch(decide)
