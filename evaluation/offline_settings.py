"""How policies are evaluated on a log; also the schema of that configuration."""

from __future__ import annotations

from dataclasses import dataclass

from campaigns.ranges import check_range


@dataclass(frozen=True)
class OfflineSettings:
    """How policies are evaluated on the log.

    Attributes:
        first_slots: slots of a sequential log over which all weights are multiplied; so few.
        sequence_customers: customers whose whole sequences are evaluated, at most; 0 leaves whole horizons out.
        draws: bootstrap draws of customers.
        level: of the intervals.
        stream_rows: rows of a log file that `scripts/estimate.py` holds at a time.
        twins: semi-synthetic twins of a one-shot log on which estimators are judged; 0 leaves them out.
    """

    first_slots: int = 6
    sequence_customers: int = 1200
    draws: int = 1000
    level: float = 0.95
    stream_rows: int = 100_000
    twins: int = 50

    def __post_init__(self) -> None:
        check_range("evaluation.first_slots", self.first_slots, at_least=1)
        check_range("evaluation.sequence_customers", self.sequence_customers, at_least=0, unit="customers")
        check_range("evaluation.draws", self.draws, at_least=100, at_most=1_000_000, unit="bootstrap draws")
        check_range("evaluation.twins", self.twins, at_least=0, at_most=10_000)
        check_range("evaluation.level", self.level, at_least=0.5, below=1)
        check_range("evaluation.stream_rows", self.stream_rows, at_least=1000, at_most=100_000_000, unit="rows")
