"""The neural-linear bandit as a policy: a small network's last layer, and Bayesian linear estimates on it.

Riquelme, Tucker and Snoek (2018), section 4: the network learns the representation, a conjugate linear regression on
its last layer carries the uncertainty. The policy chooses between draws of that regression (`policies.votes`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from campaigns.history import HOLD
from campaigns.observation import Observation
from policies.chooser import Chooser, in_parts, register
from policies.votes import vote_shares

ROWS_AT_ONCE = 2048
"""Customers whose decisions pass the network at once: they take [rows, 1 + K, width] numbers."""


@dataclass(frozen=True)
class RewardNetworkSpec:
    """Sizes of the network.

    Attributes:
        moment: width of customer and state.
        send: width of a content's attributes and candidate-relative features.
        width, last: hidden units of its two layers.
    """

    moment: int
    send: int
    width: int = 64
    last: int = 32


class RewardNetwork(nn.Module):
    """Expected reward of a decision: what customer and moment bring, and for sends what the content adds to it."""

    def __init__(self, spec: RewardNetworkSpec) -> None:
        super().__init__()
        self.spec = spec
        self.moment = nn.Linear(spec.moment, spec.width)
        self.effect = nn.Linear(1 + spec.moment + spec.send, spec.width, bias=False)
        self.second = nn.Linear(spec.width, spec.last)
        self.reward = nn.Linear(spec.last, 1)

    def features(self, moment: Tensor, send: Tensor) -> Tensor:
        """The last layer, with a constant.

        Args:
            moment: customer and state. Shape [..., Fm].
            send: 1, customer and state again, and the content's part; all 0 on hold. Shape [..., 1 + Fm + Fx].
        Returns:
            Shape [..., last + 1].
        """
        hidden = self.second((self.moment(moment) + self.effect(send)).relu()).relu()
        return torch.cat([hidden, torch.ones_like(hidden[..., :1])], dim=-1)

    def forward(self, moment: Tensor, send: Tensor) -> Tensor:
        """Expected reward, in standard deviations around the mean. Shape [...]."""
        expected: Tensor = self.reward(self.features(moment, send)[..., :-1]).squeeze(-1)
        return expected


def network_inputs(observation: Observation) -> tuple[Tensor, Tensor]:
    """What the network sees of every decision. Shapes [N, 1, Fm] and [N, 1 + K, 1 + Fm + Fx]."""
    moment = torch.cat([observation.population.features, observation.state], dim=1).unsqueeze(1)
    contents = observation.catalogue.features.expand(len(observation), -1, -1)
    repeated = moment.expand(-1, contents.shape[1], -1)
    send = torch.cat([torch.ones_like(contents[..., :1]), repeated, contents, observation.candidates], dim=2)
    return moment, torch.cat([torch.zeros_like(send[:, :1]), send], dim=1)


def decided_inputs(observation: Observation, decision: Tensor) -> Tensor:
    """What the network sees of what was decided ([N], int64), both parts side by side. Shape [N, 2 Fm + 1 + Fx]."""
    moment = torch.cat([observation.population.features, observation.state], dim=1)
    content = (decision - 1).clamp(min=0)
    attributes = observation.catalogue.features[content]
    send = torch.cat([torch.ones_like(moment[:, :1]), moment, attributes, observation.candidate(content)], dim=1)
    return torch.cat([moment, send * (decision > HOLD).unsqueeze(1)], dim=1)


@register
class NeuralLinearVotes(Chooser):
    """Linear estimates on a network's last layer that vote.

    Args:
        network: gives the features.
        thetas: estimates. Shape [M, last + 1].
    """

    kind = "neural_linear"

    def __init__(self, network: RewardNetwork, thetas: Tensor) -> None:
        self.network = network.eval()
        self.thetas = thetas

    @torch.no_grad()
    def probabilities(self, observation: Observation) -> Tensor:
        """Shares of votes. Shape [N, 1 + K]."""
        return in_parts(observation, ROWS_AT_ONCE, self._shares)

    def _shares(self, part: Observation) -> Tensor:
        scores = self.network.features(*network_inputs(part)) @ self.thetas.T
        return vote_shares(scores.movedim(2, 1), part.allowed)

    def settings(self) -> dict[str, Any]:
        """JSON-able settings."""
        return {"spec": asdict(self.network.spec)}

    def tensors(self) -> dict[str, Tensor]:
        """Weights and estimates by name."""
        weights = {name: value.detach().cpu().contiguous() for name, value in self.network.state_dict().items()}
        return {**weights, "thetas": self.thetas}

    @classmethod
    def restore(cls, settings: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> NeuralLinearVotes:
        """The inverse of `settings` and `tensors`."""
        network = RewardNetwork(RewardNetworkSpec(**settings["spec"]))
        network.load_state_dict({name: value for name, value in tensors.items() if name != "thetas"})
        return cls(network, tensors["thetas"])
