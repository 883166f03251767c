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
        budget: most that sends may cost a customer over the horizon, in currency; 0 sends nothing, None is no limit.
        optout_ceiling: most customers who may opt out within the horizon, as a share; None is no limit.
        optout_confidence: how surely the ceiling is kept, given what the log's opt-outs can tell: policies are held
            back until the bound that holds in this share of logs is within it; 0.5 is the expected share itself.
    """

    outcome: str = "value"
    margin_rate: float = 0.3
    send_cost: float = 0.01
    unsubscribe_cost: float = 3.0
    horizon_days: int = 28
    terminal: str = "zero"
    budget: float | None = None
    optout_ceiling: float | None = None
    optout_confidence: float = 0.5

    def __post_init__(self) -> None:
        if self.outcome not in OUTCOMES:
            raise CampaignError(f"objective.outcome={self.outcome!r}: must be one of {', '.join(OUTCOMES)}.")
        if self.terminal not in TERMINALS:
            raise CampaignError(f"objective.terminal={self.terminal!r}: must be zero or continue.")
        check_range("objective.horizon_days", self.horizon_days, at_least=1, at_most=LONGEST_HORIZON, unit="days")
        check_range("objective.margin_rate", self.margin_rate, at_least=0, at_most=1, unit="(a share of revenue)")
        check_range("objective.send_cost", self.send_cost, at_least=0)
        check_range("objective.unsubscribe_cost", self.unsubscribe_cost, at_least=0)
        if self.budget is not None:
            check_range("objective.budget", self.budget, at_least=0, unit="(send costs a customer; null for none)")
        if self.optout_ceiling is not None:
            unit = "(a share of customers; null for none)"
            check_range("objective.optout_ceiling", self.optout_ceiling, at_least=0, at_most=1, unit=unit)
        unit = "(a share of logs; 0.5 takes what is expected)"
        check_range("objective.optout_confidence", self.optout_confidence, at_least=0.5, below=1, unit=unit)

    @property
    def counts_costs(self) -> bool:
        """Whether send and opt-out costs are subtracted (they are in currency, so only from `value`)."""
        return self.outcome == "value"

    @property
    def sends_nothing(self) -> bool:
        """Whether the limits leave no room for any send."""
        return self.budget == 0 or self.optout_ceiling == 0

    def slots(self, clock: SlotClock) -> int:
        """Slots of the horizon: whole ones, and at least one."""
        return max(1, clock.slots_in(self.horizon_days))


@dataclass(frozen=True)
class Prices:
    """What is charged beyond the objective so that limits are kept, the multipliers of a Lagrangian.

    Source: Altman (1999), Constrained Markov decision processes.

    Attributes:
        money: for a currency unit of send costs, in the objective's unit.
        optout: for a customer who opts out, in the objective's unit.
    """

    money: float = 0.0
    optout: float = 0.0

    def charge(self, sent_cost: Tensor, unsubscribed: Tensor) -> Tensor:
        """What is subtracted from a slot's reward; arguments as for `reward`. Shape [N]."""
        return self.money * sent_cost + self.optout * unsubscribed


NO_CHARGE = Prices()


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
