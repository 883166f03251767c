"""A log that does not say how likely its decisions were, from tables to report: what is fitted and what is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from campaigns.logs import write_log
from scripts.pipeline.pipeline import run_pipeline
from tests.campaigns.logs_on_disk import clean_tables
from tests.review.pages import Page
from tests.scripts.settings import composed


def test_without_logged_probabilities_the_report_says_fitted_shows_gamma_and_claims_no_lift(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    tables = clean_tables(customers=1200, days=1)
    first = tables["decisions"]["time"].min()
    decisions = tables["decisions"][tables["decisions"]["time"] == first].reset_index(drop=True)
    decisions = decisions.drop(columns=["opened", "clicked", "unsubscribed", "action_prob"], errors="ignore")
    sent = generator.random(len(decisions)) < 0.5
    decisions["content_id"] = np.where(sent, generator.choice(["a", "b", "c"], len(sent)), None)
    decisions["purchased"] = (generator.random(len(decisions)) < np.where(sent, 0.6, 0.1)).astype(int)
    decisions["value"] = 10.0 * decisions["purchased"]
    log = write_log(tables | {"decisions": decisions}, tmp_path / "log")
    summary = run_pipeline(
        composed(
            "data=log", f"data.path={log}", "debug=fast", "guardrails=none", "panel=[propensity_greedy]",
            "evaluation.twins=0", "device=cpu", f"cache_dir={tmp_path / 'cache'}",
        ),
        tmp_path / "run",
    )  # fmt: skip
    assert summary["data"]["action_prob"] == "fitted"
    assert summary["data"]["randomised"] is False
    sending = {p["name"]: p["offline"] for p in summary["policies"]}["random"]
    assert sending["verdict"] == "better"  # sends are worth six times what holds are
    assert sending["sensitivity"]["breakdown"] > 1
    text = Page((tmp_path / "run" / "report.html").read_text(encoding="utf-8")).text
    assert "The probabilities of past decisions were fitted" in text
    assert "times (Gamma); beyond that the log cannot tell" in text
    assert "Difference to the incumbent, estimated from the log alone" in text
    assert "lift" not in text.lower().split()
