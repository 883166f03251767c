"""Events are credited to decisions by a stated window."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from campaigns.grid import make_grid
from campaigns.logs import CampaignLog, LogSettings, make_log


@pytest.fixture
def log() -> CampaignLog:
    """Two customers over three days; a is sent at slot 1, b at slot 4 to the first of them."""
    times = pd.date_range("2025-03-03", periods=18, freq="4h")
    decisions = pd.MultiIndex.from_product([["u", "v"], times], names=["user_id", "time"]).to_frame(index=False)
    decisions["content_id"] = None
    decisions.loc[1, "content_id"] = "a"
    decisions.loc[4, "content_id"] = "b"
    events = pd.DataFrame(
        [
            ("u", times[2], "open", "a", np.nan),  # of the first send, although later
            ("u", times[5], "click", "b", np.nan),
            ("u", times[6], "purchase", None, 12.0),  # to the latest send within 12 hours
            ("u", times[9], "refund", None, 12.0),  # undoes that purchase
            ("u", times[11], "purchase", None, 7.0),  # no send in the window: organic
            ("v", times[3], "visit", None, np.nan),
            ("v", times[4], "open", "a", np.nan),  # never sent: nobody's
        ],
        columns=["user_id", "time", "event", "content_id", "value"],
    )
    users = pd.DataFrame({"user_id": ["u", "v"], "age": [1, 2]})
    contents = pd.DataFrame({"content_id": ["a", "b"]})
    tables = {"users": users, "contents": contents, "decisions": decisions, "events": events}
    return make_log(tables, LogSettings(attribution_hours=12.0))


def test_outcomes_go_to_the_send_that_they_followed(log: CampaignLog) -> None:
    grid = make_grid(log)
    assert grid.outcomes["opened"][0, 1] == 1
    assert grid.outcomes["clicked"][0, 4] == 1
    assert grid.outcomes["opened"][0, 4] == 1  # a click is an open
    assert grid.outcomes["purchased"][0, 4] == 1
    assert grid.outcomes["purchased"][0, 11] == 1
    assert grid.outcomes["opened"][1].sum() == 0


def test_a_refund_takes_back_the_value_of_its_purchase(log: CampaignLog) -> None:
    grid = make_grid(log)
    assert grid.outcomes["value"][0, 4] == pytest.approx(0.0)
    assert grid.outcomes["value"][0, 11] == pytest.approx(7.0)


def test_history_sees_an_event_only_when_it_happened(log: CampaignLog) -> None:
    grid = make_grid(log)
    assert grid.happened["opened"][0, 2]
    assert not grid.happened["opened"][0, 1]
    assert grid.happened_content["opened"][0, 2] == 1


def test_rows_whose_window_is_cut_off_are_not_labelled(log: CampaignLog) -> None:
    labelled = make_grid(log).labelled
    assert labelled[:, :16].all()
    assert not labelled[:, 16:].any()
