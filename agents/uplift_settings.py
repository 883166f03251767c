"""How the uplift rules are found; also the schemas of their configuration."""

from __future__ import annotations

from dataclasses import dataclass

from campaigns.errors import CampaignError
from campaigns.ranges import check_range

UNITS = ("sends", "currency")


@dataclass(frozen=True)
class UpliftThresholdSettings:
    """How the least gain that a send is worth is found.

    Attributes:
        candidates: thresholds that are tried.
        customers: customers on whom each is tried.
    """

    candidates: int = 10
    customers: int = 256

    def __post_init__(self) -> None:
        for setting in ("candidates", "customers"):
            check_range(f"agent.uplift_threshold.{setting}", getattr(self, setting), at_least=1)


@dataclass(frozen=True)
class UpliftKnapsackSettings:
    """How the price of a send is found at which a budget is just spent.

    Attributes:
        budget: what may be spent on sends, on average over customers and in all over the horizon.
        unit: of the budget: `sends`, or `currency` (contents cost what they cost).
        candidates: prices that are tried in each of two rounds.
        customers: customers on whom each is tried.
    """

    budget: float = 8.0
    unit: str = "sends"
    candidates: int = 10
    customers: int = 256

    def __post_init__(self) -> None:
        check_range("agent.uplift_knapsack.budget", self.budget, at_least=0)
        if self.unit not in UNITS:
            raise CampaignError(f"agent.uplift_knapsack.unit={self.unit!r}: must be {' or '.join(UNITS)}.")
        check_range("agent.uplift_knapsack.candidates", self.candidates, at_least=2)
        check_range("agent.uplift_knapsack.customers", self.customers, at_least=1)
