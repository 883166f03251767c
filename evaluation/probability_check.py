"""Could the logged probabilities be true? Decisions are held against them, over all rows and where they were likely.

Where mu(a | x) is the probability of decision a, the mean of 1{a taken} / mu(a | x) over any rows that are picked by x
is the share of them in which a was possible, so at most 1. Over all rows this catches probabilities that are too small.
Picked by a model of what was decided, fitted to other customers, it catches what is right on average alone:
probabilities that were shuffled between rows, logged by another policy, or constants in place of what really varied.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from evaluation.diagnostics import ProbabilityCheck, check_logged_probabilities
from evaluation.logged import LoggedDecisions
from evaluation.reward_model import customer_folds

BINS = 5
"""Parts of equal size into which a decision's rows are cut by how likely it looks."""

LEAST_TAKEN = 20
"""A bin in which a decision was taken less often says nothing."""

ERRORS = 4.5
"""Standard errors: with a hundred bins an honest log is accused in one case of some thousands."""

TOLERANCE, FITTED_TOLERANCE = 0.1, 0.25
"""By how much a bin may be off: fitted probabilities are models, and no model is right in every corner."""

RIDGE = 10.0
"""Penalty of the model of what was decided, on standardised features."""


@dataclass(frozen=True)
class ConditionalCheck:
    """Do decisions come as often as claimed where they look likely? Shapes [1 + K, bins], hold first.

    Attributes:
        predicted: mean share with which the decision was predicted; NaN in an empty bin.
        rows: free decisions in the bin, of whichever kind.
        taken: how many of them were this one.
        mean_inverse: mean of 1{taken} / probability; at most 1 where the probabilities are right. NaN where empty.
        error: its standard error.
        contradicted: above 1 by more than ERRORS standard errors and the tolerance.
    """

    predicted: np.ndarray
    rows: np.ndarray
    taken: np.ndarray
    mean_inverse: np.ndarray
    error: np.ndarray
    contradicted: np.ndarray


@dataclass(frozen=True)
class ProbabilityReport:
    """What was found on a log's probabilities.

    Attributes:
        fitted: whether (some of) them were fitted, since action_prob is missing.
        overall, conditional: the checks; the second is None where no free decision is left to check.
        reason: why they are contradicted, in plain words; None where they are not.
    """

    fitted: bool
    overall: ProbabilityCheck
    conditional: ConditionalCheck | None
    reason: str | None

    def to_dict(self, names: tuple[str, ...]) -> dict[str, Any]:
        """JSON-able form; `names` are those of hold and the contents."""
        rows = []
        for decision, name in enumerate(names):
            if not self.overall.taken[decision]:
                continue
            found = self.conditional
            bins = [] if found is None else [
                {key: _number(getattr(found, key)[decision, b]) for key in ("predicted", "rows", "taken",
                                                                            "mean_inverse", "error")}
                for b in range(found.rows.shape[1]) if found.taken[decision, b] >= LEAST_TAKEN
            ]  # fmt: skip
            rows.append(
                {
                    "decision": name,
                    "taken": int(self.overall.taken[decision]),
                    "mean_inverse": float(self.overall.mean_inverse[decision]),
                    "error": float(self.overall.error[decision]),
                    "bins": bins,
                }
            )
        return {"fitted": self.fitted, "contradicted": self.reason is not None, "reason": self.reason, "checks": rows}


def check_probabilities(
    logged: LoggedDecisions,
    features: np.ndarray | None,
    decisions: int,
    fitted: bool = False,
    names: tuple[str, ...] | None = None,
) -> ProbabilityReport:
    """Both checks, and what they say.

    Args:
        logged: n decisions; of several slots where histories differ.
        features: of customer and moment. Shape [n, F]; None leaves the second check out.
        decisions: 1 + K.
        fitted: whether the probabilities are a fitted model's, of which less is asked.
        names: of hold and the contents, for the words.
    """
    tolerance = FITTED_TOLERANCE if fitted else TOLERANCE
    overall = check_logged_probabilities(logged, decisions)
    conditional = None if features is None else conditional_check(logged, features, decisions, tolerance)
    called = names or tuple(f"decision {d}" if d else "hold" for d in range(decisions))
    wrong = overall.contradicted & (overall.mean_inverse > 1 + (tolerance if fitted else 0.0))
    source = "The logging policy that was fitted in place of action_prob does" if fitted else (
        "The logged probabilities do"
    )  # fmt: skip
    reason = None
    if wrong.any():
        worst = int(np.argmax(np.where(wrong, overall.mean_inverse, 0.0)))
        reason = (
            f"{source} not fit the log: {called[worst]} was taken {overall.mean_inverse[worst]:.2f} times as often as "
            f"its probabilities say (standard error {overall.error[worst]:.2g}). Mend action_prob."
        )
    elif conditional is not None and conditional.contradicted.any():
        off = np.where(conditional.contradicted, conditional.mean_inverse, 0.0)
        worst, place = divmod(int(np.argmax(off)), off.shape[1])
        reason = (
            f"{source} not fit the log: in the {conditional.rows[worst, place]:,} decisions in which "
            f"{called[worst]} was predicted with {conditional.predicted[worst, place]:.0%}, from what was known of "
            f"customer and moment, it was taken {conditional.mean_inverse[worst, place]:.2f} times as often as its "
            f"probabilities say (standard error {conditional.error[worst, place]:.2g}). They may have been shuffled "
            "between rows, or be another policy's. Mend action_prob."
        )
    return ProbabilityReport(fitted, overall, conditional, reason)


