"""Which stock algorithm trains through the numpy face, and how; also the schema of its configuration."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from campaigns.errors import CampaignError
from campaigns.ranges import check_range

STOCK_ALGORITHMS = {
    "a2c": "stable_baselines3:A2C",
    "dqn": "stable_baselines3:DQN",
    "ppo": "stable_baselines3:PPO",
    "maskable_ppo": "sb3_contrib:MaskablePPO",
    "qr_dqn": "sb3_contrib:QRDQN",
    "trpo": "sb3_contrib:TRPO",
}
"""Algorithms for discrete decisions whose policy is a perceptron: package and class."""


@dataclass(frozen=True)
class SB3Settings:
    """How a stock algorithm trains.

    Attributes:
        algorithm: one of STOCK_ALGORITHMS.
        steps: decisions in all (rows x slots).
        rows: customers that act at once.
        expected_reward: reward conditional expectations instead of draws.
        arguments: by algorithm, keywords of its own class as its documentation names them; only those of `algorithm`
            are read.
    """

    algorithm: str = "dqn"
    steps: int = 200_000
    rows: int = 64
    expected_reward: bool = True
    arguments: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.algorithm not in STOCK_ALGORITHMS:
            raise CampaignError(
                f"agent.sb3.algorithm={self.algorithm!r}: must be one of {', '.join(STOCK_ALGORITHMS)}."
            )
        for name in self.arguments:
            if name not in STOCK_ALGORITHMS:
                raise CampaignError(f"agent.sb3.arguments.{name}: must be one of {', '.join(STOCK_ALGORITHMS)}.")
        check_range("agent.sb3.steps", self.steps, at_least=1)
        check_range("agent.sb3.rows", self.rows, at_least=1)
