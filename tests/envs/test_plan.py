"""The Gymnasium face of weekly plans: the same market, a week a step."""

from __future__ import annotations

import warnings

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from sb3_contrib import MaskablePPO

import envs.plan  # noqa: F401 - registers the environments
from campaigns.guardrails import Guardrails
from campaigns.objective import Objective
from campaigns.plans import PLAN_DAYPARTS, PlanMenu
from envs.plan import FlatPlanEnv, PlanEnv, PlanVectorEnv
from envs.plan_episodes import PlanEpisodes, week_lengths
from tests.envs.hand_made import BAD, GOOD, Law, hand_made_market, its_objective
from tests.worlds import small_market

MENU = PlanMenu()
EVENING = PLAN_DAYPARTS.index("evening")
ONCE, DAILY = 1, 5  # places of 1 and 7 sends a week


@pytest.mark.parametrize("kind", [PlanEnv, FlatPlanEnv])
def test_plans_pass_gymnasiums_checker(kind: type[gymnasium.Env[np.ndarray, np.ndarray]]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*(infinity|spec|shape|zero-element).*")
        check_env(kind(hand_made_market(days=8), its_objective(8)), skip_render_check=True)  # type: ignore[call-arg]


def test_both_faces_are_registered() -> None:
    market, objective = hand_made_market(days=8), its_objective(8)
    parts = gymnasium.make("campaigns/Plan-v0", market=market, objective=objective)
    observation, info = parts.reset(seed=3)
    assert parts.observation_space.contains(observation)
    assert isinstance(parts.action_space, gymnasium.spaces.MultiDiscrete)
    assert parts.action_space.nvec.tolist() == [6, 5, 5]
    assert info["action_mask"].shape == (16,)
    assert info["plan_mask"].shape == (1 + 5 * 5 * 5,)
    flat = gymnasium.make("campaigns/FlatPlan-v0", market=market, objective=objective)
    assert flat.action_space == gymnasium.spaces.Discrete(126)
    vector = gymnasium.make_vec(
        "campaigns/Plan-v0", num_envs=3, vectorization_mode="vector_entry_point", market=market, objective=objective
    )
    assert vector.reset(seed=1)[1]["action_mask"].shape == (3, 16)


def test_a_weeks_reward_is_the_sum_of_its_slots_in_closed_form() -> None:
    law = Law(idle=(0.1,), gain=2.0)
    episodes = PlanEpisodes(hand_made_market(law, days=8), its_objective(8), MENU, 6, seed=0)
    parts = [
        (0, 0, 0),
        (DAILY, EVENING, GOOD - 1),
        (DAILY, 1, GOOD - 1),
        (ONCE, 1, BAD - 1),
        (2, EVENING, 0),
        (0, 2, 3),
    ]
    frequency, daypart, choice = torch.tensor(parts).T
    plans = MENU.number(frequency, daypart, choice, 3)
    _, week = episodes.step(plans)
    idle, lifted, put_off = (law.purchase(lift) * law.basket for lift in (0.0, law.gain, -law.gain))
    expected = [
        42 * idle, 35 * idle + 7 * (lifted - 0.2), 42 * idle - 7 * 0.2, 41 * idle + put_off - 0.2,
        40 * idle + 2 * (lifted - 0.2), 42 * idle,
    ]  # fmt: skip
    np.testing.assert_allclose(week.reward.numpy(), expected, rtol=1e-4)
    assert week.sends.tolist() == [0, 7, 7, 1, 2, 0]


def test_episodes_are_cut_at_mondays_and_at_the_horizon() -> None:
    market = hand_made_market(days=10)
    assert week_lengths(market, 60) == [42, 18]
    for terminal, ends in (("zero", (True, False)), ("continue", (False, True))):
        env = PlanEnv(market, Objective(horizon_days=10, terminal=terminal))
        env.reset(seed=0)
        assert env.step(np.array([0, 0, 0]))[2:4] == (False, False)
        assert env.step(np.array([0, 0, 0]))[2:4] == ends
        with pytest.raises(gymnasium.error.ResetNeeded):
            env.step(np.array([0, 0, 0]))


def test_what_is_jointly_impossible_is_answered_with_nothing() -> None:
    normal = Guardrails(holdout=0.0)
    env = PlanEnv(hand_made_market(Law(), normal, days=8), its_objective(8))
    env.reset(seed=0)
    mask = env.action_masks()
    three, good = 3, 0
    assert mask[three]  # three a week can be kept with several contents, and good twice a week
    assert mask[6 + 5 + good]
    _, _, _, _, info = env.step(np.array([three, 4, good]))
    assert info["forbidden"]
    assert info["sends"] == 0
    env.reset(seed=0)
    _, _, _, _, info = env.step(np.array([2, 4, good]))
    assert not info["forbidden"]
    assert info["sends"] == 2


def test_single_and_vector_agree_and_the_last_observation_is_kept() -> None:
    market, objective = small_market(), Objective(horizon_days=8)
    single, vector = PlanEnv(market, objective), PlanVectorEnv(market, objective, num_envs=1)
    a, _ = single.reset(seed=5)
    b, _ = vector.reset(seed=5)
    for week in range(2):
        np.testing.assert_allclose(a, b[0], rtol=1e-6)
        action = np.array([1, 4, len(market.catalogue)])
        a, reward, done, _, _ = single.step(action)
        b, rewards, _, _, info = vector.step(action[None])
        assert reward == pytest.approx(float(rewards[0]), rel=1e-5)
        assert done is (week == 1)
    np.testing.assert_allclose(info["final_obs"][0], a, rtol=1e-6)
    assert not np.allclose(info["final_obs"][0], b[0])


def test_stock_maskable_ppo_trains_on_the_parts_with_their_masks() -> None:
    env = PlanEnv(hand_made_market(Law(), Guardrails(holdout=0.0), days=8), its_objective(8))
    learner = MaskablePPO("MlpPolicy", env, n_steps=4, batch_size=4, n_epochs=1, seed=0, device="cpu")
    learner.learn(8)
    observation, _ = env.reset(seed=1)
    action, _ = learner.predict(observation, action_masks=env.action_masks())
    parts = np.split(env.action_masks(), [6, 11])
    assert all(mask[place] for mask, place in zip(parts, action, strict=True))
