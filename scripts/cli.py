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

from scripts.pipeline.interrupt import listen

EXIT_BAD_INPUT, EXIT_REFUSED, EXIT_INTERRUPTED = 2, 3, 130
OPTIONAL_GROUPS = ("experiment", "debug")


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
        try:
            _refuse_unknown(config, dict(HydraConfig.get().runtime.choices))
            settings = settings_from(config)
            check_ranges(settings)
            task(settings, run_folder)
        # Left from in here, since Hydra would print its own words about an exception first.
        except CampaignError as error:
            _put_back(earlier)
            _leave(str(error), EXIT_BAD_INPUT)
        except MarketRefused as refusal:
            _leave(str(refusal), EXIT_REFUSED)
        except OmegaConfBaseException as error:
            _put_back(earlier)
            _leave(_with_nearest(error), EXIT_BAD_INPUT)

    under_hydra.__module__ = Path(sys.argv[0]).stem  # names the job, and so its log file
    earlier: dict[Path, bytes] = {}
    listen()
    try:
        if goes_on:
            sys.argv[1:] = _continued(_saved_policy(sys.argv[1:]))
        sys.argv[1:] = _entries_added(_sweep_first(sys.argv[1:]))
        earlier |= _settings_there(sys.argv[1:])
        hydra.main(version_base="1.3", config_path=str(folder), config_name="config")(under_hydra)()
    except CampaignError as error:
        _leave(str(error), EXIT_BAD_INPUT)
    except KeyboardInterrupt:
        _leave(
            "interrupted; run again with the same hydra.run.dir to go on after the last finished stage",
            EXIT_INTERRUPTED,
        )
    except (HydraException, OmegaConfBaseException) as error:
        cause = error.__cause__ if isinstance(error.__cause__, CampaignError) else None
        _leave(str(cause) if cause else _with_nearest(error), EXIT_BAD_INPUT)


def _refuse_unknown(config: Any, choices: dict[str, str | None]) -> None:
    """Refuses what nothing would read: keys that `+key=value` added, and options that are not there.

    Args:
        config: as Hydra composed it.
        choices: the option of each group; Hydra passes over a missing one of `experiment` and `debug`.
    Raises:
        CampaignError: naming the key or option and the nearest right one.
    """
    from omegaconf import OmegaConf

    from campaigns.errors import CampaignError

    known = set(known_keys())
    for group in OPTIONAL_GROUPS:
        option = choices.get(group)
        if option is not None and f"{group}/{option}" not in known:
            there = ", ".join(sorted(name.split("/")[1] for name in known if name.startswith(f"{group}/")))
            raise CampaignError(
                f"setting: {group}={option}: there is no such option; it may be {there}.{_nearest(f'{group}/{option}')}"
            )
    groups = {key.split(".")[0] for key in known if "." in key}
    for group, inner in OmegaConf.to_container(config, resolve=False).items():
        if group not in known:
            raise CampaignError(f"setting: {group} is no known key.{_nearest(str(group))}")
        for key in inner if group in groups and isinstance(inner, dict) else ():
            name = f"{group}.{key}"
            if name not in known:
                raise CampaignError(f"setting: {name} is no known key.{_nearest(name)}")


def check_ranges(config: Any) -> None:
    """Checks the numbers that no part checks for itself.

    Args:
        config: a `conf.schema.RunConfig`.
    Raises:
        CampaignError: naming the setting, what was got and what it may be.
    """
    from campaigns.errors import CampaignError
    from campaigns.ranges import check_range

    check_range("seed", config.seed, at_least=0, at_most=2**31 - 1)
    check_range("processes", config.processes, at_least=1, at_most=2)
    check_range("market.pessimism", config.market.pessimism, at_least=0)
    check_range("market.margin", config.market.margin, above=0, below=1)
    check_range("market.judge_customers", config.market.judge_customers, at_least=1, unit="customers")
    check_range("data.attribution_hours", config.data.attribution_hours, above=0, unit="hours")
    check_range(
        "data.max_rejected", config.data.max_rejected, at_least=0, at_most=1, unit="(a share of a table's rows)"
    )
    if config.data.source == "reference":
        check_range("data.customers", config.data.customers, at_least=1, unit="customers")
        check_range("data.days", config.data.days, at_least=1, at_most=3660, unit="days")
    setting, names = ("panel", config.panel) if config.panel is not None else ("agent.names", config.agent.names)
    for name in names:
        if names.count(name) > 1:
            raise CampaignError(f"{setting}: {name} is there more than once.")


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
    if any(argument.startswith(("campaign=", "policy_folder=")) for argument in mine):
        # What a run was started with stays as it is: a question about it is no part of it.
        mine = [*mine, f"run={runs[-1]}", "hydra.output_subdir=null"]
    return [*earlier, *mine, f"hydra.run.dir={runs[-1]}"]


