"""Replay of any log equals stepping the history by hand, and the history equals plain counting."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from campaigns import history as past
from campaigns.audience import Catalogue, Population, make_catalogue, make_population
from campaigns.encoding import FeatureEncoder
from campaigns.features import daypart_of
from campaigns.grid import make_grid
from campaigns.history import ABSENT, HOLD, NEVER, RECENT, REPEATS, Happenings, repeats_within, sends_within
from campaigns.logs import CampaignLog
from campaigns.objective import Objective
from campaigns.observation import make_calendar
from campaigns.replay import replay
from tests.campaigns.logs_on_disk import read_tolerantly

FLAGS = ("opened", "clicked", "visited", "purchased", "unsubscribed")
ZONES = ["UTC", "Asia/Kolkata", "America/New_York", "Pacific/Chatham", None, "Nowhere/Land"]


def random_log(seed: int, gaps: float, often: float, days: int = 5) -> CampaignLog:
    """Six customers in as many zones over the change to summer time; rows lack at random, and all may happen."""
    generator = np.random.default_rng(seed)
    times = pd.date_range("2025-03-28", periods=6 * days, freq="4h")
    users = pd.DataFrame({"user_id": [f"u{i}" for i in range(6)], "timezone": pd.Series(ZONES, dtype=object)})
    contents = pd.DataFrame(
        {"content_id": [1, 2, 3], "category": ["x", "y", "x"], "channel": ["push", "email", "push"]}
    )
    table = pd.MultiIndex.from_product([users["user_id"], times], names=["user_id", "time"]).to_frame(index=False)
    sent = generator.random(len(table)) < often
    table["content_id"] = pd.array(np.where(sent, generator.integers(1, 4, len(table)), 0), dtype="Int64")
    table["content_id"] = table["content_id"].where(sent, pd.NA)
    for name, rate in zip(FLAGS, (0.4, 0.2, 0.2, 0.2, 0.02), strict=True):
        possible = sent if name in ("opened", "clicked") else np.ones(len(table), dtype=bool)
        table[name] = (possible & (generator.random(len(table)) < rate)).astype(int)
    table["opened"] |= table["clicked"]
    table = table[generator.random(len(table)) >= gaps].sample(frac=1, random_state=seed)
    table.loc[table.index[0], "time"] = times[0]  # whatever lacks, the log begins here
    table = table.drop_duplicates(["user_id", "time"])
    log = read_tolerantly({"users": users, "contents": contents, "decisions": table})
    assert set(log.rejected["column"]) == {"timezone"}
    return log


def audience_of(log: CampaignLog) -> tuple[Population, Catalogue]:
    """The log's customers and contents, without features."""
    catalogue = make_catalogue(log.contents, FeatureEncoder("contents", ()), Objective())
    return make_population(log.users, FeatureEncoder("users", ()), catalogue.channels, "UTC", 0.0), catalogue


LOGS = {"seed": st.integers(0, 10_000), "gaps": st.sampled_from([0.0, 0.3, 0.9]), "often": st.sampled_from([0.1, 0.9])}


@settings(max_examples=15, deadline=None, derandomize=True)
@given(**LOGS)
def test_replay_equals_stepping_by_hand(seed: int, gaps: float, often: float) -> None:
    log = random_log(seed, gaps, often)
    people, catalogue = audience_of(log)
    clock = log.clock
    first, last = int(log.decisions["slot"].min()), int(log.decisions["slot"].max())
    calendar = make_calendar(clock, people.zones, first, last - first + 1)
    rows = {(int(r["_user"]), int(r["slot"])): r for _, r in log.decisions.iterrows()}
    state = past.start(len(people), catalogue)
    for step in replay(make_grid(log), people, catalogue, clock):
        for name, values in state.tensors().items():
            assert torch.equal(step.observation.history.tensors()[name], values), (step.column, name)
        slot = torch.full((len(people),), first + step.column, dtype=torch.int64)
        minute, _ = calendar.at(people.zone, slot)
        found = [rows.get((user, first + step.column)) for user in range(len(people))]
        decision = torch.tensor(
            [ABSENT if r is None else HOLD if pd.isna(r["content_id"]) else int(r["content_id"]) for r in found]
        )
        state = past.record_decision(state, decision, slot, daypart_of(minute), catalogue)
        flags = {name: torch.tensor([r is not None and r[name] == 1 for r in found]) for name in FLAGS}
        happened = Happenings(**flags, content=decision.clamp(min=HOLD))
        state = past.record_happenings(state, happened, slot, daypart_of(minute), catalogue)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(**LOGS)
def test_the_history_equals_counting_in_plain_pandas(seed: int, gaps: float, often: float) -> None:
    log = random_log(seed, gaps, often)
    people, catalogue = audience_of(log)
    grid = make_grid(log)
    final = list(replay(grid, people, catalogue, log.clock))[-1]
    slot = grid.first_slot + final.column
    history = final.observation.history
    before = log.decisions[log.decisions["slot"] < slot]
    category = dict(zip(log.contents["content_id"], log.contents["category"], strict=True))
    channel = dict(zip(log.contents["content_id"], log.contents["channel"], strict=True))
    now = torch.full((len(people),), slot, dtype=torch.int64)
    for user in range(len(people)):
        mine = before[before["_user"] == user]
        sends = mine[mine["content_id"].notna()]
        organic = mine[mine["content_id"].isna() & (mine["purchased"] == 1)]
        counts = [
            len(sends),
            *(int(mine[n].sum()) for n in ("opened", "clicked", "visited", "purchased")),
            len(organic),
        ]
        assert history.total[user].tolist() == counts
        assert int(history.first[user]) == (mine["slot"].min() if len(mine) else NEVER)
        since_open = sends[
            sends["slot"] > (mine.loc[mine["opened"] == 1, "slot"].max() if mine["opened"].any() else -1)
        ]
        assert int(history.unopened[user]) == len(since_open)
        for days in (1, 7, 28):
            recent = sends[sends["slot"] >= slot - 6 * days]
            assert int(sends_within(history, now, 6 * days)[user]) == min(RECENT, len(recent))
            per_content = [min(REPEATS, int((recent["content_id"] == i).sum())) for i in catalogue.ids]
            assert repeats_within(history, now, 6 * days)[user].tolist() == per_content
        for index, name in enumerate(catalogue.categories):
            own = sends[sends["content_id"].map(category) == name]
            expected = [len(own), int(own["opened"].sum()), int(own["clicked"].sum()), int(own["purchased"].sum())]
            assert history.category_counts[user, index].tolist() == expected
        left = mine[mine["unsubscribed"] == 1]["content_id"]
        gone = {*left.dropna().map(channel), *(catalogue.channels if left.isna().any() else ())}
        assert history.opted_out[user].tolist() == [name in gone for name in catalogue.channels]
