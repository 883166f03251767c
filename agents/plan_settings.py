"""How agents of weekly plans learn; also the schema of their configuration."""

from __future__ import annotations

from dataclasses import dataclass, field

from campaigns.errors import CampaignError
from campaigns.ranges import check_range

MOST_OFTEN = 14
"""Sends a week beyond which no plan goes: twice a day."""


@dataclass(frozen=True)
class PlanPPOSettings:
    """How PPO trains on weekly plans.

    Attributes:
        frequencies: sends a week that a plan may have besides none, ascending.
        plans: plans chosen in all (rows x weeks).
        refit_plans: plans with which the chosen agent goes on in the market of all customers, from where it stood.
        rows: customers that live at once.
        episodes: of every row between two updates, each as long as the horizon.
        batch_size: plans in a minibatch.
        epochs: passes over a rollout.
        learning_rate: at the start; falls linearly to a tenth.
        gamma: discount a week.
        gae_lambda: of generalised advantages.
        clip_range: of the probability ratio.
        entropy: weight of the entropy bonus.
        width: hidden width of actor and critic.
        checkpoint_updates: updates between two checkpoints.
    """

    frequencies: list[int] = field(default_factory=lambda: [1, 2, 3, 5, 7])
    plans: int = 120_000
    refit_plans: int = 40_000
    rows: int = 512
    episodes: int = 1
    batch_size: int = 512
    epochs: int = 8
    learning_rate: float = 3e-3
    gamma: float = 0.98
    gae_lambda: float = 0.95
    clip_range: float = 0.2
    entropy: float = 0.003
    width: int = 64
    checkpoint_updates: int = 5

    def __post_init__(self) -> None:
        _check_frequencies("agent.plan_ppo.frequencies", self.frequencies)
        for setting in ("plans", "refit_plans", "episodes", "epochs", "width", "checkpoint_updates"):
            check_range(f"agent.plan_ppo.{setting}", getattr(self, setting), at_least=1)
        for setting in ("rows", "batch_size"):  # advantages are normalised within a minibatch
            check_range(f"agent.plan_ppo.{setting}", getattr(self, setting), at_least=2)
        check_range("agent.plan_ppo.learning_rate", self.learning_rate, above=0, at_most=1)
        for setting in ("gamma", "gae_lambda"):
            check_range(f"agent.plan_ppo.{setting}", getattr(self, setting), at_least=0, at_most=1)
        check_range("agent.plan_ppo.clip_range", self.clip_range, above=0, below=1)
        check_range("agent.plan_ppo.entropy", self.entropy, at_least=0)


@dataclass(frozen=True)
class PlanThompsonSettings:
    """How the linear Thompson bandit learns weekly plans.

    Attributes:
        frequencies: as for PPO.
        width: of the posterior from which it draws while learning, in standard errors.
        ridge: regularisation of the Gram matrix.
        rows: customers that live at once.
        weeks: of learning in the market.
        draws: parameter vectors that are drawn a week; rows share them evenly.
    """

    frequencies: list[int] = field(default_factory=lambda: [1, 2, 3, 5, 7])
    width: float = 1.0
    ridge: float = 10.0
    rows: int = 1024
    weeks: int = 32
    draws: int = 32

    def __post_init__(self) -> None:
        _check_frequencies("agent.plan_thompson.frequencies", self.frequencies)
        check_range("agent.plan_thompson.width", self.width, at_least=0)
        check_range("agent.plan_thompson.ridge", self.ridge, above=0)
        for setting in ("rows", "weeks", "draws"):
            check_range(f"agent.plan_thompson.{setting}", getattr(self, setting), at_least=1)


def _check_frequencies(setting: str, values: list[int]) -> None:
    ascending = list(values) == sorted(set(values))
    if not values or not ascending or not 1 <= values[0] <= values[-1] <= MOST_OFTEN:
        raise CampaignError(
            f"{setting}={list(values)}: must be different sends a week from 1 to {MOST_OFTEN}, ascending."
        )
