"""A linear contextual bandit as a policy: an estimate and its uncertainty for hold and for every content.

Li, Chu, Langford and Schapire (2010), algorithm 1 with one shared parameter vector over joint features, so that
contents that were never tried are scored by their attributes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from campaigns.clock import DAYPARTS
from campaigns.features import CANDIDATE_FEATURES
from campaigns.observation import Observation
from policies.chooser import Chooser, best_allowed, one_hot, register, rows_of

ROWS_AT_ONCE = 1024
"""Customers whose features are written out at once: they take [rows, 1 + K, D] numbers."""


def bandit_features(observation: Observation) -> Tensor:
    """Joint features of customer, moment and decision.

    The first block describes customer and moment whatever is decided; the others are 0 on hold and carry the
    effect of sending: again customer and moment, the content's attributes and candidate-relative facts, and the
    attributes crossed with the customer's columns and daypart.

    Returns:
        Shape [N, 1 + K, D], float32.
    """
    contents = observation.catalogue.features
    rows, count = len(observation), len(contents)
    ones = torch.ones(rows, 1, device=contents.device)
    situation = torch.cat([ones, observation.population.features, observation.state], dim=1)
    daypart = torch.nn.functional.one_hot(observation.daypart, len(DAYPARTS)).float()
    crossing = torch.cat([observation.population.features, daypart], dim=1)
    crossed = torch.einsum("kx,nc->nkxc", contents, crossing).flatten(2)
    send = torch.cat(
        [
            situation.unsqueeze(1).expand(-1, count, -1),
            contents.expand(rows, -1, -1),
            observation.candidates,
            crossed,
        ],
        dim=2,
    )
    effect = torch.cat([torch.zeros_like(send[:, :1]), send], dim=1)
    return torch.cat([situation.unsqueeze(1).expand(-1, 1 + count, -1), effect], dim=2)


def estimates(theta: Tensor, observation: Observation) -> Tensor:
    """`bandit_features(observation) @ theta`, without those features: block by block, each as small as it is.

    Args:
        theta: Shape [D].
    Returns:
        Shape [N, 1 + K].
    """
    contents, people = observation.catalogue.features, observation.population.features
    moment = torch.cat([people, observation.state], dim=1)
    situation = 1 + moment.shape[1]
    sizes = (situation, situation, contents.shape[1], len(CANDIDATE_FEATURES))
    hold, send, attributes, relative, crossed = theta.split([*sizes, len(theta) - sum(sizes)])
    of_hold = hold[0] + moment @ hold[1:]
    of_send = send[0] + moment @ send[1:]
    people_part, daypart_part = crossed.view(contents.shape[1], -1).split([people.shape[1], len(DAYPARTS)], dim=1)
    taste = people @ people_part.T + daypart_part.T[observation.daypart]  # [N, Fx]
    effect = of_send.unsqueeze(1) + contents @ attributes + observation.candidates @ relative + taste @ contents.T
    return torch.cat([of_hold.unsqueeze(1), of_hold.unsqueeze(1) + effect], dim=1)


@register
class LinUCBChooser(Chooser):
    """Chooses the allowed decision with the highest upper confidence bound.

    Args:
        theta: ridge estimate. Shape [D].
        inverse: inverse of the regularised Gram matrix. Shape [D, D].
        alpha: width of the confidence bound; 0 is greedy.
    """

    kind = "linucb"

    def __init__(self, theta: Tensor, inverse: Tensor, alpha: float) -> None:
        self.theta = theta
        self.inverse = inverse
        self.alpha = alpha

    def scores(self, features: Tensor) -> Tensor:
        """Upper confidence bounds. `features` [N, 1 + K, D]; shape [N, 1 + K]."""
        estimate = features @ self.theta
        if not self.alpha:
            return estimate
        spread = ((features @ self.inverse) * features).sum(dim=2).clamp(min=0).sqrt()
        return estimate + self.alpha * spread

    @torch.no_grad()
    def probabilities(self, observation: Observation) -> Tensor:
        """1 for the best allowed decision (the earliest of equals). Shape [N, 1 + K]."""
        if self.alpha:
            parts = torch.arange(len(observation), device=observation.slot.device).split(ROWS_AT_ONCE)
            scores = [self.scores(bandit_features(rows_of(observation, rows))) for rows in parts]
            bounds = torch.cat(scores) if scores else torch.zeros_like(observation.allowed, dtype=torch.float32)
        else:
            bounds = estimates(self.theta, observation)
        return one_hot(best_allowed(bounds, observation.allowed), bounds.shape[1])

    def settings(self) -> dict[str, Any]:
        """JSON-able settings."""
        return {"alpha": self.alpha}

    def tensors(self) -> dict[str, Tensor]:
        """Parameters by name."""
        return {"theta": self.theta, "inverse": self.inverse}

    @classmethod
    def restore(cls, settings: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> LinUCBChooser:
        """The inverse of `settings` and `tensors`."""
        return cls(tensors["theta"], tensors["inverse"], settings["alpha"])
