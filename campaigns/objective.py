"""What a campaign is worth: the one definition that training, markets, evaluation and reports share."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from campaigns.clock import SlotClock
from campaigns.errors import CampaignError
from campaigns.ranges import check_range

OUTCOMES = ("value", "revenue", "purchased", "visited", "clicked", "opened")
TERMINALS = ("zero", "continue")
LONGEST_HORIZON = 366
"""Days; no log of push messages tells what a policy is worth beyond a year."""


@dataclass(frozen=True)
class Objective:
    """What is maximised, summed undiscounted over the horizon and averaged over customers.

    Attributes:
        outcome: `value` (margin), or another outcome column counted as 1 each (`visited`, `clicked`...).
        margin_rate: margin as a share of revenue; used only where the log has no `value` column.
        send_cost: cost of one send where the content names none. Currency; applies to `value` alone.
        unsubscribe_cost: what losing a customer's consent costs. Currency; applies to `value` alone.
        horizon_days: length of an episode, in days.
        terminal: `zero` (the world ends after the horizon) or `continue` (what follows is bootstrapped).
    """

    outcome: str = "value"
    margin_rate: float = 0.3
    send_cost: float = 0.01
    unsubscribe_cost: float = 3.0
    horizon_days: int = 28
    terminal: str = "zero"

    def __post_init__(self) -> None:
        if self.outcome not in OUTCOMES:
            raise CampaignError(f"objective.outcome={self.outcome!r}: must be one of {', '.join(OUTCOMES)}.")
        if self.terminal not in TERMINALS:
            raise CampaignError(f"objective.terminal={self.terminal!r}: must be zero or continue.")
        check_range("objective.horizon_days", self.horizon_days, at_least=1, at_most=LONGEST_HORIZON, unit="days")
        check_range("objective.margin_rate", self.margin_rate, at_least=0, at_most=1, unit="(a share of revenue)")
        check_range("objective.send_cost", self.send_cost, at_least=0)
        check_range("objective.unsubscribe_cost", self.unsubscribe_cost, at_least=0)

    @property
    def counts_costs(self) -> bool:
        """Whether send and opt-out costs are subtracted (they are in currency, so only from `value`)."""
        return self.outcome == "value"

    def slots(self, clock: SlotClock) -> int:
        """Slots of the horizon: whole ones, and at least one."""
        return max(1, clock.slots_in(self.horizon_days))


def reward(objective: Objective, outcome: Tensor, sent_cost: Tensor, unsubscribed: Tensor) -> Tensor:
    """What one slot earned.

    Args:
        objective: its `outcome` says what `outcome` holds.
        outcome: the objective's outcome in the slot, drawn or expected. Shape [N].
        sent_cost: cost of what was sent, 0 on hold, in currency. Shape [N].
        unsubscribed: opt-outs in the slot, drawn (0/1) or their probability. Shape [N].
    Returns:
        Shape [N], in currency for `value`, else in counts.
    """
    if not objective.counts_costs:
        return outcome.to(torch.float32)
    return outcome - sent_cost - objective.unsubscribe_cost * unsubscribed
