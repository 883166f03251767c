"""What `fit.py` prints: the family that was fitted, and what the log cannot tell."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scripts.pipeline.ask import predict_table
from scripts.pipeline.context import TRAIN
from scripts.pipeline.fit_stage import network_stage
from scripts.pipeline.pipeline import fit_networks
from scripts.pipeline.profile_stage import profile_stage
from scripts.pipeline.table import WARNINGS_SHOWN, console_of, print_fit, print_warnings
from tests.campaigns.logs_on_disk import clean_tables
from tests.scripts.test_predict import NEW
from tests.scripts.test_splits import study


def test_a_regression_is_not_called_a_network_and_one_content_is_said_to_be_too_few(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tables = clean_tables()
    sent = tables["decisions"]["content_id"].notna()
    tables["decisions"]["content_id"] = tables["decisions"]["content_id"].mask(sent, "a")
    tables["contents"] = tables["contents"].head(1)
    fit_networks(study(tmp_path, tables, "propensity=logistic"))
    print_fit(tmp_path / "run", None)
    said = " ".join(capsys.readouterr().out.split())
    assert "Propensity by logistic regression" in said
    assert "network" not in said.replace(str(tmp_path), "")
    assert "which content to send cannot be learned" in said
    assert "what another content would bring cannot be known from this log" in said
    _, caveat = predict_table(str(tmp_path / "run"), NEW, None, "2025-03-05T09:30")
    assert "ensemble members of a logistic regression:" in caveat


def test_customers_of_whom_nothing_is_known_have_profiles_without_attributions(tmp_path: Path) -> None:
    tables = clean_tables()
    tables["users"] = tables["users"][["user_id"]]
    known_by_id = study(tmp_path, tables, "propensity=logistic")
    folder = profile_stage(known_by_id, network_stage(known_by_id, TRAIN)).folder
    assert json.loads((folder / "attributions.json").read_text())["gradients"] is None
    assert json.loads((folder / "profiles.json").read_text())["fitted_on"] == 15


def test_of_many_warnings_the_first_are_printed_and_the_rest_counted(capsys: pytest.CaptureFixture[str]) -> None:
    print_warnings(console_of(), [f"users.column_{i}: [constant]." for i in range(WARNINGS_SHOWN + 3)])
    said = capsys.readouterr().out
    assert f"users.column_{WARNINGS_SHOWN - 1}: [constant]." in said
    assert f"users.column_{WARNINGS_SHOWN}:" not in said
    assert "and 3 more, in data/report.json" in said
    print_warnings(console_of(), [])
    assert capsys.readouterr().out == ""
