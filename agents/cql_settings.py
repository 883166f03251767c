"""How conservative Q-learning learns; also the schema of its configuration."""

from __future__ import annotations

from dataclasses import dataclass

from campaigns.ranges import check_range


@dataclass(frozen=True)
class CQLSettings:
    """How conservative Q-learning learns from a log.

    Attributes:
        alpha: weight of the conservative penalty against half the squared temporal difference, with values in units
            of a return's spread; 0 is plain double Q-learning.
        gamma: discount a slot, beside what the objective's horizon takes (`agents.logged_states.discount`).
        steps: minibatches.
        batch_size: logged decisions in one.
        refresh: minibatches between two copies into the target network.
        learning_rate: of Adam at the start; falls to 0.
        width: hidden units of the customer tower.
        temperature: of the softmax that serves, in the objective's unit; 0 serves the best decision.
        memory_gib: what the log may take, in GiB; of customers beyond it a part is left out at random.
        checkpoint_steps: minibatches between two checkpoints.
    """

    alpha: float = 0.001
    gamma: float = 0.99
    steps: int = 4000
    batch_size: int = 1024
    refresh: int = 20
    learning_rate: float = 1e-3
    width: int = 64
    temperature: float = 0.0
    memory_gib: float = 1.5
    checkpoint_steps: int = 1000

    def __post_init__(self) -> None:
        check_range("agent.cql.alpha", self.alpha, at_least=0)
        check_range("agent.cql.gamma", self.gamma, at_least=0, at_most=1)
        for setting in ("steps", "batch_size", "refresh", "width", "checkpoint_steps"):
            check_range(f"agent.cql.{setting}", getattr(self, setting), at_least=1)
        check_range("agent.cql.learning_rate", self.learning_rate, above=0, at_most=1)
        check_range("agent.cql.temperature", self.temperature, at_least=0)
        check_range("agent.cql.memory_gib", self.memory_gib, above=0)
