"""What a PPO learner keeps of itself: weights from which another training starts, and checkpoints of its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from agents.kept_weights import load_weights, save_weights, write_checkpoint
from agents.sound_training import check_fits, check_seeds

if TYPE_CHECKING:
    from agents.ppo import DevicePPO

PRICES = "prices"
"""Their name among the tensors that a training keeps."""


def save_learned(learner: DevicePPO, path: Path) -> None:
    """Writes actor and critic of every seed and the scale of their rewards."""
    assert learner.reward_scale is not None
    prices = {} if learner.limits is None else {PRICES: learner.limits.to_tensor()}
    save_weights(learner.policy, learner.reward_scale.cpu(), path, **prices)


def load_learned(learner: DevicePPO, path: Path) -> None:
    """Lets a learner go on from what `save_learned` wrote, for a market of the same contents and features.

    Raises:
        CampaignError: where the file is damaged, or was written for other contents or settings.
    """
    scale, rest = load_weights(learner.policy, path, PRICES, seeds=len(learner.seeds))
    learner.reward_scale = scale.to(learner.device)
    prices = rest.get(PRICES)
    if learner.limits is not None and prices is not None:
        there = prices.view(-1, *prices.shape[-2:])
        if there.shape == learner.limits.to_tensor().shape:
            learner.limits.restore(there)


def save_checkpoint(learner: DevicePPO, updates: int, path: Path) -> None:
    """Writes everything that the rest of the training depends on."""
    parts: dict[str, object] = {
        "updates": updates,
        "steps": learner.num_timesteps,
        "reward_scale": learner.reward_scale,
        "prices": None if learner.limits is None else learner.limits.to_tensor(),
        "policy": learner.policy.state_dict(),
        "optimizer": learner.policy.optimizer.state_dict(),
        "episodes": learner.episodes.state_dict(),
        "order": torch.stack([generator.get_state() for generator in learner.rollout_buffer.generators]),
        "n_updates": learner._n_updates,
    }
    write_checkpoint(parts, path)


def load_checkpoint(learner: DevicePPO, path: Path) -> int:
    """Restores a checkpoint that `save_checkpoint` wrote (read without unpickling code). Returns updates done.

    Raises:
        CampaignError: where it was written for other contents, features, settings or another number of seeds.
    """
    parts = torch.load(path, map_location=learner.device, weights_only=True)
    check_seeds(len(learner.seeds), len(parts["reward_scale"]), path)
    check_fits(learner.policy.state_dict(), parts["policy"], path)
    learner.num_timesteps = parts["steps"]
    learner.reward_scale = parts["reward_scale"]
    learner._n_updates = parts["n_updates"]
    if learner.limits is not None:
        learner.limits.restore(parts["prices"])
    learner.policy.load_state_dict(parts["policy"])
    learner.policy.optimizer.load_state_dict(parts["optimizer"])
    learner.episodes.load_state_dict(parts["episodes"])
    for generator, state in zip(learner.rollout_buffer.generators, parts["order"], strict=True):
        generator.set_state(state.cpu().clone())
    return int(parts["updates"])
