"""The command that evaluates a log file: figures in a table and in JSON, errors in one line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from campaigns.errors import CampaignError
from scripts.estimate import estimate
from tests.evaluation.bandit_worlds import bandit_world
from tests.evaluation.test_log_file import table_of
from tests.scripts.settings import composed

ROOT = Path(__file__).resolve().parents[2]


def test_figures_are_printed_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table_of(bandit_world(), rows=5000).to_parquet(tmp_path / "log.parquet")
    for rows in (1000, 100_000):
        config = composed(f"log={tmp_path / 'log.parquet'}", f"evaluation.stream_rows={rows}", "evaluation.draws=200")
        estimate(config, tmp_path / str(rows))
    said = capsys.readouterr().out
    assert "What the policy would have earned a row" in said
    assert "5,000 rows (customers as named) are worth" in said
    small, large = (json.loads((tmp_path / f"{r}/estimate.json").read_text(encoding="utf-8")) for r in (1000, 100_000))
    assert small["estimators"]["SNIPS"]["low"] == pytest.approx(large["estimators"]["SNIPS"]["low"], rel=1e-9)
    assert small["verdict"] in {"better", "worse", "cannot tell"}
    assert small["sentence"] in said.replace(" \n", " ").replace("\n", " ")


def test_a_log_that_is_not_named_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(CampaignError, match=r"log is not set; write estimate\.py log=FILE\.parquet"):
        estimate(composed(), tmp_path)


def test_bad_input_ends_in_one_line_and_exit_code_2(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "estimate.py"), "log=none.parquet", f"hydra.run.dir={tmp_path}"],
        capture_output=True, text=True, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.strip() == "log=none.parquet: there is no such file or folder."
