"""Estimates a policy from a log file that may exceed memory: `estimate.py log=FILE.parquet [target=uniform]`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from scripts.cli import launch

USAGE = "estimate.py log=FILE.parquet [target=uniform|ACTION]"


def estimate(config: Any, run_folder: Path) -> None:
    """Writes `estimate.json` into the run folder, and prints every estimator's figures and the verdict.

    Args:
        config: `log` is a Parquet file or a folder of them, see `evaluation.log_file`; `target` what is evaluated on
            it; `evaluation` holds draws, level, and rows held at a time.
        run_folder: takes the result.
    Raises:
        CampaignError: where the log is not named or cannot be used.
    """
    from campaigns.errors import CampaignError
    from scripts.pipeline.log_file import estimate_log_file
    from scripts.pipeline.progress import StageProgress
    from scripts.pipeline.stage import check_writable, write_json
    from scripts.pipeline.table import print_estimates

    if not config.log:
        raise CampaignError(f"log is not set; write {USAGE}.")
    check_writable(run_folder, "hydra.run.dir")
    with StageProgress("estimate") as progress:
        found = estimate_log_file(config.log, config.target, config.evaluation, config.seed, progress)
    write_json(run_folder / "estimate.json", found)
    print_estimates(found)
    print(run_folder / "estimate.json")


if __name__ == "__main__":
    launch(estimate)
