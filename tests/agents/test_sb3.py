"""Stock algorithms train through the numpy face, and what is exported decides as they would, masks aside."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3.common.base_class import BaseAlgorithm

from agents import sb3
from agents.sb3 import WithoutHorizon, train_sb3
from agents.sb3_settings import STOCK_ALGORITHMS, SB3Settings
from agents.vec_env import MarketVecEnv
from campaigns.errors import CampaignError
from campaigns.features import STATE_FEATURES
from campaigns.guardrails import NO_GUARDRAILS, Guardrails
from envs.episodes import Episodes
from envs.market import Market
from policies.perceptron import PerceptronValues
from tests.agents.logs_by_chance import DAYS, market, recovered
from tests.envs.hand_made import its_objective
from tests.worlds import small_market, small_world

TINY: dict[str, dict[str, Any]] = {
    "a2c": {"n_steps": 4},
    "dqn": {"learning_starts": 16, "buffer_size": 200, "policy_kwargs": {"net_arch": [16]}},
    "ppo": {"n_steps": 8, "batch_size": 32, "n_epochs": 1},
    "maskable_ppo": {"n_steps": 8, "batch_size": 32, "n_epochs": 1, "policy_kwargs": {"net_arch": [16, 16, 16]}},
    "qr_dqn": {"learning_starts": 16, "buffer_size": 200, "policy_kwargs": {"net_arch": [16], "n_quantiles": 5}},
    "trpo": {"n_steps": 8, "batch_size": 32},
}


def trained(name: str, place: Market, monkeypatch: pytest.MonkeyPatch, seed: int = 0) -> tuple[Any, PerceptronValues]:
    """The stock learner, and what was exported of it."""
    kept: list[BaseAlgorithm] = []
    make = sb3._make_learner

    def keep(*args: Any) -> BaseAlgorithm:
        kept.append(make(*args))
        return kept[-1]

    monkeypatch.setattr(sb3, "_make_learner", keep)
    settings = SB3Settings(name, steps=96, rows=8, arguments=TINY)
    return kept, train_sb3(place, small_world().objective, settings, seed)


@pytest.mark.parametrize("name", STOCK_ALGORITHMS)
def test_what_is_exported_decides_as_the_stock_policy(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place = small_market(NO_GUARDRAILS)
    (learner,), exported = trained(name, place, monkeypatch)
    env = WithoutHorizon(MarketVecEnv(Episodes(place, small_world().objective, 40, seed=5)))
    vectors, seen = env.reset(), env.venv.episodes.seen  # type: ignore[attr-defined]
    wanted, _ = learner.predict(vectors, deterministic=True)
    assert torch.equal(exported.values(seen).argmax(dim=1), torch.as_tensor(wanted))
    if name not in {"dqn", "qr_dqn"}:
        seen = replace(seen, allowed=torch.ones_like(seen.allowed))
        with torch.no_grad():
            stock = learner.policy.get_distribution(torch.as_tensor(vectors)).distribution.probs
        torch.testing.assert_close(exported.probabilities(seen), stock, atol=1e-5, rtol=1e-4)


def test_the_horizon_is_hidden_and_nothing_else() -> None:
    episodes = Episodes(small_market(), small_world().objective, 6, seed=1)
    env = WithoutHorizon(MarketVecEnv(episodes))
    vectors = env.reset()
    whole = episodes.vector(episodes.seen, episodes.remaining).numpy()
    column = small_world().population.features.shape[1] + len(STATE_FEATURES)
    np.testing.assert_array_equal(whole[:, column], episodes.remaining.numpy())
    np.testing.assert_array_equal(vectors, np.delete(whole, column, axis=1))
    for _ in range(48):
        _, _, done, infos = env.step(np.zeros(6, dtype=np.int64))
        assert [("terminal_observation" in info) for info in infos] == done.tolist()
        assert all(info["terminal_observation"].shape == vectors[0].shape for info in infos if info)
    assert len(env.env_method("action_masks")) == 6


def test_the_exported_policy_masks_and_knows_its_contents_by_id(monkeypatch: pytest.MonkeyPatch) -> None:
    place = small_market(Guardrails(holdout=0.0))
    _, exported = trained("a2c", place, monkeypatch)
    seen = Episodes(place, small_world().objective, 60, seed=5).seen
    chances = exported.probabilities(seen)
    assert (chances[~seen.allowed] == 0).all()
    catalogue, order = seen.catalogue, list(reversed(range(len(seen.catalogue))))
    turned = replace(
        seen,
        catalogue=replace(catalogue, ids=tuple(catalogue.ids[i] for i in order)),
        allowed=seen.allowed[:, [0, *(1 + i for i in order)]],
    )
    vars(turned)["candidates"], vars(turned)["state"] = seen.candidates[:, order], seen.state
    torch.testing.assert_close(exported.probabilities(turned), chances[:, [0, *(1 + i for i in order)]])
    new = replace(seen, catalogue=replace(catalogue, ids=("unheard of", *catalogue.ids[1:])))
    vars(new)["candidates"], vars(new)["state"] = seen.candidates, seen.state
    assert float(exported.probabilities(new)[:, 1].sum()) == 0


@pytest.mark.slow
def test_a_stock_algorithm_learns_to_send_the_right_content_at_the_right_hour() -> None:
    arguments = {"gamma": 0.9, "n_steps": 24, "batch_size": 256, "n_epochs": 4, "learning_rate": 3e-3}
    settings = SB3Settings("ppo", steps=64 * 24 * 14, arguments={"ppo": arguments})
    assert recovered(train_sb3(market(), its_objective(DAYS), settings, seed=0)) > 0.6


def test_wrong_arguments_are_named() -> None:
    place, objective = small_market(), small_world().objective
    with pytest.raises(CampaignError, match=r"agent\.sb3\.algorithm='sac': must be one of a2c"):
        SB3Settings("sac")
    with pytest.raises(CampaignError, match=r"agent\.sb3\.arguments\.sac: must be one of a2c"):
        SB3Settings(arguments={"sac": {}})
    with pytest.raises(CampaignError, match=r"agent\.sb3\.arguments\.dqn\.lr: DQN has no such argument.*learning_rate"):
        train_sb3(place, objective, SB3Settings("dqn", arguments={"dqn": {"lr": 0.1}}), seed=0)
    with pytest.raises(CampaignError, match=r"agent\.sb3\.arguments\.dqn\.seed"):
        train_sb3(place, objective, SB3Settings("dqn", arguments={"dqn": {"seed": 3}}), seed=0)
    odd = SB3Settings("a2c", arguments={"a2c": {"learning_rate": "quick"}})
    with pytest.raises(CampaignError, match=r"agent\.sb3\.arguments\.a2c: A2C refuses them"):
        train_sb3(place, objective, odd, seed=0)


def test_a_weight_that_is_not_finite_stops_at_its_step() -> None:
    settings = SB3Settings("dqn", steps=4000, rows=8, arguments={"dqn": {"learning_rate": 1e30, "learning_starts": 64}})
    with pytest.raises(CampaignError, match=r"is not finite at step \d+; lower"):
        train_sb3(small_market(), small_world().objective, settings, seed=0)
