"""A finished run's folder as what its models and log were, without running any of its stages again."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from campaigns.errors import CampaignError
from conf.schema import RunConfig
from scripts.pipeline.context import JUDGE, TRAIN, Study
from scripts.pipeline.fit_stage import incumbent_stage, network_stage
from scripts.pipeline.pipeline import open_study
from scripts.pipeline.stage import Stage, StageRunner, check_writable, folder_digest

AGAIN = "run scripts/run.py or scripts/fit.py again with hydra.run.dir set to it"


@dataclass(frozen=True)
class Models:
    """What was fitted to a log.

    Attributes:
        train, judge: networks of the two halves.
        incumbent: the fitted logging policy and the limits of support.
    """

    train: Stage
    judge: Stage
    incumbent: Stage


def open_run(config: RunConfig, folder: Path, target: Path) -> tuple[Study, Models]:
    """A run's log and models, from its folder alone.

    Args:
        config: the run's settings.
        folder: of the run.
        target: where what is asked about it is written.
    Raises:
        CampaignError: where the folder lacks something.
    """
    cache = Path(config.cache_dir)
    check_writable(cache, "cache_dir")
    check_writable(target, "out")
    found = {name: folder / place for name, place in (("data", "data"), *_models())}
    for name, place in found.items():
        needed = "report.json" if name == "data" else "model.json"
        if not (place / needed).is_file():
            raise CampaignError(f"run={folder}: {place.relative_to(folder)}/{needed} is missing; {AGAIN}.")
    keys = _keys(folder)
    stages = {name: Stage(name, keys.get(name) or folder_digest(place), place) for name, place in found.items()}
    study = Study(config, StageRunner(target, cache), stages["data"])
    return study, Models(*(stages[name] for name, _ in _models()))


def fit_to_log(config: RunConfig, run_folder: Path) -> tuple[Study, Models]:
    """The configured log, and models fitted to it or taken from the cache."""
    study = open_study(config, run_folder)
    return study, Models(network_stage(study, TRAIN), network_stage(study, JUDGE), incumbent_stage(study))


def _models() -> tuple[tuple[str, str], ...]:
    """Name and place of each stage of `Models`, in its order."""
    return tuple((f"propensity/{part}", f"propensity/{part}") for part in (TRAIN, JUDGE, "incumbent"))


def _keys(folder: Path) -> dict[str, str]:
    """Keys of the run's stages by name, as far as its manifest tells."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        return {str(entry["name"]): str(entry["key"]) for entry in manifest["stages"]}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
