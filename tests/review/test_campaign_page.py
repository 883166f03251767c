"""A new campaign's page as its reader meets it: what it says, and what it never does."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from campaigns.errors import CampaignError
from review.campaign_page import render_campaign, write_campaign_page
from tests.review.pages import Page


def gain(value: float) -> dict[str, float]:
    """A figure with an interval of half a unit at both sides."""
    return {"value": value, "low": value - 0.5, "high": value + 0.5}


SHARES = {"share_of_sends": 0.1, "share_of_gain": 0.2}
ANSWER: dict[str, Any] = {
    "name": "spring", "outcome": "value", "decided_by": "rule: x", "mode": "sampled", "exploration": 0.05,
    "audience": {"where": "age < 30", "named": None, "customers": 800, "judged": 400, "of": 1000},
    "dates": {
        "windows": [], "begin": "2025-03-03 00:00", "end": "2025-03-10 00:00", "days": 7.0, "judged_slots": 6,
        "slot_hours": 4, "timezone": "UTC", "judged": ["2025-03-03 00:00", "2025-03-04 00:00"], "in_log": True,
    },
    "contents": [
        {"content_id": "a", "new": False, "unseen": [], "share_of_sends": 0.9, "attributes": {"category": "x"}},
        {"content_id": "<i>b</i>", "new": True, "unseen": ["category=garden"], "share_of_sends": 0.1,
         "attributes": {"category": "garden", "text": "<script>alert(1)</script>"}},
    ],
    "guardrails": {"max_per_week": 3, "holdout": 0.05},
    "verdict": "better", "sentence": "The campaign earns 1.2 more.", "prediction": None, "offline_reason": None,
    "offline": {"estimator": "per-decision DR", "horizon_slots": 6, **gain(3.0), "difference": gain(1.2), "blend": 1.0,
                "diagnostics": {"rows": 400, "effective": 210.0, "mean_weight": 1.01, "largest_weight": 4.0,
                                "notes": []}},
    "unlogged": {"new_contents": SHARES, "unseen_values": SHARES, "silent_dayparts": SHARES, "unlogged": SHARES,
                 "values": ["category=garden"], "dayparts": ["night"]},
    "blend": [{"share": a / 10, **gain(2.0), "difference": gain(0.12 * a), "refused": None} for a in range(1, 11)],
    "safe_share": 0.6, "blend_reason": None,
    "segments": {
        "by": "tier", "suppressed": 1, "least": 10,
        "rows": [
            {"segment": "tier = gold", "customers": 100, "offline": {"difference": gain(2.0)}, "verdict": "better",
             "sentence": "", "market": {"difference": 1.5}, "unlogged": {"unlogged": SHARES}},
            {"segment": "tier = new", "customers": 90, "offline": None, "verdict": "cannot tell", "sentence": "",
             "market": None, "unlogged": {"unlogged": SHARES}},
        ],
    },
    "market": {
        "label": "The markets' own answer: no coverage is claimed.", "sends_per_customer_day": 0.3,
        "thin_send_share": 0.4,
        "judged_slots": {"worlds": {"train": {"campaign": 3.1, "difference": 0.9},
                                    "judge": {"campaign": 2.9, "difference": 0.7}}},
        "campaign": {"worlds": {"train": {"campaign": 9.0, "difference": 4.25},
                                "judge": {"campaign": 8.0, "difference": 3.25}}},
    },
    "plan": {
        "words": ["Test it on 252 customers."], "chosen": {"days": 7, "customers": 252},
        "options": [{"days": 7, "difference": 3.0, "customers": 252, "detectable": 0.8, "deviation": 5.0}],
        "stop_rule": [{"day": 7, "level": 0.05, "z": 1.96, "most_opt_outs": 12}],
    },
    "probabilities": "logged", "notes": ["To be said."],
}  # fmt: skip


def page(**changes: Any) -> Page:
    """The page of the answer with some parts exchanged."""
    return Page(render_campaign({**copy.deepcopy(ANSWER), **changes}))


def test_estimates_stand_with_intervals_and_markets_without() -> None:
    found = page()
    assert found.unbalanced == []
    assert "spring: would have earned more than what was done" in found.text
    assert "+1.20 +0.70 to +1.70" in found.text
    assert "+3.25 to +4.25 range across simulated worlds, no coverage claimed" in found.text
    assert "60 % of the decisions is the largest share" in found.text
    assert "not identifiable What these would earn cannot be known from this log: category=garden" in found.text
    assert "504 customers for 7 days, both groups" in found.text
    assert "1 group of fewer than 10 customers left out" in found.text
    assert len(found.figures) == 4
    for figure in found.figures:
        ElementTree.fromstring(figure)
    assert "no estimate" not in found.figures[0]


def test_what_comes_from_a_campaign_is_shown_and_never_run() -> None:
    source = render_campaign(ANSWER)
    assert "<script" not in source
    assert "&lt;script&gt;alert(1)" in source
    assert "<i>b</i>" not in source
    assert not any(tag in {"link", "script", "img", "iframe"} for tag, _ in Page(source).tags)


def test_what_was_not_estimated_is_said_in_its_place() -> None:
    refused = {**ANSWER["offline"], "value": None, "low": None, "high": None, "difference": None}
    found = page(
        offline=refused, verdict="not identifiable", sentence="It rests on garden.", prediction=2.5, blend=[],
        safe_share=0.0, blend_reason="It rests on garden.",
        plan={"words": ["No gain is expected."], "chosen": None, "options": [], "stop_rule": []},
    )  # fmt: skip
    assert "spring: not identifiable from this log" in found.text
    assert "the reward model alone, uncorrected 24 hours 2.50" in found.text
    assert "Not evaluated: It rests on garden." in found.text
    assert "no estimate" in found.figures[0]
    assert "0.70 to 1.70" not in found.text


WHOLE = {
    "of_days": 28.0, "days": 21.0, "slots": 126, "verdict": "worse", "sentence": "The campaign earns 2.5 less.",
    "offline": {"estimator": "truncated DR", **gain(8.0), "difference": gain(-2.5), "blend": 0.25,
                "blends": [{"share": 0.25, **gain(1.0)}, {"share": 1.0, **gain(-2.5)}], "minimum_detectable": 0.75,
                "diagnostics": {"window": 2, "effective_share": 0.61, "mean_weight": 1.01, "fqe_support": 0.15}},
}  # fmt: skip


def test_the_estimate_over_all_days_stands_labelled_beside_that_of_the_first() -> None:
    found = page(whole_horizon=WHOLE)
    assert "spring: would have earned more than what was done in its first 24 hours" in found.text
    assert "Over its first 24 hours: better" in found.text
    assert "Over 21 of its 28 days: worse The campaign earns 2.5 less." in found.text
    assert "the log alone (truncated DR) 21 of its 28 days 8.00" in found.text
    assert "25 % of the decisions is the largest share" in found.text
    assert "60 % of the decisions is the largest share" in found.text
    assert "decisions over which weights are multiplied 2" in found.text
    assert len(found.figures) == 5


def test_why_there_is_no_estimate_over_all_days_is_said() -> None:
    nothing = {"offline": None, "of_days": 28.0, "days": None, "verdict": "not identifiable", "sentence": "Never sent."}
    found = page(whole_horizon=nothing)
    assert "Over all 28 days: not identifiable Never sent." in found.text
    assert "Not evaluated: Never sent." in found.text
    assert "no estimate" in found.figures[1]


def test_a_one_shot_log_has_no_market_and_no_figure_of_one() -> None:
    found = page(market=None, segments={"by": "tier", "rows": [], "suppressed": 0, "least": 10})
    assert "market of the" not in found.text
    assert "no group of customers is large enough" in found.text
    assert len(found.figures) == 2


def test_a_folder_without_an_answer_is_said(tmp_path: Path) -> None:
    with pytest.raises(CampaignError, match=r"campaign\.json: cannot be read"):
        write_campaign_page(tmp_path)
    (tmp_path / "campaign.json").write_text("[]", encoding="utf-8")
    with pytest.raises(CampaignError, match="is no answer about a campaign"):
        write_campaign_page(tmp_path)
    (tmp_path / "campaign.json").write_text(json.dumps({"name": "x"}), encoding="utf-8")
    assert write_campaign_page(tmp_path).is_file()
