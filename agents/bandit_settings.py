"""How the bandits learn; also the schemas of their configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from campaigns.ranges import check_range


@dataclass(frozen=True)
class BanditSettings:
    """What all bandits share. On slots they are myopic: what a decision does to later weeks they do not see.

    Attributes:
        ridge: regularisation of the linear estimate.
        rows: customers that act at once in the market.
        slots: slots of learning in the market.
        window_hours: rewards of this many hours after a decision count as its outcome.
        log_weight: decisions of the market for which one logged decision counts; those are learned first. 0 starts
            cold. A one-shot log is all there is, and counts fully.
    """

    ridge: float = 10.0
    rows: int = 512
    slots: int = 336
    window_hours: int = 24
    log_weight: float = 0.0

    agent: ClassVar[str]
    """Name under which the settings stand."""

    def __post_init__(self) -> None:
        check_range(f"agent.{self.agent}.ridge", self.ridge, above=0)
        check_range(f"agent.{self.agent}.log_weight", self.log_weight, at_least=0)
        for setting in ("rows", "slots", "window_hours"):
            check_range(f"agent.{self.agent}.{setting}", getattr(self, setting), at_least=1)


@dataclass(frozen=True)
class LinUCBSettings(BanditSettings):
    """How LinUCB learns.

    Attributes:
        alpha: width of the confidence bound while learning, in units of the reward's standard deviation.
    """

    alpha: float = 0.5

    agent: ClassVar[str] = "linucb"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("agent.linucb.alpha", self.alpha, at_least=0)


@dataclass(frozen=True)
class EpsilonGreedySettings(BanditSettings):
    """How the epsilon-greedy bandit learns and serves.

    Attributes:
        epsilon: share of decisions drawn evenly from what is allowed, while learning.
        served_epsilon: the same while serving, besides `policy.exploration`.
    """

    epsilon: float = 0.1
    served_epsilon: float = 0.0

    agent: ClassVar[str] = "epsilon_greedy"

    def __post_init__(self) -> None:
        super().__post_init__()
        for setting in ("epsilon", "served_epsilon"):
            check_range(f"agent.epsilon_greedy.{setting}", getattr(self, setting), at_least=0, at_most=1)


@dataclass(frozen=True)
class ThompsonSettings(BanditSettings):
    """How linear Thompson sampling learns and serves.

    Attributes:
        scale: width of the posterior; 1 is the Bayesian one for normal noise.
        draws: estimates drawn from the posterior that the served policy chooses between.
    """

    scale: float = 1.0
    draws: int = 32

    agent: ClassVar[str] = "thompson"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(f"agent.{self.agent}.scale", self.scale, at_least=0)
        check_range(f"agent.{self.agent}.draws", self.draws, at_least=1)


@dataclass(frozen=True)
class NeuralLinearSettings(ThompsonSettings):
    """How the neural-linear bandit learns and serves.

    Attributes:
        width: hidden units of the first layer.
        last: of the last layer, on which the Bayesian regression stands.
        train_slots: slots between two trainings of the network.
        train_batches: minibatches of one training.
        batch_size: decisions in a minibatch.
        learning_rate: of Adam.
    """

    width: int = 64
    last: int = 32
    train_slots: int = 24
    train_batches: int = 200
    batch_size: int = 1024
    learning_rate: float = 3e-3

    agent: ClassVar[str] = "neural_linear"

    def __post_init__(self) -> None:
        super().__post_init__()
        for setting in ("width", "last", "train_slots", "train_batches", "batch_size"):
            check_range(f"agent.neural_linear.{setting}", getattr(self, setting), at_least=1)
        check_range("agent.neural_linear.learning_rate", self.learning_rate, above=0, at_most=1)
