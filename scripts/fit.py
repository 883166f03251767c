"""Fits the networks to a log and lets the market pass its gate: `fit.py data=log data.path=FOLDER`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from scripts.cli import launch


def fit(config: Any, run_folder: Path) -> None:
    """Runs the stages up to the market gate, and prints how good the networks are.

    A log without sends, or without holds, has purchase probabilities and no market: then it ends after the metrics.
    """
    from scripts.pipeline.pipeline import fit_networks, fit_responses, open_study, refuse
    from scripts.pipeline.table import print_fit

    study = open_study(config, run_folder, policies=False)
    if not study.can_decide:
        fit_networks(study)
        print_fit(run_folder, None)
        return
    fitted = fit_responses(study)
    print_fit(run_folder, fitted.gate)
    refuse(fitted, run_folder)


if __name__ == "__main__":
    launch(fit)
