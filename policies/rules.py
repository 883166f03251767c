"""Rules that people write: what a learned policy has to beat."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from campaigns.clock import DAYPARTS
from campaigns.errors import CampaignError
from campaigns.history import HOLD, sends_within
from campaigns.observation import Observation
from campaigns.plans import ANY, FAVOURED, FAVOURITE, ROTATE, ROTATED, chosen_content
from policies.chooser import Chooser, one_hot, register

NOTES = logging.getLogger("campaign")


class Rule(Chooser):
    """A rule whose settings are its dataclass fields."""

    def settings(self) -> dict[str, Any]:
        """The rule's fields."""
        return asdict(self)  # type: ignore[call-overload,no-any-return]

    @classmethod
    def restore(cls, settings: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Chooser:
        """The inverse of `settings`."""
        return cls(**settings)


@register
@dataclass(frozen=True)
class Never(Rule):
    """Always holds."""

    kind = "never"

    def probabilities(self, observation: Observation) -> Tensor:
        """1 for hold. Shape [N, 1 + K]."""
        return one_hot(torch.zeros_like(observation.slot), observation.allowed.shape[1])


@register
@dataclass(frozen=True)
class Random(Rule):
    """Sends with a fixed probability whenever anything is allowed, all allowed contents alike.

    Attributes:
        send: probability of a send in a slot in which something is allowed; 1 always sends.
    """

    send: float = 0.1

    kind = "random"

    def __post_init__(self) -> None:
        if not 0 <= self.send <= 1:
            raise CampaignError(f"rule random: send={self.send} must be a probability.")

    def probabilities(self, observation: Observation) -> Tensor:
        """Shape [N, 1 + K]."""
        contents = observation.allowed[:, 1:].float()
        count = contents.sum(dim=1, keepdim=True)
        share = self.send * contents / count.clamp(min=1)
        # Not 1 minus the sum, which rounding can push below 0.
        hold = torch.where(count > 0, 1.0 - self.send, 1.0)
        return torch.cat([hold, share], dim=1)


@register
@dataclass(frozen=True)
class CapDaypartContent(Rule):
    """At most so many sends a week, in one part of the day, of one kind of content. Deterministic.

    Attributes:
        cap: sends in any 7 x 24 h.
        daypart: night, morning, afternoon, evening (the customer's own) or any.
        content: a content id as text, `rotate` (what this customer got longest ago, the earlier of equals) or
            `favourite` (of the category that this customer opens most, what was sent longest ago).
    """

    cap: int = 3
    daypart: str = ANY
    content: str = ROTATE

    kind = "cap_daypart_content"

    def __post_init__(self) -> None:
        if self.daypart not in (*DAYPARTS, ANY):
            raise CampaignError(f"rule: daypart={self.daypart!r} must be one of {', '.join((*DAYPARTS, ANY))}.")

    def check(self, content_ids: tuple[object, ...]) -> None:
        """A rule for one content needs that content: without it, it sends nothing."""
        if self.content not in (ROTATE, FAVOURITE) and self.content not in map(str, content_ids):
            NOTES.warning(
                "rule: its content %r is not in the contents table, so it sends nothing; add the content, or choose "
                "another policy.", self.content,
            )  # fmt: skip

    def probabilities(self, observation: Observation) -> Tensor:
        """Shape [N, 1 + K]."""
        ids = [str(i) for i in observation.catalogue.ids]
        daypart = -1 if self.daypart == ANY else DAYPARTS.index(self.daypart)
        if self.content not in (ROTATE, FAVOURITE, *ids):  # it is not on offer now
            return Never().probabilities(observation)
        choice = {ROTATE: ROTATED, FAVOURITE: FAVOURED}.get(self.content)
        if choice is None:
            choice = ids.index(self.content)
        same = torch.zeros_like(observation.slot)
        decision = rule_decisions(observation, same + self.cap, same + daypart, same + choice)
        return one_hot(decision, observation.allowed.shape[1])


def rule_decisions(observation: Observation, cap: Tensor, daypart: Tensor, choice: Tensor) -> Tensor:
    """Decisions of cap x daypart x content rules, a rule of its own for every row.

    Args:
        observation: of N customers.
        cap: sends in 7 x 24 h. Shape [N], int64.
        daypart: index of a daypart, -1 for any. Shape [N], int64.
        choice: see `campaigns.plans.chosen_content`. Shape [N], int64.
    Returns:
        Shape [N], int64.
    """
    allowed = observation.allowed[:, 1:]
    week = sends_within(observation.history, observation.slot, observation.clock.slots_in(7))
    now = (week < cap) & ((daypart < 0) | (observation.daypart == daypart))
    content = chosen_content(observation, choice)
    can = allowed.gather(1, content.unsqueeze(1)).squeeze(1)
    return torch.where(now & can, content + 1, HOLD)