def _settings_there(arguments: list[str]) -> dict[Path, bytes]:
    """The settings that the run folder named in the arguments has been run with, by file; empty where it is new."""
    folders = [
        argument.removeprefix("hydra.run.dir=") for argument in arguments if argument.startswith("hydra.run.dir=")
    ]
    if not folders:
        return {}
    return {file: file.read_bytes() for file in (Path(folders[-1].strip("'\"")) / ".hydra").glob("*.yaml")}


def _put_back(earlier: dict[Path, bytes]) -> None:
    """Writes a run's own settings over those that were refused: Hydra stores what it is given before anybody looks."""
    for file, content in earlier.items():
        file.write_bytes(content)


def _saved_policy(arguments: list[str]) -> list[str]:
    """The arguments with `policy=FOLDER` as `policy_folder=FOLDER`: Hydra takes `policy` for the group of settings."""
    folder = Path(__file__).resolve().parents[1] / "conf" / "policy"
    options = {file.stem for file in folder.glob("*.yaml")}

    def read(argument: str) -> str:
        name, _, value = argument.partition("=")
        return f"policy_folder={value}" if name == "policy" and value not in options else argument

    return [read(argument) for argument in arguments]


def _entries_added(arguments: list[str]) -> list[str]:
    """The arguments with `++` before settings whose entries have free names: Hydra takes a new name for a mistake."""
    free = tuple(free_entries())

    def read(argument: str) -> str:
        key = argument.partition("=")[0]
        return f"++{argument}" if any(key == name or key.startswith(f"{name}.") for name in free) else argument

    return [read(argument) for argument in arguments]


def _sweep_first(arguments: list[str]) -> list[str]:
    """The arguments with `-m` in front of all settings: Hydra does not know those that stand on both sides of it."""
    return sorted(arguments, key=lambda argument: argument not in ("-m", "--multirun"))


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
    text = re.sub(r"\s*Config search path:.*$|\s*See https://hydra\S+.*$", "", text)
    text = re.sub(r"(\w)\s+Available options", r"\1. Available options", text).replace("' Available", "'. Available")
    text = text.replace(" schema", "") if "Available options" in text else text
    text = re.sub(r"\s*To append to your config use \+.*?(?=: Key )", "", text)  # nothing would read it
    text = text.replace("'.: ", "': ").replace("override ++", "override ")  # the pluses are `_entries_added`'s own
    if "to Dict[str, int]" in text:
        text = text.rstrip(".") + "; write entries, such as {sms:1,email:2}"
    written = re.search(r"override ([^\s=+]+)=(\S+?):", text)
    if "is not a ListConfig" in text:
        example = "panel=[ppo,linucb]" if written is None else f"{written[1]}=[{written[2]}]"
        text = text.rstrip(".") + f"; write a list, such as {example}."
    wanted = re.findall(r"[Kk]ey '([^']+)'|override '([^']+)'|find '([^']+)'", text)
    names = {part for match in wanted for part in match if part}
    hints = sorted({hint for hint in map(_nearest, names) if hint})
    return f"setting: {text}" + ("." if hints and not text.endswith(".") else "") + "".join(hints)


def _nearest(name: str) -> str:
    """A question with the nearest right key or group option, or nothing."""
    name = name.split("=", maxsplit=1)[0]
    known = known_keys()
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if not near:
        short = difflib.get_close_matches(name.split(".")[-1], [k.split(".")[-1] for k in known], n=1, cutoff=0.6)
        near = [k for k in known if short and k.split(".")[-1] == short[0]][:1]
    return f" Did you mean {near[0]!r}?" if near and near[0] != name else ""


def free_entries() -> list[str]:
    """Keys of the groups that hold a number, or a text, by a name that is free to choose, such as caps by channel."""
    from dataclasses import fields
    from typing import get_args, get_origin, get_type_hints

    from conf.schema import GROUPS

    found = []
    for group, schema in GROUPS.items():
        hints = get_type_hints(schema)
        kinds = {f.name: hints[f.name] for f in fields(schema)}
        found += [
            f"{group}.{n}" for n, k in kinds.items() if get_origin(k) is dict and get_args(k)[1] in (int, float, str)
        ]
    return found


def known_keys() -> list[str]:
    """Every key and group option of the configuration, dotted or with a slash."""
    from dataclasses import fields, is_dataclass

    from conf.schema import GROUPS, RunConfig

    keys = [f.name for f in fields(RunConfig)] + list(OPTIONAL_GROUPS)
    for group, schema in GROUPS.items():
        for f in fields(schema):
            keys.append(f"{group}.{f.name}")
            made = f.default_factory() if callable(f.default_factory) else None
            if is_dataclass(made):
                keys += [f"{group}.{f.name}.{inner.name}" for inner in fields(made)]
    folder = Path(__file__).resolve().parents[1] / "conf"
    return keys + [str(p.relative_to(folder).with_suffix("")) for p in sorted(folder.glob("*/*.yaml"))]
