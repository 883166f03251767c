"""A policy that learned from several channels is told of them when it serves, and only such a one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from campaigns.audience import make_population
from campaigns.encoding import FeatureEncoder, fit_encoder
from campaigns.errors import CampaignError
from campaigns.features import CANDIDATE_FEATURES, CHANNEL_FEATURES
from campaigns.grid import make_grid
from campaigns.replay import replay
from policies.policy import load_policy
from policies.rules import Random
from tests.campaigns.test_channel_features import CONTENTS, catalogue_of
from tests.campaigns.test_history import random_log
from tests.policies.conftest import make_policy


def test_serving_tells_of_channels_as_replay_does_and_goes_on_from_disk(tmp_path: Path) -> None:
    log = random_log(4, gaps=0.3, often=0.6)
    encoder = fit_encoder(log.contents, "contents")
    policy = make_policy(chooser=Random(0.5), user_encoder=FeatureEncoder("users", ()), content_encoder=encoder,
                         clock=log.clock)  # fmt: skip
    people = make_population(log.users, policy.user_encoder, ("email", "push"), "UTC", 0.0)
    final = list(replay(make_grid(log), people, catalogue_of(log.contents), log.clock))[-1]
    slot = int(final.observation.slot[0])
    session = policy.start(log.users, log.contents, history=log.decisions[log.decisions["slot"] < slot])
    for name, tensor in final.observation.history.tensors().items():
        assert torch.equal(session.ledger.current.tensors()[name], tensor), name
    assert int(final.observation.history.channel_counts.sum()) > 50
    session.save(tmp_path / "session")
    resumed = policy.resume(tmp_path / "session")
    assert resumed.roster.catalogue.tells_channels
    for name, tensor in session.ledger.current.tensors().items():
        assert torch.equal(resumed.ledger.current.tensors()[name], tensor), name


def test_a_policy_of_several_channels_that_was_told_nothing_of_them_is_refused(tmp_path: Path) -> None:
    several = make_policy(content_encoder=fit_encoder(CONTENTS, "contents"))
    file = several.save(tmp_path / "several") / "policy.json"
    assert load_policy(file.parent).name == several.name
    settings = json.loads(file.read_text())
    assert settings["features"]["candidate"] == [*CANDIDATE_FEATURES, *CHANNEL_FEATURES]
    settings["features"]["candidate"] = list(CANDIDATE_FEATURES)
    file.write_text(json.dumps(settings))
    with pytest.raises(CampaignError, match=r"made for other candidate features .*hours since channel.*train it again"):
        load_policy(file.parent)
    one = json.loads((make_policy().save(tmp_path / "one") / "policy.json").read_text())
    assert one["features"]["candidate"] == list(CANDIDATE_FEATURES)
