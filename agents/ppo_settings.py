"""How PPO trains; also the schema of its configuration."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PPOSettings:
    """How PPO trains.

    Attributes:
        steps: decisions in all (rows x slots).
        rows: customers that act at once.
        rollout_slots: slots between two updates.
        batch_size: decisions in a minibatch.
        epochs: passes over a rollout.
        learning_rate: at the start; falls linearly to a tenth.
        gamma: discount a slot.
        gae_lambda: of generalised advantages.
        clip_range: of the probability ratio.
        entropy: weight of the entropy bonus.
        width: hidden width of actor and critic.
        expected_reward: reward conditional expectations instead of draws.
        checkpoint_updates: updates between two checkpoints.
    """

    steps: int = 3_000_000
    rows: int = 2048
    rollout_slots: int = 24
    batch_size: int = 8192
    epochs: int = 4
    learning_rate: float = 1e-3
    gamma: float = 0.99
    gae_lambda: float = 0.95
    clip_range: float = 0.2
    entropy: float = 0.003
    width: int = 64
    expected_reward: bool = True
    checkpoint_updates: int = 10
