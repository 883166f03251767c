"""The Gymnasium face of the learned market."""

from __future__ import annotations

import warnings

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers.vector import RecordEpisodeStatistics

import envs.push  # noqa: F401 - registers the environment
from campaigns.guardrails import Guardrails
from campaigns.objective import Objective
from envs.push import PushEnv, PushVectorEnv
from tests.envs.hand_made import Law, hand_made_market
from tests.worlds import small_market, small_world


def test_push_passes_gymnasiums_checker() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*(infinity|spec|shape).*")
        check_env(PushEnv(small_market(), small_world().objective), skip_render_check=True)


def test_push_is_registered_under_its_name() -> None:
    env = gymnasium.make("campaigns/Push-v0", market=small_market(), objective=small_world().objective)
    observation, info = env.reset(seed=3)
    assert env.observation_space.contains(observation)
    assert info["action_mask"][0]


@pytest.mark.parametrize(("terminal", "ends_terminated"), [("zero", True), ("continue", False)])
def test_the_horizon_terminates_or_truncates_as_the_objective_says(terminal: str, ends_terminated: bool) -> None:
    env = PushEnv(small_market(), Objective(horizon_days=2, terminal=terminal))
    env.reset(seed=0)
    for _ in range(11):
        _, _, terminated, truncated, _ = env.step(0)
        assert not terminated
        assert not truncated
    _, _, terminated, truncated, _ = env.step(0)
    assert (terminated, truncated) == (ends_terminated, not ends_terminated)
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(0)


def test_a_forbidden_action_is_answered_as_a_hold() -> None:
    env = PushEnv(small_market(Guardrails(quiet_from=0, quiet_until=24, holdout=0.0)), Objective(horizon_days=2))
    env.reset(seed=0)
    assert env.action_masks().tolist() == [True] + [False] * 10
    _, _, _, _, info = env.step(4)
    assert info["forbidden"]
    assert not info["opened"]


def test_the_vector_environment_keeps_the_final_observation() -> None:
    env = PushVectorEnv(small_market(), Objective(horizon_days=1), num_envs=5)
    env.reset(seed=1)
    for _ in range(5):
        _, _, terminated, _, info = env.step(np.zeros(5, dtype=np.int64))
        assert not terminated.any()
        assert "final_obs" not in info
    after, _, terminated, truncated, info = env.step(np.zeros(5, dtype=np.int64))
    assert terminated.all()
    assert not truncated.any()
    assert info["_final_obs"].all()
    assert info["final_obs"][0].shape == after[0].shape
    assert not np.allclose(info["final_obs"][0], after[0])


def test_single_and_vector_environment_agree_on_a_customer() -> None:
    single, vector = (
        PushEnv(small_market(), Objective(horizon_days=2)),
        PushVectorEnv(small_market(), Objective(horizon_days=2), num_envs=1),
    )
    a, _ = single.reset(seed=5)
    b, _ = vector.reset(seed=5)
    torch.manual_seed(0)
    for step in range(8):
        np.testing.assert_allclose(a, b[0], rtol=1e-6)
        action = int(np.flatnonzero(single.action_masks())[-1]) if step % 3 == 0 else 0
        a, reward, _, _, _ = single.step(action)
        b, rewards, _, _, _ = vector.step(np.array([action]))
        assert reward == pytest.approx(float(rewards[0]), rel=1e-5)


def test_gymnasium_makes_a_vector_of_them_that_its_own_wrappers_understand() -> None:
    env = gymnasium.make_vec(
        "campaigns/Push-v0", num_envs=6, vectorization_mode="vector_entry_point", market=small_market(),
        objective=Objective(horizon_days=1), expected=True,
    )  # fmt: skip
    assert env.metadata["autoreset_mode"] is gymnasium.vector.AutoresetMode.SAME_STEP
    counted = RecordEpisodeStatistics(env)
    observations, info = counted.reset(seed=2)
    assert env.observation_space.contains(observations)
    total = np.zeros(6)
    for _ in range(6):
        actions = np.array([np.flatnonzero(mask)[-1] for mask in info["action_mask"]])
        observations, rewards, terminated, truncated, info = counted.step(actions)
        total += rewards
        assert env.observation_space.contains(observations)
        assert not info["forbidden"].any()
    assert terminated.all()
    assert not truncated.any()
    np.testing.assert_allclose(info["episode"]["r"], total, rtol=1e-5)
    assert info["episode"]["l"].tolist() == [6] * 6


def test_the_vector_environments_seed_decides_all_its_rows() -> None:
    runs = []
    for seed in (4, 4, 5):
        env = PushVectorEnv(small_market(), Objective(horizon_days=1), num_envs=8)
        first, _ = env.reset(seed=seed)
        rewards = [env.step(np.zeros(8, dtype=np.int64))[1] for _ in range(3)]
        runs.append(np.concatenate([first.ravel(), *rewards]))
    np.testing.assert_array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])


def test_info_tells_what_happened_and_what_may_come_next() -> None:
    env = PushEnv(hand_made_market(Law(idle=(0.999, 0.999), opens=0.999)), Objective(horizon_days=2))
    env.reset(seed=0)
    observation, reward, _, _, info = env.step(3)
    assert env.observation_space.contains(observation)
    assert info["purchased"]
    assert info["opened"]
    assert not info["unsubscribed"]
    assert info["value"] == pytest.approx(10.0)
    assert reward == pytest.approx(10.0 - 0.2)
    assert info["action_mask"].tolist() == [True] * 4


def test_a_single_environment_can_begin_again_before_its_end() -> None:
    env = PushEnv(small_market(), Objective(horizon_days=1))
    env.reset(seed=1)
    env.step(0)
    env.reset()
    for _ in range(5):
        _, _, terminated, _, _ = env.step(0)
        assert not terminated
    assert env.step(0)[2]
