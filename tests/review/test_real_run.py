"""The report of a real, tiny run: what the pipeline writes is what the report reads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.review.pages import Page

ROOT = Path(__file__).resolve().parents[2]
TINY = ("debug=fast", "data.customers=150", "market.judge_customers=60", "panel=[propensity_greedy]")


def python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs Python from the project's root, with a cache of its own."""
    environment = {**os.environ, "CAMPAIGN_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, cwd=ROOT, env=environment, check=False
    )


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    folder = tmp_path_factory.mktemp("real")
    done = python(folder, "scripts/run.py", *TINY, f"hydra.run.dir={folder}/run")
    assert done.returncode == 0, done.stderr
    return folder / "run"


def test_everything_that_a_run_finds_reaches_its_report(run_folder: Path) -> None:
    page = Page((run_folder / "report.html").read_text(encoding="utf-8"))
    summary = json.loads((run_folder / "summary.json").read_text(encoding="utf-8"))
    chosen = next(p for p in summary["policies"] if p["name"] == summary["chosen"])
    assert f"{chosen['judged']['value']:.2f}" in page.text
    for kind in ("Gain over the incumbent", "How often", "What is sent", "Reliability of Purchase", "Market gate"):
        assert any(f'aria-label="{kind}' in figure for figure in page.figures), kind
    for section in ("trust", "worth", "does", "guardrails", "gap", "gate", "network", "data", "assumed", "again"):
        assert section in page.attributes("id")
    assert "To whom" in page.text
    assert "left nothing to send guardrail chosen policy incumbent" in page.text
    assert "python scripts/run.py debug=fast" in page.text
    assert str(run_folder.parent) not in page.text
    behaviour = json.loads((run_folder / "evaluation" / "behaviour.json").read_text(encoding="utf-8"))
    few = [s["segment"] for s in behaviour["policies"][summary["chosen"]]["segments"] if s["customers"] < 10]
    assert not few


@pytest.mark.slow
def test_the_report_can_be_made_again_from_the_folder_alone(run_folder: Path) -> None:
    first = (run_folder / "report.html").read_bytes()
    for command in (
        ("-m", "review.report", str(run_folder)),
        ("scripts/report.py", f"run={run_folder}", f"hydra.run.dir={run_folder.parent}/again"),
    ):
        (run_folder / "report.html").unlink()
        done = python(run_folder.parent, *command)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip().endswith("report.html")
        assert (run_folder / "report.html").read_bytes() == first


def test_a_folder_that_is_no_run_ends_with_exit_code_2_and_one_line(tmp_path: Path) -> None:
    done = python(tmp_path, "-m", "review.report", str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.strip().count("\n") == 0
    assert "none of a run's files is there" in done.stderr
