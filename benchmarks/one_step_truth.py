"""One-step estimators and intervals where the truth is known: bias, error, width, coverage and refusals.

    python -m benchmarks.one_step_truth [--scale 1.0]

Worlds: eight states, contents in five categories, purchases with chances of 2 to 60 %; the logger prefers what the
policy avoids, the more so the poorer the overlap. The reward model is a cross-fitted table by state and category, so
that it misses what contents of a category differ by. Estimates are refused by `evaluation.diagnostics`, those by
category on their own weights. A second table has contents that were never sent. `--scale` multiplies the replications.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd

from evaluation.analytic_intervals import bernstein_interval, student_interval
from evaluation.diagnostics import diagnose
from evaluation.estimators import (
    DM,
    DR,
    IPS,
    MIPS,
    SNDR,
    SNIPS,
    KnownEmbedding,
    LoggedDecisions,
    OffCEM,
    attribute_embedding,
)
from evaluation.intervals import Interval, bootstrap
from evaluation.reward_model import Learner, RewardModel, cross_fitted_rewards, customer_folds
from evaluation.tuning import LEAST_BIASED, Slope, tuned_estimators, tuned_interval

STATES, CATEGORIES, DRAWS = 8, 5, 400
OVERLAP = {"good": 0.3, "fair": 0.8, "poor": 2.0}
"""By how many logits a content that the policy likes by one standard deviation is liked, and disliked by the logger."""

LOGGERS = {0.0: "blind", 1.0: "skilled"}
"""Whether the logger prefers what earns more."""

UNBIASED = ("IPS", "SNIPS", "DR", "SNDR")
"""Estimators that promise an interval around the truth whatever the reward model; the others trade bias for noise."""


@dataclass(frozen=True)
class World:
    """Chances of a reward, and probabilities of logger and policy, by state. Shapes [STATES, 1 + K].

    `category` is of each decision, 0 for hold. Shape [1 + K].
    """

    mean: np.ndarray
    logging: np.ndarray
    target: np.ndarray
    category: np.ndarray

    @property
    def value(self) -> float:
        """Of the policy."""
        return float((self.target * self.mean).sum(axis=1).mean())

    def log(self, rows: int, generator: np.random.Generator) -> tuple[LoggedDecisions, np.ndarray]:
        """One row a customer, and the states."""
        state = generator.integers(0, STATES, rows)
        reach = self.logging.cumsum(axis=1)[state]
        action = np.minimum((generator.random(rows)[:, None] > reach).sum(axis=1), self.mean.shape[1] - 1)
        reward = (generator.random(rows) < self.mean[state, action]).astype(np.float64)
        return LoggedDecisions(np.arange(rows), action, reward, self.logging[state, action]), state


def make_world(
    contents: int, overlap: float, seed: int, new: float = 0.0, own: float = 0.05, skill: float = 0.0
) -> World:
    """A world.

    `new` is the share of contents never logged, `own` the spread of contents within a category, and `skill` by how many
    logits the logger prefers what earns one standard deviation more.
    """
    generator = np.random.default_rng(seed)
    category = np.append(0, 1 + np.arange(contents) % min(CATEGORIES, contents))
    by_category = generator.uniform(0.08, 0.5, (STATES, 1 + CATEGORIES))
    mean = np.clip(by_category[:, category] + own * generator.normal(size=(STATES, 1 + contents)), 0.02, 0.6)
    liked = generator.normal(size=(STATES, 1 + contents))
    logging = np.exp(skill * (mean - mean.mean()) / mean.std() - overlap * liked)
    target = np.exp(overlap * liked)
    first = 1 + contents - round(new * contents)
    logging[:, first:] = 0
    target[:, first:] *= 3
    return World(mean, *(p / p.sum(axis=1, keepdims=True) for p in (logging, target)), category)


def table_model(world: World, log: LoggedDecisions, state: np.ndarray) -> np.ndarray:
    """Mean reward by state and category, fitted without the customer's fold. Shape [n, 1 + K]."""
    fold = customer_folds(log.customer, 2, seed=0)
    cell, cells = state * (1 + CATEGORIES) + world.category[log.action], STATES * (1 + CATEGORIES)
    predicted = np.empty((len(log), world.mean.shape[1]))
    for held_out in (0, 1):
        rest, own = fold != held_out, fold == held_out
        base = log.reward[rest].mean()
        count = np.bincount(cell[rest], minlength=cells)
        total = np.bincount(cell[rest], weights=log.reward[rest], minlength=cells)
        table = ((total + 5 * base) / (count + 5)).reshape(STATES, -1)
        predicted[own] = table[:, world.category][state[own]]
    return predicted


