"""Whether a log can carry a weighted estimate: effective sample size, mean weight, support, calibration."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from campaigns.errors import CampaignError
from evaluation.estimators import Contributions, LoggedDecisions, importance_weights

LEAST_ESS_SHARE = 0.01
"""A weighted estimate that rests on fewer than this share of the rows is refused."""

LEAST_EFFECTIVE_ROWS = 200
"""Below this many effective rows (or half of a small log) weights are too skewed for a bootstrap to be trusted."""

MEAN_WEIGHT_TOLERANCE = 0.2
"""A mean weight further from 1 shows that the logged probabilities do not fit the log, or do not cover the policy."""

PROBABILITY_FLOOR = 1e-3
"""A decision that was logged with less probability than this counts as unsupported."""

FEW_ROWS, MEAN_WEIGHT, PROBABILITIES = "few effective rows", "mean weight", "logged probabilities"
"""The rules that refuse an estimate."""

LARGE_SHARE = 0.1
"""A single customer who carries more of the value than this is worth a note."""


@dataclass(frozen=True)
class WeightDiagnostics:
    """How much of a log a weighted estimate rests on.

    Attributes:
        rows: n.
        effective: effective sample size.
        effective_share: of the rows.
        least_effective: effective rows below which the estimate is refused.
        mean_weight: should be 1; its expectation is 1 - the policy's unsupported probability.
        mean_weight_error: its standard error.
        largest_weight: of a single row.
        unsupported: probability that the policy puts on decisions which the logging policy (hardly) ever takes.
        top_share: largest share of the estimate's absolute value that one customer carries; NaN where not computed.
        refused: why the estimate is refused, in plain words; None where it is not.
        refused_by: the rule that refuses it, FEW_ROWS, MEAN_WEIGHT or PROBABILITIES; None where none does.
        notes: what does not refuse it but should be known, in plain words.
    """

    rows: int
    effective: float
    effective_share: float
    least_effective: float
    mean_weight: float
    mean_weight_error: float
    largest_weight: float
    unsupported: float
    top_share: float
    refused: str | None
    refused_by: str | None
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {**asdict(self), "notes": list(self.notes)}


def diagnose(
    logged: LoggedDecisions,
    target: np.ndarray,
    logging: np.ndarray | None = None,
    contributions: Contributions | None = None,
    floor: float = PROBABILITY_FLOOR,
) -> WeightDiagnostics:
    """Diagnostics of a policy's weights on a log.

    Args:
        logged: n decisions.
        target: the policy's probabilities. Shape [n, 1 + K].
        logging: the logging policy's probabilities where all are known; the effective sample size is then also that
            which is to be expected, as a log may by luck lack the rows that would spoil it. Shape [n, 1 + K].
        contributions: the estimate's, for the share of the top customer.
        floor: see `unsupported_mass`.
    Returns:
        Refused by the rule of `diagnose_weights`, and where decisions came more often than logged probabilities allow.
    """
    weights = importance_weights(logged, target)
    top = float("nan") if contributions is None else top_customer_share(contributions, logged.customer)
    unsupported = unsupported_mass(logged, target, logging, floor)
    found = diagnose_weights(weights, unsupported, top)
    if logging is not None and (expected := expected_sample_size(target, logging)) < found.effective:
        found = judge_weights(
            found.rows, expected, found.mean_weight, found.mean_weight_error, found.largest_weight, unsupported, top
        )
    return refuse_wrong_probabilities(found, check_logged_probabilities(logged, target.shape[1]))


def diagnose_weights(
    weights: np.ndarray, unsupported: float = 0.0, top_share: float = float("nan")
) -> WeightDiagnostics:
    """The same from weights alone: w, or over slots the last rho. Shape [n].

    The rule: refused when ESS / n < 1 %, when ESS is below 200 (or n / 2), or when the mean weight is off 1 by more
    than 0.2. A mean weight that is off by less, but more than chance allows, is noted.
    """
    rows = len(weights)
    error = float(weights.std(ddof=1) / rows**0.5) if rows > 1 else float("nan")
    return judge_weights(
        rows, effective_sample_size(weights), float(weights.mean()), error, float(weights.max()), unsupported, top_share
    )


def judge_weights(
    rows: int, effective: float, mean: float, error: float, largest: float, unsupported: float, top_share: float
) -> WeightDiagnostics:
    """The same from what `WeightDiagnostics` holds of the weights; `mean` and `error` are the mean weight's."""
    refused, refused_by, notes = None, None, []
    least = max(LEAST_ESS_SHARE * rows, min(LEAST_EFFECTIVE_ROWS, rows / 2))
    if effective < least:
        refused_by = FEW_ROWS
        refused = (
            f"The {rows:,} logged rows are worth only {_plain(effective)} for this policy ({effective / rows:.2%}; "
            f"{least:,.0f} is the least): it decides too differently from what was logged, and single rows with "
            f"weights up to {_plain(largest)} would make the figure."
            if largest > 0
            else f"In none of the {rows:,} logged rows was decided what this policy would decide: the log says nothing "
            "of what it earns. Let some decisions be drawn at random from what it may do, and log those."
        )
    elif abs(mean - 1) > MEAN_WEIGHT_TOLERANCE:
        refused_by = MEAN_WEIGHT
        refused = (
            f"The mean weight is {mean:.3g} (standard error {error:.2g}) where it should be 1: the policy favours "
            "decisions that were hardly ever logged, or the logged probabilities are wrong."
        )
    if unsupported > 0.01:
        notes.append(
            f"{unsupported:.0%} of the policy's decisions are ones that the log (hardly) ever shows; what they earn is "
            "the reward model's guess."
        )
    if not refused and abs(mean - 1 + unsupported) > max(4 * error, 0.01):
        notes.append(
            f"The mean weight is {mean:.3f} (standard error {error:.2g}) where {1 - unsupported:.3f} is expected, more "
            "than chance allows: are the logged probabilities right?"
        )
    if top_share > LARGE_SHARE:
        notes.append(f"One customer carries {top_share:.0%} of the estimate.")
    return WeightDiagnostics(
        rows, effective, effective / rows, least, mean, error, largest, unsupported, top_share, refused, refused_by,
        tuple(notes),
    )  # fmt: skip


