"""Every experiment of `conf/experiment` runs, tiny; and every group's settings say their unit in a comment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from agents.panel import AGENTS
from campaigns.datasets import PUBLIC_SETS
from tests.scripts.settings import composed

ROOT = Path(__file__).resolve().parents[2]
CONF = ROOT / "conf"
EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))
TINY = ["debug=fast", "data.customers=150", "data.days=7", "market.judge_customers=60", "agent.ppo.steps=8192"]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that the experiments share."""
    return tmp_path_factory.mktemp("cache")


LONG = ("banking", "channels", "entertainment", "health", "travel", "open_bandit")
"""Those that differ from `ecommerce` in numbers alone, and two of many contents: `make test-all` runs them."""


@pytest.mark.parametrize(
    "experiment", [pytest.param(name, marks=[pytest.mark.slow] if name in LONG else []) for name in EXPERIMENTS]
)
def test_every_experiment_runs_to_a_report(experiment: str, cache: Path, tmp_path: Path) -> None:
    data = Path(os.environ.get("CAMPAIGN_DATA") or ROOT.parent / "shared" / "data").resolve()
    if experiment in PUBLIC_SETS and not (data / experiment).is_dir():
        pytest.skip(f"{experiment} is not in {data}; set CAMPAIGN_DATA to the folder of public data sets")
    overrides = [f"experiment={experiment}", *TINY, f"hydra.run.dir={tmp_path}"]
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "run.py"), *overrides],
        capture_output=True, text=True, cwd=cache, check=False,
        env={**os.environ, "CAMPAIGN_CACHE": str(cache), "CAMPAIGN_DATA": str(data), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    assert {p["name"] for p in summary["policies"]} >= {"incumbent", "never", "linucb"}
    assert (tmp_path / "report.html").stat().st_size > 10_000
    assert (tmp_path / "policy" / "policy.json").is_file()
    behaviour = tmp_path / "evaluation" / "behaviour.json"
    told = json.loads(behaviour.read_text(encoding="utf-8"))["policies"]
    for policy in summary["policies"] if experiment not in PUBLIC_SETS else ():
        for figure in ("sends_per_week", "opt_out_share"):  # one figure, wherever a report shows it
            assert policy["judged"][figure] == pytest.approx(told[policy["name"]][figure])
    if experiment == "channels":
        assert [row["channel"] for row in told["incumbent"]["channels"]] == ["email", "push", "sms"]


@pytest.mark.parametrize("file", sorted(CONF.rglob("*.yaml")), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_number_in_the_configuration_is_explained_beside_it(file: Path) -> None:
    for line in file.read_text(encoding="utf-8").splitlines():
        _, colon, value = line.partition(":")
        setting = value.split("#")[0].strip()
        if colon and setting.replace(".", "").isdigit():
            assert "#" in value, f"{file.name}: {line.strip()}"


def test_what_an_experiment_or_a_debug_file_sets_is_what_runs() -> None:
    assert composed().processes == 2
    assert composed("debug=fast").processes == 1
    assert composed("debug=fast", "processes=2").processes == 2


def test_all_agents_are_all_that_there_are() -> None:
    assert sorted(composed("agent=all").agent.names) == sorted(AGENTS)
