"""A thin slice of the grid where the truth is known (benchmarks/one_step_truth.py)."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.one_step_truth import UNBIASED, new_contents, run_grid, summary


@pytest.mark.slow
def test_intervals_cover_where_they_are_not_refused_and_refusals_are_where_they_belong() -> None:
    records = run_grid((1000,), (2, 20), ("good", "fair", "poor"), {1000: 200}, scale=1.0)
    own = records[records["estimator"].isin(UNBIASED)]
    coverage = summary(own, ["interval"])["coverage"]
    assert 0.93 <= coverage["bootstrap"] <= 0.97
    assert 0.93 <= coverage["Student's t"] <= 0.97
    assert coverage["Bernstein"] > 0.97
    refused = own.groupby("overlap")["refused"].mean()
    assert refused["good"] == 0
    assert refused["poor"] > 0.95
    assert refused["good"] < refused["fair"] < refused["poor"]
    # an estimate without weights never says that it cannot tell, and is not to be trusted for it
    direct = summary(records[records["estimator"] == "DM"], ["interval"])
    assert direct.loc["bootstrap", "coverage"] < 0.5


@pytest.mark.slow
def test_new_contents_are_judged_better_by_what_they_are_like() -> None:
    errors = new_contents(8, learners=("boosting",))
    skilled = errors[errors["logger"] == "skilled"]
    squared = skilled.groupby("estimator")["error"].apply(lambda error: float(np.mean(np.square(error))))
    for name in ("MIPS", "OffCEM"):
        assert squared[name] < min(squared["DM"], squared["IPS"])
