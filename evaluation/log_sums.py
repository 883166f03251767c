"""One-step evaluation of logs larger than memory: a log is read in parts, of which sums are kept, and the sums add up.

Customers are joined at random into groups by a hash of their number and a seed, so that a customer is in the same group
in every part of the log, for every estimator and however the log is cut. The sums by group are all that points,
tuning by SLOPE, paired bootstrap and diagnostics read: a group is drawn in its customers' stead (random groups: Wolter
2007, chapter 2; see `evaluation.intervals`, which does the same with a log in memory). The hash is splitmix64 (Steele,
Lea and Flood 2014).

Memory: GROUPS x 16 bytes for each term of each estimator (each candidate of a tuned one), whatever the number of rows,
customers or draws, and the part that is being read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from campaigns.errors import CampaignError
from evaluation.diagnostics import (
    PROBABILITY_FLOOR,
    WeightDiagnostics,
    inverse_sums,
    judge_weights,
    likeliest,
    probability_check,
    refuse_wrong_probabilities,
    top_customer_share,
)
from evaluation.estimators import Contributions, Estimator, LoggedDecisions, importance_weights, mean_contributions
from evaluation.intervals import GROUPS, Bootstrap, bootstrap
from evaluation.tuning import LEAST_BIASED, Slope

INCUMBENT = "incumbent"
"""What was done, as one of the estimates."""


@dataclass(frozen=True)
class WeightSums:
    """What the diagnostics read of a log, as sums over its rows.

    Attributes:
        rows: n.
        total, squares: sums of w and of its square.
        largest: w.
        taken, inverse, inverse_squares: see `inverse_sums`. Shape [1 + K] each.
        likeliest: see there. Shape [1 + K].
        target: sum of the policy's probabilities. Shape [1 + K].
    """

    rows: int
    total: float
    squares: float
    largest: float
    taken: np.ndarray
    inverse: np.ndarray
    inverse_squares: np.ndarray
    likeliest: np.ndarray
    target: np.ndarray

    @staticmethod
    def of(logged: LoggedDecisions, target: np.ndarray) -> WeightSums:
        """The sums of one part of a log. `target` has shape [n, 1 + K]."""
        weights, decisions = importance_weights(logged, target), target.shape[1]
        return WeightSums(
            len(logged), float(weights.sum()), float(np.square(weights).sum()), float(weights.max()),
            *inverse_sums(logged, decisions), likeliest(logged, decisions), target.sum(axis=0),
        )  # fmt: skip

    def plus(self, other: WeightSums) -> WeightSums:
        """The sums of both parts."""
        return WeightSums(
            self.rows + other.rows, self.total + other.total, self.squares + other.squares,
            max(self.largest, other.largest), self.taken + other.taken, self.inverse + other.inverse,
            self.inverse_squares + other.inverse_squares, np.maximum(self.likeliest, other.likeliest),
            self.target + other.target,
        )  # fmt: skip

    def diagnostics(self, top_share: float = float("nan"), floor: float = PROBABILITY_FLOOR) -> WeightDiagnostics:
        """As `evaluation.diagnostics.diagnose` of all rows together."""
        rows, mean = self.rows, self.total / self.rows
        variance = max(self.squares - rows * mean**2, 0.0) / (rows - 1) if rows > 1 else float("nan")
        effective = self.total**2 / self.squares if self.squares > 0 else 0.0
        unsupported = float(self.target[self.likeliest < floor].sum() / rows)
        found = judge_weights(rows, effective, mean, (variance / rows) ** 0.5, self.largest, unsupported, top_share)
        check = probability_check(rows, self.taken, self.inverse, self.inverse_squares)
        return refuse_wrong_probabilities(found, check)


class LogSums:
    """Sums of a log by random group of customers, for several estimators of one policy's value.

    Args:
        estimators: with names of their own; a `Slope` is tuned at the end, on all rows.
        seed: of the groups and of the draws.
    """

    def __init__(self, estimators: Sequence[Estimator], seed: int = 0) -> None:
        names = [INCUMBENT, *(estimator.name for estimator in estimators)]
        if len(set(names)) < len(names):
            raise CampaignError(f"evaluation: estimators need names of their own; got {', '.join(names)}.")
        self.estimators = tuple(estimators)
        self.seed = seed
        self.weights: WeightSums | None = None
        self._sums: dict[tuple[str, int], np.ndarray] = {}

    @property
    def rows(self) -> int:
        """Rows added so far."""
        return self.weights.rows if self.weights is not None else 0

    def add(self, logged: LoggedDecisions, target: np.ndarray, predicted: np.ndarray | None = None) -> None:
        """Adds some rows of the log.

        Args:
            logged: n decisions. A customer has one number in all parts of the log.
            target: the policy's probabilities. Shape [n, 1 + K].
            predicted: reward model, for the estimators that need one. Shape [n, 1 + K].
        Raises:
            CampaignError: see `Estimator.contributions`.
        """
        group = customer_groups(logged.customer, self.seed)
        weights = WeightSums.of(logged, target)
        for key, contributions in self._contributions(logged, target, predicted):
            parts = np.stack([contributions.numerator, contributions.denominator]).reshape(2, len(logged), -1)
            if key not in self._sums:
                self._sums[key] = np.zeros((2, parts.shape[2], GROUPS))
            for side in range(2):
                for term in range(parts.shape[2]):
                    self._sums[key][side, term] += np.bincount(group, weights=parts[side, :, term], minlength=GROUPS)
        self.weights = weights if self.weights is None else self.weights.plus(weights)

    def merge(self, other: LogSums) -> None:
        """Adds the sums of another part of the log, made with the same estimators and seed."""
        if other.estimators != self.estimators or other.seed != self.seed:
            raise CampaignError("evaluation: only sums of the same estimators and seed add up.")
        if other.weights is None:
            return
        for key, sums in other._sums.items():
            self._sums[key] = self._sums[key] + sums if key in self._sums else sums.copy()
        self.weights = other.weights if self.weights is None else self.weights.plus(other.weights)

    def chosen(self) -> dict[str, Estimator]:
        """The estimators by name, tuned ones as SLOPE sets them."""
        groups = self._groups()
        return {e.name: self._candidates(e)[self._choice(e, groups)] for e in self.estimators}

    def estimates(self) -> tuple[dict[str, Contributions], np.ndarray]:
        """Contributions by group for every estimator, a tuned one's least biased candidate and what was done, and the
        groups. Shape [groups]."""
        groups = self._groups()
        found = {INCUMBENT: self._estimate((INCUMBENT, 0), groups)}
        for estimator in self.estimators:
            if not isinstance(estimator, Slope):
                found[estimator.name] = self._estimate((estimator.name, 0), groups)
                continue
            candidates = [self._estimate((estimator.name, i), groups) for i in range(len(estimator.candidates))]
            found[estimator.name] = candidates[estimator.choice(candidates, groups)]
            found[estimator.name + LEAST_BIASED] = candidates[estimator.least_biased(candidates, groups)]
        return found, groups

    def bootstrap(self, draws: int = 1000, level: float = 0.95) -> Bootstrap:
        """Points and replicates of every estimator and of what was done, under common draws."""
        estimates, groups = self.estimates()
        return bootstrap(estimates, groups, draws, level, self.seed)

    def diagnostics(self, name: str) -> WeightDiagnostics:
        """Diagnostics of the weights.

        Args:
            name: the estimator of which the top customer's share is told; among very many customers it is that of a
                group of some.
        """
        estimates, groups = self.estimates()
        return self._read_weights().diagnostics(top_customer_share(estimates[name], groups))

    def _contributions(
        self, logged: LoggedDecisions, target: np.ndarray, predicted: np.ndarray | None
    ) -> Iterator[tuple[tuple[str, int], Contributions]]:
        yield (INCUMBENT, 0), mean_contributions(logged.reward)
        for estimator in self.estimators:
            for index, candidate in enumerate(self._candidates(estimator)):
                yield (estimator.name, index), candidate.contributions(logged, target, predicted)

    @staticmethod
    def _candidates(estimator: Estimator) -> Sequence[Estimator]:
        return estimator.candidates if isinstance(estimator, Slope) else (estimator,)

    def _choice(self, estimator: Estimator, groups: np.ndarray) -> int:
        if not isinstance(estimator, Slope):
            return 0
        found = [self._estimate((estimator.name, i), groups) for i in range(len(estimator.candidates))]
        return estimator.choice(found, groups)

    def _estimate(self, key: tuple[str, int], groups: np.ndarray) -> Contributions:
        numerator, denominator = (side[:, groups].T for side in self._sums[key])
        if numerator.shape[1] == 1:
            return Contributions(numerator[:, 0], denominator[:, 0])
        return Contributions(numerator, denominator)

    def _groups(self) -> np.ndarray:
        """Groups with a customer in them. Shape [groups], int64."""
        self._read_weights()
        return np.flatnonzero(self._sums[INCUMBENT, 0][1, 0])

    def _read_weights(self) -> WeightSums:
        if self.weights is None:
            raise CampaignError("evaluation: the log has no decision to evaluate on.")
        return self.weights


def customer_groups(customer: np.ndarray, seed: int) -> np.ndarray:
    """A random group of each customer, from the customer's number and the seed alone. Shape [n], int64, below GROUPS.

    Args:
        customer: Shape [n], int64.
        seed: another one makes other groups.
    """
    with np.errstate(over="ignore"):  # sums and products modulo 2^64 are meant
        start = _mixed(np.full(1, seed, dtype=np.uint64))
        mixed = _mixed(customer.astype(np.int64).view(np.uint64) + start)
    groups: np.ndarray = (mixed >> np.uint64(64 - (GROUPS.bit_length() - 1))).astype(np.int64)
    return groups


def _mixed(state: np.ndarray) -> np.ndarray:
    """splitmix64's step and finaliser. Shape [n], uint64."""
    mixed: np.ndarray = state + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed = mixed ^ (mixed >> np.uint64(31))
    return mixed
