"""Rollout storage: advantages as a slow reference computes them, and every decision in one minibatch."""

from __future__ import annotations

import pytest
import torch

from agents.rollout_buffer import TensorRolloutBuffer

SLOTS, ROWS = 7, 5


def filled(seed: int = 0) -> TensorRolloutBuffer:
    """A buffer of random experience in which some episodes end."""
    buffer = TensorRolloutBuffer(SLOTS, ROWS, width=3, decisions=4, device="cpu", seed=seed)
    generator = torch.Generator().manual_seed(seed)
    for name in ("rewards", "values_", "following"):
        getattr(buffer, name).copy_(torch.randn(SLOTS, ROWS, generator=generator))
    buffer.done.copy_(torch.rand(SLOTS, ROWS, generator=generator) < 0.3)
    buffer.observations.copy_(torch.arange(SLOTS * ROWS).float().view(SLOTS, ROWS, 1).expand(-1, -1, 3))
    return buffer


@pytest.mark.parametrize("seed", range(5))
def test_advantages_are_sums_of_discounted_errors_up_to_the_episodes_end(seed: int) -> None:
    buffer, gamma, lam = filled(seed), 0.9, 0.8
    buffer.finish(gamma, lam)
    for row in range(ROWS):
        for slot in range(SLOTS):
            total, factor = 0.0, 1.0
            for later in range(slot, SLOTS):
                error = buffer.rewards[later, row] + gamma * buffer.following[later, row] - buffer.values_[later, row]
                total += factor * float(error)
                factor *= gamma * lam
                if buffer.done[later, row]:
                    break
            assert float(buffer.advantages[slot, row]) == pytest.approx(total, rel=1e-4, abs=1e-5)
            returned = float(buffer.returns_[slot, row])
            assert returned == pytest.approx(total + float(buffer.values_[slot, row]), rel=1e-4, abs=1e-5)


def test_minibatches_hold_every_decision_once_and_keep_its_parts_together() -> None:
    buffer = filled()
    buffer.actions.copy_(torch.arange(SLOTS * ROWS).view(SLOTS, ROWS))
    buffer.finish(0.9, 0.9)
    batches = list(buffer.get(8))
    assert [len(b.actions) for b in batches] == [8, 8, 8, 8, 3]
    actions = torch.cat([b.actions for b in batches])
    assert sorted(actions.tolist()) == list(range(SLOTS * ROWS))
    assert actions.tolist() != list(range(SLOTS * ROWS))
    for batch in batches:
        assert torch.equal(batch.observations[:, 0].long(), batch.actions)
        assert torch.equal(batch.returns, buffer.returns_.flatten()[batch.actions])