def replicate(world: World, rows: int, seed: int) -> list[dict[str, object]]:
    """All estimates of one log, with all intervals: a record each."""
    log, state = world.log(rows, np.random.default_rng(seed))
    target, predicted = world.target[state], table_model(world, log, state)
    marginal = KnownEmbedding(attribute_embedding(world.category, log.action), world.logging[state])
    estimators = (DM(), IPS(), SNIPS(), DR(), SNDR(), *tuned_estimators(), MIPS(marginal), OffCEM(marginal))
    found = {}
    for estimator in estimators:
        if isinstance(estimator, Slope):
            parts = [candidate.contributions(log, target, predicted) for candidate in estimator.candidates]
            found[estimator.name] = parts[estimator.choice(parts, log.customer)]
            found[estimator.name + LEAST_BIASED] = parts[estimator.least_biased(parts, log.customer)]
        else:
            found[estimator.name] = estimator.contributions(log, target, predicted)
    logging = world.logging[state]
    refused = diagnose(log, target, logging).refused is not None
    like, like_target = marginal.by_attribute(log, target)
    by_category = diagnose(like, like_target, logging @ marginal.embedding.prob).refused is not None
    drawn = bootstrap(found, log.customer, DRAWS, seed=seed)
    records: list[dict[str, object]] = []
    for name in (e.name for e in estimators):
        estimate = found[name]
        tuned = name + LEAST_BIASED in found
        intervals: dict[str, Interval] = {
            "bootstrap": tuned_interval(drawn, name) if tuned else drawn.interval(name),
            "Student's t": student_interval(estimate, log.customer),
        }
        if estimate.denominator.ndim == 1 and (estimate.denominator == 1).all():
            intervals["Bernstein"] = bernstein_interval(estimate, log.customer)
        refuse = False if name == "DM" else by_category if name in {"MIPS", "OffCEM"} else refused
        records += [
            {
                "estimator": name,
                "interval": kind,
                "error": interval.value - world.value,
                "width": interval.high - interval.low,
                "covers": interval.low <= world.value <= interval.high,
                "refused": refuse,
            }
            for kind, interval in intervals.items()
        ]
    return records


def run_grid(
    rows: Sequence[int], contents: Sequence[int], overlaps: Iterable[str], replications: dict[int, int], scale: float
) -> pd.DataFrame:
    """Records of all cells; the largest, 1e5 rows of 500 contents, needs some 3 GiB.

    `replications` is by rows; with 500 contents a third of them.
    """
    frames = []
    for number in rows:
        for content in contents:
            for overlap in overlaps:
                times = max(int(scale * replications[number] / (3 if content > 100 else 1)), 2)
                for seed in range(times):
                    world = make_world(content, OVERLAP[overlap], seed % 10)  # ten worlds a cell
                    frame = pd.DataFrame(replicate(world, number, seed))
                    frames.append(frame.assign(rows=number, contents=content, overlap=overlap, seed=seed))
    return pd.concat(frames, ignore_index=True)


def summary(records: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Bias, root of the mean squared error, width and coverage where not refused, and the share refused."""
    kept = records[~records["refused"]].groupby(by, sort=False)
    table = pd.DataFrame(
        {
            "bias": kept["error"].mean(),
            "RMSE": kept["error"].apply(lambda error: float(np.sqrt(np.mean(np.square(error))))),
            "width": kept["width"].mean(),
            "coverage": kept["covers"].mean(),
            "logs": kept.size(),
        }
    )
    return table.join(records.groupby(by, sort=False)["refused"].mean(), how="outer")


def new_contents(
    replications: int, learners: Sequence[Learner] = ("ridge", "boosting"), rows: int = 10_000, contents: int = 30
) -> pd.DataFrame:
    """A third of the contents never sent, their categories known: the error of every estimator, a record each.

    Reward models are the project's own, cross-fitted, with categories as features of contents; of the state they see
    only which pair it is in, less than a skilled logger acted on, as is usual.
    """
    records = []
    for skill, seed in product((0.0, 1.0), range(replications)):
        world = make_world(contents, OVERLAP["fair"], 100 + seed, new=1 / 3, skill=skill)
        log, state = world.log(rows, np.random.default_rng(seed))
        target, features = world.target[state], np.eye(STATES // 2)[state // 2]
        marginal = KnownEmbedding(attribute_embedding(world.category, log.action), world.logging[state])
        described = np.eye(1 + CATEGORIES)[world.category[1:], 1:]
        for learner in learners:
            model = RewardModel(described, learner, seed, trees=100)
            predicted = cross_fitted_rewards(model, features, log)
            for estimator in (IPS(), SNIPS(), DM(), DR(), MIPS(marginal), OffCEM(marginal)):
                error = estimator.contributions(log, target, predicted).value - world.value
                records.append(
                    {"logger": LOGGERS[skill], "model": learner, "estimator": estimator.name, "error": error}
                )
    return pd.DataFrame(records)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0)
    scale = parser.parse_args().scale
    pd.set_option("display.width", 160, "display.max_rows", 500, "display.max_columns", 20)
    records = run_grid((1000, 10_000, 100_000), (2, 20, 500), OVERLAP, {1000: 200, 10_000: 40, 100_000: 6}, scale)
    print(summary(records, ["interval", "estimator"]).round(4), end="\n\n")
    own = records[records["estimator"].isin(UNBIASED)]
    print(summary(own, ["interval"]).round(4), end="\n\n")
    boot = own[own["interval"] == "bootstrap"]
    print(summary(boot, ["overlap", "contents", "rows"]).round(4), end="\n\n")
    print(summary(boot, ["estimator", "overlap"]).round(4), end="\n\n")
    errors = new_contents(max(int(20 * scale), 2))
    groups = errors.groupby(["logger", "model", "estimator"], sort=False)["error"]
    print(pd.DataFrame({"bias": groups.mean(), "RMSE": groups.apply(lambda e: float(np.sqrt((e**2).mean())))}).round(4))


if __name__ == "__main__":
    main()
