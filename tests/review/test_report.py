"""The report as its reader meets it: the figures of a run whose numbers are known."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import pytest

from review import model_charts
from review.evidence import Range
from tests.review.pages import Page, page_of
from tests.review.run_folders import does, sequential


def test_values_of_markets_are_called_predictions(page: Page) -> None:
    assert "predicted in a simulated market" in page.text
    assert "predicted in simulated markets" in page.text
    assert "they do not hold the markets' own errors" in page.text


def test_every_figure_of_worth_stands_with_its_interval(page: Page) -> None:
    for value, span in (
        ("16.00", "15.80 to 16.20"), ("17.50", "17.30 to 17.70"), ("+3.25", "+3.05 to +3.45"),
        ("+4.00", "+3.80 to +4.20"), ("-3.75", "-3.95 to -3.55"), ("+2.00", "+1.80 to +2.20"),
    ):  # fmt: skip
        assert re.search(rf"{re.escape(value)} {re.escape(span)}", page.text), value


def test_a_figure_without_an_interval_says_so(tmp_path: Path) -> None:
    parts = sequential()
    parts["summary.json"]["policies"][1]["judged"]["difference"] |= {"low": None, "high": None}
    assert "+3.25 (no interval)" in page_of(tmp_path, parts).text


def test_the_exploitation_gap_is_shown_and_a_large_one_asks_for_caution(page: Page) -> None:
    assert "19 % of the gain is lost there (the exploitation gap)." in page.text
    assert "look at the market gate, the exploitation gap" in page.text


def test_the_judging_markets_family_stands_where_its_figures_do(page: Page) -> None:
    worth, gap = page.text.index("What is it worth?"), page.text.index("Was it fooled by its own market?")
    for place in (worth, gap):
        assert "network where policies learned, gradient boosting (LightGBM) where" in page.text[place : place + 1500]


def test_a_refused_estimate_gives_its_reason_and_no_number(page: Page) -> None:
    assert "PPO agent DR - - cannot tell a - 1.5 % 60 rows" in page.text
    assert "a Refused: too few of the logged rows speak for the policy (200 are the least)." in page.text


def test_a_reason_that_many_policies_share_is_said_once(tmp_path: Path) -> None:
    parts = sequential()
    policies = parts["summary.json"]["policies"]
    other = copy.deepcopy(policies[1]) | {"name": "linucb"}
    other["offline"]["diagnostics"] |= {"effective": 41.9, "refused": "The 4,000 logged rows are worth only 41.9."}
    skewed = copy.deepcopy(policies[1]) | {"name": "propensity_greedy"}
    skewed["offline"]["diagnostics"] |= {"mean_weight": 1.31, "refused_by": "mean weight"}
    policies += [other, skewed]
    text = page_of(tmp_path, parts).text
    assert text.count("Refused: too few of the logged rows speak for the policy") == 1
    assert re.search(r"PPO agent DR - - cannot tell a .*LinUCB bandit DR - - cannot tell a ", text)
    assert re.search(r"Propensity-greedy rule DR - - cannot tell b - 1.5 % mean weight 1.31", text)
    assert text.count("b Refused: the mean weight") == 1
    assert len(re.findall(r"[a-z] The first 6 slots only\.", text)) == 1


def test_guardrails_are_listed_with_what_they_held_back(page: Page) -> None:
    assert "Quiet hours 21:00 to 08:00, customer's own clock" in page.text
    assert "Quiet hours 38 % 38 % Daily cap 12 % 12 %" in page.text
    assert "4.0 % of its decisions lie where the log knows little." in page.text


def test_what_was_identified_and_what_assumed_is_told_apart(page: Page) -> None:
    assert "identified The effect of a send, wherever the log gave it a chance of being sent." in page.text
    assert "assumed That nothing after the horizon counts." in page.text


def test_the_best_rule_says_what_it_does(page: Page) -> None:
    assert "rule: at most 4 a week, in the evening, each customer's favourite" in page.text


def test_every_kind_of_figure_is_there_with_a_text_for_who_cannot_see_it(page: Page) -> None:
    labels = [attrs["aria-label"] for tag, attrs in page.tags if tag == "svg"]
    assert len(labels) == len(page.figures)
    for begins in ("Gain over the incumbent", "Gain over the best simple rule", "How often", "What is sent",
                   "Reliability of Purchase", "Reliability of Open", "Market gate", "PPO agent, share of sends",
                   "Incumbent, share of sends", "Value of a decision"):  # fmt: skip
        assert any(label.startswith(begins) for label in labels), begins
    assert any("most on Monday, 18-21 (14 % of sends)" in label for label in labels)


def test_a_one_shot_campaign_has_no_market_and_says_what_a_rule_would_bring(one_shot_page: Page) -> None:
    text = one_shot_page.text
    assert "Recommended: LinUCB bandit" in text
    assert "Decides once for every customer: nothing, mail or rare." in text
    assert "Against mail to all: +0.002 (95 % interval -0.003 to +0.007), cannot tell." in text
    assert "one decision a customer, so there is no timing or frequency to show" in text
    assert "Was it fooled by its own market?" not in text


def test_segments_are_named_sized_and_measured(page: Page) -> None:
    who = page.text[page.text.index("Who are the customers?") : page.text.index("Which guardrails bind?")]
    assert "Segment A: Sends do more, seldom opt out 35 % of customers (700)" in who
    assert "income ≥ 52,000 and age < 35" in who
    assert "income < 52,000 or age ≥ 35" in who
    assert "Effect of a send, points +6.0 +5.0 to +7.0 +5.5" in who
    assert "respond best to sale (+6.0), then news (+3.0)" in who
    assert "The rules put 91 % of customers where the model puts them (one segment for all: 60 %)." in who
    assert "Customers differ by degrees." in who
    assert any("Purchases: how much worse predictions get" in figure for figure in page.figures)
    assert "income 52,000 to 60,000 +2.0 +1.2 -0.10" in who


def test_without_logged_probabilities_effects_of_segments_are_predictions(tmp_path: Path) -> None:
    parts = sequential()
    profiles = parts["propensity/profiles.json"]
    profiles["effect_observed"] = False
    for segment in profiles["segments"]:
        segment["effect"]["observed"] = None
    text = page_of(tmp_path, parts).text
    assert "so the effect of sending is predicted only" in text
    assert "Effect of a send, points - +5.5" in text


def test_a_policy_that_sends_nothing_has_no_busiest_hour(tmp_path: Path) -> None:
    parts = sequential()
    quiet = does(0.0, 0.0) | {"heatmap": [[0.0] * 8] * 7, "contents": [{"content": "sale", "share": 0.0}]}
    parts["evaluation/behaviour.json"]["policies"]["ppo"] = quiet
    text = page_of(tmp_path, parts).text
    assert "PPO agent: nothing is sent." in text


def test_many_contents_are_summed_up(tmp_path: Path) -> None:
    parts = sequential()
    contents = [{"content": f"c{i}", "share": 1 / 50} for i in range(50)]
    parts["evaluation/behaviour.json"]["policies"]["ppo"]["contents"] = contents
    checks = parts["market/gate.json"]["checks"]
    block = {"observed": 1.0, "simulated": 1.0, "ratio": 1.0, "low": 0.95, "high": 1.05, "passed": True}
    checks[:0] = [{**block, "name": f"sends of c{i}"} for i in range(50)]
    page = page_of(tmp_path, parts)
    assert any("40 other contents" in figure for figure in page.figures)
    assert "22 more stand in the table." in page.text
    assert any("opt-outs" in figure for figure in page.figures if "Market gate" in figure)


@pytest.mark.parametrize(
    ("kind", "said"),
    [("network", "a network"), ("logistic", "a logistic regression"), ("gbdt", "gradient boosting (LightGBM)")],
)
def test_the_family_that_was_used_is_named(tmp_path: Path, kind: str, said: str) -> None:
    parts = sequential()
    parts["propensity/families.json"]["market"] = kind
    parts["summary.json"]["market"]["families"] = {"training": kind, "judging": kind}
    text = page_of(tmp_path, parts).text
    assert f"How customers respond (open, click, visit, buy, opt out): {said}, from the log." in text
    assert f"Measured on customers that it never saw. It is {said}." in text
    assert "the network" not in text or kind == "network"


def test_the_judging_markets_family_is_named_where_it_is_another(page: Page) -> None:
    said = "a network, in the judging market gradient boosting (LightGBM), from the log."
    assert said in page.text


def test_the_value_of_contents_stands_with_its_interval_and_small_groups_are_left_out(page: Page) -> None:
    drawn = next(figure for figure in page.figures if "Value of a decision" in figure)
    assert "hold: predicted 0.1, observed 0.12; sale: predicted 0.3, observed 0.25" in drawn
    assert "rarest" not in drawn
    without = model_charts.content_values({"hold": (0.1, Range(0.12)), "sale": (0.3, Range(0.25))})
    assert drawn.count("<path") == without.count("<path") + 2  # a line for each interval


def part_of(page: Page, begin: str, end: str) -> str:
    """What stands between two texts of a page."""
    text = page.text.replace("\u00a0", " ")
    return text[text.index(begin) : text.index(end, text.index(begin))]


def test_channels_stand_beside_the_incumbents_where_there_are_several(page: Page, wide_page: Page) -> None:
    assert "By which channel" not in page.text
    table = part_of(wide_page, "By which channel", "In the judging market. Sends a week and cost")
    assert "email PPO agent 1,200 2.00 0.048 25 % 5.0 % 0.12 % 1.38" in table
    assert "Incumbent 1,200 1.00 0.048 50 %" in table
    assert "sms PPO agent <10 - - - - - - Incumbent 1,200" in table
    assert "93.7" not in wide_page.text


def test_weekly_plans_stand_beside_slots_with_what_they_cost(page: Page, wide_page: Page) -> None:
    assert "Weekly plans beside" not in page.text
    table = part_of(
        wide_page, "Weekly plans beside decisions slot by slot", "The plans of the PPO agent of weekly plans"
    )
    assert (
        "Against the PPO agent, the PPO agent of weekly plans earns 0.50 less (-0.75 to -0.25) in the judging market, "
        "and earns neither surely more nor less (+0.12, -0.38 to +0.62) in the truth." in table
    )
    assert "PPO agent slot by slot 17.50 17.30 to 17.70 16.00 15.80 to 16.20" in table
    assert "PPO agent of weekly plans weekly plans" in table
    assert "2.2 2.0 % -0.50 -0.75 to -0.25" in table
    assert "Never send" not in table


def test_plans_are_told_by_segment_as_frequency_daypart_and_content(wide_page: Page) -> None:
    table = part_of(
        wide_page, "The plans of the PPO agent of weekly plans", "The commonest plans in the judging market"
    )
    assert "everyone 1,990 2.2 2 a week evening contents in turn 62 % nothing - - 12 %" in table
    assert "tier gold 900 3.0 2 a week any time of day sale 62 %" in table
    assert "platinum" not in table


def test_the_frontier_numbers_all_policies_and_says_which_none_beats_for_less(page: Page, wide_page: Page) -> None:
    assert "What more value costs" not in page.text  # a run that did not count sends in its worlds
    table = part_of(wide_page, "on the line by", "What the log alone says")
    assert "1 PPO agent 16.00 15.80 to 16.20 4.2 4.0 % sends and opt-outs" in table
    assert "2 PPO agent of weekly plans 15.50 15.30 to 15.70 2.2 2.0 % sends and opt-outs" in table
    assert "3 Best simple rule 14.75 14.55 to 14.95 3.8 5.0 % 4 Never send 9.00" in table
    assert "★ Incumbent 12.75 12.55 to 12.95 3.5 6.0 %" in table
    assert sum("Worth against" in figure for figure in wide_page.figures) == 2
