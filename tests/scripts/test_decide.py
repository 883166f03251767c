"""The command that decides: files in, a file out, and one clear message where that cannot be."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from campaigns.errors import CampaignError
from conf.schema import RunConfig
from policies import load_policy
from policies.rules import Random
from scripts.decide import decide
from tests.policies.conftest import make_policy
from tests.policies.test_tables import tables

ROOT = Path(__file__).resolve().parents[2]
NOON = "2025-03-05T12:00"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run's folder with a policy, and tables beside it."""
    users, contents = tables()
    make_policy(chooser=Random(0.6)).save(tmp_path / "run" / "policy")
    users.to_parquet(tmp_path / "users.parquet", index=False)
    contents.to_csv(tmp_path / "contents.csv", index=False, sep=";", encoding="utf-8-sig")
    return tmp_path


def settings(folder: Path, **changes: str | None) -> RunConfig:
    """What the command line would say."""
    said: dict[str, str | None] = {
        "run": str(folder / "run"), "users": str(folder / "users.parquet"),
        "contents": str(folder / "contents.csv"), "time": NOON,
    }  # fmt: skip
    return RunConfig(**{**said, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("out", [None, "decisions.csv", "new folder/decisions.parquet"])
def test_decisions_are_written_as_the_policy_takes_them(folder: Path, out: str | None) -> None:
    decide(settings(folder, out=out and str(folder / out)), folder / "job")
    file = folder / (out or "job/decisions.csv")
    written = pd.read_parquet(file) if file.suffix == ".parquet" else pd.read_csv(file)
    expected = load_policy(folder / "run" / "policy").start(*tables()).decide(NOON)
    assert list(written.columns) == list(expected.columns)
    assert written["content_id"].isna().tolist() == expected["content_id"].isna().tolist()
    assert written["content_id"].dropna().tolist() == expected["content_id"].dropna().tolist()
    assert written["reason"].tolist() == expected["reason"].tolist()
    assert written["action_prob"].tolist() == pytest.approx(expected["action_prob"].tolist())


def test_a_policys_own_folder_serves_as_well_as_its_runs(folder: Path) -> None:
    decide(settings(folder, run=str(folder / "run" / "policy")), folder)
    assert len(pd.read_csv(folder / "decisions.csv")) == 40


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"time": None}, "time is not set; write decide.py run=FOLDER"),
        ({"users": "nowhere.parquet"}, "users=nowhere.parquet: there is no such file"),
        ({"contents": __file__}, "must be a table that ends in .parquet"),
        ({"run": "nowhere"}, "run=nowhere: there is no such folder"),
        ({"run": str(ROOT / "conf")}, "no policy.json there"),
        ({"time": "2025-03-05T12:30"}, "off the grid"),
        ({"time": "soon"}, "time"),
        ({"out": "decisions.xlsx"}, "must be a file that ends in .csv or .parquet"),
        ({"out": f"{__file__}/decisions.csv"}, "its folder cannot be made"),
    ],
)
def test_what_cannot_be_decided_is_said(folder: Path, changes: dict[str, str | None], message: str) -> None:
    with pytest.raises(CampaignError, match=message.replace(".", r"\.")):
        decide(settings(folder, **changes), folder)


def test_a_truncated_table_is_named(folder: Path) -> None:
    file = folder / "users.parquet"
    file.write_bytes(file.read_bytes()[:500])
    with pytest.raises(CampaignError, match=r"users\.parquet: not a readable Parquet file"):
        decide(settings(folder), folder)


def command(folder: Path, time: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    return subprocess.run(
        [
            sys.executable, "scripts/decide.py", f"run={folder / 'run'}", f"users={folder / 'users.parquet'}",
            f"contents={folder / 'contents.csv'}", f"time={time}", f"out={folder / 'out.csv'}",
            f"hydra.run.dir={folder / 'job'}",
        ],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_command_leaves_with_0_or_with_2_and_a_message(folder: Path) -> None:
    done = command(folder, NOON)
    assert done.returncode == 0, done.stderr
    assert "40 customers" in done.stdout
    assert len(pd.read_csv(folder / "out.csv")) == 40
    refused = command(folder, "2025-03-05T13:00")
    assert refused.returncode == 2
    assert "off the grid" in refused.stderr
    assert "Traceback" not in refused.stderr
