"""A chooser that sends less: its odds of sending anything divided by one number, whatever it would send."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from campaigns.observation import Observation
from policies.chooser import Chooser, register, restore_chooser

SURE = 0.999
"""Chance of a send from which on a chooser counts as sure to send: odds are infinite beyond."""


@register
class Restrained(Chooser):
    """What another chooser does, with `restraint` added to the logit of holding.

    For a softmax over decisions that is just a higher logit of hold, so that what is hardly worth sending goes first;
    what sends for sure is thinned by chance. More restraint never raises the chance of a send in a given state.

    Args:
        chooser: what chooses.
        restraint: at least 0, in logits.
    """

    kind = "restrained"

    def __init__(self, chooser: Chooser, restraint: float) -> None:
        self.chooser = chooser
        self.restraint = restraint
        self.carries = chooser.carries

    def probabilities(self, observation: Observation) -> Tensor:
        """Contents keep their shares of the sends. Shape [N, 1 + K]."""
        chances = self.chooser.probabilities(observation)
        contents = chances[:, 1:]
        send = contents.sum(dim=1, keepdim=True)
        fewer = torch.sigmoid(torch.logit(send.clamp(max=SURE).double()) - self.restraint).float()
        contents = contents * (fewer / send.clamp(min=1e-30))
        # Not 1 minus the sum of what was rounded, which may fall below 0.
        return torch.cat([(1.0 - contents.sum(dim=1, keepdim=True)).clamp(min=0.0), contents], dim=1)

    def carry(self, observation: Observation) -> Tensor:
        """As the inner chooser."""
        return self.chooser.carry(observation)

    def settings(self) -> dict[str, Any]:
        """JSON-able settings."""
        inner = {"kind": self.chooser.kind, "settings": self.chooser.settings()}
        return {"restraint": self.restraint, "chooser": inner}

    def tensors(self) -> dict[str, Tensor]:
        """The inner chooser's."""
        return self.chooser.tensors()

    @classmethod
    def restore(cls, settings: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Restrained:
        """The inverse of `settings` and `tensors`."""
        inner = settings["chooser"]
        return cls(restore_chooser(inner["kind"], inner["settings"], tensors), settings["restraint"])

    def check(self, content_ids: tuple[object, ...]) -> None:
        """As the inner chooser."""
        self.chooser.check(content_ids)
