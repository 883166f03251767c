"""A session on disk: `session.json`, the tensors of all customers, and the ids in the types that the caller gave."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from campaigns.audience import Catalogue, Population, knows_channels
from campaigns.errors import CampaignError
from policies.folders import digest, written_folder
from policies.roster import Ids, Roster
from policies.session import Decided, Session

if TYPE_CHECKING:
    from policies.policy import Policy

SESSION_VERSION = 2
MARKER, STATE = "session.json", "state.safetensors"
TABLES = ("users", "contents")
TYPES: dict[str, Callable[[str], object]] = {
    "int": int,
    "str": str,
    "float": float,
    "bool": lambda text: text == "True",
}
"""Types that ids in a column of mixed ones may have."""


def save_session(session: Session, target: Path) -> Path:
    """Writes a session; see `Session.save`."""
    roster, decided = session.roster, session.decided
    tensors = {f"ledger.{name}": value for name, value in session.ledger.tensors().items()}
    tensors["holdout"] = roster.holdout
    for name, part in (("population", roster.population), ("catalogue", roster.catalogue)):
        tensors |= {f"{name}.{k}": v for k, v in vars(part).items() if isinstance(v, Tensor)}
    if session.carried is not None:
        tensors["carried"] = session.carried
    if decided is not None:
        tensors |= {f"decided.{f.name}": getattr(decided, f.name) for f in fields(Decided) if f.name != "slot"}
    with written_folder(target, MARKER) as work:
        save_file({name: value.clone().contiguous() for name, value in tensors.items()}, work / STATE)
        for table in TABLES:
            _write_ids(getattr(roster, table), work / f"{table}.parquet")
        meta = {
            "session_version": SESSION_VERSION,
            "policy": session.policy.fingerprint,
            "policy_name": session.policy.name,
            "seed": session.seed,
            "latest": session.latest,
            "decided": None if decided is None else decided.slot,
            "zones": roster.population.zones,
            "categories": roster.catalogue.categories,
            "channels": roster.catalogue.channels,
            "files": {name: digest(work / name) for name in (STATE, *(f"{table}.parquet" for table in TABLES))},
        }
        (work / MARKER).write_text(json.dumps(meta, ensure_ascii=False, indent=1), encoding="utf-8")
    return target


def load_session(policy: Policy, path: Path) -> Session:
    """Reads a session; see `Policy.resume`."""
    meta = _read_meta(path)
    if meta["policy"] != policy.fingerprint:
        raise CampaignError(
            f"{path}: saved by another policy ({meta['policy_name']!r}, {meta['policy']}; this one is "
            f"{policy.name!r}, {policy.fingerprint}): chooser, mode, exploration and guardrails must be the same. "
            "Resume it with that policy, or start a new session with its past in `history`."
        )
    try:
        for name, wanted in meta["files"].items():
            if name != Path(name).name or digest(path / name) != wanted:
                raise CampaignError(
                    f"{path / name}: not the file that {MARKER} was written with; copy all files again."
                )
        tensors = load_file(path / STATE)
        ids = {table: _read_ids(path / f"{table}.parquet", table) for table in TABLES}

        def under(prefix: str) -> dict[str, Any]:
            return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

        population = Population(**under("population."), zones=tuple(meta["zones"]))
        catalogue = Catalogue(
            ids=tuple(ids["contents"].series), **under("catalogue."),
            categories=tuple(meta["categories"]), channels=tuple(meta["channels"]),
            tells_channels=knows_channels(policy.content_encoder),
        )  # fmt: skip
        roster = Roster(ids["users"], ids["contents"], population, tensors["holdout"], catalogue)
        session = Session(policy, roster, meta["seed"])
        session.ledger.restore(under("ledger."))
        session.latest = meta["latest"]
        session.carried = tensors.get("carried")
        if meta["decided"] is not None:
            session.decided = Decided(slot=meta["decided"], **under("decided."))
    except (OSError, SafetensorError, pa.ArrowException, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CampaignError(f"{path}: damaged ({type(error).__name__}: {error}); copy all files again.") from None
    return session


def _read_meta(path: Path) -> dict[str, Any]:
    file = path / MARKER
    if not file.is_file():
        raise CampaignError(f"{path}: no {MARKER} there; give a folder that Session.save wrote.")
    try:
        meta: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        version = meta["session_version"]
        if version == SESSION_VERSION and {"policy", "policy_name", "files", "latest", "seed"} - set(meta):
            raise KeyError(", ".join(sorted({"policy", "policy_name", "files", "latest", "seed"} - set(meta))))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CampaignError(f"{file}: not a saved session ({type(error).__name__}: {error}).") from None
    if version != SESSION_VERSION:
        raise CampaignError(
            f"{file}: session version {version}; this version reads {SESSION_VERSION}. Start a new session with the "
            "past in `history`."
        )
    return meta


def _write_ids(ids: Ids, file: Path) -> None:
    """One column where that has a type; text beside its type for a column of objects."""
    series = ids.series
    if series.dtype == object:
        kinds = [_kind(value, ids.table) for value in series]
        frame = pd.DataFrame({"text": [str(value) for value in series], "type": kinds})
    else:
        frame = pd.DataFrame({"id": series})
    frame.to_parquet(file, index=False)


def _kind(value: object, table: str) -> str:
    if isinstance(value, bool | np.bool_):
        return "bool"
    for kind, types in (("int", (int, np.integer)), ("float", (float, np.floating)), ("str", (str,))):
        if isinstance(value, types):
            return kind
    raise CampaignError(
        f"{table}: ids of type {type(value).__name__}, such as {value!r}, cannot be saved; make them text or integers."
    )


def _read_ids(file: Path, table: str) -> Ids:
    frame = pd.read_parquet(file)
    if "id" in frame.columns:
        return Ids(frame["id"], table)
    values = [TYPES[kind](text) for text, kind in zip(frame["text"], frame["type"], strict=True)]
    return Ids(pd.Series(values, dtype=object), table)
