"""How the doubly robust policy learner learns; also the schema of its configuration."""

from __future__ import annotations

from dataclasses import dataclass

from campaigns.ranges import check_range


@dataclass(frozen=True)
class DoublyRobustSettings:
    """How a policy is learned from doubly robust scores of a log.

    Attributes:
        folds: groups of customers; each one's rewards are predicted by a model of the others.
        ridge: regularisation of that model.
        max_weight: most that a logged decision is weighted by, 1 / its probability.
        decisions: logged decisions that are learned from, at most; of more, a random part.
        window_hours: rewards of this many hours after a decision count as its outcome, where there are several slots.
        iterations: of L-BFGS.
    """

    folds: int = 4
    ridge: float = 10.0
    max_weight: float = 100.0
    decisions: int = 40_000
    window_hours: int = 24
    iterations: int = 60

    def __post_init__(self) -> None:
        check_range("agent.doubly_robust.folds", self.folds, at_least=2)
        check_range("agent.doubly_robust.ridge", self.ridge, above=0)
        check_range("agent.doubly_robust.max_weight", self.max_weight, at_least=1)
        for setting in ("decisions", "window_hours", "iterations"):
            check_range(f"agent.doubly_robust.{setting}", getattr(self, setting), at_least=1)
