"""Writes a log: of the reference market, or of a market that an earlier run learned.

`simulate.py data.variant=banking data.customers=2000 out=FOLDER` or
`simulate.py market=learned run=FOLDER out=FOLDER [data.customers=..] [data.days=..]`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from scripts.cli import launch


def simulate_log(config: Any, run_folder: Path) -> None:
    """Writes users, contents and decisions as Parquet.

    Args:
        config: where `run` is set, its learned market answers its incumbent; the customers are new ones, drawn from the
            shape of its own. Else the reference market of `data.variant` writes the log. `out` must be empty or new.
        run_folder: takes `log/` where `out` is not set.
    Raises:
        CampaignError: where `market=learned` is asked for without a run, or the run cannot be used.
    """
    from campaigns.errors import CampaignError
    from campaigns.logs import write_log
    from scripts.pipeline.context import check_config
    from scripts.pipeline.progress import StageProgress

    check_config(config)
    target = Path(config.out) if config.out else run_folder / "log"
    if _asks_for_learned() and not config.run:
        raise CampaignError("market=learned: run is not set; write simulate.py market=learned run=FOLDER out=FOLDER.")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise CampaignError(f"out={target}: it is not an empty folder; name a new one, so that nothing is overwritten.")
    with StageProgress("simulate") as progress:
        if config.run:
            from scripts.pipeline.synthetic_log import learned_log

            given = _given()
            tables = learned_log(
                Path(config.run), config.data.customers if "data.customers" in given else None,
                config.data.days if "data.days" in given else None, config.seed, run_folder, progress.update,
            )  # fmt: skip
        else:
            from envs.reference.channels import with_channels
            from envs.reference.simulate import simulate
            from envs.reference.variants import find_variant

            data = config.data
            tables = simulate(
                with_channels(find_variant(data.variant, data.exploration), data.channels), data.customers, data.days,
                config.seed, data.slot_hours, timezone=data.timezone, progress=progress.update,
            )  # fmt: skip
    folder = write_log(tables, target)
    print(f"{folder}: {len(tables['users']):,} customers, {len(tables['decisions']):,} decisions")


def _given() -> set[str]:
    """The keys that the command line sets."""
    from hydra.core.hydra_config import HydraConfig

    return {override.split("=", maxsplit=1)[0].lstrip("+") for override in HydraConfig.get().overrides.task}


def _asks_for_learned() -> bool:
    return "market" in _given()


if __name__ == "__main__":
    launch(simulate_log)
