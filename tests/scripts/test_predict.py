"""The command that predicts for people never seen: a run and a table in, probabilities out, errors in one line."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from campaigns.clock import SlotClock
from campaigns.errors import CampaignError
from campaigns.logs import write_log
from conf.schema import RunConfig
from propensity.prediction import predict_cold
from scripts.pipeline.pipeline import fit_networks, open_study
from scripts.predict import predict
from tests.campaigns.logs_on_disk import Tables, clean_tables
from tests.scripts.settings import composed
from tests.worlds import small_model, small_world

ROOT = Path(__file__).resolve().parents[2]
QUICK = ["propensity.members=2", "propensity.width=8", "propensity.epochs=1", "evaluation.draws=100"]
NEW = pd.DataFrame(
    {"user_id": ["new 1", "new 2"], "age": [25, None], "income": [80.5, 120.0], "segment": ["gold", "?"]}
)


def fitted(folder: Path, tables: Tables) -> Path:
    """The run folder of networks fitted to a log."""
    log = write_log(tables, folder / "log")
    config = composed("data=log", f"data.path={log}", f"cache_dir={folder / 'cache'}", *QUICK)
    fit_networks(open_study(config, folder / "run", policies=False))
    return folder / "run"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on a log with sends, holds and their probabilities."""
    return fitted(tmp_path_factory.mktemp("fit"), clean_tables())


def ask(folder_of_run: Path, table: pd.DataFrame, folder: Path, **changes: str | None) -> pd.DataFrame:
    """What the command writes."""
    file = folder / "users.parquet"
    table.to_parquet(file, index=False)
    said: dict[str, str | None] = {
        "run": str(folder_of_run),
        "users": str(file),
        "time": "2025-03-05T09:30",
        "out": str(folder / "out.parquet"),
    }
    predict(RunConfig(**{**said, **changes}), folder)  # type: ignore[arg-type]
    return pd.read_parquet(folder / "out.parquet")


def test_new_customers_get_a_probability_for_nothing_and_for_each_content(run: Path, tmp_path: Path) -> None:
    found = ask(run, NEW, tmp_path)
    assert found["user_id"].tolist() == ["new 1"] * 4 + ["new 2"] * 4
    assert found["content_id"].isna().tolist() == [True, False, False, False] * 2
    assert found["content_id"].dropna().tolist() == ["a", "b", "c"] * 2
    for middle, low, high in (("purchase", "low", "high"), ("effect", "effect_low", "effect_high")):
        known = found[found[middle].notna()]
        assert (known[low] <= known[middle]).all()
        assert (known[middle] <= known[high]).all()
        assert (known[low] < known[high]).any()
    assert found["purchase"].between(0, 1).all()
    sent = found[found["content_id"].notna()]
    held = found[found["content_id"].isna()].set_index("user_id")["purchase"]
    assert (sent["effect"] - (sent["purchase"] - sent["user_id"].map(held))).abs().max() < 1e-6


def test_one_content_can_be_asked_about_and_other_rows_change_nothing(run: Path, tmp_path: Path) -> None:
    everything, one = ask(run, NEW, tmp_path), ask(run, NEW.head(1), tmp_path, content="b")
    assert one["content_id"].isna().tolist() == [True, False]
    assert one["content_id"].iloc[1] == "b"
    same = everything[
        (everything["user_id"] == "new 1") & (everything["content_id"].isna() | (everything["content_id"] == "b"))
    ]
    np.testing.assert_allclose(one["purchase"], same["purchase"], rtol=1e-5)


