"""How policies are evaluated on a log; also the schema of that configuration."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class OfflineSettings:
    """How policies are evaluated on the log.

    Attributes:
        first_slots: slots of a sequential log that are evaluated; weights multiply, so few.
        draws: bootstrap draws of customers.
        level: of the intervals.
    """

    first_slots: int = 6
    draws: int = 1000
    level: float = 0.95
