"""Bad logs through the command line: one clear line and exit code 2, or a run that says what it set aside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hydra.core.global_hydra import GlobalHydra

from scripts.cli import launch
from scripts.run import run
from tests.campaigns.logs_on_disk import Tables, clean_tables, write_csv, write_parquet

ROOT = Path(__file__).resolve().parents[2]
Change = Callable[[Tables], object]


def set_all(tables: Tables, table: str, **columns: object) -> None:
    """Overwrites columns of a table."""
    tables[table] = tables[table].assign(**columns)


def spoil(tables: Tables, table: str, column: str, value: object) -> None:
    """Writes `value` into every tenth row of a column."""
    values = tables[table][column].astype(object)
    values.iloc[::10] = value
    tables[table][column] = values


def keep(tables: Tables, rows: Callable[[pd.DataFrame], object]) -> None:
    """Keeps some decisions."""
    tables["decisions"] = tables["decisions"][rows(tables["decisions"])]


REFUSED: dict[str, tuple[Change, str]] = {
    "no contents table": (lambda t: t.pop("contents"), "table 'contents' is missing; expected contents with one of"),
    "no time column": (lambda t: t["decisions"].pop("time"), "decisions.csv: column 'time' is missing"),
    "a misspelt outcome": (
        lambda t: set_all(t, "decisions", opend=t["decisions"].pop("opened")),
        "decisions.csv: column 'opend' is not known; did you mean 'opened'?",
    ),
    "header only": (lambda t: t.update(decisions=t["decisions"].head(0)), "decisions.csv: the table is empty"),
    "no users": (lambda t: t.update(users=t["users"].head(0)), "users: the table is empty"),
    "unknown contents": (
        lambda t: spoil(t, "decisions", "content_id", "zzz"),
        "content_id: not in contents; the row is left out (54 times",
    ),
    "unknown users": (
        lambda t: t.update(users=t["users"].head(20)),
        "user_id: not in users; the row is left out (180 times",
    ),
    "duplicate decisions": (
        lambda t: t.update(decisions=pd.concat([t["decisions"], t["decisions"].head(60)])),
        "time: a second decision in one slot; the first is kept (60 times",
    ),
    "garbage times": (
        lambda t: spoil(t, "decisions", "time", "soon"),
        "time: not a time stamp; the row is left out (54 times",
    ),
    "ambiguous dates": (
        lambda t: set_all(t, "decisions", time=t["decisions"]["time"].dt.strftime("%m/%d/%Y %H:%M")),
        "decisions.time: '03/04/2025 00:00' may be day/month or month/day",
    ),
    "epoch seconds": (
        lambda t: set_all(t, "decisions", time=t["decisions"]["time"].astype("int64")),
        "decisions",
    ),
    "impossible probabilities": (
        lambda t: spoil(t, "decisions", "action_prob", 1.5),
        "action_prob: a probability must lie in (0, 1] (54 times",
    ),
    "opens without a send": (lambda t: set_all(t, "decisions", opened=1), "opened: opened without a send"),
    "garbage values": (
        lambda t: spoil(t, "decisions", "value", "n.b."),
        "value: not a number (54 times, first in rows [0, 10, 20])",
    ),
    "garbage features": (lambda t: spoil(t, "users", "age", "old"), "users: 3 of 30 rows (10.0%) have faults"),
    "few customers": (
        lambda t: (t.update(users=t["users"].head(5)), keep(t, lambda d: d["user_id"] < "u005")),
        "users: 5 customers are too few",
    ),
    "all holds": (lambda t: set_all(t, "decisions", content_id=None, opened=0), "decisions: nothing was ever sent"),
    "only sends": (
        lambda t: keep(t, lambda d: d["content_id"].notna()),
        "there is no hold row, so when to send cannot be learned",
    ),
}


def leave(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *overrides: str) -> tuple[int, str]:
    """Exit code and standard error of `run.py`, run in this process."""
    monkeypatch.setattr(sys, "argv", ["run.py", *overrides])
    GlobalHydra.instance().clear()
    capsys.readouterr()
    with pytest.raises(SystemExit) as left:
        launch(run)
    return int(left.value.code or 0), capsys.readouterr().err.strip()


@pytest.mark.parametrize("name", REFUSED)
def test_a_log_that_cannot_be_learned_from_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str
) -> None:
    change, message = REFUSED[name]
    tables = clean_tables()
    change(tables)
    folder = write_csv(tables, tmp_path / "log")
    code, errors = leave(
        monkeypatch, capsys, "data=log", f"data.path={folder}", "debug=fast", f"cache_dir={tmp_path}/cache",
        f"hydra.run.dir={tmp_path}/run",
    )  # fmt: skip
    assert code == 2, errors
    assert message in errors
    assert "Traceback" not in errors
    assert len([line for line in errors.splitlines() if not line.startswith("[")]) == 1


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("users.csv", b"", "users.csv: the file is empty"),
        ("decisions.csv", b"user_id,time,content_id\nu000,2025-03-03,a\nu001,2025", "row 1 (line 3) has 2 fields"),
        ("users.parquet", b"PAR1 and no more", "users.parquet: not a readable Parquet file"),
        ("contents.csv.gz", b"\x1f\x8b\x08\x00cut", "contents.csv.gz: not readable"),
        ("contents.csv", "content_id,name\na,Größe\n".encode("cp1252"), "contents.csv: not UTF-8"),
    ],
)
def test_a_broken_file_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, file: str, content: bytes,
    message: str,
) -> None:  # fmt: skip
    folder = write_csv(clean_tables(), tmp_path / "log")
    (folder / f"{file.split('.', maxsplit=1)[0]}.csv").unlink()
    (folder / file).write_bytes(content)
    code, errors = leave(monkeypatch, capsys, "data=log", f"data.path={folder}", f"cache_dir={tmp_path}/cache",
                         f"hydra.run.dir={tmp_path}/run")  # fmt: skip
    assert code == 2
    assert message in errors
    assert "Traceback" not in errors


def whole_run(tmp_path: Path, folder: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    """A whole small run on a log, in a process of its own."""
    return subprocess.run(
        [
            sys.executable, str(ROOT / "scripts" / "run.py"), "data=log", f"data.path={folder}", "debug=fast",
            "panel=[linucb]", "propensity.epochs=1", "market.judge_customers=40", f"hydra.run.dir={tmp_path}/run",
            *overrides,
        ],
        capture_output=True, text=True, cwd=tmp_path, check=False,
        env={**os.environ, "CAMPAIGN_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def test_a_german_export_with_flaws_runs_to_its_end_and_counts_them(tmp_path: Path) -> None:
    tables = clean_tables(customers=60, days=8)
    for table in ("users", "decisions"):
        names = tables[table]["user_id"].replace({"u000": "Zoë 🙂", "u001": "名前"})
        tables[table]["user_id"] = names
    tables["users"]["umsatz_vorjahr"] = np.where(np.arange(60) % 30 == 0, np.inf, np.arange(60) / 4)
    tables["users"]["leer"], tables["users"]["gleich"] = np.nan, 1
    values = tables["decisions"]["value"].astype(object)
    values.iloc[[5, 50]] = "k.A."
    tables["decisions"]["value"] = values
    tables["decisions"].loc[7, "action_prob"] = 0.0
    tables["decisions"] = tables["decisions"].rename(columns={"user_id": "User_ID", "time": "Time"})
    folder = write_csv(
        tables, tmp_path / "log", "utf-8-sig", sep=";", decimal=",", date_format="%d.%m.%Y %H:%M", lineterminator="\r\n"
    )
    done = whole_run(tmp_path, folder)
    assert done.returncode == 0, done.stderr
    rejected = pd.read_parquet(tmp_path / "run" / "data" / "rejected.parquet")
    assert sorted(rejected["column"]) == ["action_prob", "umsatz_vorjahr", "umsatz_vorjahr", "value", "value"]
    report = json.loads((tmp_path / "run" / "data" / "report.json").read_text(encoding="utf-8"))
    assert report["kept"] == {"users": 60, "contents": 3, "decisions": 60 * 48}
    assert any("leer" in note for note in report["preparation"])
    assert "NaN" not in (tmp_path / "run" / "summary.json").read_text(encoding="utf-8")
    assert (tmp_path / "run" / "report.html").is_file()


@pytest.mark.slow
@pytest.mark.parametrize(
    "case", ["one content", "events", "one slot", "integers and floats", "nobody buys", "implied", "texts and vectors"]
)
def test_unusual_but_honest_logs_run_to_their_end(tmp_path: Path, case: str) -> None:
    tables = clean_tables(customers=60, days=8)
    overrides: list[str] = []
    if case == "one content":
        tables["contents"] = tables["contents"].head(1)
        keep(tables, lambda d: d["content_id"].fillna("a") == "a")
    elif case == "texts and vectors":
        tables["contents"]["text"] = ["Новые кроссовки 👟", "", "新しい靴"]
        tables["contents"]["picture"] = [[0.1, 0.2, 0.3], None, [0.3, 0.1, 0.9]]
        tables["users"]["taste"] = list(np.random.default_rng(0).normal(size=(60, 40)).round(3).tolist())
        overrides = ["data.text=hashed"]
    elif case == "one slot":
        keep(tables, lambda d: d["time"] == d["time"].min())
        overrides = ["data.slot_hours=24"]
    elif case == "integers and floats":
        tables["users"]["user_id"] = range(60)
        tables["decisions"]["user_id"] = tables["decisions"]["user_id"].str[1:].astype(int)
        for table in ("contents", "decisions"):
            tables[table]["content_id"] = tables[table]["content_id"].map({"a": 1, "b": 2, "c": 3})
    elif case == "nobody buys":
        set_all(tables, "decisions", purchased=0, value=0.0)
    elif case == "implied":
        keep(tables, lambda d: d["content_id"].notna())
        overrides = ["data.holds=implied"]
    elif case == "events":
        happened = tables["decisions"][tables["decisions"]["purchased"] == 1]
        tables["events"] = happened[["user_id", "time", "value"]].assign(event="purchase")
        opened = tables["decisions"][tables["decisions"]["opened"] == 1]
        tables["events"] = pd.concat([tables["events"], opened[["user_id", "time", "content_id"]].assign(event="open")])
        tables["decisions"] = tables["decisions"][["user_id", "time", "content_id", "action_prob"]]
    done = whole_run(tmp_path, write_parquet(tables, tmp_path / "log"), *overrides)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "policy" / "policy.json").is_file()
