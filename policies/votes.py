"""Several estimates that vote: Thompson sampling as a policy whose probabilities are known exactly.

A draw from a posterior of parameters has no probability of its decision in closed form. So the posterior is drawn from
once, when the policy is made: M estimates are saved with it, each customer and slot is served by one of them, all
equally likely, and the probability of a decision is the share of the estimates that rank it first. With M = 1 this is
the greedy policy of one estimate. Serving draws from these very probabilities.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from campaigns.observation import Observation
from policies.bandit import estimates
from policies.chooser import Chooser, in_parts, register

ROWS_AT_ONCE = 4096
"""Customers whose estimates are computed at once: they take [rows, M, 1 + K] numbers."""


def vote_shares(scores: Tensor, allowed: Tensor) -> Tensor:
    """Share of the estimates that rank each allowed decision first, the earliest of equals.

    Args:
        scores: of M estimates. Shape [N, M, 1 + K].
        allowed: Shape [N, 1 + K], bool.
    Returns:
        Shape [N, 1 + K], float32.
    """
    best = scores.masked_fill(~allowed.unsqueeze(1), -torch.inf).argmax(dim=2)
    counts = torch.zeros(allowed.shape, device=scores.device).scatter_add_(1, best, torch.ones_like(best).float())
    return counts / scores.shape[1]


def evenly(allowed: Tensor) -> Tensor:
    """All allowed decisions alike, hold among them. Shape [N, 1 + K], float32."""
    return allowed.float() / allowed.sum(dim=1, keepdim=True)


@register
class LinearVotes(Chooser):
    """Linear estimates that vote, and a share of even draws.

    Args:
        thetas: estimates over `bandit_features`. Shape [M, D].
        epsilon: share of decisions drawn evenly from what is allowed.
    """

    kind = "linear_votes"

    def __init__(self, thetas: Tensor, epsilon: float = 0.0) -> None:
        self.thetas = thetas
        self.epsilon = epsilon

    @torch.no_grad()
    def probabilities(self, observation: Observation) -> Tensor:
        """Shares of votes, mixed with even draws. Shape [N, 1 + K]."""
        shares = in_parts(
            observation, ROWS_AT_ONCE, lambda part: vote_shares(estimates(self.thetas, part), part.allowed)
        )
        return shares if not self.epsilon else (1 - self.epsilon) * shares + self.epsilon * evenly(observation.allowed)

    def settings(self) -> dict[str, Any]:
        """JSON-able settings."""
        return {"epsilon": self.epsilon}

    def tensors(self) -> dict[str, Tensor]:
        """Parameters by name."""
        return {"thetas": self.thetas}

    @classmethod
    def restore(cls, settings: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> LinearVotes:
        """The inverse of `settings` and `tensors`."""
        return cls(tensors["thetas"], settings["epsilon"])
