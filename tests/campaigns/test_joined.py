"""Two logs as one: customers, histories and consents go on; what does not belong together is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from campaigns.errors import CampaignError
from campaigns.grid import make_grid
from campaigns.history import ABSENT
from campaigns.joined import join_logs
from campaigns.logs import CampaignLog, LogSettings, make_log

SETTINGS = LogSettings(slot_hours=24)


def log_of(first_day: str, people: tuple[str, ...] = ("a", "b"), days: int = 3, **columns: object) -> CampaignLog:
    """Everybody is decided on daily; on the first day `sale` is sent."""
    users = pd.DataFrame({"user_id": people, "age": [30 + i for i, _ in enumerate(people)]})
    contents = pd.DataFrame({"content_id": ["sale", "news"], "price": [1.0, 2.0]})
    times = pd.date_range(first_day, periods=days)
    decisions = pd.DataFrame(
        [(user, time, "sale" if time == times[0] else None) for user in people for time in times],
        columns=["user_id", "time", "content_id"],
    )
    decisions = decisions.assign(action_prob=0.5, opened=0, purchased=0, unsubscribed=0, value=0.0, **columns)
    return make_log({"users": users, "contents": contents, "decisions": decisions}, SETTINGS)


def test_the_new_log_goes_on_where_the_earlier_one_ended() -> None:
    joined = join_logs(log_of("2025-03-01"), log_of("2025-03-06", ("b", "c")), 0.3)
    grid = make_grid(joined.log)
    assert list(joined.log.users["user_id"]) == ["a", "b", "c"]
    assert joined.first_slot - grid.first_slot == 5
    # two days between them nobody decided on; a left, c came
    assert (grid.decision != ABSENT).astype(int).tolist() == [
        [1, 1, 1, 0, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 1, 1, 1],
        [0, 0, 0, 0, 0, 1, 1, 1],
    ]
    assert joined.parts["new"] == {"first_day": "2025-03-06", "last_day": "2025-03-08", "customers": 2, "decisions": 6}


def test_a_customers_attributes_are_those_from_before_the_decisions() -> None:
    new = log_of("2025-03-06")
    new = replace(new, users=new.users.assign(age=99))
    assert list(join_logs(log_of("2025-03-01"), new, 0.3).log.users["age"]) == [30, 31]


def test_who_opted_out_in_days_that_are_dropped_stays_out() -> None:
    earlier = log_of("2025-03-01")
    gone = (earlier.decisions["user_id"] == "a") & (earlier.decisions["time"] == pd.Timestamp("2025-03-01"))
    earlier.decisions.loc[gone, "unsubscribed"] = 1.0
    whole = join_logs(earlier, log_of("2025-03-06"), 0.3)
    short = join_logs(earlier, log_of("2025-03-06"), 0.3, keep_days=4)
    assert "consent_push" not in whole.log.users.columns  # the opt-out itself is still in the log
    assert list(short.log.users["consent_push"].astype(bool)) == [False, True]
    assert make_grid(short.log).slots == 3  # the new log is kept whole, nothing of the earlier one
    # and in a round after that, whatever the new table says of consents
    again = log_of("2025-03-10")
    again = replace(again, users=again.users.assign(consent_push=True))
    assert list(join_logs(short.log, again, 0.3).log.users["consent_push"].astype(bool)) == [False, True]


def test_days_are_counted_from_the_end_of_the_new_log() -> None:
    joined = join_logs(log_of("2025-03-01"), log_of("2025-03-06"), 0.3, keep_days=7)
    assert make_grid(joined.log).slots == 7
    assert joined.parts["earlier"]["decisions"] == 4


def test_what_does_not_belong_together_is_refused_with_the_difference() -> None:
    earlier = log_of("2025-03-01")
    with pytest.raises(CampaignError, match=r"begins at 2025-03-03.*ends at 2025-03-03.*2 decisions are in both"):
        join_logs(earlier, log_of("2025-03-03"), 0.3)
    with pytest.raises(
        CampaignError, match=r"begins at 2025-03-02.*before the previous run's ends at 2025-03-03.* Give"
    ):
        join_logs(earlier, log_of("2025-03-02", ("x", "y")), 0.3)
    new = log_of("2025-03-06")
    with pytest.raises(CampaignError, match=r"sale has price 3.1 where it had 1\."):
        join_logs(earlier, replace(new, contents=new.contents.assign(price=[3.1 + 4e-16, 2.0])), 0.3)
    with pytest.raises(CampaignError, match=r"news is gone; flash is new"):
        join_logs(earlier, replace(new, contents=new.contents.assign(content_id=["sale", "flash"])), 0.3)
    with pytest.raises(CampaignError, match=r"users: columns differ: tier not in the previous run's"):
        join_logs(earlier, replace(new, users=new.users.assign(tier="gold")), 0.3)
    with pytest.raises(CampaignError, match=r"data.holds=implied"):
        join_logs(earlier, replace(new, settings=replace(SETTINGS, holds="implied")), 0.3)


def test_contents_may_come_in_another_order() -> None:
    new = log_of("2025-03-06")
    turned = replace(new, contents=new.contents.iloc[::-1].reset_index(drop=True))
    joined = join_logs(log_of("2025-03-01"), turned, 0.3)
    sent = make_grid(joined.log).decision
    assert np.array_equal(sent[:, 0], sent[:, 5])  # `sale` both times
