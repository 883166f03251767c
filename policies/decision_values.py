"""Values of hold and of every content as a policy: the best, or a softmax of them.

Both forms score contents by their attributes and candidate-relative features, so they decide over contents that they
never saw.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from campaigns.observation import Observation
from policies.actor import Actor, ActorSpec
from policies.bandit import estimates
from policies.chooser import Chooser, best_allowed, one_hot, register


class ValueTowers(Actor):
    """Q(s, hold) and Q(s, j) = Q(s, hold) + A(s, j), with the actor's towers for both parts."""

    def __init__(self, spec: ActorSpec) -> None:
        super().__init__(spec)
        nn.init.zeros_(self.hold.bias)

    def forward(self, customers: Tensor, state: Tensor, contents: Tensor, candidates: Tensor) -> Tensor:
        """Values, for inputs as of `Actor`. Shape [N, 1 + K]."""
        hold, advantages = super().forward(customers, state, contents, candidates).split([1, candidates.shape[1]], 1)
        return torch.cat([hold, hold + advantages], dim=1)


class ValueChooser(Chooser):
    """Chooses by values.

    Args:
        temperature: in the unit of the values; 0 takes the best allowed decision (the earliest of equals), more draws
            from the softmax of values / temperature.
        name: of the agent that learned them.
    """

    def __init__(self, temperature: float, name: str) -> None:
        self.temperature = temperature
        self.name = name

    @abstractmethod
    def values(self, observation: Observation) -> Tensor:
        """Q of every decision, allowed or not. Shape [N, 1 + K]."""

    @torch.no_grad()
    def probabilities(self, observation: Observation) -> Tensor:
        """Within what is allowed. Shape [N, 1 + K]."""
        values = self.values(observation)
        if not self.temperature:
            return one_hot(best_allowed(values, observation.allowed), values.shape[1])
        chances: Tensor = (values / self.temperature).masked_fill(~observation.allowed, -torch.inf).softmax(dim=1)
        return chances

    def settings(self) -> dict[str, Any]:
        """JSON-able settings."""
        return {"temperature": self.temperature, "name": self.name}


@register
class LinearValues(ValueChooser):
    """Values that are linear in the bandits' joint features.

    Args:
        theta: Shape [D].
        temperature, name: see `ValueChooser`.
    """

    kind = "linear_values"

    def __init__(self, theta: Tensor, temperature: float, name: str = "fqi") -> None:
        super().__init__(temperature, name)
        self.theta = theta

    def values(self, observation: Observation) -> Tensor:
        """Shape [N, 1 + K]."""
        return estimates(self.theta, observation)

    def tensors(self) -> dict[str, Tensor]:
        """Parameters by name."""
        return {"theta": self.theta}

    @classmethod
    def restore(cls, settings: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> LinearValues:
        """The inverse of `settings` and `tensors`."""
        return cls(tensors["theta"], settings["temperature"], settings["name"])


@register
class TowerValues(ValueChooser):
    """Values of a two-tower network.

    Args:
        network: values in units of `scale`.
        scale: in the objective's unit.
        temperature: in the objective's unit.
        name: of the agent.
    """

    kind = "tower_values"

    def __init__(self, network: ValueTowers, scale: float, temperature: float, name: str = "cql") -> None:
        super().__init__(temperature, name)
        self.network = network.eval()
        self.scale = scale

    def values(self, observation: Observation) -> Tensor:
        """In the objective's unit. Shape [N, 1 + K]."""
        values: Tensor = self.network(
            observation.population.features, observation.state, observation.catalogue.features, observation.candidates
        )
        return values * self.scale

    def settings(self) -> dict[str, Any]:
        """JSON-able settings."""
        return super().settings() | {"spec": asdict(self.network.spec), "scale": self.scale}

    def tensors(self) -> dict[str, Tensor]:
        """Weights by name."""
        return {name: value.detach().cpu().contiguous() for name, value in self.network.state_dict().items()}

    @classmethod
    def restore(cls, settings: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> TowerValues:
        """The inverse of `settings` and `tensors`."""
        network = ValueTowers(ActorSpec(**settings["spec"]))
        network.load_state_dict(dict(tensors))
        return cls(network, settings["scale"], settings["temperature"], settings["name"])