def conditional_check(
    logged: LoggedDecisions, features: np.ndarray, decisions: int, tolerance: float = TOLERANCE, seed: int = 0
) -> ConditionalCheck | None:
    """Checks the probabilities within bins of a linear model of what was decided, fitted to other customers.

    Decisions that were certain (probability 1) are left out: they say nothing of what else was likely.

    Args:
        logged: n decisions.
        features: of customer and moment, known before the decision; NaN counts as the mean. Shape [n, F].
        decisions: 1 + K.
        tolerance: by how much a bin may be off.
        seed: of the two folds of customers.
    Returns:
        The check, or None where fewer than two customers had a free decision.
    """
    free = logged.logged_prob < 1 - 1e-9
    customer, action, inverse = logged.customer[free], logged.action[free], 1 / logged.logged_prob[free]
    if len(np.unique(customer)) < 2:
        return None
    predicted = predicted_shares(features[free].astype(np.float64), action, customer, decisions, seed)
    tables = {name: np.zeros((decisions, BINS)) for name in ("predicted", "rows", "taken", "mean", "error")}
    for decision in range(decisions):
        score, taken = predicted[:, decision], action == decision
        place = np.searchsorted(np.quantile(score, np.arange(1, BINS) / BINS), score, side="left")
        rows = np.bincount(place, minlength=BINS).astype(np.float64)
        share = np.where(rows > 0, rows, np.nan)
        mean = np.bincount(place, weights=taken * inverse, minlength=BINS) / share
        square = np.bincount(place, weights=taken * inverse**2, minlength=BINS) / share
        tables["predicted"][decision] = np.bincount(place, weights=score, minlength=BINS) / share
        tables["rows"][decision] = rows
        tables["taken"][decision] = np.bincount(place, weights=taken, minlength=BINS)
        tables["mean"][decision] = mean
        # As seen, and as the probabilities claim; see `diagnostics.probability_check`.
        tables["error"][decision] = np.sqrt(np.maximum(square - np.minimum(mean, mean**2), 0.0) / share)
    limit = 1 + np.maximum(ERRORS * tables["error"], tolerance)
    contradicted = (tables["taken"] >= LEAST_TAKEN) & (np.nan_to_num(tables["mean"]) > np.nan_to_num(limit, nan=np.inf))
    return ConditionalCheck(
        tables["predicted"], tables["rows"].astype(np.int64), tables["taken"].astype(np.int64), tables["mean"],
        tables["error"], contradicted,
    )  # fmt: skip


def predicted_shares(
    features: np.ndarray, action: np.ndarray, customer: np.ndarray, decisions: int, seed: int
) -> np.ndarray:
    """Shares of decisions by ridge regression on the features, each half of the customers by the other's fit.

    They may lie below 0: good enough to sort by, not to weigh by. Shape [n, 1 + K].
    """
    known = np.isfinite(features)
    mean = np.where(known, features, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    centred = np.where(known, features - mean, 0.0)
    scale = np.sqrt(np.square(centred).mean(axis=0))
    inputs = np.concatenate([centred / np.where(scale > 0, scale, 1.0), np.ones((len(features), 1))], axis=1)
    outcome = np.eye(decisions)[action]
    fold = customer_folds(customer, 2, seed)
    shares = np.empty((len(features), decisions))
    for own in (0, 1):
        rest = inputs[fold != own]
        square = rest.T @ rest + RIDGE * np.eye(inputs.shape[1])
        shares[fold == own] = inputs[fold == own] @ np.linalg.solve(square, rest.T @ outcome[fold != own])
    return shares


def _number(value: Any) -> float | int:
    return int(value) if isinstance(value, np.integer) else float(value)
