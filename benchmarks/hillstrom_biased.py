"""Bias of one-step estimators on a real campaign whose answer is known: Hillstrom's, resampled to biased loggers.

    python -m benchmarks.hillstrom_biased [--seeds 200] [--rows 6000]

All 64,000 customers were assigned at random, so that each arm's mean is known. A biased log is made by drawing for each
customer what the biased policy would send and keeping those to whom just that was sent (Li et al. 2011): who is in it
does not depend on the policy, what they got does. The data set is looked for in the folder CAMPAIGN_DATA.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from evaluation.estimators import DR, IPS, SNIPS, LoggedDecisions
from evaluation.reward_model import RewardModel, cross_fitted_rewards

ARMS = {"No E-Mail": 0, "Womens E-Mail": 1, "Mens E-Mail": 2}
CONTENTS = np.eye(2)
FAVOURED, OTHERS = 0.8, 0.1
"""Probability of the arm that is meant for a customer, and of each other arm."""


def read_campaign(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features [N, F], arms [N] and visits [N] of all customers."""
    table = pd.read_csv(folder / "hillstrom" / "hillstrom.csv.gz")
    columns = ["recency", "history", "mens", "womens", "newbie", "zip_code", "channel"]
    features = pd.get_dummies(table[columns], columns=["zip_code", "channel"]).to_numpy(dtype=np.float64)
    arms = table["segment"].map(ARMS).to_numpy(dtype=np.int64)
    return features, arms, table["visit"].to_numpy(dtype=np.float64).copy()


def biased_policies(features: np.ndarray) -> dict[str, np.ndarray]:
    """Loggers that mail men's to the customers who come most anyway, or to those who come least. Shapes [N, 3]."""
    recency, newbie = features[:, 0], features[:, 4]
    chosen = {"loyal": (newbie == 0) & (recency < 6), "away": (newbie == 1) & (recency >= 6)}
    others = np.arange(len(features)) % 2  # no e-mail or women's
    return {
        name: OTHERS + (FAVOURED - OTHERS) * np.eye(3)[np.where(group, ARMS["Mens E-Mail"], others)]
        for name, group in chosen.items()
    }


def biased_logs(
    arms: np.ndarray, visits: np.ndarray, policy: np.ndarray, rows: int, seeds: int
) -> Iterator[tuple[np.ndarray, LoggedDecisions]]:
    """Customers of each log, and the log. Shapes [rows]."""
    for seed in range(seeds):
        generator = np.random.default_rng(seed)
        would = (generator.random((len(arms), 1)) > policy.cumsum(axis=1)[:, :-1]).sum(axis=1)
        kept = generator.permutation(np.flatnonzero(would == arms))[:rows]
        yield kept, LoggedDecisions(kept, arms[kept], visits[kept], policy[kept, arms[kept]])


def biases(folder: Path, rows: int = 6000, seeds: int = 200) -> dict[str, dict[str, tuple[float, float]]]:
    """By logger, and by estimate of sending men's to all (`naive` is the mean of who got it): bias, standard error."""
    features, arms, visits = read_campaign(folder)
    truth = float(visits[arms == ARMS["Mens E-Mail"]].mean())
    to_all = np.tile(np.eye(3)[ARMS["Mens E-Mail"]], (rows, 1))
    table = {}
    for name, policy in biased_policies(features).items():
        errors: dict[str, list[float]] = {"naive": [], "IPS": [], "SNIPS": [], "DR": []}
        for seed, (kept, log) in enumerate(biased_logs(arms, visits, policy, rows, seeds)):
            model = cross_fitted_rewards(RewardModel(CONTENTS, "ridge", seed), features[kept], log)
            errors["naive"].append(float(log.reward[log.action == ARMS["Mens E-Mail"]].mean()) - truth)
            for estimator in (IPS(), SNIPS(), DR()):
                errors[estimator.name].append(estimator.contributions(log, to_all, model).value - truth)
        table[name] = {
            key: (float(np.mean(found)), float(np.std(found, ddof=1) / len(found) ** 0.5))
            for key, found in errors.items()
        }
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--rows", type=int, default=6000)
    options = parser.parse_args()
    for logger, found in biases(Path(os.environ["CAMPAIGN_DATA"]), options.rows, options.seeds).items():
        for name, (bias, error) in found.items():
            print(f"{logger:6} {name:6} bias {bias:+.4f} (standard error {error:.4f})")


if __name__ == "__main__":
    main()
