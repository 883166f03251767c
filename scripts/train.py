"""Trains the agents of a run's panel: `train.py run=FOLDER`, or with settings of its own as `run.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from scripts.cli import launch


def train(config: Any, run_folder: Path) -> None:
    """Runs the stages up to the trained policies, and prints where they lie."""
    from scripts.pipeline.pipeline import fit_responses, open_study, refuse, train_agents

    study = open_study(config, run_folder)
    fitted = fit_responses(study)
    agents = train_agents(study, fitted)
    for name in agents:
        print(f"{name}: {run_folder / 'agents' / name / 'policy'}")
    refuse(fitted, run_folder)


if __name__ == "__main__":
    launch(train, goes_on=True)
