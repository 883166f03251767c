"""What all entry points share: Hydra, exit codes, and errors in one clear message."""

from __future__ import annotations

import difflib
import logging
import os
import re
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

EXIT_BAD_INPUT, EXIT_REFUSED, EXIT_INTERRUPTED = 2, 3, 130


def launch(task: Callable[[Any, Path], None], goes_on: bool = False) -> None:
    """Runs a task under Hydra and leaves with the right exit code.

    Args:
        task: gets the settings as `conf.schema.RunConfig` and the run folder.
        goes_on: whether `run=FOLDER` goes on with that run: in its folder, with its settings, of which those on the
            command line override.
    """
    import hydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.errors import HydraException
    from omegaconf import DictConfig
    from omegaconf.errors import OmegaConfBaseException

    from campaigns.errors import CampaignError, MarketRefused
    from conf.schema import register_schemas, settings_from

    register_schemas()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come to us; we say them without a traceback
    warnings.filterwarnings("ignore", category=UserWarning, module="hydra")
    folder = Path(__file__).resolve().parents[1] / "conf"

    def under_hydra(config: DictConfig) -> None:
        logging.getLogger("campaign").setLevel(logging.INFO)
        run_folder = Path(HydraConfig.get().runtime.output_dir)
        task(settings_from(config), run_folder)

    under_hydra.__module__ = Path(sys.argv[0]).stem  # names the job, and so its log file
    try:
        if goes_on:
            sys.argv[1:] = _continued(sys.argv[1:])
        hydra.main(version_base="1.3", config_path=str(folder), config_name="config")(under_hydra)()
    except CampaignError as error:
        _leave(str(error), EXIT_BAD_INPUT)
    except MarketRefused as refusal:
        _leave(str(refusal), EXIT_REFUSED)
    except KeyboardInterrupt:
        _leave("interrupted; run again with the same hydra.run.dir to go on after the last finished stage", 130)
    except (HydraException, OmegaConfBaseException) as error:
        cause = error.__cause__ if isinstance(error.__cause__, CampaignError) else None
        _leave(str(cause) if cause else _with_nearest(error), EXIT_BAD_INPUT)


def _continued(arguments: list[str]) -> list[str]:
    """The arguments, after those that the run in `run=FOLDER` was started with, where there is one.

    Raises:
        CampaignError: where the folder is not a run's.
    """
    import yaml

    from campaigns.errors import CampaignError

    runs = [argument.removeprefix("run=") for argument in arguments if argument.startswith("run=")]
    if not runs:
        return arguments
    stored = Path(runs[-1]) / ".hydra" / "overrides.yaml"
    if not stored.is_file():
        raise CampaignError(f"run={runs[-1]}: no .hydra/overrides.yaml there; give the folder of an earlier run.")
    earlier = [str(entry) for entry in yaml.safe_load(stored.read_text(encoding="utf-8")) or []]
    mine = [argument for argument in arguments if not argument.startswith("run=")]
    return [*earlier, *mine, f"hydra.run.dir={runs[-1]}"]


def _leave(message: str, code: int) -> None:
    sys.stdout.flush()
    print(message, file=sys.stderr)
    sys.exit(code)


def _with_nearest(error: Exception) -> str:
    """Hydra's own message in a line or two, with the nearest right names of what it did not know."""
    text = re.sub(r"\s*\n\s*", " ", str(error)).strip()
    cause = error.__cause__
    if cause is not None and str(cause).split("\n")[0] not in text:
        text += ": " + str(cause).split("\n")[0]
    text = re.sub(
        r"\s*(full_key|reference_type|object_type)[:=].*?(?=(\s(full_key|reference_type|object_type)[:=])|$)", "", text
    )
    wanted = re.findall(r"[Kk]ey '([^']+)'|override '([^']+)'|find '([^']+)'", text)
    hints = []
    for name in {part for match in wanted for part in match if part}:
        near = difflib.get_close_matches(name.split("=")[0], known_keys(), n=1, cutoff=0.6)
        short = difflib.get_close_matches(
            name.split(".")[-1], [k.split(".")[-1] for k in known_keys()], n=1, cutoff=0.6
        )
        guess = near or [k for k in known_keys() if short and k.split(".")[-1] == short[0]][:1]
        if guess and guess[0] != name:
            hints.append(f"did you mean {guess[0]!r}?")
    return " ".join([f"setting: {text}", *hints])


def known_keys() -> list[str]:
    """Every key and group option of the configuration, dotted or with a slash."""
    from dataclasses import fields, is_dataclass

    from conf.schema import GROUPS, RunConfig

    keys = [f.name for f in fields(RunConfig)]
    for group, schema in GROUPS.items():
        for f in fields(schema):
            keys.append(f"{group}.{f.name}")
            made = f.default_factory() if callable(f.default_factory) else None
            if is_dataclass(made):
                keys += [f"{group}.{f.name}.{inner.name}" for inner in fields(made)]
    folder = Path(__file__).resolve().parents[1] / "conf"
    return keys + [str(p.relative_to(folder).with_suffix("")) for p in sorted(folder.glob("*/*.yaml"))]
