"""The second process leaves in the cache what the run would have computed itself, and ends with it."""

from __future__ import annotations

import multiprocessing
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from conf.schema import RunConfig
from scripts.pipeline.ahead import computing_ahead
from scripts.pipeline.context import JUDGE, Study
from scripts.pipeline.fit_stage import network_stage
from scripts.pipeline.pipeline import open_study
from tests.scripts.settings import composed

TINY = ["debug=fast", "data.customers=60", "data.days=3", "propensity.epochs=1", "propensity.width=8"]
PATIENCE_SECONDS = 240.0


def tiny(folder: Path, name: str, processes: int) -> Study:
    """A study with a cache of its own."""
    config: RunConfig = composed(*TINY, f"processes={processes}", f"cache_dir={folder / name}")
    return open_study(config, folder / f"{name} run")


def test_the_second_process_fits_what_the_run_would_fit(tmp_path: Path) -> None:
    alone, pair = tiny(tmp_path, "alone", 1), tiny(tmp_path, "pair", 2)
    with computing_ahead(alone):
        assert not multiprocessing.active_children()
    threads = torch.get_num_threads()
    with computing_ahead(pair):
        assert len(multiprocessing.active_children()) == 1
        until = time.monotonic() + PATIENCE_SECONDS
        while not list((tmp_path / "pair" / "propensity-all").glob("*/weights.safetensors")):
            assert time.monotonic() < until, "the second process computed nothing"
            time.sleep(0.2)
    assert not multiprocessing.active_children()
    assert torch.get_num_threads() == threads
    # The run finds it: a stage that is computed twice would be written twice.
    found = network_stage(pair, JUDGE)
    written = (found.folder / "weights.safetensors").stat().st_mtime_ns
    assert network_stage(pair, JUDGE).folder == found.folder
    assert (found.folder / "weights.safetensors").stat().st_mtime_ns == written
    mine = load_file(network_stage(alone, JUDGE).folder / "weights.safetensors")
    for name, values in load_file(found.folder / "weights.safetensors").items():
        assert torch.equal(values, mine[name]), name


def test_a_fault_in_the_run_ends_the_second_process(tmp_path: Path) -> None:
    with pytest.raises(KeyError), computing_ahead(tiny(tmp_path, "pair", 2)):
        raise KeyError("fault")
    assert not multiprocessing.active_children()
