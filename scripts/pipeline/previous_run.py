"""The run that a new one goes on from: its policy served, and what came of it is the new log.

What is needed of it is copied into the data stage's folder `previous/`, so that the new run stands on its own.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from agents.lesson import LEARNED
from agents.panel import PANEL
from campaigns.audience import knows_channels
from campaigns.encoding import FeatureEncoder
from campaigns.errors import CampaignError
from campaigns.features import STATE_FEATURES, candidate_names
from campaigns.ids import id_keys
from conf.schema import RunConfig
from policies.chooser import Chooser
from policies.incumbent import Incumbent
from policies.policy import Policy, load_policy
from scripts.pipeline.context import load_logging_policy
from scripts.pipeline.stage import file_digest

KEPT = "previous"
"""Where the data stage keeps them."""

POLICY, INPUTS, SUMMARY, HALVES = "policy", "inputs.json", "summary.json", "halves.parquet"
LOGGER, GATE = "incumbent", "gate.json"

PARTS = {
    "policy/policy.json": f"{POLICY}/policy.json",
    "policy/weights.safetensors": f"{POLICY}/weights.safetensors",
    "propensity/inputs.json": INPUTS,
    "propensity/halves.parquet": HALVES,
    "propensity/incumbent/model.json": f"{LOGGER}/model.json",
    "propensity/incumbent/weights.safetensors": f"{LOGGER}/weights.safetensors",
    SUMMARY: SUMMARY,
}
"""Files of a run that are needed, and their places among what is kept."""

OPTIONAL = {**{f"agents/{name}/{LEARNED}": f"agents/{name}/{LEARNED}" for name in PANEL}, "market/gate.json": GATE}
TABLES = ("users", "contents", "decisions")


@dataclass(frozen=True)
class PreviousRun:
    """What is kept of it.

    Attributes:
        policy: that it left to serve.
        explores: what exploration goes on to draw from, so that it does not narrow from round to round.
        user_encoder, content_encoder: how tables become numbers; the new run's too, or no network could go on.
        halves: half of each of its customers, by the text of the id.
        summary, gate: what it found.
        learned: by agent, the folder of what its training kept; none where it kept nothing.
    """

    policy: Policy
    explores: Chooser
    user_encoder: FeatureEncoder
    content_encoder: FeatureEncoder
    halves: dict[str, str]
    summary: dict[str, Any]
    gate: dict[str, Any]
    learned: dict[str, Path]

    @property
    def served(self) -> bool:
        """Whether its policy is one that could serve, not the logger as it was fitted."""
        return self.policy.chooser.kind != Incumbent.kind


def previous_files(config: RunConfig) -> dict[str, Path]:
    """The files of `previous=FOLDER` that a run goes on from, by place in that folder.

    Raises:
        CampaignError: where the folder is no finished run's, or its objective, clock or features are others.
    """
    assert config.previous is not None
    folder = Path(config.previous)
    if config.data.source != "log":
        raise CampaignError(
            f"previous={folder}: a run goes on from an earlier one with what came back since: give data=log "
            f"data.path=FOLDER, not data={config.data.source}."
        )
    if config.previous_days is not None and config.previous_days < 1:
        raise CampaignError(f"previous_days={config.previous_days}: must be at least 1 day, or null for all.")
    if not folder.is_dir():
        raise CampaignError(f"previous={folder}: there is no such folder; give the folder of an earlier run.")
    tables = [f"data/{table}.parquet" for table in TABLES]
    missing = [name for name in (*PARTS, *tables) if not (folder / name).is_file()]
    if len(missing) == len(PARTS) + len(tables):
        raise CampaignError(f"previous={folder}: that is no run's folder; give the folder that an earlier run wrote.")
    if missing:
        more = f" and {len(missing) - 2} more" if len(missing) > 2 else ""
        raise CampaignError(
            f"previous={folder}: {', '.join(missing[:2])}{more} missing; finish that run: python scripts/run.py with "
            f"its settings and hydra.run.dir={folder}."
        )
    _check_settings(config, folder)
    names = [*PARTS, *tables, *OPTIONAL, "data/events.parquet"]
    return {name: folder / name for name in names if (folder / name).is_file()}


def previous_digests(config: RunConfig) -> dict[str, str]:
    """Hashes of the files that a run goes on from."""
    return {f"{KEPT}/{name}": file_digest(file) for name, file in previous_files(config).items()}


def keep_previous(config: RunConfig, target: Path) -> None:
    """Copies what is kept of a previous run into `target`."""
    files = previous_files(config)
    for name, place in (PARTS | OPTIONAL).items():
        if name in files:
            (target / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(files[name], target / place)


def read_previous(folder: Path) -> PreviousRun:
    """Reads what `keep_previous` copied."""
    inputs = json.loads((folder / INPUTS).read_text(encoding="utf-8"))
    policy = load_policy(folder / POLICY)
    logger = load_logging_policy(folder / LOGGER)
    halves = pd.read_parquet(folder / HALVES)
    gate = folder / GATE
    return PreviousRun(
        policy=policy,
        explores=Incumbent(logger) if policy.incumbent is None else policy.incumbent,
        user_encoder=FeatureEncoder.from_dict(inputs["user_encoder"]),
        content_encoder=FeatureEncoder.from_dict(inputs["content_encoder"]),
        halves=dict(zip(id_keys(halves["user_id"], "halves"), halves["half"], strict=True)),
        summary=json.loads((folder / SUMMARY).read_text(encoding="utf-8")),
        gate=json.loads(gate.read_text(encoding="utf-8")) if gate.is_file() else {},
        learned={file.parent.name: file.parent for file in sorted(folder.glob(f"agents/*/{LEARNED}"))},
    )


def _check_settings(config: RunConfig, folder: Path) -> None:
    file = folder / "propensity" / INPUTS
    try:
        inputs = json.loads(file.read_text(encoding="utf-8"))
        features, clock, objective = inputs["features"], inputs["clock"], inputs["objective"]
        told = knows_channels(FeatureEncoder.from_dict(inputs["content_encoder"]))
        for spec, ours in (("state", STATE_FEATURES), ("candidate", candidate_names(told))):
            differing = sorted(set(features[spec]) ^ set(ours)) or ["the same in another order"]
            if features[spec] != list(ours):
                raise CampaignError(
                    f"previous={folder}: made for other {spec} features ({', '.join(differing)}); run it again with "
                    "this version first."
                )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CampaignError(f"{file}: damaged ({type(error).__name__}: {error}); run it again.") from None
    policy = load_policy(folder / "policy")
    mine = {
        **{f"objective.{name}": value for name, value in asdict(config.objective).items()},
        "data.slot_hours": config.data.slot_hours,
        "data.timezone": config.data.timezone,
        "data.attribution_hours": config.data.attribution_hours,
    }
    theirs = {
        **{f"objective.{name}": value for name, value in objective.items()},
        "data.slot_hours": clock["slot_hours"],
        "data.timezone": clock["timezone"],
        "data.attribution_hours": policy.attribution_hours,
    }
    differing = [f"{name}={mine.get(name)} (there {theirs.get(name)})" for name in {**mine, **theirs}
                 if mine.get(name) != theirs.get(name)]  # fmt: skip
    if differing:
        raise CampaignError(
            f"previous={folder}: it was run with other settings: {', '.join(differing)}. Give this run the same, so "
            "that what was promised and what came back can be compared."
        )
