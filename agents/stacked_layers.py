"""Networks of one shape side by side: their layers hold the weights of S networks in a leading dimension.

On a GPU all of them pass at once, in batched products. A processor gains nothing by that; there each network is asked
through a view of its own weights, so that customers need not come in blocks of equal size.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


class StackedLinear(nn.Module):
    """S linear layers.

    Args:
        layers: whose weights are copied, of one shape [out, in].

    Attributes:
        weight: Shape [S, out, in].
        bias: Shape [S, out]; None where the layers have none.
    """

    bias: nn.Parameter | None

    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.stack([layer.weight.detach() for layer in layers]))
        with_bias = layers[0].bias is not None
        self.bias = nn.Parameter(torch.stack([layer.bias.detach() for layer in layers])) if with_bias else None

    def forward(self, inputs: Tensor) -> Tensor:
        """What each layer makes of its own inputs. Shape [S, ..., in] -> [S, ..., out]."""
        flat, across = inputs.flatten(1, -2), self.weight.mT
        passed = flat @ across if self.bias is None else torch.baddbmm(self.bias.unsqueeze(1), flat, across)
        return passed.view(*inputs.shape[:-1], -1)

    def view(self, place: int) -> nn.Linear:
        """The layer at a place, 0..S-1, on the same memory."""
        rows, columns = self.weight.shape[1:]
        layer = nn.Linear(columns, rows, bias=self.bias is not None, device="meta")
        layer.weight = nn.Parameter(self.weight.detach()[place])
        if self.bias is not None:
            layer.bias = nn.Parameter(self.bias.detach()[place])
        return layer


def stacked(networks: Sequence[Network]) -> Network:
    """S networks of one shape as one, whose inputs have a leading dimension S."""
    whole = copy.deepcopy(networks[0])
    for name, layer in networks[0].named_modules():
        if isinstance(layer, nn.Linear):
            whole.set_submodule(name, StackedLinear([network.get_submodule(name) for network in networks]))  # type: ignore[misc]
    return whole


def view_of(whole: Network, place: int) -> Network:
    """The network at a place, 0..S-1, of what `stacked` gave: what moves one moves the other."""
    single = copy.deepcopy(whole)
    for name, layer in whole.named_modules():
        if isinstance(layer, StackedLinear):
            single.set_submodule(name, layer.view(place))
    return single


def clip_gradients(parameters: Sequence[nn.Parameter], most: float) -> None:
    """Shortens each network's gradient to a norm of at most `most`. Parameters of shape [S, ...]."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norms = torch.stack([gradient.flatten(1).norm(dim=1) for gradient in gradients]).norm(dim=0)
    share = (most / (norms + 1e-6)).clamp(max=1.0)
    for gradient in gradients:
        gradient.mul_(share.view(-1, *[1] * (gradient.dim() - 1)))