def _plain(number: float) -> str:
    """Three digits of a small number, and a large one in full: nobody reads 1.2e+04."""
    return f"{number:,.0f}" if number >= 1000 else f"{number:.3g}"


def effective_sample_size(weights: np.ndarray) -> float:
    """(sum w)^2 / sum w^2 (Kish 1965, section 11.7); 0 where all weights are 0. `weights` has shape [n]."""
    largest = float(np.abs(weights).max(initial=0.0))
    if largest == 0:
        return 0.0
    scaled = weights / largest  # so that squares of tiny or huge weights stay in range
    return float(scaled.sum() ** 2 / np.square(scaled).sum())


def expected_sample_size(target: np.ndarray, logging: np.ndarray) -> float:
    """Effective sample size to be expected of a log: n (mean w)^2 / mean w^2, their means taken over all decisions.

    Mean w is sum_a pi(a|x) and mean w^2 is sum_a pi(a|x)^2 / mu(a|x), over what the logger may do. Shapes [n, 1 + K].
    """
    possible = logging > 0
    first = float(np.where(possible, target, 0.0).sum() / len(target))
    second = float(np.where(possible, target**2 / np.where(possible, logging, 1.0), 0.0).sum() / len(target))
    return len(target) * first**2 / second if second > 0 else 0.0


def unsupported_mass(
    logged: LoggedDecisions, target: np.ndarray, logging: np.ndarray | None = None, floor: float = PROBABILITY_FLOOR
) -> float:
    """Mean probability that the policy puts on decisions which the logging policy takes with less than `floor`.

    Where only the probabilities of the logged decisions are known, a decision counts as unsupported if it was never
    taken with `floor` or more; what lacks support only in some states then shows in the mean weight.

    Args:
        logged: n decisions.
        target: the policy's probabilities. Shape [n, 1 + K].
        logging: the logging policy's probabilities. Shape [n, 1 + K], or None.
        floor: a probability.
    """
    if logging is None:
        best = likeliest(logged, target.shape[1])
        return float(target[:, best < floor].sum() / len(target))
    if logging.shape != target.shape:
        raise CampaignError(f"evaluation: logging probabilities have shape {logging.shape}; expected {target.shape}.")
    return float(np.where(logging < floor, target, 0.0).sum() / len(target))


def likeliest(logged: LoggedDecisions, decisions: int) -> np.ndarray:
    """Largest probability with which each decision was taken, 0 where it never was. Shape [decisions]."""
    best = np.zeros(decisions)
    np.maximum.at(best, logged.action, logged.logged_prob)
    return best


def top_customer_share(contributions: Contributions, customer: np.ndarray) -> float:
    """Largest share of one customer in the sum of customers' absolute contributions.

    Args:
        contributions: n rows; several terms are weighed by their denominators' sums.
        customer: of each row. Shape [n].
    """
    parts = contributions.numerator.reshape(len(contributions), -1)
    totals = contributions.denominator.reshape(len(contributions), -1).sum(axis=0)
    values = (parts / np.where(totals == 0, np.inf, totals)).sum(axis=1)
    _, index = np.unique(customer, return_inverse=True)
    sums = np.abs(np.bincount(index, weights=values))
    return float(sums.max() / sums.sum()) if sums.sum() > 0 else 0.0


