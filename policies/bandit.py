"""A linear contextual bandit as a policy: an estimate and its uncertainty for hold and for every content.

Li, Chu, Langford and Schapire (2010), algorithm 1 with one shared parameter vector over joint features, so that
contents that were never tried are scored by their attributes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from campaigns.audience import Catalogue, Population
from campaigns.clock import DAYPARTS
from campaigns.features import STATE_FEATURES, candidate_names
from campaigns.history import HOLD
from campaigns.observation import Observation
from policies.chooser import Chooser, best_allowed, in_parts, one_hot, register

ROWS_AT_ONCE = 1024
"""Customers whose features are written out at once: they take [rows, 1 + K, D] numbers."""


def feature_width(population: Population, catalogue: Catalogue) -> int:
    """D, the width of the joint features."""
    people, contents = population.features.shape[1], catalogue.features.shape[1]
    situation = 1 + people + len(STATE_FEATURES)
    return (
        2 * situation + contents + len(candidate_names(catalogue.tells_channels)) + contents * (people + len(DAYPARTS))
    )


def bandit_features(observation: Observation) -> Tensor:
    """Joint features of customer, moment and decision, as `joint_features` lays them out. Shape [N, 1 + K, D]."""
    return joint_features(
        observation.population.features,
        observation.state,
        observation.daypart,
        observation.catalogue.features,
        observation.candidates,
    )


def decided_features(observation: Observation, decision: Tensor) -> Tensor:
    """Joint features of what was decided ([N], int64) alone. Shape [N, D], float32."""
    content = (decision - 1).clamp(min=0)
    both = joint_features(
        observation.population.features,
        observation.state,
        observation.daypart,
        observation.catalogue.features[content].unsqueeze(1),
        observation.candidate(content).unsqueeze(1),
    )
    return torch.where((decision > HOLD).unsqueeze(1), both[:, 1], both[:, 0])


def joint_features(people: Tensor, state: Tensor, daypart: Tensor, contents: Tensor, candidates: Tensor) -> Tensor:
    """Joint features of customer, moment and decision.

    The first block describes customer and moment whatever is decided; the others are 0 on hold and carry the
    effect of sending: again customer and moment, the content's attributes and candidate-relative facts, and the
    attributes crossed with the customer's columns and daypart.

    Args:
        people: Shape [N, Fu].
        state: Shape [N, Fs].
        daypart: the customers' own. Shape [N], int64.
        contents: the same K for everybody, shape [K, Fx], or each row's own, shape [N, K, Fx].
        candidates: Shape [N, K, Fc].
    Returns:
        Shape [N, 1 + K, D], float32.
    """
    rows, count = candidates.shape[:2]
    situation = torch.cat([torch.ones_like(people[:, :1]), people, state], dim=1)
    crossing = torch.cat([people, torch.nn.functional.one_hot(daypart, len(DAYPARTS)).to(people)], dim=1)
    own = contents.expand(rows, -1, -1)
    crossed = (own.unsqueeze(3) * crossing.view(rows, 1, 1, -1)).flatten(2)
    send = torch.cat([situation.unsqueeze(1).expand(-1, count, -1), own, candidates, crossed], dim=2)
    effect = torch.cat([torch.zeros_like(send[:, :1]), send], dim=1)
    return torch.cat([situation.unsqueeze(1).expand(-1, 1 + count, -1), effect], dim=2)


def estimates(theta: Tensor, observation: Observation) -> Tensor:
    """`bandit_features(observation) @ theta`, as `linear_values` computes it. Shape [N, 1 + K] or [N, M, 1 + K]."""
    return linear_values(
        theta,
        observation.population.features,
        observation.state,
        observation.daypart,
        observation.catalogue.features,
        observation.candidates,
    )


def linear_values(
    theta: Tensor, people: Tensor, state: Tensor, daypart: Tensor, contents: Tensor, candidates: Tensor
) -> Tensor:
    """`joint_features(...) @ theta`, without those features: block by block, each as small as it is.

    Args:
        theta: of one estimate, or of M. Shape [D] or [M, D].
        people, state, daypart, candidates: as for `joint_features`.
        contents: Shape [K, Fx].
    Returns:
        Shape [N, 1 + K] or [N, M, 1 + K].
    """
    moment = torch.cat([people, state], dim=1)
    situation = 1 + moment.shape[1]
    sizes = (situation, situation, contents.shape[1], candidates.shape[2])
    blocks = theta.split([*sizes, theta.shape[-1] - sum(sizes)], dim=-1)
    hold, send, attributes, relative, crossed = blocks
    of_hold = hold[..., 0] + torch.tensordot(moment, hold[..., 1:], dims=([1], [-1]))
    of_send = send[..., 0] + torch.tensordot(moment, send[..., 1:], dims=([1], [-1]))
    parts = crossed.unflatten(-1, (contents.shape[1], -1)).split([people.shape[1], len(DAYPARTS)], dim=-1)
    taste = torch.tensordot(people, parts[0], dims=([1], [-1])) + parts[1].movedim(-1, 0)[daypart]  # [N, Fx]
    facts = torch.tensordot(candidates, relative, dims=([2], [-1]))  # [N, K] or [N, K, M]
    if theta.dim() == 2:
        facts = facts.movedim(-1, 1)
    effect = of_send.unsqueeze(-1) + attributes @ contents.T + facts + taste @ contents.T
    return torch.cat([of_hold.unsqueeze(-1), of_hold.unsqueeze(-1) + effect], dim=-1)


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
            bounds = in_parts(observation, ROWS_AT_ONCE, lambda part: self.scores(bandit_features(part)))
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
