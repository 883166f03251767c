"""How LinUCB learns; also the schema of its configuration."""

from __future__ import annotations

from dataclasses import dataclass

from campaigns.ranges import check_range


@dataclass(frozen=True)
class LinUCBSettings:
    """How LinUCB learns.

    Attributes:
        alpha: width of the confidence bound while learning, in units of the reward's standard deviation.
        ridge: regularisation of the Gram matrix.
        rows: customers that act at once in the market.
        slots: slots of learning in the market.
        window_hours: rewards of this many hours after a decision count as its outcome. What a decision does to
            later weeks is not seen: on slots this agent is myopic.
    """

    alpha: float = 0.5
    ridge: float = 10.0
    rows: int = 512
    slots: int = 336
    window_hours: int = 24

    def __post_init__(self) -> None:
        check_range("agent.linucb.alpha", self.alpha, at_least=0)
        check_range("agent.linucb.ridge", self.ridge, above=0)
        for setting in ("rows", "slots", "window_hours"):
            check_range(f"agent.linucb.{setting}", getattr(self, setting), at_least=1)
