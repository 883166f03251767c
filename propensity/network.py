"""A small ensemble with shared weights: members differ by adapters and by the customers that they weigh.

Adapters multiply and shift hidden units (Wen, Tran and Ba 2020; Gorishniy et al. 2025), so that k members cost one
set of weights, and a market can let each customer live in one member by a gather. Two trunks: the base answers
for customer and moment whatever is decided; the response adds what a send changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

HEADS = (
    "purchase",
    "visit",
    "visit_bought",
    "unsubscribe",
    "open",
    "open_bought",
    "click",
    "click_bought",
    "value",
    "value_clicked",
)
"""Outputs: logits, and shifts of logits given a purchase; value mean in training units, and its shift by a click."""

BASE = ("purchase", "visit", "visit_bought", "unsubscribe", "value")
"""Outputs that a hold has too."""


@dataclass(frozen=True)
class NetworkSpec:
    """Sizes of a network.

    Attributes:
        customers, state, contents, candidates: widths Fu, Fs, Fx, Fc of its inputs.
        members: k.
        width: hidden units of each trunk's layers.
    """

    customers: int
    state: int
    contents: int
    candidates: int
    members: int = 4
    width: int = 64


class Trunk(nn.Module):
    """Two hidden layers whose units every member scales and shifts in its own way.

    Args:
        inputs: widths of the input groups; their first-layer products are added up, so that each can be
            computed once and kept.
        members: k.
        width: hidden units.
        outputs: heads.
    """

    def __init__(self, inputs: tuple[int, ...], members: int, width: int, outputs: int) -> None:
        super().__init__()
        total = sum(inputs)
        self.first = nn.ModuleList([nn.Linear(size, width, bias=False) for size in inputs])
        for layer in self.first:
            assert isinstance(layer, nn.Linear)
            if layer.in_features:
                nn.init.normal_(layer.weight, std=(2.0 / total) ** 0.5)
        self.second = nn.Linear(width, width, bias=False)
        nn.init.kaiming_normal_(self.second.weight)
        self.head = nn.Linear(width, outputs, bias=False)
        nn.init.normal_(self.head.weight, std=0.01)
        self.scale = nn.Parameter(torch.randn(2, members, width).sign())
        self.shift = nn.Parameter(torch.zeros(2, members, width))
        self.head_scale = nn.Parameter(torch.ones(members, width))
        self.head_shift = nn.Parameter(torch.zeros(members, outputs))

    def project(self, group: int, values: Tensor) -> Tensor:
        """First-layer product of one input group. Shape [N, width]."""
        projected: Tensor = self.first[group](values)
        return projected

    def forward(self, projected: Tensor, member: Tensor | None) -> Tensor:
        """Outputs from the added-up first-layer products.

        Args:
            projected: Shape [N, width].
            member: one a row, shape [N], int64; None for all.
        Returns:
            Shape [N, H], or [N, k, H] for all members.
        """

        def pick(table: Tensor) -> Tensor:
            return table.unsqueeze(0) if member is None else table[member]

        hidden = projected.unsqueeze(1) if member is None else projected
        hidden = torch.relu(pick(self.scale[0]) * hidden + pick(self.shift[0]))
        hidden = torch.relu(pick(self.scale[1]) * self.second(hidden) + pick(self.shift[1]))
        outputs: Tensor = self.head(hidden * pick(self.head_scale)) + pick(self.head_shift)
        return outputs


class PropensityNetwork(nn.Module):
    """Both trunks.

    Args:
        spec: sizes.
    """

    kind = "network"

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.spec = spec
        self.base = Trunk((spec.customers, spec.state), spec.members, spec.width, len(BASE))
        self.response = Trunk(
            (spec.customers, spec.state, spec.contents, spec.candidates), spec.members, spec.width, len(HEADS)
        )
        self.register_buffer("base_columns", torch.tensor([HEADS.index(name) for name in BASE]))

    @property
    def members(self) -> int:
        """k."""
        return self.spec.members

    def settings(self) -> dict[str, Any]:
        """JSON-able part of a saved network."""
        return {"spec": asdict(self.spec)}

    def weights(self) -> dict[str, Tensor]:
        """The rest, by name."""
        return dict(self.state_dict())

    @staticmethod
    def restore(settings: Mapping[str, Any], weights: Mapping[str, Tensor]) -> PropensityNetwork:
        """The inverse of `settings` and `weights`."""
        network = PropensityNetwork(NetworkSpec(**settings["spec"]))
        network.load_state_dict(dict(weights))
        return network.eval()

    def moved(self, device: torch.device | str) -> PropensityNetwork:
        """A copy on another device."""
        return PropensityNetwork.restore(self.settings(), self.state_dict()).to(device)

    def project_customers(self, customers: Tensor) -> Tensor:
        """What of both trunks' first layers stays the same for an episode. Shape [N, 2 width]."""
        return torch.cat([self.base.project(0, customers), self.response.project(0, customers)], dim=1)

    def forward(
        self, projected: Tensor, state: Tensor, contents: Tensor, candidate: Tensor, sent: Tensor, member: Tensor | None
    ) -> Tensor:
        """Outputs of N decisions.

        Args:
            projected: from `project_customers`. Shape [N, 2 width].
            state: Shape [N, Fs].
            contents: attributes of what was sent. Shape [N, Fx]; ignored on hold.
            candidate: candidate-relative features of it. Shape [N, Fc]; ignored on hold.
            sent: Shape [N], bool.
            member: one a row, or None for all.
        Returns:
            Columns as in HEADS. Shape [N, H], or [N, k, H].
        """
        width = self.spec.width
        base = self.base(projected[..., :width] + self.base.project(1, state), member)
        first = projected[..., width:] + self.response.project(1, state)
        first = first + self.response.project(2, contents) + self.response.project(3, candidate)
        outputs: Tensor = self.response(first, member)
        gate = sent.view(-1, *[1] * (outputs.dim() - 1)).to(outputs.dtype)
        columns = self.base_columns
        assert isinstance(columns, Tensor)
        return (gate * outputs).index_add(outputs.dim() - 1, columns, base)

    def forward_all(self, projected: Tensor, state: Tensor, contents: Tensor, candidates: Tensor) -> Tensor:
        """Outputs of hold and of every content, of all members.

        Args:
            projected: Shape [N, 2 width].
            state: Shape [N, Fs].
            contents: Shape [K, Fx].
            candidates: Shape [N, K, Fc].
        Returns:
            Shape [N, 1 + K, k, H].
        """
        width, rows, count = self.spec.width, len(state), len(contents)
        base = self.base(projected[:, :width] + self.base.project(1, state), None)
        first = (projected[:, width:] + self.response.project(1, state)).unsqueeze(1)
        first = first + self.response.project(2, contents) + self.response.project(3, candidates)
        outputs = self.response(first.flatten(0, 1), None).view(rows, count, self.spec.members, len(HEADS))
        outputs = torch.cat([torch.zeros_like(outputs[:, :1]), outputs], dim=1)
        columns = self.base_columns
        assert isinstance(columns, Tensor)
        return outputs.index_add(3, columns, base.unsqueeze(1).expand(-1, 1 + count, -1, -1).contiguous())
