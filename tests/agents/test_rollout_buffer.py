"""Rollout storage: advantages as a slow reference computes them, and every decision in one minibatch."""

from __future__ import annotations

import pytest
import torch

from agents.rollout_buffer import TensorRolloutBuffer

SLOTS, ROWS = 7, 5


def filled(seed: int = 0) -> TensorRolloutBuffer:
    """A buffer of random experience in which some episodes end."""
    buffer = TensorRolloutBuffer(SLOTS, ROWS, width=3, contents=3, candidate_width=2, device="cpu", seeds=[seed])
    generator = torch.Generator().manual_seed(seed)
    for name in ("rewards", "values_", "following"):
        getattr(buffer, name).copy_(torch.randn(SLOTS, ROWS, generator=generator))
    buffer.done.copy_(torch.rand(SLOTS, ROWS, generator=generator) < 0.3)
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


def test_minibatches_hold_every_decision_once_in_another_order_each_time() -> None:
    buffer = filled()
    first, second = ([rows for (rows,) in buffer.minibatches(8)] for _ in range(2))
    for batches in (first, second):
        assert [len(rows) for rows in batches] == [7, 7, 7, 7, 7]
        assert sorted(torch.cat(batches).tolist()) == list(range(SLOTS * ROWS))
    assert torch.cat(first).tolist() != torch.cat(second).tolist()


def test_a_share_of_the_forced_holds_is_drawn_anew_for_every_pass_beside_all_other_decisions() -> None:
    buffer = TensorRolloutBuffer(40, 50, width=3, contents=3, candidate_width=2, device="cpu", seeds=[0])
    free = torch.rand(40, 50, generator=torch.Generator().manual_seed(1)) < 0.3
    buffer.place.copy_(torch.where(free, 1, -1))
    wanted = set(torch.nonzero(free.flatten()).squeeze(1).tolist())
    forced = []
    for _ in range(2):
        rows = torch.cat([part for (part,) in buffer.minibatches(64, forced_share=0.1)]).tolist()
        assert len(rows) == len(set(rows))
        assert wanted <= set(rows)
        forced.append(set(rows) - wanted)
        assert 0.07 < len(forced[-1]) / (2000 - len(wanted)) < 0.13
    assert forced[0] != forced[1]
    buffer.clear()
    ((everything,),) = buffer.minibatches(2000, forced_share=1e-9)
    assert len(everything) == 2000, "nothing is left: all is taken"


def test_candidates_are_found_again_at_the_place_that_is_noted() -> None:
    buffer = filled()
    buffer.clear()
    everything = torch.arange(SLOTS * ROWS * 6).float().view(SLOTS, ROWS, 3, 2)
    chosen = torch.rand(SLOTS, ROWS, generator=torch.Generator().manual_seed(1)) < 0.4
    for slot in range(SLOTS):
        rows = torch.nonzero(chosen[slot]).squeeze(1)
        assert torch.equal(buffer.add_candidates(slot, rows, everything[slot]), everything[slot][rows])
    assert torch.equal(buffer.place >= 0, chosen)
    assert torch.equal(buffer.candidates[buffer.place[chosen]], everything[chosen])
