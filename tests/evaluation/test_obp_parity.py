"""The same figures as the Open Bandit Pipeline on the same arrays; what it gave lies in fixtures/obp.json."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.obp_parity import CODES, DECISIONS, DELTA, ROWS, checksum, make_arrays
from evaluation.analytic_intervals import bernstein_interval, student_interval
from evaluation.estimators import (
    DM,
    DR,
    IPS,
    MIPS,
    SNDR,
    SNIPS,
    ClippedDR,
    ClippedIPS,
    DRos,
    EstimatedPosterior,
    KnownEmbedding,
    LoggedDecisions,
    ShrunkEstimator,
    SubGaussianDR,
    SubGaussianIPS,
    SwitchDR,
    attribute_embedding,
    drawn_embedding,
    logistic_posterior,
)
from evaluation.tuning import LeastError, Slope

FIXTURE = json.loads((Path(__file__).parent / "fixtures" / "obp.json").read_text())
LOGS = list(FIXTURE["logs"])
EXACT = {"rel": 0, "abs": 1e-6}
FAMILIES: dict[str, Callable[[float], ShrunkEstimator]] = {
    "clipped IPS": ClippedIPS,
    "clipped DR": ClippedDR,
    "SWITCH-DR": SwitchDR,
    "DRos": DRos,
    "sub-Gaussian IPS": SubGaussianIPS,
    "sub-Gaussian DR": SubGaussianDR,
}


@pytest.fixture(scope="module", params=LOGS)
def case(request: pytest.FixtureRequest) -> tuple[dict[str, Any], dict[str, np.ndarray], LoggedDecisions]:
    figures = FIXTURE["logs"][request.param]
    arrays = make_arrays(figures["seed"], figures["tail"])
    logged_prob = arrays["logging"][np.arange(ROWS), arrays["action"]]
    return figures, arrays, LoggedDecisions(np.arange(ROWS), arrays["action"], arrays["reward"], logged_prob)


Case = tuple[dict[str, Any], dict[str, np.ndarray], LoggedDecisions]


def test_the_arrays_are_those_that_the_pipeline_saw(case: Case) -> None:
    figures, arrays, _ = case
    assert checksum(arrays) == pytest.approx(figures["checksum"], rel=1e-9)


def test_estimators_agree(case: Case) -> None:
    figures, arrays, logged = case
    found = {
        estimator.name: estimator.contributions(logged, arrays["target"], arrays["predicted"]).value
        for estimator in (DM(), IPS(), SNIPS(), DR(), SNDR())
    }
    assert found == pytest.approx(figures["plain"], **EXACT)


@pytest.mark.parametrize("family", list(FAMILIES))
def test_shrunk_estimators_agree_at_every_setting(case: Case, family: str) -> None:
    figures, arrays, logged = case
    found = {
        setting: FAMILIES[family](float(setting)).contributions(logged, arrays["target"], arrays["predicted"]).value
        for setting in figures["shrunk"][family]
    }
    assert found == pytest.approx(figures["shrunk"][family], **EXACT)


@pytest.mark.parametrize("family", list(FAMILIES))
@pytest.mark.parametrize("rule", ["slope", "bound", "bias"])
def test_tuning_chooses_the_same_setting(case: Case, family: str, rule: str) -> None:
    figures, arrays, logged = case
    candidates = tuple(FAMILIES[family](float(setting)) for setting in figures["shrunk"][family])
    tuner = (
        Slope(candidates, delta=DELTA)
        if rule == "slope"
        else LeastError(candidates, delta=DELTA, bounded=rule == "bound")
    )
    theirs = figures["tuned"][family][rule]
    chosen = tuner.chosen(logged, arrays["target"], arrays["predicted"])
    assert chosen == FAMILIES[family](theirs["setting"])
    assert tuner.contributions(logged, arrays["target"], arrays["predicted"]).value == pytest.approx(
        theirs["value"], **EXACT
    )


def test_tuning_does_not_always_choose_the_same() -> None:
    chosen = {
        entry["setting"]
        for figures in FIXTURE["logs"].values()
        for rules in figures["tuned"].values()
        for entry in rules.values()
    }
    assert len(chosen) > 3


def test_estimators_on_embeddings_agree(case: Case) -> None:
    figures, arrays, logged = case
    logging, target = arrays["logging"], arrays["target"]
    one = KnownEmbedding(attribute_embedding(np.array(CODES), logged.action), logging)
    two = KnownEmbedding(drawn_embedding([arrays["drawn"], arrays["coin"]], arrays["seen"]), logging)
    drawn = KnownEmbedding(drawn_embedding([arrays["drawn"]], arrays["seen"][:, :1]), logging)
    onehot = np.concatenate([np.eye(4)[arrays["seen"][:, 0]][:, 1:], np.eye(2)[arrays["seen"][:, 1]][:, 1:]], axis=1)
    posterior = logistic_posterior(arrays["context"], onehot, logged.action, DECISIONS, tolerance=1e-10)
    found = {
        "one attribute": MIPS(one),
        "two drawn attributes": MIPS(two),
        "self-normalised": MIPS(drawn, self_normalised=True),
        "logistic posterior": MIPS(EstimatedPosterior(posterior, logging)),
    }
    values = {name: estimator.contributions(logged, target).value for name, estimator in found.items()}
    assert values == pytest.approx(figures["embedded"], **EXACT)


def test_bounds_agree(case: Case) -> None:
    figures, arrays, logged = case
    found = IPS().contributions(logged, arrays["target"])
    # one-sided at .05 is two-sided at .9
    student = student_interval(found, logged.customer, level=0.9)
    assert student.low == pytest.approx(figures["bounds"]["student"], **EXACT)
    bernstein = bernstein_interval(found, logged.customer, level=0.9)
    assert bernstein.low == pytest.approx(figures["bounds"]["bernstein"], **EXACT)
