"""The contract of everything that chooses: an observation in, a probability for every decision out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from campaigns.errors import CampaignError
from campaigns.observation import Observation


class Chooser(ABC):
    """A probability over hold and contents, within what the observation allows.

    Subclasses set `kind`, by which a saved policy finds them again.

    Attributes:
        carries: whether it carries anything from slot to slot; see `carry`.
    """

    kind: ClassVar[str]
    carries: bool = False

    @abstractmethod
    def probabilities(self, observation: Observation) -> Tensor:
        """Probability of every decision.

        Returns:
            Shape [N, 1 + K], float32; zero where not allowed, rows sum to 1.
        """

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """The JSON-able part of the chooser."""

    def tensors(self) -> dict[str, Tensor]:
        """The rest, by name."""
        return {}

    def carry(self, observation: Observation) -> Tensor:
        """What is carried from now on, given what was carried so far in `observation.carried`. Shape [N, C], int64.

        Asked of all customers in every slot, before `probabilities` are.
        """
        raise NotImplementedError(f"{self.kind} carries nothing")

    @classmethod
    @abstractmethod
    def restore(cls, settings: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Chooser:
        """The inverse of `settings` and `tensors`."""

    def check(self, content_ids: tuple[object, ...]) -> None:  # noqa: B027 - most choosers can serve any contents
        """Says, as a warning of the logger `campaign`, where the chooser can do nothing with these contents."""


CHOOSERS: dict[str, type[Chooser]] = {}
Kind = TypeVar("Kind", bound=type[Chooser])


def register(chooser: Kind) -> Kind:
    """Makes a chooser loadable by its `kind`."""
    CHOOSERS[chooser.kind] = chooser
    return chooser


def restore_chooser(kind: str, settings: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Chooser:
    """Rebuilds a saved chooser.

    Raises:
        CampaignError: where the kind is unknown.
    """
    import policies.actor
    import policies.bandit
    import policies.decision_values
    import policies.greedy
    import policies.incumbent
    import policies.knapsack
    import policies.neural_linear
    import policies.perceptron
    import policies.plan_actor
    import policies.plan_linear
    import policies.restrained
    import policies.rules
    import policies.votes  # noqa: F401 - importing registers the kinds

    if kind not in CHOOSERS:
        raise CampaignError(f"policy.json: unknown kind {kind!r}; this version knows {', '.join(sorted(CHOOSERS))}.")
    return CHOOSERS[kind].restore(settings, tensors)


def one_hot(decision: Tensor, decisions: int) -> Tensor:
    """Probability 1 for each `decision` ([N], int64). Shape [N, decisions], float32."""
    return torch.nn.functional.one_hot(decision, decisions).float()


def rows_of(observation: Observation, rows: Tensor) -> Observation:
    """The customers at `rows` (int64), in that order, with the features that were computed already."""
    part = replace(
        observation,
        population=observation.population.take(rows),
        history=observation.history.take(rows),
        slot=observation.slot[rows],
        minute=observation.minute[rows],
        weekday=observation.weekday[rows],
        allowed=observation.allowed[rows],
        carried=None if observation.carried is None else observation.carried[rows],
    )
    for name in ("state", "candidates"):
        if name in vars(observation):
            vars(part)[name] = vars(observation)[name][rows]
    return part


def in_parts(observation: Observation, rows: int, compute: Callable[[Observation], Tensor]) -> Tensor:
    """What `compute` says of all customers, from at most so many at once, which bounds memory."""
    if len(observation) <= rows:
        return compute(observation)
    parts = torch.arange(len(observation), device=observation.slot.device).split(rows)
    return torch.cat([compute(rows_of(observation, part)) for part in parts])


def carrying(observation: Observation, carried: Tensor | None) -> Observation:
    """The same customers with something carried, and the features that were computed already."""
    whole = replace(observation, carried=carried)
    for name in ("state", "candidates"):
        if name in vars(observation):
            vars(whole)[name] = vars(observation)[name]
    return whole


def best_allowed(scores: Tensor, allowed: Tensor) -> Tensor:
    """The allowed decision with the highest score, the earliest of equals. Shape [N], int64."""
    return scores.masked_fill(~allowed, -torch.inf).argmax(dim=1)


def sample(probabilities: Tensor, uniform: Tensor) -> Tensor:
    """Draws decisions by inverse CDF. `probabilities` [N, 1 + K], `uniform` [N] in [0, 1); shape [N], int64.

    The draw never lands on a decision of probability zero, also where rounding leaves the row short of 1.
    """
    # Customers come last: a GPU adds up along few decisions slowly where they lie beside each other.
    cumulative = probabilities.t().double().cumsum(dim=0)
    target = uniform.double() * cumulative[-1]
    return (cumulative <= target).sum(dim=0).clamp(max=probabilities.shape[1] - 1)
