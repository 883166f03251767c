"""The market as SB3 sees it: how episodes end, what is bootstrapped from, and what a seed decides."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from agents.vec_env import MarketVecEnv
from campaigns.objective import Objective
from envs.episodes import Episodes
from tests.worlds import small_market


def make(terminal: str = "zero", staggered: bool = True, rows: int = 12) -> MarketVecEnv:
    objective = Objective(horizon_days=1, terminal=terminal)
    return MarketVecEnv(Episodes(small_market(), objective, rows, seed=0, staggered=staggered))


@pytest.mark.parametrize("terminal", ["zero", "continue"])
def test_infos_tell_a_cut_episode_from_a_finished_one_and_keep_its_last_observation(terminal: str) -> None:
    env = make(terminal)
    env.seed(3)
    env.reset()
    twin = Episodes(small_market(), Objective(horizon_days=1, terminal=terminal), 12, seed=3)
    hold = np.zeros(12, dtype=np.int64)
    ends = {True: 0, False: 0}
    for _ in range(7):
        observations, rewards, done, infos = env.step(hold)
        following, transition = twin.step(torch.from_numpy(hold))
        np.testing.assert_array_equal(observations, following.numpy())
        np.testing.assert_array_equal(rewards, transition.reward.numpy())
        final = dict(zip(transition.ended.tolist(), transition.final, strict=True))
        for row, info in enumerate(infos):
            assert ("terminal_observation" in info) == bool(done[row])
            if done[row]:
                np.testing.assert_array_equal(info["terminal_observation"], final[row].numpy())
                assert info["TimeLimit.truncated"] is not bool(transition.terminated[row])
                ends[info["TimeLimit.truncated"]] += 1
    assert ends[True] > 0
    assert (ends[False] > 0) == (terminal == "zero")


def test_the_seed_decides_the_next_reset() -> None:
    env = make()
    firsts = []
    for seed in (1, 1, 2):
        env.seed(seed)
        firsts.append(env.reset())
    np.testing.assert_array_equal(firsts[0], firsts[1])
    assert not np.array_equal(firsts[0], firsts[2])


def test_masks_are_offered_as_sb3_contrib_asks_for_them_and_nothing_else_is() -> None:
    env = make()
    masks = np.stack(env.env_method("action_masks"))
    np.testing.assert_array_equal(masks, env.episodes.masks().numpy())
    assert env.has_attr("action_masks")
    assert not env.has_attr("weather")
    with pytest.raises(AttributeError, match="weather"):
        env.env_method("weather")
