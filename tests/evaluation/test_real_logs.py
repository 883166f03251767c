"""Estimators on real logs: the Open Bandit sample's published figures, and Hillstrom resampled to biased loggers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.hillstrom_biased import biases
from evaluation.diagnostics import diagnose
from evaluation.estimators import IPS, LoggedDecisions


def open_bandit_log(data_folder: Path, logger: str, campaign: str) -> tuple[LoggedDecisions, int]:
    """Each row its own customer, as the file has no customer id; and the number of items."""
    folder = data_folder / "open_bandit" / logger / campaign
    if not folder.is_dir():
        pytest.skip(f"the Open Bandit sample is not there ({folder}); set CAMPAIGN_DATA to the folder of data sets")
    table = pd.read_csv(folder / f"{campaign}.csv.gz")
    items = len(pd.read_csv(folder / "item_context.csv"))
    action = 1 + table["item_id"].to_numpy(dtype=np.int64)
    reward, logged = (table[name].to_numpy(dtype=np.float64).copy() for name in ("click", "propensity_score"))
    return LoggedDecisions(np.arange(len(table)), action, reward, logged), items


@pytest.mark.parametrize(("campaign", "published"), [("all", 0.00236), ("men", 0.00301)])
def test_ips_of_the_open_bandit_sample_is_as_published(data_folder: Path, campaign: str, published: float) -> None:
    log, items = open_bandit_log(data_folder, "bts", campaign)
    uniform = np.tile(np.append(0.0, np.full(items, 1 / items)), (len(log), 1))
    assert IPS().contributions(log, uniform).value == pytest.approx(published, abs=5e-6)


def test_on_the_open_bandit_samples_own_random_log_the_uniform_policy_is_the_mean(data_folder: Path) -> None:
    log, items = open_bandit_log(data_folder, "random", "men")
    uniform = np.tile(np.append(0.0, np.full(items, 1 / items)), (len(log), 1))
    assert IPS().contributions(log, uniform).value == pytest.approx(log.reward.mean(), rel=1e-3)
    assert diagnose(log, uniform).refused is None


def test_on_a_biased_real_log_the_estimators_are_right_where_the_naive_mean_is_not(data_folder: Path) -> None:
    if not (data_folder / "hillstrom" / "hillstrom.csv.gz").is_file():
        pytest.skip(f"the Hillstrom file is not there ({data_folder}); set CAMPAIGN_DATA to the folder of data sets")
    for logger, found in biases(data_folder, rows=6000, seeds=200).items():
        for name in ("IPS", "SNIPS", "DR"):
            bias, error = found[name]
            assert abs(bias) <= 0.005, (logger, name)
            assert error < 0.002, (logger, name)  # so that the bias is known well enough
        assert 0.02 <= abs(found["naive"][0]) <= 0.05, logger
