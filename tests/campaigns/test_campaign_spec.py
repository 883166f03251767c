"""A campaign's file: what it may say, and one clear message for what it may not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from campaigns.campaign_contents import campaign_contents, unread_notes, unseen_values
from campaigns.campaign_spec import CampaignSpec, make_spec, read_spec
from campaigns.encoding import fit_encoder
from campaigns.errors import CampaignError

LEAST: dict[str, Any] = {
    "name": "spring",
    "contents": [{"id": "new", "category": "x", "price": 10.0, "discount": 0.1}],
    "policy": {"rule": {"cap": 2, "daypart": "evening", "content": "new"}},
}
LOGGED = pd.DataFrame(
    {
        "content_id": ["a", "b", "c"],
        "category": ["x", "y", "z"],
        "price": [5.0, 20.0, 90.0],
        "discount": [0.0, 0.2, 0.1],
        "text": ["One", "Two", "Three"],
        "channel": ["push", "push", "push"],
        "cost": [0.01, 0.02, 0.01],
    }
)
ENCODER = fit_encoder(LOGGED, "contents")
EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "spring.yaml"


def spec(**changes: Any) -> CampaignSpec:
    """The least campaign with some keys exchanged."""
    return make_spec({**LEAST, **changes})


def test_the_least_campaign_is_read() -> None:
    found = spec()
    assert found.name == "spring"
    assert found.contents.listed[0]["content_id"] == "new"
    assert found.policy.rule == {"cap": 2, "daypart": "evening", "content": "new"}
    assert found.windows == ()
    assert found.audience.where is None


def test_the_example_of_the_guide_is_read() -> None:
    found = read_spec(EXAMPLE)
    assert found.guardrails == {"max_per_week": 3}
    assert found.contents.logged == ("fashion_sale",)


def test_an_end_that_is_a_day_includes_that_day_and_stretches_are_put_in_order() -> None:
    dates = yaml.safe_load("[{start: 2025-05-01, end: 2025-05-02}, {start: 2025-04-01T08:00, end: '2025-04-02 12:00'}]")
    later, earlier = spec(dates=dates).windows[1], spec(dates=dates).windows[0]
    assert (later.start, later.end) == (pd.Timestamp("2025-05-01"), pd.Timestamp("2025-05-03"))
    assert (earlier.start, earlier.end) == (pd.Timestamp("2025-04-01 08:00"), pd.Timestamp("2025-04-02 12:00"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": None}, "name is missing"),
        ({"name": "../up"}, "name='../up': must be letters"),
        ({"contnets": []}, r"campaign: contnets is no known key; did you mean 'contents'\?"),
        ({"contents": {}}, "there is nothing to send"),
        ({"contents": {"list": "a"}}, r"contents.list: must be a list"),
        ({"contents": [{"category": "x"}]}, r"contents.list\[0\]: id is missing"),
        ({"contents": {"logged": "some"}}, "contents.logged='some': must be all, none or a list"),
        ({"contents": {"templates": [{"id": "a"}]}}, r"contents.templates\[0\].values"),
        ({"contents": {"generator": {"settings": {}}}}, "contents.generator.name is missing"),
        ({"guardrails": {"max_per_wek": 3}}, "max_per_wek is no known key; did you mean 'max_per_week'"),
        ({"guardrails": {"max_per_week": -1}}, "guardrails.max_per_week=-1: must be 0"),
        ({"guardrails": {"max_per_week": "three"}}, "guardrails.max_per_week='three': must be a whole number"),
        ({"guardrails": {"max_per_day": 1.5}}, "must be a whole number"),
        ({"guardrails": {"channel_max_per_week": 2}}, "must be sends by channel, such as"),
        ({"guardrails": {"channel_max_per_week": {"sms": "one"}}}, "per_week.sms='one': must be a whole number"),
        ({"guardrails": {"channel_max_per_week": {"sms": 9}}}, "channel_max_per_week.sms=9: must be 0"),
        ({"dates": {"start": "2025-05-02", "end": "2025-05-01"}}, "ends .* before it starts"),
        ({"dates": {"start": "2025-05-02"}}, "dates.end is missing"),
        ({"dates": {"start": "soon", "end": "later"}}, "dates.start='soon': is no day or time"),
        ({"dates": {"start": 20250501, "end": 20250601}}, "is no day or time"),
        ({"dates": {"start": "2025-05-01T08:00+02:00", "end": "2025-06-01"}}, "has a time zone"),
        (
            {"dates": [{"start": "2025-05-01", "end": "2025-05-10"}, {"start": "2025-05-10", "end": "2025-05-11"}]},
            "overlaps the one from 2025-05-10",
        ),
        ({"policy": {}}, "has none of them; give exactly one of folder, agent and rule"),
        ({"policy": {"folder": "a", "agent": "b"}}, "has folder and agent"),
        ({"policy": {"rule": {"cap": 0}}}, "policy.rule.cap=0"),
        ({"policy": {"rule": {"cap": "two"}}}, "policy.rule.cap='two'"),
        ({"policy": {"rule": {"daypart": "evning"}}}, "did you mean 'evening'"),
        ({"policy": {"rule": {"contents": "a"}}}, "contents is no known key; did you mean 'content'"),
        ({"policy": {"rule": {}, "exploration": 1}}, "policy.exploration"),
        ({"policy": {"agent": "ppo", "exploration": 0.1}}, "is for rules"),
        ({"audience": {"customers": []}}, "audience.customers: is empty"),
        ({"audience": 3}, "audience: must be a mapping"),
    ],
)
def test_what_means_nothing_is_said(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(CampaignError, match=message):
        spec(**changes)


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(CampaignError, match="there is no such file"):
        read_spec(tmp_path / "none.yaml")
    file = tmp_path / "spring.yaml"
    file.write_text("name: [", encoding="utf-8")
    with pytest.raises(CampaignError, match=r"spring\.yaml: is no YAML"):
        read_spec(file)
    file.write_text("- a\n", encoding="utf-8")
    with pytest.raises(CampaignError, match=r"spring\.yaml: campaign: must be a mapping"):
        read_spec(file)


# Contents beside a log's


def joined(**contents: Any) -> Any:
    """A campaign's contents beside the log's."""
    return campaign_contents(spec(contents=contents), LOGGED, ENCODER)


NEW = {"id": "new", "category": "x", "price": 10, "discount": 0.1}


def test_new_contents_stand_behind_the_logs_and_only_what_is_named_is_offered() -> None:
    found = joined(logged=["b"], list=[NEW])
    assert found.table["content_id"].tolist() == ["a", "b", "c", "new"]
    assert found.offered.tolist() == [False, True, False, True]
    assert found.is_new.tolist() == [False, False, False, True]
    assert np.isfinite(ENCODER.encode(found.table)).all()
    assert found.table["channel"].tolist() == ["push"] * 4
    np.testing.assert_allclose(ENCODER.encode(found.table)[:3], ENCODER.encode(LOGGED))


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        ({"list": [NEW, NEW]}, "id 'new' occurs more than once"),
        ({"list": [{**NEW, "id": "a"}]}, "id 'a' is already one of the log's contents"),
        ({"list": [{"id": "new", "category": "x"}]}, r"new lacks the attribute\(s\) price, discount"),
        ({"list": [{**NEW, "price": "cheap"}]}, "new.price='cheap': must be a number"),
        ({"list": [{**NEW, "cost": -1}]}, "new.cost=-1"),
        ({"list": [{**NEW, "channel": "mail"}]}, "new.channel='mail': nothing was ever sent by this channel"),
        ({"logged": ["bb"]}, r"'bb' is none of the log's contents; did you mean 'b'\?"),
    ],
)
def test_contents_that_do_not_fit_the_log_are_named(contents: dict[str, Any], message: str) -> None:
    with pytest.raises(CampaignError, match=message):
        joined(**contents)


def test_attribute_values_that_no_send_ever_had_are_named() -> None:
    found = joined(
        logged="all",
        list=[
            NEW,
            {**NEW, "id": "dear", "price": 50},
            {**NEW, "id": "green", "category": "garden"},
            {**NEW, "id": "z too", "category": "z"},
        ],
    )
    # The third content was never sent: its category and its price of 90 are known by name alone.
    unseen = unseen_values(found, ENCODER, sends=np.array([10, 5, 0]))
    assert unseen == {
        2: ["category=z", "price=90 (sent: 5 to 20)"],
        4: ["price=50 (sent: 5 to 20)"],
        5: ["category=garden"],
        6: ["category=z"],
    }
    notes = unread_notes(found, ENCODER)
    assert any("garden never occurred in training" in note for note in notes)


def test_an_attribute_that_nothing_reads_is_said_with_the_nearest() -> None:
    notes = unread_notes(joined(list=[{**NEW, "discont": 0.1}]), ENCODER)
    assert any("discont: the log's contents have no such attribute" in n and "'discount'" in n for n in notes)


def test_where_ids_alone_tell_contents_apart_a_new_one_is_unseen() -> None:
    logged = pd.DataFrame({"content_id": [1, 2], "cost": [0.1, 0.1]})
    encoder = fit_encoder(logged, "contents")
    found = campaign_contents(spec(contents={"logged": "all", "list": [{"id": "new"}, {"id": 7}]}), logged, encoder)
    assert found.table["content_id"].tolist() == [1, 2, "new", 7]
    assert unseen_values(found, encoder, np.array([3, 4])) == {2: ["content_id=new"], 3: ["content_id=7"]}
    assert any("by id alone" in note for note in unread_notes(found, encoder))


def test_a_missing_value_is_allowed_where_it_is_said() -> None:
    found = joined(list=[{**NEW, "price": None}])
    assert np.isfinite(ENCODER.encode(found.table)).all()
