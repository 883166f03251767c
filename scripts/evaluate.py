"""Evaluates a run's policies in all worlds and from the log: `evaluate.py run=FOLDER`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from scripts.cli import launch


def evaluate(config: Any, run_folder: Path) -> None:
    """Runs the stages up to the evaluation, writes `summary.json`, and prints what every policy earns."""
    from scripts.pipeline.pipeline import evaluate_panel, fit_responses, open_study, refuse, sum_up, train_agents
    from scripts.pipeline.table import print_values

    study = open_study(config, run_folder)
    fitted = fit_responses(study)
    agents = train_agents(study, fitted)
    summary = sum_up(study, fitted, evaluate_panel(study, fitted, agents))
    print_values(summary)
    refuse(fitted, run_folder)


if __name__ == "__main__":
    launch(evaluate, goes_on=True)
