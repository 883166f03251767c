"""Writes a log of the reference market: `simulate.py data.variant=banking data.customers=2000 out=FOLDER`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from scripts.cli import launch


def simulate_log(config: Any, run_folder: Path) -> None:
    """Writes users, contents and decisions as Parquet."""
    from campaigns.logs import write_log
    from envs.reference.simulate import simulate
    from envs.reference.variants import find_variant
    from scripts.pipeline.context import check_config
    from scripts.pipeline.progress import StageProgress

    check_config(config)
    variant, data = find_variant(config.data.variant), config.data
    with StageProgress("simulate") as progress:
        tables = simulate(
            variant, data.customers, data.days, config.seed, data.slot_hours, timezone=data.timezone,
            progress=progress.update,
        )  # fmt: skip
    folder = write_log(tables, config.out or run_folder / "log")
    print(f"{folder}: {len(tables['users']):,} customers, {len(tables['decisions']):,} decisions")


if __name__ == "__main__":
    launch(simulate_log)
