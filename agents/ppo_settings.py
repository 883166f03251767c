"""How PPO trains; also the schema of its configuration."""

from __future__ import annotations

from dataclasses import dataclass

from campaigns.ranges import check_range


@dataclass(frozen=True)
class PPOSettings:
    """How PPO trains.

    Attributes:
        steps: decisions in all (rows x slots).
        refit_steps: decisions with which the chosen agent goes on in the market of all customers, from where it stood.
        seeds: agents that learn side by side, each with its own first weights, customers and luck; the one that earns
            most in their market is kept. Decisions, rows and minibatches are those of each.
        rows: customers that act at once.
        rollout_slots: slots between two updates.
        batch_size: decisions in a minibatch.
        epochs: passes over a rollout.
        forced_share: share of the forced holds from which the critic learns in a pass, drawn anew each time; the actor
            has nothing to learn from them, and they are most of what happens.
        learning_rate: at the start; falls linearly to a tenth.
        gamma: discount a slot.
        gae_lambda: of generalised advantages.
        clip_range: of the probability ratio.
        entropy: weight of the entropy bonus.
        width: hidden width of actor and critic.
        expected_reward: reward conditional expectations instead of draws.
        checkpoint_updates: updates between two checkpoints.
        graphs: on a GPU, record a slot once as a CUDA graph and replay it.
    """

    steps: int = 4_000_000
    refit_steps: int = 2_000_000
    seeds: int = 1
    rows: int = 2048
    rollout_slots: int = 24
    batch_size: int = 1024
    epochs: int = 4
    forced_share: float = 0.1
    learning_rate: float = 3e-3
    gamma: float = 0.99
    gae_lambda: float = 0.95
    clip_range: float = 0.2
    entropy: float = 0.003
    width: int = 64
    expected_reward: bool = True
    checkpoint_updates: int = 10
    graphs: bool = True

    def __post_init__(self) -> None:
        counts = (
            "steps",
            "refit_steps",
            "seeds",
            "rows",
            "rollout_slots",
            "batch_size",
            "epochs",
            "width",
            "checkpoint_updates",
        )
        for setting in counts:
            check_range(f"agent.ppo.{setting}", getattr(self, setting), at_least=1)
        check_range("agent.ppo.forced_share", self.forced_share, above=0, at_most=1)
        # A minibatch of a single decision would have no spread by which its advantage is normalised.
        check_range("agent.ppo.batch_size", self.batch_size, at_least=4)
        check_range("agent.ppo.learning_rate", self.learning_rate, above=0, at_most=1)
        for setting in ("gamma", "gae_lambda"):
            check_range(f"agent.ppo.{setting}", getattr(self, setting), at_least=0, at_most=1)
        check_range("agent.ppo.clip_range", self.clip_range, above=0, below=1)
        check_range("agent.ppo.entropy", self.entropy, at_least=0)
