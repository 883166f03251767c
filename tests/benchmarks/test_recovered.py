"""What `benchmarks.recovered` compares."""

from __future__ import annotations

from pathlib import Path

from hydra import compose, initialize_config_dir

from benchmarks.recovered import ABLATIONS
from conf.schema import register_schemas


def test_half_and_twice_as_many_decisions_are_counted_from_the_default() -> None:
    register_schemas()
    with initialize_config_dir(str(Path("conf").absolute()), version_base="1.3"):
        default, half, twice = (
            compose("config", ABLATIONS[name]).agent.ppo
            for name in ("as it is", "half as many decisions", "twice as many decisions")
        )
    assert [default.steps, default.refit_steps] == [2 * half.steps, 2 * half.refit_steps]
    assert [twice.steps, twice.refit_steps] == [2 * default.steps, 2 * default.refit_steps]
