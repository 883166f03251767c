"""PPO on weekly plans: sb3-contrib's own MaskablePPO on `envs.plan_episodes`, over joint plans with exact masks.

A plan is one decision in 42 slots of the market, so that the learner's own loop costs next to nothing and stays as it
is (Schulman et al. 2017; Huang and Ontanon 2022 for the masks).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from sb3_contrib import MaskablePPO
from stable_baselines3.common.logger import Logger

from agents.plan_policy import PlanTowerPolicy
from agents.plan_settings import PlanPPOSettings
from agents.ppo import REWARD_SCALE
from agents.sound_training import Watch
from agents.vec_env import MarketVecEnv
from campaigns.features import CANDIDATE_FEATURES
from campaigns.objective import Objective
from campaigns.plan_features import PLAN_FEATURES
from campaigns.plans import PlanMenu
from envs.plan_episodes import PlanEpisodes
from envs.world import World
from policies.actor import ActorSpec
from policies.chooser import sample
from policies.plan_actor import PlanActor, PlanActorChooser

SEND_PRIOR = 0.8
"""Probability with which the untrained actor plans any sends, where all plans are open."""


class ScaledWeeks(MarketVecEnv):
    """Weeks whose rewards are brought to order 1, so that value and policy gradients share one clipping norm."""

    scale = 1.0

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """One week."""
        vectors, rewards, done, infos = super().step_wait()
        return vectors, rewards * np.float32(self.scale), done, infos


def train_plan_ppo(
    market: World[Any],
    objective: Objective,
    settings: PlanPPOSettings,
    seed: int,
    *,
    start: Path | None = None,
    keep: Path | None = None,
    logger: Logger | None = None,
    progress: Callable[[int], None] | None = None,
) -> PlanActorChooser:
    """Trains PPO on weekly plans in a market.

    Args:
        market, objective: where and what for.
        settings: how.
        seed: the same seed gives the same actor.
        start: what an earlier training kept: training goes on from there, for `settings.refit_plans` plans.
        keep: file for what such a training starts from.
        logger: SB3's; silent by default.
        progress: called with the plans chosen so far.
    Returns:
        The trained actor, which serves its most likely plans.
    """
    menu = PlanMenu(tuple(settings.frequencies))
    env = ScaledWeeks(PlanEpisodes(market, objective, menu, settings.rows, seed))
    env.scale = _reward_scale(env.episodes, seed)  # type: ignore[arg-type] # these are weeks
    learner = _learner(env, menu, settings, seed)
    learner.set_logger(logger or Logger(None, []))
    plans = settings.plans
    if start is not None:
        plans, weights = settings.refit_plans, load_file(start)
        env.scale = float(weights.pop(REWARD_SCALE))
        learner.policy.load_state_dict(weights)
    learner.learn(plans, callback=Watch(progress), log_interval=1)
    if keep is not None:
        weights = {name: value.detach().cpu().contiguous() for name, value in learner.policy.state_dict().items()}
        save_file(weights | {REWARD_SCALE: torch.tensor(env.scale, dtype=torch.float64)}, keep)
    policy = learner.policy
    assert isinstance(policy, PlanTowerPolicy)
    actor = policy.chosen_actor()
    assert isinstance(actor, PlanActor)
    return PlanActorChooser(actor, menu, market.guardrails)


def _learner(env: ScaledWeeks, menu: PlanMenu, settings: PlanPPOSettings, seed: int) -> MaskablePPO:
    market = env.episodes.market
    open_plans = env.episodes.masks()[:, 1:].sum(dim=1).float().mean()
    spec = ActorSpec(
        market.pool.features.shape[1],
        len(PLAN_FEATURES),
        market.catalogue.features.shape[1],
        len(CANDIDATE_FEATURES),
        width=settings.width,
        send_prior=SEND_PRIOR,
        expected_contents=max(1, round(float(open_plans))),
    )
    torch.manual_seed(seed)
    env.seed(seed)
    return MaskablePPO(
        PlanTowerPolicy,
        env,
        learning_rate=lambda left: settings.learning_rate * (0.1 + 0.9 * left),
        n_steps=settings.episodes * len(env.episodes.weeks),  # type: ignore[union-attr] # these are weeks
        batch_size=settings.batch_size,
        n_epochs=settings.epochs,
        gamma=settings.gamma,
        gae_lambda=settings.gae_lambda,
        clip_range=settings.clip_range,
        ent_coef=settings.entropy,
        policy_kwargs={
            "spec": asdict(spec),
            "contents": market.catalogue.features.tolist(),
            "critic_width": settings.width,
            "frequencies": menu.frequencies,
        },
        seed=seed,
        device="cpu",
    )


def _reward_scale(episodes: PlanEpisodes, seed: int) -> float:
    """From one episode under random plans: 1 / the standard deviation of what it earned, or its mean if larger."""
    generator = torch.Generator().manual_seed(seed)
    earned = torch.zeros(episodes.rows)
    for _ in episodes.weeks:
        uniform = torch.rand(episodes.rows, generator=generator)
        open_plans = episodes.masks().float()
        earned += episodes.step(sample(open_plans / open_plans.sum(dim=1, keepdim=True), uniform))[1].reward
    return 1.0 / max(float(earned.mean().abs()), float(earned.std()), 1e-8)
