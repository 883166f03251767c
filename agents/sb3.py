"""Stock algorithms of Stable-Baselines3 and sb3-contrib, trained through the numpy face: for comparison only.

They see one flat vector and K fixed contents, cross numpy in every slot, and most know no masks (the market answers
what is forbidden as a hold). What they learn is exported as a plain perceptron, which masks and serves without them.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnvWrapper
from torch import Tensor, nn

from agents.sb3_settings import STOCK_ALGORITHMS, SB3Settings
from agents.sound_training import Watch, broken_weight
from agents.vec_env import MarketVecEnv
from campaigns.errors import CampaignError
from campaigns.features import STATE_FEATURES
from campaigns.objective import Objective
from envs.episodes import Episodes
from envs.world import World
from policies.perceptron import ACTIVATIONS, PerceptronValues

RESERVED = ("policy", "env", "seed", "device", "verbose", "tensorboard_log", "_init_setup_model")
"""Arguments that are not the caller's to give."""


class WithoutHorizon(VecEnvWrapper):
    """Hides the share of the horizon that is left, which nobody who serves a policy knows."""

    def __init__(self, env: MarketVecEnv) -> None:
        self.column = env.episodes.market.pool.features.shape[1] + len(STATE_FEATURES)
        shown = env.observation_space
        assert isinstance(shown, spaces.Box)
        super().__init__(env, observation_space=spaces.Box(-np.inf, np.inf, (shown.shape[0] - 1,), np.float32))

    def reset(self) -> np.ndarray:
        """Shape [N, F - 1]."""
        return self._hide(np.asarray(self.venv.reset()))

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """One slot."""
        vectors, rewards, done, infos = self.venv.step_wait()
        for info in infos:
            if "terminal_observation" in info:
                info["terminal_observation"] = self._hide(info["terminal_observation"])
        return self._hide(np.asarray(vectors)), rewards, done, infos

    def _hide(self, vectors: np.ndarray) -> np.ndarray:
        return np.delete(vectors, self.column, axis=-1)


def train_sb3(
    market: World[Any],
    objective: Objective,
    settings: SB3Settings,
    seed: int,
    *,
    device: torch.device | str = "cpu",
    progress: Callable[[int], None] | None = None,
) -> PerceptronValues:
    """Trains a stock algorithm in a market, from beginning to end: it cannot be resumed.

    Args:
        market, objective: where (a learned market or the truth) and what for.
        settings: which algorithm, and how.
        seed: the same seed gives the same policy on the CPU.
        device: of market and network; observations go through numpy.
        progress: called with the decisions taken so far.
    Raises:
        CampaignError: where the algorithm refuses its arguments, its package is missing, its network is no plain
            perceptron, or a weight is no longer finite (naming the step).
    """
    env = WithoutHorizon(
        MarketVecEnv(Episodes(market, objective, settings.rows, seed, expected=settings.expected_reward, device=device))
    )
    learner = _make_learner(env, settings, seed, device)
    try:
        learner.learn(settings.steps, callback=Watch(progress, _check_finite))
    except ValueError as error:  # SB3's distributions refuse what is not finite in their own words
        _check_finite(learner)
        raise CampaignError(
            f"agent.sb3: {settings.algorithm} stopped at step {learner.num_timesteps:,}: {error}"
        ) from error
    _check_finite(learner)
    layers, activation, is_value = _perceptron(learner)
    ids = [str(content) for content in market.catalogue.ids]
    return PerceptronValues(layers, activation, ids, 0.0 if is_value else 1.0, f"sb3 {settings.algorithm}")


def _make_learner(env: WithoutHorizon, settings: SB3Settings, seed: int, device: torch.device | str) -> BaseAlgorithm:
    package, name = STOCK_ALGORITHMS[settings.algorithm].split(":")
    try:
        algorithm = getattr(importlib.import_module(package), name)
    except (ImportError, AttributeError):
        remedy = f"install {package.replace('_', '-')}"
        raise CampaignError(
            f"agent.sb3.algorithm={settings.algorithm}: {package} has no {name} here; {remedy}."
        ) from None
    known = [n for n in inspect.signature(algorithm.__init__).parameters if n != "self" and n not in RESERVED]
    arguments, where = settings.arguments.get(settings.algorithm, {}), f"agent.sb3.arguments.{settings.algorithm}"
    wrong = [n for n in arguments if n not in known]
    if wrong:
        raise CampaignError(f"{where}.{wrong[0]}: {name} has no such argument to set; it has {', '.join(known)}.")
    try:
        learner: BaseAlgorithm = algorithm("MlpPolicy", env, seed=seed, device=device, **arguments)
    except (TypeError, ValueError, AssertionError) as error:
        raise CampaignError(f"{where}: {name} refuses them: {error}") from error
    return learner


def _check_finite(learner: BaseAlgorithm) -> None:
    broken = broken_weight(learner.policy)
    if broken is not None:
        raise CampaignError(
            f"agent.sb3: weight {broken} is not finite at step {learner.num_timesteps:,}; lower "
            "the learning_rate in agent.sb3.arguments."
        )


def _perceptron(learner: BaseAlgorithm) -> tuple[list[tuple[Tensor, Tensor]], str, bool]:
    """Layers, activation, and whether the outputs are values (else they are logits)."""
    policy: Any = learner.policy
    if hasattr(policy, "q_net"):
        modules, is_value, parts = list(policy.q_net.q_net), True, 1
    elif hasattr(policy, "quantile_net"):
        modules, is_value, parts = list(policy.quantile_net.quantile_net), True, int(policy.quantile_net.n_quantiles)
    else:
        modules, is_value, parts = [*policy.mlp_extractor.policy_net, policy.action_net], False, 1
    linear = [module for module in modules if isinstance(module, nn.Linear)]
    between = {type(module).__name__ for module in modules if not isinstance(module, nn.Linear)}
    if len(between) > 1 or not between <= set(ACTIVATIONS):
        raise CampaignError(
            f"agent.sb3.arguments.policy_kwargs: a network with {', '.join(sorted(between))} cannot be exported; use "
            f"linear layers with one of {', '.join(ACTIVATIONS)}."
        )
    layers = [(m.weight.detach().cpu().clone(), m.bias.detach().cpu().clone()) for m in linear]
    # The mean over quantiles is linear, so it folds into the last layer.
    weight, bias = layers[-1]
    layers[-1] = (weight.unflatten(0, (parts, -1)).mean(dim=0), bias.unflatten(0, (parts, -1)).mean(dim=0))
    return layers, next(iter(between), "ReLU"), is_value
