"""How fitted Q iteration learns; also the schema of its configuration."""

from __future__ import annotations

from dataclasses import dataclass

from campaigns.ranges import check_range


@dataclass(frozen=True)
class FQISettings:
    """How fitted Q iteration learns from a log.

    Attributes:
        gamma: discount a slot, beside what the objective's horizon takes (`agents.logged_states.discount`).
        backups: regressions; each looks one slot further ahead.
        temperature: of the softmax that serves, in the objective's unit; 0 serves the best decision.
        memory_gib: what log and regressors may take, in GiB; of customers beyond it a part is left out at random.
    """

    gamma: float = 0.99
    backups: int = 100
    temperature: float = 0.0
    memory_gib: float = 1.5

    def __post_init__(self) -> None:
        check_range("agent.fqi.gamma", self.gamma, at_least=0, at_most=1)
        check_range("agent.fqi.backups", self.backups, at_least=1)
        check_range("agent.fqi.temperature", self.temperature, at_least=0)
        check_range("agent.fqi.memory_gib", self.memory_gib, above=0)
