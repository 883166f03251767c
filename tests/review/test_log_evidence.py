"""What the report says of a log's probabilities, of what it does not show, of one customer and of hidden reasons."""

from __future__ import annotations

from typing import Any

import pytest

from review.evidence import Candidate, Evidence, Offline, Range
from review.log_evidence import contradicted, log_evidence_section, sensitivity_sentence
from review.report import render
from review.trust import PROBLEM, checks


def candidate(name: str, worth: float) -> Candidate:
    gain = Range(worth - 1, worth - 1.1, worth - 0.9)
    offline = Offline("DR", 1, Range(worth), gain, "better", 1.0, 0.3, "", "", 3000.0, 200.0, 1.0, {})
    return Candidate(name, "rule", "sampled", {}, {}, {}, None, None, offline, "")


def row(name: str, share: float, unsupported: float, customers: int = 100) -> dict[str, Any]:
    return {"name": name, "share": share, "unsupported": unsupported, "customers": customers}


def evidence(**offline: Any) -> Evidence:
    policy = {
        "difference": {"value": 0.5, "low": 0.4, "high": 0.6},
        "one_customer": {"value": 1.2, "change": -0.3, "difference": 0.2, "difference_change": -0.3, "turns": False},
        "sensitivity": offline.pop("sensitivity", None),
    }
    support = {
        "unsupported": 0.125,
        "contents": [row("sale", 0.5, 0.25), row("news", 0.5, 0.0)],
        "dayparts": [row("evening", 0.25, 0.5)],
        "segments": [row("tier = gold", 0.4, 0.3), row("tier = lone_platinum", 0.5, 0.9, 9)],
    }
    content = {
        "policies": {"sale to all": policy},
        "support": {"sale to all": support},
        "probabilities": {"fitted": False, "contradicted": False, "reason": None, "checks": []},
        **offline,
    }
    scores = {
        "rank_correlation": 0.875, "regret_at_1": 0.04, "bias": 0.01, "error": 0.2, "coverage": 0.94, "refused": 0.1
    }  # fmt: skip
    twins = {"twins": 50, "rows": 3000, "policies": 4, "right": ["DR"], "reason": None,
             "estimators": [{"name": "DM", **scores}, {"name": "DR", **scores}]}  # fmt: skip
    return Evidence({"offline": content, "twins": twins}, {}, None)


def test_the_section_says_what_is_not_shown_and_leaves_small_groups_out() -> None:
    chosen = candidate("sale to all", 1.5)
    found = log_evidence_section(evidence(), [chosen], chosen, 2)
    assert [entry["name"] for entry in found["rows"]] == [
        "content sale", "daypart evening", "customers with tier = gold"
    ]  # fmt: skip
    assert "lone_platinum" not in str(found)
    said = " ".join(found["sentences"])
    assert "would be +0.20 instead of +0.50" in said
    assert "(hardly) ever shows 12" in said
    assert found["twins"]["rows"][1]["right"] is True
    assert found["twins"]["rows"][0]["right"] is False


def test_where_nothing_is_recommended_it_speaks_of_the_most_promising() -> None:
    panel = [candidate("never", 0.5), candidate("sale to all", 1.5), candidate("news to all", 1.0)]
    assert log_evidence_section(evidence(), panel, None, 2)["policy"] == "sale to all"


def test_contradicted_probabilities_are_a_problem_in_plain_words() -> None:
    wrong = {
        "fitted": False,
        "contradicted": True,
        "reason": "sale was taken 2 times as often as it should",
        "checks": [],
    }
    found = evidence(probabilities=wrong)
    assert contradicted(found) == wrong["reason"]
    check = next(c for c in checks(found, [], None, {}, 2) if c.short == "action probabilities")
    assert check.status == PROBLEM
    assert "Nothing can be concluded" in log_evidence_section(found, [], None, 2)["sentences"][0]
    assert contradicted(Evidence({}, {}, None)) is None


@pytest.mark.parametrize(
    ("turns", "words"),
    [(None, "cannot be said"), (1.0, "least of it"), (1.75, "less than 1.75 times (Gamma)"), (20.0, "more than 20")],
)
def test_hidden_reasons_are_said_with_their_strength_and_never_called_lift(turns: float | None, words: str) -> None:
    sentence = sensitivity_sentence({"sensitivity": {"word": "better", "breakdown": turns, "curve": []}}, "the rule")
    assert words in sentence
    assert "fitted" in sentence
    assert "lift" not in sentence
    assert sensitivity_sentence({}, "the rule") == ""


def test_the_page_shows_twins_or_says_why_not() -> None:
    summary = {
        "chosen": "sale to all",
        "policies": [{"name": "sale to all", "offline": {"value": 1.5, "verdict": "better"}}],
    }
    full = evidence()
    page = render(Evidence({**full.parts, "summary": summary}, {}, None))
    assert "rank correlation" in page
    left_out = {"reason": "the log has several decisions a customer", "estimators": []}
    page = render(Evidence({**full.parts, "summary": summary, "twins": left_out}, {}, None))
    assert "rank correlation" not in page
    assert "the log has several decisions a customer." in page


def test_beside_a_whole_horizon_the_first_slots_are_spoken_of_as_such() -> None:
    full = evidence(sensitivity={"word": "better", "breakdown": 1.5, "curve": []})
    first = {**full.part("offline")["policies"]["sale to all"], "horizon_slots": 6}
    whole = {"difference": {"value": 9.0}, "horizon_slots": 168, "first_slots": first}
    content = {**full.part("offline"), "policies": {"sale to all": whole}}
    chosen = candidate("sale to all", 1.5)
    said = " ".join(log_evidence_section(Evidence({"offline": content}, {}, None), [chosen], chosen, 2)["sentences"])
    assert "over the first 6 decisions would be +0.20 instead of +0.50" in said
    assert "1.50 times (Gamma)" in said
