"""A small ensemble with shared weights: members differ by adapters and by the customers that they weigh.

Adapters multiply and shift hidden units (Wen, Tran and Ba 2020; Gorishniy et al. 2025), so that k members cost one
set of weights, and a market can let each customer live in one member by a gather. Two trunks: the base answers
for customer and moment whatever is decided; the response adds what a send changes.

Each trunk is a linear model with a hidden correction: what grows with every send goes on growing beyond the log.
Who likes what is a product of customers' and contents' attributes, which a sum of the two before the first layer
learns too slowly (ADR 5).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from propensity.number_embedding import UNITS, NumberEmbedding

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


BLOCK = 4096
"""Decisions that are answered at once: their hidden units stay in a core's cache."""

LIKINGS = 2
"""Ways of liking a content that all heads share, so that rare purchases learn taste from frequent opens and clicks."""


@dataclass(frozen=True)
class NetworkSpec:
    """Sizes of a network.

    Attributes:
        customers, state, contents, candidates: widths Fu, Fs, Fx, Fc of its inputs.
        members: k.
        width: hidden units of each trunk's layers.
        numbers, bins: how many of the customers' features are embedded as numbers, in how many bins.
        tastes: rank of the product of customers' and contents' attributes; 0 for none.
        dropout: of hidden units, while training.
    """

    customers: int
    state: int
    contents: int
    candidates: int
    members: int = 4
    width: int = 64
    numbers: int = 0
    bins: int = 0
    tastes: int = 0
    dropout: float = 0.0


