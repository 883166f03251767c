"""Writes the report of an earlier run again: `report.py run=FOLDER`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from scripts.cli import launch


def report(config: Any, run_folder: Path) -> None:
    """Writes `report.html` into the earlier run's folder."""
    from campaigns.errors import CampaignError
    from review.report import write_report

    if not config.run:
        raise CampaignError("run is not set: report.py run=FOLDER, the folder of a finished run.")
    print(write_report(Path(config.run)))


if __name__ == "__main__":
    launch(report)
