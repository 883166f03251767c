"""Folders that appear whole or not at all, and never in place of something else."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from campaigns.errors import CampaignError


@contextmanager
def written_folder(target: Path, marker: str) -> Iterator[Path]:
    """A new folder to write into, which takes the place of `target` when all went well.

    Args:
        target: where it belongs; an earlier folder of its kind there is replaced.
        marker: the file by which a folder of this kind is known.
    Yields:
        The folder to write into, beside `target`.
    Raises:
        CampaignError: where `target` holds something else, or cannot be written.
    """
    if target.exists() and not (target / marker).is_file() and not (target.is_dir() and not any(target.iterdir())):
        raise CampaignError(f"{target}: there is something else than an earlier {marker} there; give another path.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    except OSError as error:
        raise CampaignError(f"{target}: cannot be written ({error.strerror}).") from None
    try:
        yield work
        os.chmod(work, 0o755)
        if target.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
            target.rename(old / "old")
            work.rename(target)
            shutil.rmtree(old)
        else:
            work.rename(target)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise


def digest(file: Path) -> str:
    """A short hash of a file's bytes."""
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16]
