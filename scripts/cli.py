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


def launch(task: Callable[[Any, Path], None]) -> None:
    """Runs a task under Hydra and leaves with the right exit code.

    Args:
        task: gets the settings as `conf.schema.RunConfig` and the run folder.
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

    @hydra.main(version_base="1.3", config_path=str(folder), config_name="config")
    def under_hydra(config: DictConfig) -> None:
        logging.getLogger("campaign").setLevel(logging.INFO)
        run_folder = Path(HydraConfig.get().runtime.output_dir)
        task(settings_from(config), run_folder)

    try:
        under_hydra()
    except CampaignError as error:
        _leave(str(error), EXIT_BAD_INPUT)
    except MarketRefused as refusal:
        _leave(str(refusal), EXIT_REFUSED)
    except KeyboardInterrupt:
        _leave("interrupted; run again with the same hydra.run.dir to go on after the last finished stage", 130)
    except (HydraException, OmegaConfBaseException) as error:
        cause = error.__cause__ if isinstance(error.__cause__, CampaignError) else None
        _leave(str(cause) if cause else _with_nearest(error), EXIT_BAD_INPUT)


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
