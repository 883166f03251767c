"""The policy that wrote the log: a campaign manager who draws, with probabilities that are known."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from envs.reference.channels import CHANNELS
from envs.reference.variants import Variant

QUIET_FROM, QUIET_UNTIL = 21, 8
"""Local hours between which nothing is sent."""

MEMORY_HOURS = 36.0
"""Half-life of the policy's own count of recent sends."""

EVEN_SHARE = 0.15
"""Share of the sends that is spread evenly over all contents, so that each is tried on everyone."""

RECENT_WEIGHT = 0.35
"""By how much a recent send lowers the log-odds of the next."""

HABIT_FROM = 12
"""Local hour from which on the habit sends."""

HABIT_SLACK = 12.0
"""Hours by which the habit sends early rather than a day late."""


@dataclass(frozen=True)
class LoggingPolicy:
    """Sends more to loyal customers, in the evening, and after a quiet spell; leans to favourites and discounts.

    It chooses a content whatever the channel; where the customer does not allow that, nothing is sent.

    With `exploration` below 1 only this share of the decisions is drawn so. The others follow a habit that leaves
    nothing to chance: after noon, once a customer's spell of quiet is over, always this customer's likeliest content.

    Attributes:
        odds: log-odds of a send in an open slot, recent sends and hour aside. Shape [N].
        share: probability of each content given a send. Shape [N, K].
        rested: count of recent sends (see `remember`) up to which the habit sends. Shape [N].
        exploration: share of the decisions that are drawn.
    """

    odds: Tensor
    share: Tensor
    rested: Tensor
    exploration: float = 1.0

    def take(self, rows: Tensor) -> LoggingPolicy:
        """The same policy for the customers at `rows` (int64)."""
        return LoggingPolicy(self.odds[rows], self.share[rows], self.rested[rows], self.exploration)

    def remember(self, recent: Tensor, decision: Tensor, slot_hours: int) -> Tensor:
        """The decayed count of recent sends after a slot with `decision` ([N], int64). Shape [N]."""
        kept: float = 2.0 ** (-slot_hours / MEMORY_HOURS)
        return kept * (recent + (decision > 0))

    def probabilities(self, minute: Tensor, recent: Tensor, reachable: Tensor) -> tuple[Tensor, Tensor]:
        """Probability of hold and of each content, and who was eligible at all.

        Args:
            minute: the customers' own minute of the day. Shape [N], int64.
            recent: decayed count of recent sends, see `remember`. Shape [N].
            reachable: consent given to the content's channel, and not opted out of it. Shape [N, K], bool.
        Returns:
            Shapes [N, 1 + K] and [N], bool. Who is not eligible is held with probability 1.
        """
        hour = minute.to(torch.float32) / 60.0
        eligible = reachable.any(dim=1) & (hour >= QUIET_UNTIL) & (hour < QUIET_FROM)
        by_hour = torch.where(hour >= 18, 0.35, torch.where(hour < 12, 0.0, -0.15))
        send = torch.sigmoid(self.odds + by_hour - RECENT_WEIGHT * recent) * eligible
        barred = (self.share * ~reachable).sum(dim=1)
        hold = 1.0 - send * (1.0 - barred)
        drawn = torch.cat([hold.unsqueeze(1), send.unsqueeze(1) * self.share * reachable], dim=1)
        if self.exploration == 1:
            return drawn, eligible
        sends = eligible & (hour >= HABIT_FROM) & (recent <= self.rested)
        habit = torch.zeros_like(drawn)
        content = (self.share * reachable).argmax(dim=1)
        habit.scatter_(1, torch.where(sends, 1 + content, 0).unsqueeze(1), 1.0)
        return self.exploration * drawn + (1.0 - self.exploration) * habit, eligible


def make_logging_policy(
    variant: Variant, users: pd.DataFrame, slot_hours: int, device: torch.device | str = "cpu"
) -> LoggingPolicy:
    """The logging policy for a users table; it aims at the variant's `sends_per_week`."""
    tier = users["loyalty_tier"].map({"new": -0.4, "regular": 0.0, "gold": 0.35}).to_numpy(dtype=np.float32, copy=True)
    # About 13 of 24 hours are open. What was sent in the last days holds back, which the odds make up for.
    open_slots = max(7.0, 7.0 * 13.0 / slot_hours)
    rate = min(variant.sends_per_week / open_slots, 0.9)
    remembered = variant.sends_per_week * MEMORY_HOURS / math.log(2.0) / 168.0
    odds = math.log(rate / (1.0 - rate)) + RECENT_WEIGHT * remembered
    favourite = users["favourite_category"].to_numpy()
    own = np.stack([favourite == c.category for c in variant.contents], axis=1).astype(np.float32)
    discount = np.array([c.discount for c in variant.contents], dtype=np.float32)
    road = np.array([CHANNELS[c.channel].liking for c in variant.contents], dtype=np.float32)
    liking = torch.from_numpy(0.6 * own + 1.5 * discount + road)
    share = (1.0 - EVEN_SHARE) * liking.softmax(dim=1) + EVEN_SHARE / len(variant.contents)
    # What is left of steady sends at the moment of the next, aimed at as often as the tier is sent to.
    quiet = (168.0 / (variant.sends_per_week * np.exp(tier)) - HABIT_SLACK).clip(min=slot_hours)
    left = torch.from_numpy(np.exp2(-quiet / MEMORY_HOURS).astype(np.float32))
    return LoggingPolicy(
        (torch.from_numpy(tier) + odds).to(device), share.to(device), (left / (1.0 - left)).to(device),
        variant.exploration,
    )  # fmt: skip


def draw(probabilities: Tensor, uniform: Tensor) -> Tensor:
    """Decisions with the given `probabilities` [N, 1 + K], one for each uniform [N]. Shape [N], int64."""
    cumulative = probabilities.cumsum(dim=1)
    return (cumulative <= (uniform * cumulative[:, -1]).unsqueeze(1)).sum(dim=1).clamp(max=probabilities.shape[1] - 1)
