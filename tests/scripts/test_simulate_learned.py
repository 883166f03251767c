"""`simulate.py market=learned`: a log that carries no real customer, reads as any log and passes into a new gate."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pandas as pd
import pytest
from hydra.core.global_hydra import GlobalHydra

from campaigns.logs import LogSettings, read_log
from scripts.cli import launch
from scripts.fit import fit
from scripts.simulate import simulate_log
from tests.campaigns.logs_on_disk import clean_tables, write_parquet

TINY = ("debug=fast", "data.customers=120", "data.days=5", "propensity.epochs=1")


def leave(task: object, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Exit code and standard error of an entry point."""
    GlobalHydra.instance().clear()
    capsys.readouterr()
    sys.argv = ["script.py", *arguments]
    try:
        launch(task)  # type: ignore[arg-type]
    except SystemExit as left:
        return int(left.code or 0), capsys.readouterr().err.strip()
    return 0, ""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny fit."""
    folder = tmp_path_factory.mktemp("run")
    GlobalHydra.instance().clear()
    before, sys.argv = sys.argv, ["fit.py", *TINY, f"cache_dir={folder / 'cache'}", f"hydra.run.dir={folder / 'fit'}"]
    launch(fit)
    sys.argv = before
    return folder / "fit"


def test_it_writes_a_log_of_customers_who_do_not_exist_that_reads_and_meets_the_gate(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [])
    out = tmp_path / "log"
    code, said = leave(
        simulate_log, capsys, "market=learned", f"run={run}", f"out={out}", "data.customers=150",
        f"hydra.run.dir={tmp_path / 'sim'}",
    )  # fmt: skip
    assert (code, said) == (0, "")
    log = read_log(out, LogSettings())
    real = pd.read_parquet(run / "data" / "users.parquet")
    assert len(log.users) == 150
    assert len(log.decisions) == 150 * 5 * 6
    assert log.rejected.empty
    columns = [name for name in log.users.columns if name != "user_id"]
    assert set(columns) <= set(real.columns)
    drawn, known = ({tuple(map(str, row)) for row in t[columns].itertuples(index=False)} for t in (log.users, real))
    assert not drawn & known
    assert log.decisions["action_prob"].between(0, 1).all()
    assert not log.decisions.loc[log.decisions["content_id"].isna(), "opened"].astype(bool).any()
    code, said = leave(
        fit, capsys, "data=log", f"data.path={out}", *TINY[:1], "propensity.epochs=1",
        f"cache_dir={tmp_path / 'cache'}", f"hydra.run.dir={tmp_path / 'again'}",
    )  # fmt: skip
    assert (code, said) == (0, "")
    gate = json.loads((tmp_path / "again" / "market" / "gate.json").read_text(encoding="utf-8"))
    assert gate["verdict"] in {"pass", "warn", "fail"}
    audit = json.loads((tmp_path / "again" / "data" / "report.json").read_text(encoding="utf-8"))["audit"]
    assert audit["randomisation"]["passed"] is True


def test_what_cannot_be_is_said_in_one_line(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [])
    where = f"hydra.run.dir={tmp_path / 'sim'}"
    half = tmp_path / "half"
    (half / ".hydra").mkdir(parents=True)
    (half / ".hydra" / "config.yaml").write_text("seed: 0\n", encoding="utf-8")
    full = tmp_path / "full"
    write_parquet(clean_tables(), full)
    for arguments, message in (
        (("market=learned",), "market=learned: run is not set"),
        (("market=learned", f"run={tmp_path / 'none'}"), "no .hydra/config.yaml there; give the folder"),
        (("market=learned", f"run={half}"), "propensity/train/model.json"),
        (("market=learned", f"run={run}", f"out={full}"), "it is not an empty folder"),
        ((f"out={full}",), "it is not an empty folder"),
    ):
        code, said = leave(simulate_log, capsys, *arguments, where)
        assert code == 2, said
        assert message in said
        assert "\n" not in said


def test_a_one_shot_run_has_no_market_to_simulate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [])
    tables = clean_tables()
    tables["decisions"] = tables["decisions"].groupby("user_id", as_index=False).head(1)
    tables["decisions"]["time"] = tables["decisions"]["time"].min()
    write_parquet(tables, tmp_path / "log")
    place = f"hydra.run.dir={tmp_path / 'fit'}"
    code, said = leave(
        fit, capsys, "data=log", f"data.path={tmp_path / 'log'}", "debug=fast", "propensity.epochs=1",
        "data.max_rejected=1.0", f"cache_dir={tmp_path / 'cache'}", place,
    )  # fmt: skip
    assert code == 0, said
    code, said = leave(
        simulate_log, capsys, f"run={tmp_path / 'fit'}", f"out={tmp_path / 'out'}", f"hydra.run.dir={tmp_path / 'sim'}"
    )
    assert code == 2
    assert "one decision a customer has no market" in said