class Trunk(nn.Module):
    """A linear model, and two hidden layers whose units every member scales and shifts in its own way.

    Args:
        inputs: widths of the input groups; their first-layer products are added up, so that each can be
            computed once and kept.
        members: k.
        width: hidden units.
        outputs: H, heads.
        dropout: of hidden units, while training.
    """

    def __init__(self, inputs: tuple[int, ...], members: int, width: int, outputs: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.width, total = width, sum(inputs)
        self.first = nn.ModuleList(
            [nn.Linear(size, width + outputs, bias=group == 0) for group, size in enumerate(inputs)]
        )
        for layer in self.first:
            assert isinstance(layer, nn.Linear)
            if layer.in_features:
                nn.init.normal_(layer.weight[:width], std=(2.0 / total) ** 0.5)
                nn.init.zeros_(layer.weight[width:])
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        self.dropout = nn.Dropout(dropout)
        self.second = nn.Linear(width, width, bias=False)
        nn.init.kaiming_normal_(self.second.weight)
        self.head = nn.Linear(width, outputs, bias=False)
        nn.init.normal_(self.head.weight, std=0.01)
        self.scale = nn.Parameter(torch.randn(2, members, width).sign())
        self.shift = nn.Parameter(torch.zeros(2, members, width))
        self.head_scale = nn.Parameter(torch.ones(members, width))
        self.head_shift = nn.Parameter(torch.zeros(members, outputs))

    def project(self, group: int, values: Tensor) -> Tensor:
        """Product of one input group with the first hidden layer and the linear model. Shape [N, width + H]."""
        projected: Tensor = self.first[group](values)
        return projected

    @torch.no_grad()
    def absorb(self, group: int, mean: Tensor, scale: Tensor) -> None:
        """Rewrites the first layer for inputs as they are, where it was trained on (x - mean) / scale.

        Args:
            group: of inputs, not the first.
            mean, scale: Shape [F].
        """
        layer, constant = self.first[group], self.first[0]
        assert isinstance(layer, nn.Linear)
        assert isinstance(constant, nn.Linear)
        layer.weight.div_(scale)
        constant.bias.sub_(layer.weight @ mean)

    def forward(self, projected: Tensor, member: Tensor | None) -> Tensor:
        """Outputs from the added-up products.

        Args:
            projected: Shape [N, width + H].
            member: one a row, shape [N], int64; None for all.
        Returns:
            Shape [N, H], or [N, k, H] for all members.
        """

        kept, chosen = projected.unsqueeze(1), None
        if member is not None:
            kept, chosen = projected, nn.functional.one_hot(member, len(self.head_scale)).to(projected.dtype)
        shift = self.head_shift if chosen is None else chosen @ self.head_shift
        outputs: Tensor = self.head(self._units(kept[..., : self.width], chosen)) + shift
        return outputs + kept[..., self.width :]

    def units(self, projected: Tensor) -> Tensor:
        """What the heads weigh beside the inputs themselves, averaged over members. Shape [N, width]."""
        return self._units(projected[:, None, : self.width], None).mean(dim=1)

    @torch.no_grad()
    def rewrite(self, place: int, constant: Tensor | float, inputs: Tensor, units: Tensor) -> None:
        """Gives one head other weights.

        Args:
            place: of the head among the outputs.
            constant: of each member, shape [k], or of all.
            inputs: of the input groups in their order. Shape [sum of their widths].
            units: as `units` returns them. Shape [width].
        """
        sizes = [layer.in_features for layer in self.first if isinstance(layer, nn.Linear)]
        for layer, own in zip(self.first, inputs.split(sizes), strict=True):
            assert isinstance(layer, nn.Linear)
            layer.weight[self.width + place] = own
            if layer.bias is not None:
                layer.bias[self.width + place] = 0.0
        self.head.weight[place] = units
        self.head_shift[:, place] = constant

    def _units(self, hidden: Tensor, chosen: Tensor | None) -> Tensor:
        """The last hidden units as members scale them for the heads; `chosen` as for `_adapted`."""
        hidden = self.dropout(self._adapted(0, hidden, chosen))
        hidden = self.dropout(self._adapted(1, self.second(hidden), chosen))
        return hidden * (self.head_scale if chosen is None else chosen @ self.head_scale)

    def _adapted(self, layer: int, hidden: Tensor, chosen: Tensor | None) -> Tensor:
        """Hidden units as members scale and shift them; `chosen` [N, k] is 1 for each row's own member."""
        if chosen is None:
            return torch.relu(self.scale[layer] * hidden + self.shift[layer])
        # A product with so few rows is faster than looking them up.
        return torch.addcmul(chosen @ self.shift[layer], chosen @ self.scale[layer], hidden).relu_()


class PropensityNetwork(nn.Module):
    """Both trunks.

    Args:
        spec: sizes.
    """

    kind = "network"

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.spec = spec
        self.embedding = NumberEmbedding(spec.numbers, spec.bins)
        described = spec.customers + spec.numbers * UNITS
        size = (spec.members, spec.width)
        self.base = Trunk((described, spec.state), *size, len(BASE), spec.dropout)
        self.response = Trunk((described, spec.state, spec.contents, spec.candidates), *size, len(HEADS), spec.dropout)
        # Not initialised by torch, which warns of tables without rows.
        self.tastes = nn.utils.skip_init(nn.Linear, described, spec.tastes * LIKINGS, bias=False)
        self.kinds = nn.utils.skip_init(nn.Linear, spec.contents, spec.tastes, bias=False)
        self.likings = nn.Linear(LIKINGS, len(HEADS), bias=False)
        nn.init.normal_(self.likings.weight, std=0.5)
        if spec.tastes:
            nn.init.zeros_(self.tastes.weight)
            nn.init.normal_(self.kinds.weight, std=max(spec.contents, 1) ** -0.5)
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
        """What of the customers' part stays the same for an episode. Shape [N, P]."""
        described = self.embedding(customers)
        parts = [self.base.project(0, described), self.response.project(0, described), self.tastes(described)]
        return torch.cat(parts, dim=1)

    def _parts(self, projected: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What `project_customers` put together; tastes of shape [N, R, LIKINGS]."""
        width, heads = self.spec.width, len(HEADS)
        sizes = [width + len(BASE), width + heads, self.spec.tastes * LIKINGS]
        base, response, tastes = projected.split(sizes, dim=1)
        return base, response, tastes.view(len(projected), self.spec.tastes, LIKINGS)

    def absorb(self, state: tuple[Tensor, Tensor], candidate: tuple[Tensor, Tensor]) -> None:
        """Rewrites first layers that were trained on standardised features for the features as they are.

        Args:
            state, candidate: mean and standard deviation of each column. Shapes [Fs] and [Fc].
        """
        self.base.absorb(1, *state)
        self.response.absorb(1, *state)
        self.response.absorb(3, *candidate)

    def forward(
        self, projected: Tensor, state: Tensor, contents: Tensor, candidate: Tensor, sent: Tensor, member: Tensor | None
    ) -> Tensor:
        """Outputs of N decisions.

        Args:
            projected: from `project_customers`. Shape [N, P].
            state: Shape [N, Fs].
            contents: attributes of what was sent. Shape [N, Fx]; ignored on hold.
            candidate: candidate-relative features of it. Shape [N, Fc]; ignored on hold.
            sent: Shape [N], bool.
            member: one a row, or None for all.
        Returns:
            Columns as in HEADS. Shape [N, H], or [N, k, H].
        """
        if len(sent) > BLOCK and sent.device.type == "cpu" and not torch.is_grad_enabled():
            inputs = (projected, state, contents, candidate, sent, *(() if member is None else (member,)))
            blocks = zip(*(part.split(BLOCK) for part in inputs), strict=True)
            return torch.cat([self(*block, *((None,) if member is None else ())) for block in blocks])
        of_base, of_response, tastes = self._parts(projected)
        base = self.base(of_base + self.base.project(1, state), member)
        columns = self.base_columns
        assert isinstance(columns, Tensor)
        if torch.is_grad_enabled() or sent.device.type != "cpu":
            outputs = self._respond(of_response, tastes, state, contents, candidate, member)
            outputs = sent.view(-1, *[1] * (outputs.dim() - 1)).to(outputs.dtype) * outputs
        else:  # most decisions are holds, which nothing responds to; a GPU would have to wait for their count
            rows = torch.nonzero(sent).squeeze(1)
            projected, tastes, state, contents, candidate = (
                part.index_select(0, rows) for part in (of_response, tastes, state, contents, candidate)
            )
            theirs = None if member is None else member[rows]
            some = self._respond(projected, tastes, state, contents, candidate, theirs)
            outputs = some.new_zeros(len(sent), *some.shape[1:]).index_copy_(0, rows, some)
        return outputs.index_add(outputs.dim() - 1, columns, base)

    def _respond(
        self,
        projected: Tensor,
        tastes: Tensor,
        state: Tensor,
        contents: Tensor,
        candidate: Tensor,
        member: Tensor | None,
    ) -> Tensor:
        """What a send adds to the outputs of a hold; the customers' own part as `_parts` splits it. Shapes as above."""
        first = projected + self.response.project(1, state)
        first = first + self.response.project(2, contents) + self.response.project(3, candidate)
        outputs: Tensor = self.response(first, member)
        if self.spec.tastes:
            liking = self.likings((tastes * self.kinds(contents).unsqueeze(2)).sum(dim=1))  # [N, H]
            outputs = outputs + (liking.unsqueeze(1) if member is None else liking)
        return outputs

    @torch.no_grad()
    def response_inputs(self, customers: Tensor, state: Tensor, contents: Tensor, candidate: Tensor) -> Tensor:
        """All that a head's response to a send is a weighted sum of, tastes aside; arguments as for `respond`.

        Returns:
            A one, customers as they are described, state, contents, candidate features, and the last hidden units.
            Shape [N, D].
        """
        described = self.embedding(customers)
        first = self.response.project(0, described) + self.response.project(1, state)
        first = first + self.response.project(2, contents) + self.response.project(3, candidate)
        units = self.response.units(first)
        return torch.cat([state.new_ones(len(state), 1), described, state, contents, candidate, units], dim=1)

    @torch.no_grad()
    def rewrite_response(self, head: str, weights: Tensor, shift: Tensor) -> None:
        """Makes one head's response to a send a sum of `response_inputs` with other weights, without tastes.

        Args:
            head: one of HEADS.
            weights: Shape [D].
            shift: of each member. Shape [k].
        """
        inputs, units = weights[1:].float().split([len(weights) - 1 - self.spec.width, self.spec.width])
        place = HEADS.index(head)
        self.response.rewrite(place, float(weights[0]) + shift, inputs, units)
        self.likings.weight[place] = 0.0

    @torch.no_grad()
    def flatten_base(self, head: str) -> float:
        """Leaves of one head's base, which a hold has too, nothing but its mean level over members; returns that."""
        place, base = BASE.index(head), self.base
        sizes = sum(layer.in_features for layer in base.first if isinstance(layer, nn.Linear))
        level = float(base.head_shift[:, place].mean())
        base.rewrite(place, level, torch.zeros(sizes), torch.zeros(self.spec.width))
        return level

    def forward_all(self, projected: Tensor, state: Tensor, contents: Tensor, candidates: Tensor) -> Tensor:
        """Outputs of hold and of every content, of all members.

        Args:
            projected: from `project_customers`. Shape [N, P].
            state: Shape [N, Fs].
            contents: Shape [K, Fx].
            candidates: Shape [N, K, Fc].
        Returns:
            Shape [N, 1 + K, k, H].
        """
        rows, count = len(state), len(contents)
        of_base, of_response, tastes = self._parts(projected)
        base = self.base(of_base + self.base.project(1, state), None)
        first = (of_response + self.response.project(1, state)).unsqueeze(1)
        first = first + self.response.project(2, contents) + self.response.project(3, candidates)
        outputs = self.response(first.flatten(0, 1), None).view(rows, count, self.spec.members, len(HEADS))
        if self.spec.tastes:
            outputs = outputs + self.likings(torch.einsum("kr,nrl->nkl", self.kinds(contents), tastes)).unsqueeze(2)
        outputs = torch.cat([torch.zeros_like(outputs[:, :1]), outputs], dim=1)
        columns = self.base_columns
        assert isinstance(columns, Tensor)
        return outputs.index_add(3, columns, base.unsqueeze(1).expand(-1, 1 + count, -1, -1).contiguous())
