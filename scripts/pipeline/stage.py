"""Stages cached by content hash: what was computed once is never computed again, also between concurrent runs.

A stage's key is a hash of its name, the settings that it depends on, the keys of the stages before it, the digests
of its input files, the packages' source code and the versions of the libraries. Its results live in
`cache_dir/NAME/KEY`, written to a folder beside it and renamed when whole. A killed stage leaves its work folder,
from whose checkpoints the next attempt goes on.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import json
import logging
import math
import os
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from campaigns.errors import CampaignError
from scripts.pipeline.progress import StageProgress

log = logging.getLogger("campaign")
PACKAGES = ("campaigns", "propensity", "envs", "policies", "agents", "evaluation", "scripts")
LIBRARIES = (
    "captum", "torch", "numpy", "pandas", "scikit-learn", "lightgbm", "stable-baselines3", "sb3-contrib", "gymnasium",
)  # fmt: skip


@dataclass(frozen=True)
class Stage:
    """A finished stage.

    Attributes:
        name: of the stage.
        key: its content hash.
        folder: its results, read-only by convention.
    """

    name: str
    key: str
    folder: Path


@dataclass
class StageRunner:
    """Runs stages for one run folder.

    Attributes:
        run_folder: where results are shown.
        cache: where they are kept.
        config: hash of all settings of the run that results depend on.
        finished: in order; what manifest.json lists.
    """

    run_folder: Path
    cache: Path
    config: str = ""
    finished: list[dict[str, Any]] = field(default_factory=list)

    def run(
        self,
        name: str,
        settings: Mapping[str, Any],
        after: tuple[Stage, ...],
        work: Callable[[Path, StageProgress], None],
        show_as: str | None = None,
        inputs: Mapping[str, str] | None = None,
    ) -> Stage:
        """Runs a stage, or takes it from the cache.

        Args:
            name: of the stage, a path like `agents/ppo`.
            settings: that its result depends on; JSON-able.
            after: stages whose results it reads.
            work: computes the result into the folder that it is given, which may hold checkpoints of an earlier try.
            show_as: folder under the run folder in which the result appears; None keeps it in the cache alone.
            inputs: digests of files that it reads.
        """
        key = self._key(name, settings, after, inputs or {})
        folder = self.cache / name.replace("/", "-") / key
        began = time.monotonic()
        cached = folder.is_dir()
        if not cached:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with _lock(folder.with_suffix(".lock")):
                cached = folder.is_dir()  # another run may have finished it meanwhile
                if not cached:
                    self._compute(name, folder, work)
        log.info("stage %s: %s (%.1f s)", name, "from the cache" if cached else "done", time.monotonic() - began)
        if show_as is not None:
            show(folder, self.run_folder / show_as)
        self.finished.append(
            {
                "name": name,
                "key": key,
                "settings": digest(settings),
                "inputs": dict(inputs or {}),
                "after": {stage.name: stage.key for stage in after},
                "results": folder_digest(folder),
            }
        )
        self.write_manifest()
        return Stage(name, key, folder)

    def _compute(self, name: str, folder: Path, work: Callable[[Path, StageProgress], None]) -> None:
        part = folder.with_suffix(".partial")
        resumed = part.is_dir() and any(part.iterdir())
        part.mkdir(exist_ok=True)
        log.info("stage %s: %s", name, "goes on after an interruption" if resumed else "begins")
        with StageProgress(name) as progress:
            work(part, progress)
        part.rename(folder)

    def _key(self, name: str, settings: Mapping[str, Any], after: tuple[Stage, ...], inputs: Mapping[str, str]) -> str:
        parts = {
            "name": name,
            "settings": settings,
            "after": {stage.name: stage.key for stage in after},
            "inputs": dict(inputs),
            "code": code_digest(),
            "versions": versions(),
        }
        return digest(parts)

    def write_manifest(self) -> None:
        """Writes `manifest.json`: what this run's results were made from, stage by stage."""
        manifest = {"config": self.config, "code": code_digest(), "versions": versions(), "stages": self.finished}
        write_json(self.run_folder / "manifest.json", manifest)


def digest(parts: Any) -> str:
    """A short hash of anything JSON-able."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:20]


def file_digest(path: Path) -> str:
    """A hash of a file's content."""
    sha = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            sha.update(block)
    return sha.hexdigest()[:20]


def folder_digest(folder: Path) -> str:
    """A hash of a folder's files, of which training curves are left out: they hold times."""
    files = {str(file.relative_to(folder)): file for file in sorted(folder.rglob("*")) if file.is_file()}
    curves = ("tensorboard", "progress.csv")
    return digest({name: file_digest(file) for name, file in files.items() if not name.startswith(curves)})


@cache
def code_digest() -> str:
    """A hash of the packages' source code."""
    root = Path(__file__).resolve().parents[2]
    sha = hashlib.sha256()
    for package in PACKAGES:
        for file in sorted((root / package).rglob("*.py")):
            sha.update(str(file.relative_to(root)).encode())
            sha.update(file.read_bytes())
    return sha.hexdigest()[:20]


@cache
def versions() -> dict[str, str]:
    """Versions of the libraries that results depend on."""
    return {name: importlib.metadata.version(name) for name in LIBRARIES}


def write_json(path: Path, content: Any) -> None:
    """Writes JSON whole or not at all, NaN as null."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps(without_nan(content), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    part.replace(path)


def without_nan(content: Any) -> Any:
    """The same content with NaN and infinities as None and numpy numbers as Python's."""
    if isinstance(content, dict):
        return {str(k): without_nan(v) for k, v in content.items()}
    if isinstance(content, (list, tuple)):
        return [without_nan(v) for v in content]
    if hasattr(content, "tolist"):
        return without_nan(content.tolist())
    if isinstance(content, float) and not math.isfinite(content):
        return None
    return content


LINKED_BYTES = 4 << 20
"""Files above this size are linked into run folders, which a person hardly edits in place."""


def show(source: Path, target: Path) -> None:
    """Puts a finished stage's files into a run folder: copies, and hard links of large files where possible."""
    for file in sorted(source.rglob("*")):
        place = target / file.relative_to(source)
        if file.is_dir():
            place.mkdir(parents=True, exist_ok=True)
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.exists():
            place.unlink()
        if file.stat().st_size <= LINKED_BYTES or not _linked(file, place):
            shutil.copy2(file, place)


def _linked(file: Path, place: Path) -> bool:
    """Makes a hard link, where both lie on one file system that has them."""
    try:
        os.link(file, place)
    except OSError:
        return False
    return True


@contextmanager
def _lock(path: Path) -> Any:
    """Holds a file lock, which a killed process lets go of by itself."""
    with path.open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            log.info("another run is computing %s; waiting for it", path.parent.name)
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def check_writable(folder: Path, setting: str) -> None:
    """Raises CampaignError where `folder` cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CampaignError(
            f"{setting}={folder}: cannot be written ({error.strerror}); choose another folder."
        ) from None
    if not os.access(folder, os.W_OK):
        raise CampaignError(f"{setting}={folder}: no permission to write there; choose another folder.")
