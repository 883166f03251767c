"""What the report says of effects of sending, of segments and of the data is what the run found, and no more."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from review.effects import effects_section
from review.evidence import read_evidence
from review.report import render
from tests.review.pages import Page
from tests.review.run_folders import Parts, figure, sequential, write_run


def page_of(folder: Path, change: Callable[[Parts], object] = lambda parts: None) -> Page:
    """The page of a run whose files were changed."""
    parts = sequential()
    change(parts)
    return Page(render(read_evidence(write_run(folder, parts))))


def effects_of(parts: Parts, outcome: str = "value") -> dict[str, object]:
    """The block of one outcome."""
    block: dict[str, object] = parts["propensity/metrics.json"]["effects"]["outcomes"][outcome]
    return block


def test_effects_stand_with_their_intervals_the_objectives_first(tmp_path: Path) -> None:
    page = page_of(tmp_path)
    assert (
        "Value: sending changes it by +0.80 (+0.60 to +1.00) a decision as observed, by +0.88 as predicted" in page.text
    )
    assert "the prediction lies within the interval" in page.text
    assert "Its order of whom to send to first cannot be told from a blind one" in page.text
    for start in ("Effect of sending on Value", "Qini curve of Value",
                  "Effect of sending by content"):  # fmt: skip
        assert any(f'aria-label="{start}' in svg for svg in page.figures), start
    assert "0.90 0.50 to 1.30" in page.text  # slope
    assert "Does sending do what the model says?" in page.text


@pytest.mark.parametrize(
    ("slope", "said"),
    [
        (figure(0.5, 0.2), "Differences between decisions are overstated."),
        (figure(2.0, 0.5), "Differences between decisions are understated."),
        (figure(1.0, 2.0), "the log is too small to tell."),
        ({"value": None, "low": None, "high": None}, "cannot be judged."),
    ],
)
def test_the_slope_is_put_into_words(tmp_path: Path, slope: dict[str, float], said: str) -> None:
    parts = sequential()
    effects_of(parts).update(slope=slope, deciles=[], curve=[], contents=[])
    assert said in " ".join(effects_section(read_evidence(write_run(tmp_path, parts)))["sentences"])


def test_an_effect_outside_its_interval_and_an_order_below_chance_are_said_aloud(tmp_path: Path) -> None:
    page = page_of(tmp_path, lambda parts: effects_of(parts).update(predicted=2.5, qini=figure(-0.3, 0.1)))
    assert "the prediction lies OUTSIDE the interval" in page.text
    assert "WORSE than chance" in page.text


def test_effects_that_were_not_judged_say_why(tmp_path: Path) -> None:
    reason = "the log has no sends and holds that chance decided"
    page = page_of(
        tmp_path, lambda parts: parts["propensity/metrics.json"].update(effects={"note": reason, "outcomes": {}})
    )
    assert f"Not evaluated: {reason}" in page.text
    assert "Qini" not in page.text


def test_segments_that_are_off_are_counted_and_small_ones_are_left_out(tmp_path: Path) -> None:
    page = page_of(tmp_path)
    assert "Purchase: 1 of 2 segments off" in page.text
    assert "tier = gold 900 90 60.0 1.50 (1.20 to 1.90)" in page.text
    assert "rarest" not in page.text + "".join(page.figures)  # four customers were sent it
    assert "lone_platinum" not in "".join(page.figures) + page.text


def test_the_data_page_answers_what_was_checked(tmp_path: Path) -> None:
    page = page_of(tmp_path)
    for answer in (
        "Were past decisions randomised, as logged? 57,000 sends, 57,100 expected (z = -0.4)",
        "The best single column, income, tells purchased with an AUC of 0.61",
        "Were features taken before the decisions? Yes, all.",
        "No customer is on both sides (2,000 in train, 2,000 in judge).",
        "caution Is the last half of the log like the first? Between the first and the last half",
        "users.income number 12 % 950 39,150 (12,000 to 91,000) 0.61 3 far out, clipped",
        "users.tier category 0 % 3 new (50 %)",
    ):
        assert answer in page.text, answer
    assert any('aria-label="Population stability index' in svg for svg in page.figures)
    assert "The log changes over its time" in page.text


def test_suspected_leaks_and_copies_reach_the_first_checks(tmp_path: Path) -> None:
    def leak(parts: Parts) -> None:
        parts["data/report.json"]["leaks"] |= {
            "passed": False, "warnings": ["users.x: alone it tells with an AUC of 0.99"], "late_snapshots": 7,
            "copies": {"copies": 40, "suspected": True},
        }  # fmt: skip

    page = page_of(tmp_path, leak)
    assert "Something may know what it should not" in page.text
    assert "40 customers are copies of others" in page.text
    assert "Not of 7 customers" in page.text
    assert "too good to be honest?" in page.text
