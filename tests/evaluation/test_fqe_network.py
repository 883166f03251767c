"""FQE by a network against a world whose value is known exactly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from evaluation.fqe_network import NetworkFQE, NetworkSettings, fit_network_fqe
from tests.evaluation.markov_worlds import LOGGER, TARGET, markov_log, tired_world

SLOTS = 8
WORLD = tired_world()
SETTINGS = NetworkSettings(width=32, steps=2000, refresh=40)


def fitted(cut: bool) -> tuple[NetworkFQE, float]:
    """The network, and its value of the first slots."""
    known = None
    if cut:
        lengths = np.random.default_rng(0).integers(1, SLOTS + 1, size=4_000)
        known = np.arange(SLOTS) < lengths[:, None]
    logged = markov_log(replace(WORLD, noise=0.5), 4_000, SLOTS, seed=0, known=known)
    table = torch.cat([torch.ones(8, 1), torch.eye(8)[:, 1:]], dim=1)
    decisions = table.view(4, 2, 8)[torch.from_numpy(logged.states)]
    chances = torch.from_numpy(TARGET[logged.states]).float()
    found = fit_network_fqe(logged.log, decisions, chances, SETTINGS)
    return found, float(found.value(decisions[:, 0], chances[:, 0], torch.tensor(SLOTS)).mean())


@pytest.mark.parametrize("cut", [False, True], ids=["whole", "unequal lengths"])
def test_the_value_is_that_of_dynamic_programming(cut: bool) -> None:
    truth, logged = WORLD.value(TARGET, SLOTS), WORLD.value(LOGGER, SLOTS)
    _, value = fitted(cut)
    assert value == pytest.approx(truth, abs=0.35)
    assert abs(value - truth) < 0.5 * abs(logged - truth)


def test_nothing_is_earned_with_no_slot_left() -> None:
    found, _ = fitted(cut=False)
    assert float(found.of(torch.ones(3, 8), torch.zeros(3)).abs().max()) == 0.0
