"""What is told of each content's channel: by hand, in replay as plain counting has it, and nothing of one alone."""

from __future__ import annotations

import math

import pandas as pd
import pytest
import torch

from campaigns import history as past
from campaigns.audience import Catalogue, knows_channels, make_catalogue, make_population
from campaigns.encoding import FeatureEncoder, fit_encoder
from campaigns.features import (
    CANDIDATE_FEATURES,
    FAR_HOURS,
    candidate_features,
    candidate_names,
    shrunk_rate,
)
from campaigns.grid import make_grid
from campaigns.history import HOLD, RECENT, Happenings, History
from campaigns.objective import Objective
from campaigns.replay import replay
from tests.campaigns.test_history import random_log

SLOT_HOURS = 4
CONTENTS = pd.DataFrame(
    {
        "content_id": ["a", "b", "c", "d"],
        "category": ["x", "y", "x", "y"],
        "channel": ["push", "email", "push", "sms"],
    }
)


def catalogue_of(contents: pd.DataFrame, encoder: FeatureEncoder | None = None) -> Catalogue:
    return make_catalogue(contents, encoder or fit_encoder(contents, "contents"), Objective())


def lived(catalogue: Catalogue, sends: list[tuple[int, int, bool]]) -> History:
    """A customer's history of (slot, decision, opened)."""
    history, noon = past.start(1, catalogue), torch.tensor([2])
    for number, decision, opened in sends:
        slot, taken = torch.tensor([number]), torch.tensor([decision])
        history = past.record_decision(history, taken, slot, noon, catalogue)
        no = torch.tensor([False])
        came = Happenings(torch.tensor([opened]), no, no, no, no, content=taken.clamp(max=len(catalogue)))
        history = past.record_happenings(history, came, slot, noon, catalogue)
    return history


def told(history: History, slot: int, catalogue: Catalogue, content: int | None = None) -> dict[str, list[float]]:
    """Features by name, of every content or of one."""
    chosen = None if content is None else torch.tensor([content])
    found = candidate_features(history, torch.tensor([slot]), catalogue, SLOT_HOURS, chosen)[..., 0]
    return dict(zip(candidate_names(catalogue.tells_channels), found.t().tolist(), strict=True))


def test_the_channels_past_is_told_of_each_of_its_contents() -> None:
    catalogue = catalogue_of(CONTENTS)
    assert catalogue.tells_channels
    # Push in slots 0, 40 and 44 (contents a, a, c; the last opened), e-mail in slot 42; decided in slot 45.
    history = lived(catalogue, [(0, 1, False), (40, 1, False), (42, 2, False), (44, 3, True), (45, HOLD, False)])
    found = told(history, 45, catalogue)

    def since(hours: float) -> float:
        return math.log1p(hours) / math.log1p(FAR_HOURS)

    def load(half: float, *hours: float) -> float:
        never = (RECENT - len(hours)) * [FAR_HOURS]  # what never happened counts as four weeks ago
        return math.log1p(sum(2 ** (-each / half) for each in (*hours, *never)))

    a, b, c, d = range(4)
    push, email, sms = (4.0, 20.0, 180.0), (12.0,), ()
    by_hand = {
        "hours since channel": [since(4), since(12), since(4), 1.0],
        "channel sends in 3 days": [1.0, 0.5, 1.0, 0.0],  # halved, as all such counts are
        "channel sends in 7 days": [1.0, 0.5, 1.0, 0.0],  # slot 0 is seven and a half days ago
        **{
            f"channel sends, halved every {half} h": [load(half, *hours) for hours in (push, email, push, sms)]
            for half in (24, 96)
        },
        "channel sends": [math.log1p(3), math.log1p(1), math.log1p(3), 0.0],
    }
    for name, values in by_hand.items():
        assert found[name] == pytest.approx(values, abs=1e-5), name
    rates = shrunk_rate(torch.tensor([1.0, 0.0, 1.0, 0.0]), torch.tensor([3.0, 1.0, 3.0, 0.0])) - shrunk_rate(
        torch.tensor(1.0), torch.tensor(4.0)
    )
    assert found["channel open rate, relative"] == pytest.approx(rates.tolist(), abs=1e-6)
    for content in (a, b, c, d):
        one = told(history, 45, catalogue, content)
        assert {name: values[0] for name, values in one.items()} == {n: v[content] for n, v in found.items()}


def test_of_one_channel_nothing_more_is_told_nor_kept() -> None:
    for contents in (CONTENTS.drop(columns="channel"), CONTENTS.assign(channel="email")):
        catalogue = catalogue_of(contents)
        assert not catalogue.tells_channels
        assert list(told(lived(catalogue, [(0, 1, True)]), 3, catalogue)) == list(CANDIDATE_FEATURES)
        history = past.start(5, catalogue)
        assert history.channel_recent.numel() == history.channel_counts.numel() == 0
    alone, several = CONTENTS.drop(columns="channel"), CONTENTS
    sends = [(0, 1, True), (5, 2, False), (9, 4, True)]
    plain = catalogue_of(alone)
    one, both = (
        told(lived(plain, sends), 12, plain),
        told(lived(catalogue_of(several), sends), 12, catalogue_of(several)),
    )
    assert {name: both[name] for name in CANDIDATE_FEATURES} == one


def test_what_is_told_hangs_on_what_was_trained_on_not_on_what_is_served() -> None:
    several, one = fit_encoder(CONTENTS, "contents"), fit_encoder(CONTENTS.assign(channel="push"), "contents")
    assert knows_channels(several)
    assert not knows_channels(one)
    only_push = CONTENTS[CONTENTS["channel"] == "push"]
    assert catalogue_of(only_push, several).tells_channels
    assert not catalogue_of(CONTENTS, one).tells_channels


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_replay_keeps_channels_as_plain_counting_does(seed: int) -> None:
    log = random_log(seed, gaps=0.3, often=0.6)
    catalogue = catalogue_of(log.contents)
    people = make_population(log.users, FeatureEncoder("users", ()), catalogue.channels, "UTC", 0.0)
    grid = make_grid(log)
    final = list(replay(grid, people, catalogue, log.clock))[-1]
    history, end = final.observation.history, grid.first_slot + final.column
    channel = dict(zip(log.contents["content_id"], log.contents["channel"], strict=True))
    before = log.decisions[(log.decisions["slot"] < end) & log.decisions["content_id"].notna()]
    for user in range(len(people)):
        for index, name in enumerate(catalogue.channels):
            own = before[(before["_user"] == user) & (before["content_id"].map(channel) == name)]
            assert history.channel_counts[user, index].tolist() == [len(own), int(own["opened"].sum())]
            latest = own["slot"].sort_values(ascending=False).head(RECENT).tolist()
            kept = history.channel_recent[user, index].tolist()
            assert kept == latest + [past.NEVER] * (RECENT - len(latest))


def test_histories_of_earlier_versions_tell_of_no_channel() -> None:
    catalogue = catalogue_of(CONTENTS.drop(columns="channel"))
    history = lived(catalogue, [(0, 1, True), (5, 2, False)])
    older = {name: tensor for name, tensor in history.tensors().items() if not name.startswith("channel_")}
    for name, tensor in History.from_tensors(older).tensors().items():
        assert torch.equal(tensor, history.tensors()[name]), name
