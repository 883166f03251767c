"""A log file is read in parts of any size, and what it lacks or holds in error is said with file and row."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from campaigns.errors import CampaignError
from evaluation.estimators import IPS, SNIPS
from evaluation.log_file import LogFile, open_log_file
from evaluation.offline_settings import OfflineSettings
from scripts.pipeline.log_file import estimate_log_file
from tests.evaluation.bandit_worlds import BanditWorld, bandit_world

NAMES = ("hold", "red", "blue", "green")
QUICK = OfflineSettings(draws=100, stream_rows=1000)


def table_of(world: BanditWorld, rows: int = 6000, seed: int = 0, target: bool = True) -> pd.DataFrame:
    logged, context = world.log(rows, np.random.default_rng(seed))
    table = pd.DataFrame(
        {
            "customer": [f"c{i // 2}" for i in range(rows)],
            "action": [None if a == 0 else NAMES[a] for a in logged.action],
            "reward": logged.reward,
            "action_prob": logged.logged_prob,
        }
    )
    if target:
        table = table.assign(**{f"target_{name}": world.target[context, i] for i, name in enumerate(NAMES)})
    return table


def whole(file: LogFile) -> tuple[np.ndarray, ...]:
    parts = list(file.parts(1700))
    assert max(len(part.logged) for part in parts) <= 1700
    logged = [np.concatenate([getattr(p.logged, f) for p in parts]) for f in ("customer", "action", "reward")]
    return (*logged, np.concatenate([p.target for p in parts]))


def test_a_file_and_a_folder_of_its_pieces_are_the_same_log(tmp_path: Path) -> None:
    table = table_of(bandit_world())
    table.to_parquet(tmp_path / "log.parquet", row_group_size=2500)
    pieces = tmp_path / "pieces"
    pieces.mkdir()
    table[:1000].to_parquet(pieces / "a.parquet")
    table[1000:].to_parquet(pieces / "b.parquet")
    one, two = open_log_file(str(tmp_path / "log.parquet")), open_log_file(str(pieces))
    assert one.rows == two.rows == 6000
    assert one.actions == NAMES
    for ours, theirs in zip(whole(one), whole(two), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    customer, action, reward, _ = whole(one)
    np.testing.assert_array_equal(np.unique(customer, return_counts=True)[1], 2)
    np.testing.assert_array_equal(customer[::2], customer[1::2])
    np.testing.assert_array_equal(action, [NAMES.index(a) for a in table["action"].fillna("hold")])
    np.testing.assert_array_equal(reward, table["reward"])


def test_what_was_read_is_let_go(tmp_path: Path) -> None:
    table = table_of(bandit_world(), rows=200_000)
    file = tmp_path / "log.parquet"
    table.to_parquet(file, row_group_size=5000, compression="none")
    before = pa.total_allocated_bytes()
    held = [pa.total_allocated_bytes() - before for _ in open_log_file(str(file)).parts(5000)]
    assert len(held) == 40
    assert max(held) < 0.5 * file.stat().st_size  # Arrow's default holds all of it


def test_the_policy_is_worth_what_the_world_pays(tmp_path: Path) -> None:
    world = bandit_world(seed=3)
    table_of(world, 20_000).to_parquet(tmp_path / "log.parquet")
    found = estimate_log_file(str(tmp_path / "log.parquet"), "columns", OfflineSettings(draws=400), seed=0)
    for name in ("SNIPS", "IPS", "clipped IPS (SLOPE)"):
        low, high = found["estimators"][name]["low"], found["estimators"][name]["high"]
        spare = 0.4 * (high - low)
        assert low - spare < world.value < high + spare
    assert found["incumbent"]["value"] == pytest.approx(world.logging_value, abs=0.02)
    assert found["customers"] == "named"
    assert found["diagnostics"]["refused"] is None


def test_predictions_bring_the_doubly_robust_estimators(tmp_path: Path) -> None:
    world = bandit_world()
    table = table_of(world)
    _, context = world.log(6000, np.random.default_rng(0))
    table = table.assign(**{f"predicted_{name}": world.mean[context, i] for i, name in enumerate(NAMES)})
    table.to_parquet(tmp_path / "log.parquet")
    found = estimate_log_file(str(tmp_path / "log.parquet"), "columns", QUICK, seed=0)
    assert found["estimator"] == "DR"
    width = {name: e["high"] - e["low"] for name, e in found["estimators"].items()}
    assert width["DR"] < 0.9 * width["IPS"]
    assert found["estimators"]["DRos (SLOPE)"]["setting"].keys() == {"shrinkage"}
    assert abs(found["estimators"]["DM"]["value"] - world.value) < 0.02


def test_a_policy_may_be_named_instead_of_written_into_the_log(tmp_path: Path) -> None:
    world = bandit_world()
    table = table_of(world, target=False)
    table.drop(columns="customer").to_parquet(tmp_path / "log.parquet")
    path = str(tmp_path / "log.parquet")
    logged, _ = world.log(6000, np.random.default_rng(0))
    for target, chances in (("uniform", np.full(4, 0.25)), ("blue", np.eye(4)[2]), ("hold", np.eye(4)[0])):
        found = estimate_log_file(path, target, QUICK, seed=0)
        for estimator in (IPS(), SNIPS()):
            expected = estimator.contributions(logged, np.tile(chances, (6000, 1))).value
            assert found["estimators"][estimator.name]["value"] == pytest.approx(expected, rel=1e-9)
    assert found["customers"] == "rows"
    table[table["action"].notna()].to_parquet(path)
    assert whole(open_log_file(path, "uniform"))[3][0] == pytest.approx([0, 1 / 3, 1 / 3, 1 / 3])
    assert whole(open_log_file(path, "blue"))[3][0] == pytest.approx([0, 1, 0, 0])  # names are sorted


def test_a_log_that_cannot_tell_gives_no_figures(tmp_path: Path) -> None:
    table = table_of(bandit_world())
    table.loc[5, "action_prob"] = 1e-6
    table.to_parquet(tmp_path / "log.parquet")
    found = estimate_log_file(str(tmp_path / "log.parquet"), "columns", QUICK, seed=0)
    assert found["verdict"] == "cannot tell"
    assert "worth only" in found["sentence"]
    assert found["estimators"]["IPS"]["value"] is None
    assert found["incumbent"]["value"] is not None


Change = Callable[[pd.DataFrame], pd.DataFrame]
REFUSED: dict[str, tuple[Change, str]] = {
    "no probability": (lambda t: t.drop(columns="action_prob"), "let scripts/run.py data=log fit the logging policy"),
    "no reward": (lambda t: t.drop(columns="reward"), r"log\.parquet: column\(s\) reward missing; a log has action"),
    "no target": (
        lambda t: t.drop(columns=[f"target_{n}" for n in NAMES]),
        r"no column target_NAME says what the policy would do; .* target=uniform",
    ),
    "a target less": (
        lambda t: t.drop(columns="target_blue"),
        r"log\.parquet, rows counted from row 0 of the file: action: row \d+ has 'blue', for which there is no column",
    ),
    "a probability of 0": (
        lambda t: t.assign(action_prob=t["action_prob"].where(t.index != 4321, 0.0)),
        r"from row 4,000 of the file: evaluation: action_prob must lie in \(0, 1\]; 1 of 1000 do not, first row 321",
    ),
    "a reward unknown": (
        lambda t: t.assign(reward=t["reward"].where(t.index != 10)),
        r"reward must be a finite number; 1 of 1000 do not, first row 10",
    ),
    "target off 1": (
        lambda t: t.assign(target_red=t["target_red"].where(t.index != 2500, 0.9999)),
        r"from row 2,000 of the file: evaluation: target probabilities must be >= 0 and sum to 1; .* first row 500",
    ),
    "text for numbers": (lambda t: t.assign(reward="much"), r"reward: is .*string; write numbers"),
    "a customer unknown": (
        lambda t: t.assign(customer=t["customer"].where(t.index != 7)),
        r"customer: 1 of 1000 are null, first in row 7; name them, or leave the column out",
    ),
    "customers as fractions": (lambda t: t.assign(customer=0.5), r"customer: is double; write names or whole"),
    "predictions of some": (lambda t: t.assign(predicted_red=0.1), r"there is no column predicted_blue"),
    "no rows": (lambda t: t.head(0), r"the log has no rows"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_used_is_said_with_its_place(case: str, tmp_path: Path) -> None:
    change, said = REFUSED[case]
    table = table_of(bandit_world())
    change(table).to_parquet(tmp_path / "log.parquet")
    with pytest.raises(CampaignError, match=said):
        estimate_log_file(str(tmp_path / "log.parquet"), "columns", QUICK, seed=0)


def test_files_that_are_no_log_are_said(tmp_path: Path) -> None:
    with pytest.raises(CampaignError, match="there is no such file or folder"):
        open_log_file(str(tmp_path / "none.parquet"))
    with pytest.raises(CampaignError, match=r"there is no file \*\.parquet"):
        open_log_file(str(tmp_path))
    (tmp_path / "log.csv").write_text("a,b\n", encoding="utf-8")
    with pytest.raises(CampaignError, match="must be a Parquet file"):
        open_log_file(str(tmp_path / "log.csv"))
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(CampaignError, match=r"bad\.parquet: not a readable Parquet file"):
        open_log_file(str(tmp_path / "bad.parquet"))
    (tmp_path / "bad.parquet").unlink()
    table = table_of(bandit_world(), rows=100)
    table.to_parquet(tmp_path / "a.parquet")
    with pytest.raises(CampaignError, match=r"target=purple: no action of that name occurs.*blue, green, hold, red"):
        open_log_file(str(tmp_path), "purple")
    table.assign(customer=1).to_parquet(tmp_path / "b.parquet")
    with pytest.raises(CampaignError, match=r"b\.parquet: customer is of another type than in a\.parquet"):
        open_log_file(str(tmp_path))
    table.drop(columns="target_red").to_parquet(tmp_path / "b.parquet")
    with pytest.raises(CampaignError, match=r"b\.parquet: not the columns of a\.parquet \(target_red\)"):
        open_log_file(str(tmp_path))
