"""Asks a policy slot by slot, handing on what it carries itself: in markets, in replays and wherever it is followed."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from campaigns.observation import Observation
from policies.chooser import carrying


class Decides(Protocol):
    """Anything that turns an observation into decision probabilities. It may also have `carries` and `carry`."""

    def probabilities_of(self, observation: Observation) -> Tensor:
        """Probability of hold and each content. Shape [N, 1 + K], zero where not allowed, rows sum to 1."""
        ...


class Follower:
    """One policy with the same customers in all slots, in order of time.

    Args:
        policy: with `carry`, as `policies.policy.Policy`.

    Attributes:
        carried: by the policy, since the latest slot. Shape [N, C], int64; None before the first.
    """

    def __init__(self, policy: Decides) -> None:
        self.policy = policy
        self.carried: Tensor | None = None

    def probabilities_of(self, observation: Observation) -> Tensor:
        """Probability of every decision. Shape [N, 1 + K]."""
        self.carried = self.policy.carry(carrying(observation, self.carried))  # type: ignore[attr-defined]
        return self.policy.probabilities_of(carrying(observation, self.carried))


def following(policy: Decides) -> Decides:
    """What to ask in place of the policy: itself, where it carries nothing, else a `Follower` that begins anew."""
    return Follower(policy) if getattr(policy, "carries", False) else policy
