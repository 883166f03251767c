"""The settings of a run as its command line would compose them, in this process."""

from __future__ import annotations

from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from conf.schema import RunConfig, register_schemas, settings_from

CONF = Path(__file__).resolve().parents[2] / "conf"


def composed(*overrides: str) -> RunConfig:
    """What `run.py` with these overrides would be given."""
    register_schemas()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return settings_from(compose("config", list(overrides)))
