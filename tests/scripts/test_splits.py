"""Who is on which side: groups stay together, rows are never split, and logs without sends or holds can be fitted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from campaigns.audience import groups_of
from campaigns.errors import CampaignError
from campaigns.logs import write_log
from propensity.split import split_customers
from scripts.fit import fit
from scripts.pipeline.context import JUDGE, TRAIN, Study
from scripts.pipeline.fit_stage import fitting_rows, judging_rows
from scripts.pipeline.pipeline import open_study
from tests.campaigns.logs_on_disk import Tables, clean_tables
from tests.scripts.settings import composed

QUICK = ["propensity.members=2", "propensity.width=8", "propensity.epochs=1", "evaluation.draws=100"]


def study(folder: Path, tables: Tables, *overrides: str, policies: bool = False) -> Study:
    """A study on a log of the user's."""
    log = write_log(tables, folder / "log")
    config = composed("data=log", f"data.path={log}", f"cache_dir={folder / 'cache'}", *QUICK, *overrides)
    return open_study(config, folder / "run", policies)


def grouped() -> Tables:
    """Thirty customers in nine groups, and one without."""
    tables = clean_tables()
    groups = [f"g{i % 9}" for i in range(29)]
    return {**tables, "users": tables["users"].assign(group_id=[*groups, None])}


def test_whoever_shares_a_group_is_in_one_half_and_who_has_none_stands_alone(tmp_path: Path) -> None:
    s = study(tmp_path, grouped(), "data.split=group")
    halves = {half: set(s.log.users["group_id"].iloc[rows].dropna()) for half, rows in s.halves.items()}
    assert not halves[TRAIN] & halves[JUDGE]
    assert len(halves[TRAIN] | halves[JUDGE]) == 9
    assert np.sort(np.concatenate(list(s.halves.values()))).tolist() == list(range(30))
    assert "group_id" not in [column.name for column in s.user_encoder.columns]


def test_groups_are_numbered_by_their_text_and_missing_ones_stand_alone() -> None:
    users = pd.DataFrame({"group_id": ["a", None, "b", "a", float("nan"), 7, "7"]})
    assert groups_of(users).tolist() == [0, 1, 2, 0, 3, 4, 4]


def test_customers_that_stop_the_training_come_in_whole_groups(tmp_path: Path) -> None:
    s = study(tmp_path, grouped())
    rows, group = fitting_rows(s, TRAIN), s.population.group
    assert group is not None
    for seed in range(5):
        split = split_customers(rows.customer, s.population, 0.3, 1, torch.Generator().manual_seed(seed))
        held = torch.zeros(len(s.population), dtype=torch.bool)
        held[rows.customer[split.validation]] = True
        mine = torch.from_numpy(s.halves[TRAIN])
        assert 0 < int(held[mine].sum()) < len(mine)
        assert not set(group[mine][held[mine]].tolist()) & set(group[mine][~held[mine]].tolist())


def test_later_slots_judge_a_network_that_saw_the_earlier_ones(tmp_path: Path) -> None:
    s = study(tmp_path, clean_tables(days=4), "data.split=time")
    early, late = fitting_rows(s, "early"), judging_rows(s)
    assert int(early.slot.max()) < int(late.slot.min())
    assert set(late.customer.tolist()) & set(early.customer.tolist())
    fit(s.config, tmp_path / "run")
    metrics = json.loads((tmp_path / "run" / "propensity" / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["split"] == "time"
    assert (tmp_path / "run" / "propensity" / "early" / "model.json").is_file()


@pytest.mark.parametrize(
    ("tables", "split", "message"),
    [
        (grouped, "row", "customers who share a group_id would be on both sides"),
        (clean_tables, "row", "customers with several decisions would be on both sides"),
        (clean_tables, "group", "users has no column group_id"),
        (clean_tables, "week", "data.split=week: must be one of customer, group, time, row"),
    ],
)
def test_a_split_that_leaks_or_cannot_be_is_refused(tmp_path: Path, tables, split: str, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(CampaignError) as said:
        study(tmp_path, tables(), f"data.split={split}")
    assert message in str(said.value)


def one_shot(tables: Tables) -> Tables:
    """The first slot alone."""
    decisions = tables["decisions"]
    return {**tables, "decisions": decisions[decisions["time"] == decisions["time"].min()]}


def test_a_single_row_a_customer_may_be_split_by_row_and_has_no_later_time(tmp_path: Path) -> None:
    assert study(tmp_path, one_shot(clean_tables(60)), "data.split=row").is_one_shot
    with pytest.raises(CampaignError, match=r"data\.split=time: the log has 1 slot"):
        study(tmp_path, one_shot(clean_tables(60)), "data.split=time")


@pytest.mark.parametrize("kept", ["holds", "sends"])
def test_a_log_of_holds_or_of_sends_alone_is_fitted_and_judged(
    tmp_path: Path, kept: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tables = clean_tables(60)
    sent = tables["decisions"]["content_id"].notna()
    tables["decisions"] = tables["decisions"][sent == (kept == "sends")]
    s = study(tmp_path, tables)
    assert not s.can_decide
    fit(s.config, tmp_path / "run")
    assert "purchased" in capsys.readouterr().out
    assert not (tmp_path / "run" / "market").exists()
    inputs = json.loads((tmp_path / "run" / "propensity" / "inputs.json").read_text(encoding="utf-8"))
    assert (inputs["sends"], inputs["holds"]) == (kept == "sends", kept == "holds")
    with pytest.raises(CampaignError, match=r"scripts/fit\.py"):
        study(tmp_path, tables, policies=True)


def test_a_log_without_any_outcome_cannot_be_fitted(tmp_path: Path) -> None:
    tables = clean_tables()
    decisions = tables["decisions"]
    without = decisions[["user_id", "time", "content_id"]]
    empty = decisions.assign(opened=None, clicked=None, purchased=None, unsubscribed=None, revenue=None, value=None)
    for number, table in enumerate((without, empty.assign(visited=None))):
        with pytest.raises(CampaignError, match=r"none of the outcomes opened, clicked, visited, purchased.*any row"):
            study(tmp_path / str(number), {**tables, "decisions": table})


@pytest.mark.parametrize("source", ["online_shoppers", "in_vehicle_coupon"])
def test_sets_that_can_only_be_fitted_say_so_before_they_are_read(tmp_path: Path, source: str) -> None:
    config = composed(f"data={source}", f"cache_dir={tmp_path / 'cache'}")
    with pytest.raises(CampaignError, match=f"no policy can be learned from it; .* scripts/fit.py data={source}"):
        open_study(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_all_holds_of_a_one_shot_log_are_kept(tmp_path: Path) -> None:
    s = study(tmp_path, one_shot(clean_tables(200)))
    rows = judging_rows(s)
    assert s.is_one_shot
    assert rows.one_shot
    assert len(rows) == len(s.halves[JUDGE])
    assert (rows.weight == 1).all()
