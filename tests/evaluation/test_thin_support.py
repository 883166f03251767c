"""Where the log is thin: the logger itself is at home, a policy that does what was never done is not."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

from campaigns.history import HOLD
from campaigns.observation import Observation
from evaluation.rollout import rollout
from evaluation.thin_support import LogSupport, ThinCount, fit_log_support
from tests.envs.hand_made import Law, hand_made_market, its_objective
from tests.envs.market_logs import Tilted, write_grid

DAYS = 8
LOGGER = Tilted([0.8, 0.1, 0.05, 0.05])
MARKET = hand_made_market(Law(), days=DAYS)


class Nightly:
    """Sends at night alone, when the logger never did."""

    def __init__(self, night: float, day: float) -> None:
        self.night, self.day = night, day

    def probabilities_of(self, observation: Observation) -> Tensor:
        """Shape [N, 1 + K]; one content."""
        send = torch.where(observation.daypart == 0, self.night, self.day) * observation.allowed[:, 1]
        chances = torch.zeros(len(observation), 4)
        chances[:, 1], chances[:, 0] = send, 1 - send
        return chances


@cache
def support(daytime: bool = False) -> LogSupport:
    policy = Nightly(0.0, 0.2) if daytime else LOGGER
    grid = write_grid(MARKET, policy, DAYS * 6, seed=0)
    return fit_log_support(grid, MARKET.pool, MARKET.catalogue, MARKET.clock)


def shares_of(policy: Tilted | Nightly, daytime: bool = False) -> dict[str, float | None]:
    count = ThinCount(support(daytime), customers=60, seed=1)
    rollout(MARKET, policy, its_objective(DAYS), len(MARKET.pool), 5, DAYS * 6, watch=count)
    assert count.decisions == 60 * DAYS * 6
    return count.shares()


def test_what_the_logger_does_is_at_home_in_its_log() -> None:
    shares = shares_of(LOGGER)
    assert shares["thin_support_share"] == pytest.approx(0.025, abs=0.02)
    assert shares["thin_send_share"] == pytest.approx(0.025, abs=0.025)


def test_sending_much_more_than_the_log_ever_did_is_thin_for_holds_and_sends_alike() -> None:
    share = shares_of(Tilted([0.05, 0.4, 0.3, 0.25]))["thin_support_share"]
    assert share is not None
    assert share > 0.4


def test_sends_at_an_hour_in_which_nothing_was_sent_are_thin_though_the_states_are_known() -> None:
    usual = shares_of(Nightly(0.0, 0.2), daytime=True)
    odd = shares_of(Nightly(0.2, 0.15), daytime=True)
    assert usual["thin_send_share"] == pytest.approx(0.03, abs=0.03)
    assert odd["thin_send_share"] is not None
    assert odd["thin_send_share"] > 0.2


def test_a_content_that_the_log_hardly_sent_is_thin_wherever_it_is_sent() -> None:
    known = replace(support(), kinds=(*support().kinds[:3], None))
    seen = MARKET.observe(MARKET.begin(torch.arange(20), torch.Generator().manual_seed(0)))
    assert known.is_thin(seen, torch.full((20,), 3)).all()
    assert not support().is_thin(seen, torch.full((20,), HOLD)).all()


def test_support_is_the_same_after_it_was_saved() -> None:
    restored = LogSupport.from_tensors(replace(support(), kinds=(*support().kinds[:3], None)).tensors())
    assert restored.kinds[3] is None
    seen = MARKET.observe(MARKET.begin(torch.arange(50), torch.Generator().manual_seed(0)))
    decision = torch.from_numpy(np.arange(50) % 3)
    assert torch.equal(restored.is_thin(seen, decision), support().is_thin(seen, decision))


def test_nothing_decided_has_no_share() -> None:
    assert ThinCount(support()).shares() == {"thin_support_share": None, "thin_send_share": None}
