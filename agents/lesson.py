"""What a learner is given: settings, an objective, and a log, a fitted network or a market to learn from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:  # settings are read before anything heavy is loaded
    import torch

    from campaigns.audience import Catalogue, Population
    from campaigns.clock import SlotClock
    from campaigns.grid import DecisionGrid
    from campaigns.guardrails import Guardrails
    from campaigns.logging_policy import LoggingPolicyModel
    from campaigns.objective import Objective
    from envs.world import World
    from propensity.response_model import ResponseModel


LEARNED = "learned.safetensors"
"""What a training keeps in its folder, from which it goes on when all customers are there, or in a later run."""


class Progress(Protocol):
    """Hears how far a learner is."""

    def update(self, done: int, total: int) -> None:
        """`done` of `total` steps are behind."""

    def note(self, text: str) -> None:
        """A line that stays."""


@dataclass(frozen=True)
class LoggedCustomers:
    """The log of the customers from whom is learned.

    Attributes:
        grid: N customers by T slots.
        population, catalogue, clock: of the same log.
        one_shot: whether every customer is decided on once.
    """

    grid: DecisionGrid
    population: Population
    catalogue: Catalogue
    clock: SlotClock
    one_shot: bool


@dataclass(frozen=True)
class Lesson:
    """What a learner is given; what takes long to make is made when it is asked for.

    Attributes:
        settings: the agent's own, of the type that the panel names.
        objective: what counts.
        guardrails: within which the policy will serve.
        seed: the same seed gives the same policy.
        device: of networks.
        folder: of the stage; for checkpoints and training curves.
        progress: hears how far the learner is.
        log: makes the logged customers.
        network: makes the propensity network that was fitted to them.
        logging_policy: makes the fitted policy of the log.
        market: makes the world to learn in, the market of that network as a rule; a one-shot log has none.
        before: folder of the same agent's earlier training, in another half's market or an earlier run, from which to
            go on.
        tensorboard: whether to write training curves for TensorBoard.
    """

    settings: Any
    objective: Objective
    guardrails: Guardrails
    seed: int
    device: torch.device
    folder: Path
    progress: Progress
    log: Callable[[], LoggedCustomers]
    network: Callable[[], ResponseModel]
    logging_policy: Callable[[], LoggingPolicyModel]
    market: Callable[[], World[Any]]
    before: Path | None = None
    tensorboard: bool = False
