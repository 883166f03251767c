"""The report's section on what changed since the earlier run."""

from __future__ import annotations

from pathlib import Path

from tests.review.pages import page_of
from tests.review.run_folders import going_on, sequential


def test_a_run_that_starts_anew_has_no_such_section(tmp_path: Path) -> None:
    assert "since the earlier run" not in page_of(tmp_path, sequential()).text


def test_promise_proposal_and_segments_are_told(tmp_path: Path) -> None:
    text = page_of(tmp_path, going_on()).text
    assert "What changed since the earlier run?" in text
    assert "what came back since (2025-03-03 to 2025-03-30, 1,900 customers, 319,200 decisions)" in text
    assert "The best simple rule served, and it delivered less than was promised: 12.50 a customer over 28 days" in text
    assert "98 % of 1,200 sends asked" in text
    assert "pass, warn" in text
    assert "The PPO agent is proposed instead" in text
    assert "It sends 4.2 times a week, the one that serves 3.5 times." in text
    assert "evening 100 % 100 %" in text
    assert "tier gold 450 25 % 4.0 6.0 +4.00 +3.00 to +5.00" in text


def test_what_moves_most_stands_first(tmp_path: Path) -> None:
    parts = going_on()
    parts["evaluation/behaviour.json"]["policies"]["ppo"]["contents"] = [
        {"content": "sale", "share": 0.4}, {"content": "news", "share": 0.4}, {"content": "gift", "share": 0.2}
    ]  # fmt: skip
    text = page_of(tmp_path, parts).text
    assert "sale 70 % 40 % -30.0 points gift 0 % 20 % +20.0 points news 30 % 40 % +10.0 points" in text


def test_groups_of_few_customers_are_not_shown(tmp_path: Path) -> None:
    page = page_of(tmp_path, going_on())
    assert "lone_platinum" not in page.text
    assert "93.7" not in page.text


def test_a_policy_that_stays_is_said_to_stay(tmp_path: Path) -> None:
    parts = going_on()
    parts["evaluation/changes.json"] |= {"keeps": True, "proposed": "incumbent", "difference": None, "segments": []}
    text = page_of(tmp_path, parts).text
    assert "Nothing is changed: no other policy earned more" in text
    assert "For whom" not in text
