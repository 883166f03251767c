"""A log without alternatives says what cannot be known from it, and one with them raises no alarm."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from campaigns.alternatives import alternatives_check
from campaigns.grid import make_grid
from tests.campaigns.logs_on_disk import Tables, clean_tables, read_tolerantly
from tests.worlds import small_world


def found(tables: Tables) -> dict[str, object]:
    """The check of a log."""
    log = read_tolerantly(tables)
    check = alternatives_check(log, make_grid(log))
    json.dumps(check)
    return check


def test_a_log_with_alternatives_raises_no_alarm() -> None:
    w = small_world()
    for log in (w.log, read_tolerantly(clean_tables(60, 14))):
        check = alternatives_check(log, make_grid(log))
        assert check["passed"]
        assert check["warnings"] == []


def test_a_nearly_deterministic_logger_is_named_by_its_own_probabilities() -> None:
    tables = clean_tables(60, 14)
    tables["decisions"]["action_prob"] = 0.995
    check = found(tables)
    assert check["certain_sends"] == check["certain_holds"] == 1.0
    assert not check["passed"]
    assert "100% of the free sends were taken with a probability of 99% or more" in str(check["warnings"])
    # Holds that eligibility forced are not free, and say nothing of the logger.
    tables["decisions"]["eligible"] = tables["decisions"]["content_id"].notna()
    tables["decisions"]["action_prob"] = np.where(tables["decisions"]["eligible"], 0.5, 1.0)
    assert found(tables)["certain_sends"] == 0.0
    # A logger that seldom sends is certain of its holds alone.
    tables = clean_tables(60, 14)
    sent = tables["decisions"]["content_id"].notna()
    tables["decisions"]["action_prob"] = np.where(sent, 0.002, 0.994)
    check = found(tables)
    assert check["passed"]
    assert len(check["warnings"]) == 1  # type: ignore[arg-type]


def test_without_probabilities_always_the_same_content_or_hour_still_shows() -> None:
    tables = clean_tables(60, 14)
    decisions = tables["decisions"].drop(columns="action_prob")
    own = decisions["user_id"].map(lambda user: "abc"[int(user[1:]) % 3])
    tables["decisions"] = decisions.assign(content_id=own.where(decisions["content_id"].notna(), None))
    check = found(tables)
    assert check["certain_sends"] is None
    assert check["same_content"] == 1.0
    assert not check["passed"]
    assert "always got one and the same content" in str(check["warnings"])

    at_noon = pd.DatetimeIndex(decisions["time"]).hour == 12
    tables["decisions"] = decisions.assign(
        content_id=np.where(at_noon, "a", None), opened=0, clicked=0, unsubscribed=0
    )  # fmt: skip
    check = found(tables)
    assert check["same_hour"] == 1.0
    assert check["hours_without_holds"] == ["12:00"]
    assert check["hours_without_sends"] == ["00:00", "04:00", "08:00", "16:00", "20:00"]
    assert not check["passed"]


@pytest.mark.parametrize("contents", [1, 3])
def test_the_effect_of_a_content_needs_another_one(contents: int) -> None:
    tables = clean_tables(60, 14)
    tables["contents"] = tables["contents"].head(contents)
    if contents == 1:
        sent = tables["decisions"]["content_id"].notna()
        tables["decisions"]["content_id"] = pd.Series(np.where(sent, "a", None), dtype=object)
    check = found(tables)
    assert ("the effect of a content cannot be told from that of a send" in str(check["warnings"])) == (contents == 1)
    assert (check["same_content"] is None) == (contents == 1)
