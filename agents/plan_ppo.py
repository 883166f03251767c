"""PPO on weekly plans: sb3-contrib's own MaskablePPO on `envs.plan_episodes`, over joint plans with exact masks.

A plan is one decision in 42 slots of the market, so that the learner's own loop costs next to nothing and stays as it
is (Schulman et al. 2017; Huang and Ontanon 2022 for the masks).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from sb3_contrib import MaskablePPO
from stable_baselines3.common.logger import Logger

from agents.kept_weights import load_weights, save_weights, write_checkpoint
from agents.plan_policy import PlanTowerPolicy
from agents.plan_settings import PlanPPOSettings
from agents.ppo_arguments import learner_arguments, tower_arguments
from agents.sound_training import Watch, check_finite, check_fits
from agents.vec_env import MarketVecEnv
from campaigns.features import candidate_names
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


class Guard(Watch):
    """Stops a training at the step at which a number is none, and keeps checkpoints of what was good.

    Args:
        progress: called with the plans chosen so far.
        checkpoint: file to write to; None keeps nothing.
        every: updates between two checkpoints.
    """

    def __init__(self, progress: Callable[[int], None] | None, checkpoint: Path | None, every: int) -> None:
        super().__init__(progress)
        self.checkpoint, self.every = checkpoint, every
        self.rollouts = 0

    def _on_rollout_start(self) -> None:
        """Before every rollout but the first, the weights are those of an update."""
        if self.rollouts:
            self.check_weights()
            if self.checkpoint is not None and self.rollouts % self.every == 0:
                save_checkpoint(cast(MaskablePPO, self.model), self.checkpoint)
        self.rollouts += 1

    def _on_rollout_end(self) -> None:
        rewards = torch.from_numpy(cast(MaskablePPO, self.model).rollout_buffer.rewards)
        check_finite(self.model.policy, rewards, self.num_timesteps, self.checkpoint, "plan_ppo")

    def check_weights(self) -> None:
        """Raises where a weight is no number."""
        check_finite(self.model.policy, torch.zeros(1), self.model.num_timesteps, self.checkpoint, "plan_ppo")


def train_plan_ppo(
    market: World[Any],
    objective: Objective,
    settings: PlanPPOSettings,
    seed: int,
    *,
    checkpoint: Path | None = None,
    start: Path | None = None,
    keep: Path | None = None,
    logger: Logger | None = None,
    progress: Callable[[int], None] | None = None,
    on_resume: Callable[[int], None] | None = None,
) -> PlanActorChooser:
    """Trains PPO on weekly plans in a market.

    Args:
        market, objective: where and what for.
        settings: how.
        seed: the same seed gives the same actor.
        checkpoint: file to resume from where it exists, and to write to on the way.
        start: what an earlier training kept: training goes on from there, for `settings.refit_plans` plans.
        keep: file for what such a training starts from.
        logger: SB3's; silent by default.
        progress: called with the plans chosen so far.
        on_resume: called with the plans that the checkpoint had already chosen.
    Returns:
        The trained actor, which serves its most likely plans.
    Raises:
        CampaignError: where a number is none, at that step; the last checkpoint stays. Where checkpoint or start were
            learned for other contents, features or plans.
    """
    menu = PlanMenu(tuple(settings.frequencies))
    env = ScaledWeeks(PlanEpisodes(market, objective, menu, settings.rows, seed))
    env.scale = _reward_scale(env.episodes, seed)  # type: ignore[arg-type] # these are weeks
    learner = _learner(env, menu, settings, seed)
    learner.set_logger(logger or Logger(None, []))
    plans = settings.plans if start is None else settings.refit_plans
    if start is not None:
        env.scale = float(load_weights(learner.policy, start)[0])
    resumed = checkpoint is not None and checkpoint.exists()
    if checkpoint is not None and resumed:
        load_checkpoint(learner, checkpoint)
        if on_resume is not None:
            on_resume(learner.num_timesteps)
    guard = Guard(progress, checkpoint, settings.checkpoint_updates)
    learner.learn(plans - learner.num_timesteps, callback=guard, log_interval=1, reset_num_timesteps=not resumed)
    guard.check_weights()
    if keep is not None:
        save_weights(learner.policy, env.scale, keep)
    policy = learner.policy
    assert isinstance(policy, PlanTowerPolicy)
    actor = policy.chosen_actor()
    assert isinstance(actor, PlanActor)
    return PlanActorChooser(actor, menu, market.guardrails)


def save_checkpoint(learner: MaskablePPO, path: Path) -> None:
    """Writes everything that the rest of the training depends on, between two rollouts. SB3 draws plans and minibatches
    from the process's own generators, so that these belong to it."""
    env = learner.env
    assert isinstance(env, ScaledWeeks)
    name, keys, position, *_ = np.random.get_state(legacy=True)  # noqa: NPY002 - SB3's own
    parts: dict[str, object] = {
        "steps": learner.num_timesteps,
        "n_updates": learner._n_updates,
        "scale": env.scale,
        "policy": learner.policy.state_dict(),
        "optimizer": learner.policy.optimizer.state_dict(),
        "episodes": env.episodes.state_dict(),
        "torch": torch.get_rng_state(),
        "numpy": (str(name), torch.from_numpy(np.asarray(keys, dtype=np.int64)), int(position)),
    }
    write_checkpoint(parts, path)


def load_checkpoint(learner: MaskablePPO, path: Path) -> None:
    """Restores what `save_checkpoint` wrote (read without unpickling code).

    Raises:
        CampaignError: where it was written for other contents, features or plans.
    """
    env = learner.env
    assert isinstance(env, ScaledWeeks)
    parts = torch.load(path, weights_only=True)
    check_fits(learner.policy.state_dict(), parts["policy"], path)
    learner.policy.load_state_dict(parts["policy"])
    learner.policy.optimizer.load_state_dict(parts["optimizer"])
    learner.num_timesteps, learner._n_updates = int(parts["steps"]), int(parts["n_updates"])
    env.scale = float(parts["scale"])
    env.episodes.load_state_dict(parts["episodes"])
    learner._last_obs = env.episodes.vector().numpy()  # type: ignore[call-arg] # these are weeks
    learner._last_episode_starts = np.ones(env.num_envs, dtype=bool)
    torch.set_rng_state(parts["torch"])
    name, keys, position = parts["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, 0, 0.0))  # noqa: NPY002 - SB3's own


def _learner(env: ScaledWeeks, menu: PlanMenu, settings: PlanPPOSettings, seed: int) -> MaskablePPO:
    market = env.episodes.market
    open_plans = env.episodes.masks()[:, 1:].sum(dim=1).float().mean()
    spec = ActorSpec(
        market.pool.features.shape[1],
        len(PLAN_FEATURES),
        market.catalogue.features.shape[1],
        len(candidate_names(market.catalogue.tells_channels)),
        width=settings.width,
        send_prior=SEND_PRIOR,
        expected_contents=max(1, round(float(open_plans))),
    )
    torch.manual_seed(seed)
    env.seed(seed)
    return MaskablePPO(
        PlanTowerPolicy,
        env,
        n_steps=settings.episodes * len(env.episodes.weeks),  # type: ignore[union-attr] # these are weeks
        policy_kwargs=tower_arguments(spec, market.catalogue) | {"frequencies": menu.frequencies},
        **learner_arguments(settings),
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
