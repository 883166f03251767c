"""From a log to a served policy: data, networks, market, agents, evaluation, choice, report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from scripts.cli import launch


def run(config: Any, run_folder: Path) -> None:
    """Runs the whole pipeline and prints what it found."""
    from scripts.pipeline.pipeline import run_pipeline
    from scripts.pipeline.table import print_summary

    summary = run_pipeline(config, run_folder)
    print_summary(summary, run_folder)


if __name__ == "__main__":
    launch(run)