@dataclass(frozen=True)
class ProbabilityCheck:
    """Do decisions come as often as their logged probabilities claim? One entry a decision, hold first.

    Attributes:
        taken: rows with the decision. Shape [1 + K], int64.
        mean_inverse: mean over all rows of 1{taken} / probability. Expected: share of rows in which the decision was
            possible, so 1 where it always was; above 1 the probabilities are too small. Shape [1 + K].
        error: its standard error, as seen or as the probabilities claim, whichever is larger. Shape [1 + K].
        contradicted: above 1 by more than four standard errors. Shape [1 + K], bool.
    """

    taken: np.ndarray
    mean_inverse: np.ndarray
    error: np.ndarray
    contradicted: np.ndarray


def check_logged_probabilities(logged: LoggedDecisions, decisions: int) -> ProbabilityCheck:
    """Checks probabilities of which only the logged decision's is known: the mean weight of every constant policy.

    Args:
        logged: n decisions.
        decisions: 1 + K.
    """
    return probability_check(len(logged), *inverse_sums(logged, decisions))


def inverse_sums(logged: LoggedDecisions, decisions: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """By decision: rows, and sums of 1 / probability and of its square. Shapes [decisions]."""
    inverse = 1 / logged.logged_prob
    return (
        np.bincount(logged.action, minlength=decisions),
        np.bincount(logged.action, weights=inverse, minlength=decisions),
        np.bincount(logged.action, weights=inverse**2, minlength=decisions),
    )


def probability_check(rows: int, taken: np.ndarray, inverse: np.ndarray, squares: np.ndarray) -> ProbabilityCheck:
    """The check from `inverse_sums` of `rows` rows."""
    mean, square = inverse / rows, squares / rows
    # as seen, and as the probabilities claim: where a decision was always taken, the first is 0
    error = np.sqrt(np.maximum(square - np.minimum(mean, mean**2), 0.0) / rows)
    return ProbabilityCheck(taken, mean, error, mean > 1 + np.maximum(4 * error, 1e-9))


def refuse_wrong_probabilities(found: WeightDiagnostics, check: ProbabilityCheck) -> WeightDiagnostics:
    """The diagnostics, refused where decisions came more often than their logged probabilities allow."""
    wrong = _wrong_probabilities(check)
    return found if found.refused or not wrong else replace(found, refused=wrong, refused_by=PROBABILITIES)


def _wrong_probabilities(check: ProbabilityCheck) -> str | None:
    """Why an estimate on these probabilities is refused, in plain words; None where they are not contradicted."""
    if not check.contradicted.any():
        return None
    decision = int(np.argmax(np.where(check.contradicted, check.mean_inverse, 0.0)))
    return (
        f"The logged probabilities do not fit the log: decision {decision} was taken "
        f"{check.mean_inverse[decision]:.2f} times as often as its probabilities say (standard error "
        f"{check.error[decision]:.2g}). Mend action_prob, or the logging policy that was fitted in its place."
    )


@dataclass(frozen=True)
class Reliability:
    """Claimed against observed frequency of decisions, by bin of the claimed probability.

    Attributes:
        claimed: mean claimed probability; NaN in an empty bin. Shape [bins].
        observed: share of decisions taken; NaN in an empty bin. Shape [bins].
        count: row and decision pairs. Shape [bins].
    """

    claimed: np.ndarray
    observed: np.ndarray
    count: np.ndarray

    @property
    def error(self) -> float:
        """Expected calibration error: mean |claimed - observed|, weighted by count."""
        return float(np.nansum(self.count * np.abs(self.claimed - self.observed)) / self.count.sum())


def reliability(logging: np.ndarray, action: np.ndarray, bins: int = 10) -> Reliability:
    """Reliability of a logging policy of which all probabilities are known (a fitted one).

    Args:
        logging: probabilities. Shape [n, 1 + K].
        action: decisions taken. Shape [n], int64.
        bins: of equal width over [0, 1].
    """
    taken = np.zeros(logging.shape)
    taken[np.arange(len(action)), action] = 1.0
    index = np.minimum((logging * bins).astype(np.int64), bins - 1).ravel()
    count = np.bincount(index, minlength=bins)
    share = np.where(count == 0, np.nan, count)
    claimed = np.bincount(index, weights=logging.ravel(), minlength=bins) / share
    observed = np.bincount(index, weights=taken.ravel(), minlength=bins) / share
    return Reliability(claimed, observed, count)
