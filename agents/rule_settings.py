"""How the best rule is searched; also the schema of its configuration."""

from __future__ import annotations

from dataclasses import dataclass

from campaigns.errors import CampaignError


@dataclass(frozen=True)
class RuleSearchSettings:
    """How the best rule is searched, in two rounds.

    Attributes:
        first_customers: customers on whom every rule is tried.
        kept: rules that go on to the second round.
        last_customers: customers on whom those are tried.
    """

    first_customers: int = 64
    kept: int = 12
    last_customers: int = 1024

    def __post_init__(self) -> None:
        for setting in ("first_customers", "kept", "last_customers"):
            if getattr(self, setting) < 1:
                raise CampaignError(f"agent.best_rule.{setting}={getattr(self, setting)}: must be at least 1.")
