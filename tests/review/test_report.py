"""The report as its reader meets it: what it says of a run whose numbers are known, and what it never does."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from campaigns.errors import CampaignError
from review import model_charts
from review.evidence import FILES, Range, read_evidence
from review.report import render, write_report
from tests.review.pages import Page
from tests.review.run_folders import Parts, does, figure, going_on, one_shot, renamed, sequential, wide, write_run


def page_of(folder: Path, parts: Parts, overrides: str = "- debug=fast\n") -> Page:
    """The report of a run folder with this content."""
    return Page(write_report(write_run(folder, parts, overrides)).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    """The report of a finished run."""
    return page_of(tmp_path_factory.mktemp("run"), sequential())


@pytest.fixture(scope="module")
def one_shot_page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    """The report of a finished run on a one-shot campaign."""
    return page_of(tmp_path_factory.mktemp("campaign"), one_shot())


# What it says


def test_the_first_screen_says_what_to_do_and_what_it_is_worth(page: Page) -> None:
    first = page.text[: page.text.index("Does the simulated market give back the log?")]
    assert "Recommended: PPO agent" in first
    assert "Predicted in a simulated market of customers it had not met: +3.25" in first
    assert "(95 % interval +3.05 to +3.45)" in first
    assert "sends 4.2 times per customer and week (3.5 so far), most between 18:00 and 21:00" in first
    assert "Most to tier gold (4.4 sends a week), least to tier new (2.2)." in first
    assert "beats the best simple rule there: +1.25" in first
    assert "With care." in first


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


def test_segments_and_examples_of_fewer_than_ten_customers_are_not_shown(page: Page) -> None:
    assert "age < 3 " not in page.text
    assert "77.0" not in page.text
    assert "too telling" not in page.text


def test_without_logged_probabilities_effects_of_segments_are_predictions(tmp_path: Path) -> None:
    parts = sequential()
    profiles = parts["propensity/profiles.json"]
    profiles["effect_observed"] = False
    for segment in profiles["segments"]:
        segment["effect"]["observed"] = None
    text = page_of(tmp_path, parts).text
    assert "so the effect of sending is predicted only" in text
    assert "Effect of a send, points - +5.5" in text


# The word lift


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


# Privacy


def test_segments_of_fewer_than_ten_customers_are_not_shown(page: Page) -> None:
    assert "lone_platinum" not in page.text
    assert "93.7" not in page.text
    assert "1 segment of fewer than 10 customers is not shown." in page.text


def test_bars_and_arms_of_fewer_than_ten_customers_are_not_shown(page: Page, one_shot_page: Page) -> None:
    assert "Bars of fewer than 10 customers are not shown (marked <10)." in page.text  # 0.002 of 2,000 customers
    assert "0.77" not in one_shot_page.text
    assert "310 0.180" in one_shot_page.text


# What it never does


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Page:
    """The report of a run whose contents, segments and policies have hostile names."""
    parts = renamed(sequential(), "sale", "<script>alert(1)</script>")
    parts = renamed(parts, "news", '"><img src=http://evil.example/x onerror=alert(1)> $x_1^2$ \\frac 促销 🎉')
    parts = renamed(parts, "never", "</svg><b onload='x'>&amp;")
    parts = renamed(parts, "tier = gold", "tier = </td><script>x</script>")
    return page_of(tmp_path_factory.mktemp("hostile"), parts)


def test_hostile_names_are_shown_and_not_run(hostile: Page) -> None:
    assert "<script>alert(1)</script>" in hostile.text
    assert "促销 🎉" in hostile.text
    assert not {tag for tag, _ in hostile.tags} & {
        "script",
        "img",
        "iframe",
        "object",
        "embed",
        "link",
        "foreignobject",
    }
    assert not [key for _, attrs in hostile.tags for key in attrs if key.startswith("on")]


@pytest.mark.parametrize("name", ["page", "one_shot_page", "hostile"])
def test_the_page_is_whole_and_loads_nothing(name: str, request: pytest.FixtureRequest) -> None:
    page: Page = request.getfixturevalue(name)
    assert page.unbalanced == []
    ids = page.attributes("id")
    assert len(ids) == len(set(ids))
    links = [link for key in ("href", "src", "srcset", "action", "data") for link in page.attributes(key)]
    assert links
    assert all(link.startswith("#") and link[1:] in ids for link in links)
    for source in page.figures:
        ElementTree.fromstring(source)
        assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", re.sub(r">[^<]*<", "><", source)))
    assert "default-src 'none'" in " ".join(page.attributes("content"))


def test_the_page_names_no_folder_of_the_machine(tmp_path: Path) -> None:
    parts = sequential()
    parts["data/report.json"]["warnings"] = [f"{tmp_path}/users.csv: as_of is later than the decisions"]
    overrides = f"- data.path={tmp_path}/acme/log\n- data.url=postgresql://me:secret@host/sales\n"
    page = page_of(tmp_path, parts, overrides)
    assert str(tmp_path) not in page.text
    assert "data.path=…/log" in page.text
    assert "…/users.csv: as_of is later than the decisions." in page.text
    assert "secret" not in page.text


def test_the_same_evidence_gives_the_same_bytes(tmp_path: Path) -> None:
    first = write_report(write_run(tmp_path / "a", sequential())).read_bytes()
    second = write_report(write_run(tmp_path / "b", sequential())).read_bytes()
    assert first == second
    assert write_report(tmp_path / "a").read_bytes() == first


# Gaps and damage


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_missing_or_cut_off_file_is_named_and_the_rest_is_shown(tmp_path: Path, name: str) -> None:
    write_run(tmp_path, going_on())
    (tmp_path / FILES[name]).unlink()
    text = Page(render(read_evidence(tmp_path))).text
    if name not in {"best_rule", "policy"}:  # these add details only
        assert f"Not evaluated: the run folder has no {FILES[name]}." in text
    assert ("No verdict: the run is not finished" in text) == (name == "summary")
    whole = going_on()[FILES[name]]
    (tmp_path / FILES[name]).write_text(str(whole)[: len(str(whole)) // 2])
    assert f"{FILES[name]} cannot be read as JSON" in read_evidence(tmp_path).missing[name]
    (tmp_path / FILES[name]).write_text("[1, 2]")
    assert f"{FILES[name]} does not hold what it should" in read_evidence(tmp_path).missing[name]


def test_a_run_that_was_killed_early_says_what_it_has(tmp_path: Path) -> None:
    page = page_of(tmp_path, {"data/report.json": sequential()["data/report.json"]})
    assert "No verdict: the run is not finished, or its summary is lost" in page.text
    assert "decisions 672,000 671,990" in page.text
    assert not [figure for figure in page.figures if "Gain over" in figure]


def test_nan_is_no_number(tmp_path: Path) -> None:
    parts = sequential()
    nan, inf = float("nan"), float("inf")
    parts["summary.json"]["policies"][1]["judged"] = {"value": nan, "difference": {"value": inf, "low": 0, "high": inf}}
    parts["evaluation/behaviour.json"]["policies"]["ppo"] |= {"sends_per_week": nan, "heatmap": [[nan] * 8] * 7}
    text = page_of(tmp_path, parts).text
    assert re.search(r"\b(nan|inf|none)\b", text, flags=re.IGNORECASE) is None
    assert "It was not judged in another market." in text


def test_a_policy_that_sends_nothing_has_no_busiest_hour(tmp_path: Path) -> None:
    parts = sequential()
    quiet = does(0.0, 0.0) | {"heatmap": [[0.0] * 8] * 7, "contents": [{"content": "sale", "share": 0.0}]}
    parts["evaluation/behaviour.json"]["policies"]["ppo"] = quiet
    text = page_of(tmp_path, parts).text
    assert "PPO agent: nothing is sent." in text


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CampaignError, match="there is no such folder"):
        write_report(tmp_path / "nowhere")
    with pytest.raises(CampaignError, match="none of a run's files is there"):
        write_report(tmp_path)


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


def test_a_log_in_which_chance_decided_hardly_anything_asks_for_caution(tmp_path: Path) -> None:
    parts = sequential()
    parts["data/report.json"]["audit"]["randomisation"]["by_chance"] = 0.042
    text = page_of(tmp_path, parts).text
    assert "chance decided only 4.2% of them, too few to learn what other decisions would have brought" in text


def test_a_truth_that_contradicts_the_prediction_is_a_problem(tmp_path: Path) -> None:
    parts = sequential()
    chosen = parts["summary.json"]["policies"][1]
    chosen |= {"truth": {**figure(12.0, 0.2), "difference": figure(-1.5, 0.2)}, "judged_minus_truth": 1.46}
    text = page_of(tmp_path, parts).text
    assert "The true gain is -1.50" in text
    assert "It contradicts the prediction." in text
    assert "Not yet. Problems: the truth." in text
    assert "Caveat. The truth: The true gain is -1.50" in text


def test_a_recommendation_without_problems_carries_no_caveat(page: Page) -> None:
    assert "Caveat" not in page.text


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


def test_the_value_of_contents_stands_with_its_interval_and_small_groups_are_left_out(page: Page) -> None:
    drawn = next(figure for figure in page.figures if "Value of a decision" in figure)
    assert "hold: predicted 0.1, observed 0.12; sale: predicted 0.3, observed 0.25" in drawn
    assert "rarest" not in drawn
    without = model_charts.content_values({"hold": (0.1, Range(0.12)), "sale": (0.3, Range(0.25))})
    assert drawn.count("<path") == without.count("<path") + 2  # a line for each interval


def test_long_names_of_checks_are_wrapped_and_not_cut(tmp_path: Path) -> None:
    parts = sequential()
    name = "opens under send again soon, over rest after a send"
    block = {"kind": "tilted policy", "observed": 1.0, "simulated": 1.0, "ratio": 1.0, "low": 0.95, "high": 1.05}
    parts["market/gate.json"]["checks"] += [{**block, "name": name, "passed": True}] * 2
    page = page_of(tmp_path, parts)
    drawn = re.sub(r"<[^>]*>", " ", next(figure for figure in page.figures if name in figure))
    assert "…" not in drawn
    assert " ".join(drawn.split()).count(name) == 2


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


@pytest.fixture(scope="module")
def wide_page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    """The report of a run with weekly plans and two channels."""
    return page_of(tmp_path_factory.mktemp("wide"), wide())


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
