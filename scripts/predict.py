"""Predicts for customers never seen: `predict.py run=FOLDER users=FILE content=ID time=2025-04-01T16:00 out=FILE`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from scripts.cli import launch

USAGE = "predict.py run=FOLDER users=FILE [content=ID] [time=2025-04-01T16:00] [out=FILE]"


def predict(config: Any, run_folder: Path) -> None:
    """Writes one row a customer and decision, and prints the first and the averages.

    Args:
        config: `run` is the folder of a fitted run; `users` a table as Parquet or CSV with the columns that it was
            fitted to; `content` one content's id, or null for nothing and each; `time` lies in the slot to ask
            about, now by default; `out` is the file to write, as Parquet or CSV by its ending.
        run_folder: takes `predictions.csv` where `out` is not set.
    Raises:
        CampaignError: where one of them is missing or cannot be used.
    """
    from campaigns.errors import CampaignError
    from scripts.pipeline.ask import predict_table
    from scripts.pipeline.files import read_input, target_file, write_output
    from scripts.pipeline.table import print_predictions

    for setting in ("run", "users"):
        if not getattr(config, setting):
            raise CampaignError(f"{setting} is not set; write {USAGE}.")
    users = read_input("users", config.users)
    target = target_file(Path(config.out) if config.out else run_folder / "predictions.csv")
    frame, caveat = predict_table(config.run, users, config.content, config.time)
    write_output(frame, target)
    print_predictions(frame, caveat)
    print(f"{target}: {frame['user_id'].nunique():,} customers, {len(frame):,} predictions")


if __name__ == "__main__":
    launch(predict)
