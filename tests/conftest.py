"""What all tests share: one torch thread, and small worlds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of public data sets; tests that need it are skipped where it is absent."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("CAMPAIGN_DATA") or default)
    if not folder.is_dir():
        pytest.skip(f"public data sets are not there ({folder}); set CAMPAIGN_DATA to their folder")
    return folder
