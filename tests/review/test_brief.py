"""The first screen: what a report recommends, and in which words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.review.pages import Page, page_of
from tests.review.run_folders import figure, one_shot, sequential


def test_the_first_screen_says_what_to_do_and_what_it_is_worth(page: Page) -> None:
    first = page.text[: page.text.index("Does the simulated market give back the log?")]
    assert "Recommended: PPO agent" in first
    assert "Predicted in a simulated market of customers it had not met: +3.25" in first
    assert "(95 % interval +3.05 to +3.45)" in first
    assert "sends 4.2 times per customer and week (3.5 so far), most between 18:00 and 21:00" in first
    assert "Most to tier gold (4.4 sends a week), least to tier new (2.2)." in first
    assert "beats the best simple rule there: +1.25" in first
    assert "With care." in first


def test_a_refused_market_gives_no_verdict(tmp_path: Path) -> None:
    parts = sequential()
    summary = parts["summary.json"]
    summary["policies"] = [p for p in summary["policies"] if p["name"] in {"incumbent", "never"}]
    summary |= {"market": {"gate": "fail"}, "chosen": "incumbent", "recommended": False,
                "reason": "The market gate refused; no agent was trained."}  # fmt: skip
    parts["market/gate.json"] |= {"verdict": "fail", "note": "The market does not give back the log's sends."}
    text = page_of(tmp_path, parts).text
    assert "No verdict: the simulated market does not give back the log" in text
    assert "No. Problems: the market gate." in text
    assert "Recommended" not in text


def test_nothing_recommended_is_said_plainly(tmp_path: Path) -> None:
    parts = sequential()
    parts["summary.json"] |= {"chosen": "incumbent", "recommended": False, "reason": "Nothing beat the incumbent."}
    text = page_of(tmp_path, parts).text
    assert "No change is recommended" in text
    assert "surely worth more than going on as before" in text
    assert "Gain per customer" not in text


def says_lift(page: Page) -> bool:
    """Whether the page uses the word."""
    return re.search(r"\blift\b", page.text, flags=re.IGNORECASE) is not None


def test_lift_is_said_where_assignment_was_randomised_and_logged(one_shot_page: Page) -> None:
    assert "Lift over the incumbent, estimated from the log alone: +0.040" in one_shot_page.text


@pytest.mark.parametrize("data", [{"randomised": False}, {"action_prob": "fitted"}, {"randomised": None}])
def test_lift_is_not_said_of_other_logs(tmp_path: Path, data: dict[str, object]) -> None:
    parts = one_shot()
    parts["summary.json"]["data"] |= data
    page = page_of(tmp_path, parts)
    assert not says_lift(page)
    assert "Difference to the incumbent, estimated from the log alone" in page.text


def test_lift_is_not_said_of_what_a_market_predicts(page: Page) -> None:
    assert not says_lift(page)


def test_a_log_in_which_chance_decided_hardly_anything_asks_for_caution(tmp_path: Path) -> None:
    parts = sequential()
    parts["data/report.json"]["audit"]["randomisation"]["by_chance"] = 0.042
    text = page_of(tmp_path, parts).text
    assert "chance decided only 4.2 % of them, too few to learn what other decisions would have brought" in text


def test_a_truth_that_contradicts_the_prediction_is_a_problem(tmp_path: Path) -> None:
    parts = sequential()
    chosen = parts["summary.json"]["policies"][1]
    chosen |= {"truth": {**figure(12.0, 0.2), "difference": figure(-1.5, 0.2)}, "judged_minus_truth": 1.46}
    text = page_of(tmp_path, parts).text
    assert "The true gain is -1.50" in text
    assert "It contradicts the prediction." in text
    assert "Not yet. Problems: the truth." in text
    assert "Caveat. The truth: The true gain is -1.50" in text


def test_where_holding_takes_the_place_of_the_incumbent_it_is_not_said_to_look_best(tmp_path: Path) -> None:
    parts = sequential()
    never = next(p for p in parts["summary.json"]["policies"] if p["name"] == "never")
    loss = {**figure(9.5, 0.2), "difference": figure(-4.0, 0.2), "over_best_rule": figure(0.0, 0.0)}
    never |= {"judged": loss, "truth": loss}
    reason = "Nothing may be sent (objective.budget=0): holding is all that is left."
    parts["summary.json"] |= {"chosen": "never", "recommended": False, "reason": reason}
    text = page_of(tmp_path, parts).text
    assert "No policy is recommended: sending nothing is what is left" in text
    assert f"Why {reason} May it be trusted?" in text
    assert "The true gain is -4.00 (95 % interval -4.20 to -3.80). So it was predicted." in text
    assert "looked best" not in text


def test_a_recommendation_without_problems_carries_no_caveat(page: Page) -> None:
    assert "Caveat" not in page.text


def test_a_one_shot_rule_says_what_it_sends_and_keeps_its_own_letters(tmp_path: Path) -> None:
    parts = one_shot()
    parts["summary.json"] |= {"chosen": "mail to all", "reason": "mail to all has the highest doubly robust estimate "
                              "and is better than what was done. It cannot be told from linucb."}  # fmt: skip
    parts["evaluation/behaviour.json"] = {"customers": 2000, "policies": {
        "mail to all": {"send_share": 1.0, "contents": [{"content": "mail", "share": 1.0},
                                                        {"content": "rare", "share": 0.0}]}}}  # fmt: skip
    page = page_of(tmp_path, parts)
    assert "Decides once for every customer: nothing, mail or rare. It sends mail alone." in page.text
    assert "Why mail to all has the highest" in page.text.replace("Why Mail", "Why mail")
    assert "It cannot be told from the LinUCB bandit." in page.text
    assert "one decision a customer, so there is no timing or frequency to show" in page.text
    assert "did not record when" not in page.text
    assert not any("Mail to all" in figure for figure in page.figures)


@pytest.mark.parametrize("refused", [True, False])
def test_without_an_agent_the_summary_tells_whether_the_gate_refused(tmp_path: Path, refused: bool) -> None:
    parts = sequential()
    parts["market/gate.json"] |= {"verdict": "fail", "note": "The market does not give back the log's sends."}
    summary = parts["summary.json"]
    for policy in summary["policies"]:
        policy["kind"] = "incumbent" if policy["name"] == "incumbent" else "rule"
    summary["market"] |= {"gate": "fail", "refused": refused}
    text = page_of(tmp_path, parts).text
    assert ("No verdict: the simulated market does not give back the log" in text) == refused


def test_a_market_that_fails_its_gate_and_is_used_all_the_same_is_a_problem(tmp_path: Path) -> None:
    parts = sequential()
    parts["market/gate.json"] |= {"verdict": "fail", "note": "The market does not give back the log's sends."}
    parts["summary.json"]["market"]["gate"] = "fail"
    text = page_of(tmp_path, parts).text
    assert "Recommended, but not to be trusted yet: PPO agent Caveat. The simulated market failed its gate, and" in text
    assert "Recommended:" not in text
    assert "a simulated market of customers it had not met, of the kind that failed its gate: +3.25" in text
    assert "May it be trusted? Not yet. Problems: the market gate." in text
    assert "+3.05 to +3.45, predicted, but the market failed its gate" in text
    assert "problem Does the simulated market give back the log? The market does not give back" in text