def test_the_network_of_all_customers_answers_where_the_run_has_one(run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    shutil.copytree(copy / "propensity" / "judge", copy / "propensity" / "all")
    alone, both = ask(copy, NEW, tmp_path), ask(run, NEW, tmp_path)
    assert not np.allclose(alone["purchase"], both["purchase"])
    assert (alone["low"] >= both["low"] - 1e-9).all()


def test_members_are_asked_as_the_model_answers_for_customers_without_a_past() -> None:
    w, model = small_world(), small_model()
    people = w.population.take(torch.arange(5))
    found = predict_cold([model], people, w.catalogue, [2], SlotClock(), w.grid.first_slot)
    assert found.held.shape == (5, 2)
    assert found.sent.shape == (5, 1, 2)
    assert torch.allclose(found.effect[:, 0], found.sent[:, 0] - found.held)
    # On the log's first slot nobody has a past, so its rows are the same question.
    from campaigns.replay import replay

    seen = next(iter(replay(w.grid, w.population, w.catalogue, w.log.clock))).observation
    rows, content = torch.arange(5), torch.full((5,), 2)
    candidate = seen.candidate(torch.full((len(w.population),), 2))[:5]
    right = model.respond_members(
        people.features, seen.state[rows], w.catalogue.features[content], candidate, torch.ones(5, dtype=torch.bool)
    )
    assert torch.allclose(found.sent[:, 0], right.purchase)


def test_a_log_without_sends_answers_without_effects(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tables = clean_tables()
    tables["decisions"] = tables["decisions"].assign(content_id=None, opened=0, action_prob=np.nan)
    run = fitted(tmp_path, tables)
    found = ask(run, NEW, tmp_path)
    assert found["content_id"].isna().all()
    assert found["effect"].isna().all()
    assert "Nothing was ever sent" in " ".join(capsys.readouterr().out.split())
    with pytest.raises(CampaignError, match="content=a: the run's log has no sends"):
        ask(run, NEW, tmp_path, content="a")


def test_a_log_of_sends_alone_says_that_what_sending_changes_is_not_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tables = clean_tables()
    sends = tables["decisions"]["content_id"].notna()
    tables["decisions"] = tables["decisions"][sends].drop(columns="action_prob")
    found = ask(fitted(tmp_path, tables), NEW, tmp_path)
    assert found["content_id"].tolist() == ["a", "b", "c"] * 2
    assert found["effect"].isna().all()
    assert "sends alone" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"users": None}, "users is not set; write predict.py run=FOLDER users=FILE"),
        ({"run": None}, "run is not set"),
        ({"run": "nowhere"}, "run=nowhere: there is no such folder"),
        ({"run": str(ROOT / "conf")}, "no propensity/inputs.json there; give the folder of a run of scripts/fit.py"),
        ({"users": "nowhere.csv"}, "users=nowhere.csv: there is no such file"),
        ({"users": __file__}, "must be a table that ends in .parquet"),
        ({"content": "bb"}, "content=bb: the run's contents are a, b, c"),
        ({"time": "soon"}, "time='soon' is no time stamp"),
        ({"out": "found.xlsx"}, "must be a file that ends in .csv or .parquet"),
    ],
)
def test_what_cannot_be_predicted_is_said(
    run: Path, tmp_path: Path, changes: dict[str, str | None], message: str
) -> None:
    with pytest.raises(CampaignError) as said:
        ask(run, NEW, tmp_path, **changes)
    assert message in str(said.value)


@pytest.mark.parametrize(
    ("users", "message"),
    [
        (NEW.drop(columns=["income", "segment"]), "missing feature column(s) income, segment"),
        (NEW.drop(columns="user_id"), "column user_id is missing"),
        (pd.concat([NEW, NEW]), "'new 1' occurs more than once"),
        (NEW.assign(user_id=[None, "x"]), "users.user_id: missing in row(s) [0]"),
    ],
)
def test_a_table_that_cannot_be_used_is_named(run: Path, tmp_path: Path, users: pd.DataFrame, message: str) -> None:
    with pytest.raises(CampaignError) as said:
        ask(run, users, tmp_path)
    assert message in str(said.value)


def test_a_damaged_run_is_said(run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    file = copy / "propensity" / "inputs.json"
    inputs = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps(inputs | {"features": {"state": ["other"], "candidate": []}}), encoding="utf-8")
    with pytest.raises(CampaignError, match="made for other features of the history"):
        ask(copy, NEW, tmp_path)
    file.write_text(file.read_text(encoding="utf-8")[:40], encoding="utf-8")
    with pytest.raises(CampaignError, match=r"inputs\.json: damaged"):
        ask(copy, NEW, tmp_path)


def test_the_command_leaves_with_0_or_with_2_and_a_message(run: Path, tmp_path: Path) -> None:
    NEW.to_csv(tmp_path / "users.csv", index=False)
    command = [sys.executable, "scripts/predict.py", f"run={run}", f"users={tmp_path / 'users.csv'}",
               f"hydra.run.dir={tmp_path / 'job'}"]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "2 customers, 8 predictions" in done.stdout
    assert len(pd.read_csv(tmp_path / "job" / "predictions.csv")) == 8
    refused = subprocess.run([*command, "content=d"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "content=d: the run's contents are" in refused.stderr
    assert "Traceback" not in refused.stderr
