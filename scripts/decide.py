"""Decides with a saved policy: `decide.py run=FOLDER users=FILE contents=FILE time=2025-04-01T16:00 out=FILE`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from scripts.cli import launch


def decide(config: Any, run_folder: Path) -> None:
    """Writes one row a customer: user_id, content_id, action_prob, reason."""
    from campaigns.errors import CampaignError
    from campaigns.log_reader import read_table
    from policies import load_policy

    for setting in ("run", "users", "contents", "time"):
        if not getattr(config, setting):
            raise CampaignError(f"{setting} is not set: decide.py run=FOLDER users=FILE contents=FILE time=2025-04-01T16:00.")
    tables = {}
    for name in ("users", "contents"):
        file = Path(getattr(config, name))
        if not file.is_file():
            raise CampaignError(f"{name}={file}: there is no such file.")
        tables[name] = read_table(file)
    folder = Path(config.run)
    policy = load_policy(folder / "policy" if (folder / "policy").is_dir() else folder)
    frame = policy.start(tables["users"], tables["contents"]).decide(config.time)
    target = Path(config.out) if config.out else run_folder / "decisions.csv"
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.suffix == ".parquet":
        frame.to_parquet(target, index=False)
    else:
        frame.to_csv(target, index=False)
    print(f"{target}: {len(frame):,} customers, {int(frame['content_id'].notna().sum()):,} sends")


if __name__ == "__main__":
    launch(decide)
