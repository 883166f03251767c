"""The off-policy estimators and what they read, under one name. They take arrays and know no policy."""

from evaluation.logged import Contributions, LoggedDecisions, LoggedSequences, mean_contributions, ratio_sum
from evaluation.one_step import DM, DR, IPS, SNIPS, Estimator, importance_weights
from evaluation.per_decision import (
    PerDecisionDR,
    PerDecisionIS,
    SequentialEstimator,
    WeightedPerDecisionDR,
    WeightedPerDecisionIS,
    cumulative_weights,
    per_decision_dr,
    reward_to_go,
)

__all__ = [
    "DM",
    "DR",
    "IPS",
    "SNIPS",
    "Contributions",
    "Estimator",
    "LoggedDecisions",
    "LoggedSequences",
    "PerDecisionDR",
    "PerDecisionIS",
    "SequentialEstimator",
    "WeightedPerDecisionDR",
    "WeightedPerDecisionIS",
    "cumulative_weights",
    "importance_weights",
    "mean_contributions",
    "per_decision_dr",
    "ratio_sum",
    "reward_to_go",
]
