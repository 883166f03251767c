"""A plain perceptron over a flat observation as a policy: what stock algorithms leave behind, served without them.

Its outputs stand for the very contents of its training, so it knows no others: a content that it never saw is never
sent, one that is no longer on offer counts as closed.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from campaigns.observation import Observation
from policies.chooser import register
from policies.decision_values import ValueChooser

NOTES = logging.getLogger("campaign")
ACTIVATIONS: dict[str, type[nn.Module]] = {
    "ReLU": nn.ReLU, "Tanh": nn.Tanh, "ELU": nn.ELU, "SiLU": nn.SiLU, "GELU": nn.GELU, "LeakyReLU": nn.LeakyReLU
}  # fmt: skip
"""Between layers, by the name that torch gives them; none has parameters."""


@register
class PerceptronValues(ValueChooser):
    """Values or logits of hold and of the trained contents.

    Args:
        layers: weight [out, in] and bias [out] of each layer. Inputs are customer features, state features, and the
            candidate features of each trained content in turn; outputs hold and the trained contents.
        activation: between layers, one of ACTIVATIONS.
        contents: ids of the trained contents as text.
        temperature: 0 for values, of which the best is taken; 1 for the logits of a softmax.
        name: of the agent.
    """

    kind = "perceptron_values"

    def __init__(
        self,
        layers: Sequence[tuple[Tensor, Tensor]],
        activation: str,
        contents: Sequence[str],
        temperature: float,
        name: str = "sb3",
    ) -> None:
        super().__init__(temperature, name)
        self.layers = tuple(layers)
        self.activation = activation
        self.contents = tuple(contents)

    def check(self, content_ids: tuple[object, ...]) -> None:
        """It was trained for its own contents alone."""
        new = [str(i) for i in content_ids if str(i) not in self.contents]
        if new:
            NOTES.warning(
                "policy %s: it never saw content %r and %d more, and sends none of them; train it again, or choose "
                "ppo, cql or fqi, which decide by a content's attributes.", self.name, new[0], len(new) - 1,
            )  # fmt: skip

    def values(self, observation: Observation) -> Tensor:
        """Minus infinity for contents that it never saw. Shape [N, 1 + K]."""
        place = {str(content): index for index, content in enumerate(observation.catalogue.ids)}
        columns = [place.get(content, len(place)) for content in self.contents]
        gone = torch.zeros_like(observation.candidates[:, :1])
        candidates = torch.cat([observation.candidates, gone], dim=1)[:, columns]
        trained = self._forward(
            torch.cat([observation.population.features, observation.state, candidates.flatten(1)], dim=1)
        )
        values = torch.full_like(observation.allowed, -torch.inf, dtype=trained.dtype)
        values[:, 0] = trained[:, 0]
        for column, index in enumerate(columns):
            if index < len(place):
                values[:, 1 + index] = trained[:, 1 + column]
        return values

    def _forward(self, inputs: Tensor) -> Tensor:
        activation = ACTIVATIONS[self.activation]()
        hidden = inputs
        for number, (weight, bias) in enumerate(self.layers):
            hidden = nn.functional.linear(activation(hidden) if number else hidden, weight, bias)
        return hidden

    def settings(self) -> dict[str, Any]:
        """JSON-able settings."""
        return super().settings() | {
            "layers": len(self.layers),
            "activation": self.activation,
            "contents": list(self.contents),
        }

    def tensors(self) -> dict[str, Tensor]:
        """Weights and biases, layer by layer."""
        parts: dict[str, Tensor] = {}
        for number, (weight, bias) in enumerate(self.layers):
            parts[f"{number}.weight"], parts[f"{number}.bias"] = weight, bias
        return parts

    @classmethod
    def restore(cls, settings: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> PerceptronValues:
        """The inverse of `settings` and `tensors`."""
        layers = [(tensors[f"{n}.weight"], tensors[f"{n}.bias"]) for n in range(settings["layers"])]
        return cls(layers, settings["activation"], settings["contents"], settings["temperature"], settings["name"])
