"""A log as the estimators read it, what an estimate is made of, and what is refused on the way in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from campaigns.errors import CampaignError

SUM_TOLERANCE = 1e-4
"""How far a row of float32 probabilities may be off 1."""


@dataclass(frozen=True)
class LoggedDecisions:
    """A log as the one-step estimators read it: eligible rows only.

    Attributes:
        customer: index of the customer, by whom rows are clustered. Shape [n], int64.
        action: 0 hold, 1..K contents. Shape [n], int64.
        reward: in the objective's unit. Shape [n], float64.
        logged_prob: probability with which the logging policy took `action`, in (0, 1]. Shape [n], float64.
    """

    customer: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    logged_prob: np.ndarray

    def __post_init__(self) -> None:
        _check_log(self.action, self.reward, self.logged_prob, np.ones(np.shape(self.action), dtype=bool), ndim=1)
        if np.shape(self.customer) != self.action.shape:
            shape = np.shape(self.customer)
            raise CampaignError(f"evaluation: customer has shape {shape}; expected {self.action.shape}.")

    def __len__(self) -> int:
        return len(self.action)


@dataclass(frozen=True)
class LoggedSequences:
    """The first H slots of N customers, a row each. Where `mask` is False the other arrays are not read.

    Attributes:
        action: 0 hold, 1..K contents. Shape [N, H], int64.
        reward: in the objective's unit. Shape [N, H], float64.
        logged_prob: probability with which the logging policy took `action`, in (0, 1]. Shape [N, H], float64.
        mask: slots that the customer's sequence has; a missing one earns 0 and weighs 1. Shape [N, H], bool.
    """

    action: np.ndarray
    reward: np.ndarray
    logged_prob: np.ndarray
    mask: np.ndarray

    def __post_init__(self) -> None:
        _check_log(self.action, self.reward, self.logged_prob, self.mask, ndim=2)

    def __len__(self) -> int:
        return len(self.action)


@dataclass(frozen=True)
class Contributions:
    """An estimate as sums over rows: sum_j (sum_i numerator_ij / sum_i denominator_ij).

    One term (shape [n]) is a mean or a ratio; several (shape [n, J]) are the self-normalised estimators over slots.
    The sums are all that a bootstrap needs, and those of two parts of a log add up.

    Attributes:
        numerator: Shape [n] or [n, J].
        denominator: ones for a plain mean, weights for a self-normalised one. The same shape.
    """

    numerator: np.ndarray
    denominator: np.ndarray

    def __post_init__(self) -> None:
        if self.numerator.shape != self.denominator.shape:
            raise CampaignError(
                f"evaluation: contributions have numerators {self.numerator.shape} and denominators "
                f"{self.denominator.shape}; they must have one shape."
            )

    def __len__(self) -> int:
        return len(self.numerator)

    @property
    def value(self) -> float:
        """The point estimate; NaN where nothing carries weight."""
        return float(ratio_sum(self.numerator.sum(axis=0), self.denominator.sum(axis=0)))


def mean_contributions(rewards: np.ndarray) -> Contributions:
    """What really happened, as an estimate of the logging policy's own value. `rewards` has shape [n]."""
    return Contributions(rewards, np.ones(len(rewards)))


def ratio_sum(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Sum over the last axis of numerator / denominator, NaN where a denominator is 0. Scalars count as one term."""
    numerator, denominator = np.atleast_1d(numerator), np.atleast_1d(denominator)
    ratios: np.ndarray = numerator / np.where(denominator == 0, np.nan, denominator)
    total: np.ndarray = ratios.sum(axis=-1)
    return total


def customer_index(customer: np.ndarray) -> tuple[np.ndarray, int]:
    """Numbers the customers of rows from 0. Returns an index a row, shape [n], and the number of customers."""
    least, most = int(customer.min()), int(customer.max())
    if most - least < 4 * len(customer) and np.issubdtype(customer.dtype, np.integer):
        there = np.bincount(customer - least) > 0  # no sorting: tens of times faster on a large log
        return (np.cumsum(there) - 1)[customer - least], int(there.sum())
    known, index = np.unique(customer, return_inverse=True)
    return index, len(known)


def every_row(logged: LoggedDecisions) -> np.ndarray:
    """The mask of a log without missing rows. Shape [n], bool."""
    return np.ones(len(logged), dtype=bool)


def earned(logged: LoggedSequences) -> np.ndarray:
    """Rewards with 0 where a slot is missing. Shape [N, H]."""
    return np.where(logged.mask, logged.reward, 0.0)


def _check_log(action: np.ndarray, reward: np.ndarray, logged_prob: np.ndarray, mask: np.ndarray, ndim: int) -> None:
    shapes = {
        name: np.shape(array)
        for name, array in (("action", action), ("reward", reward), ("action_prob", logged_prob), ("mask", mask))
    }
    if len(set(shapes.values())) != 1 or len(shapes["action"]) != ndim:
        raise CampaignError(f"evaluation: arrays of a log must have one shape of {ndim} axes; got {shapes}.")
    if not mask.any():
        raise CampaignError("evaluation: the log has no decision to evaluate on.")
    if not np.issubdtype(action.dtype, np.integer):
        raise CampaignError(f"evaluation: action must be whole numbers (0 hold, 1..K contents); got {action.dtype}.")
    _check_rows(mask & (action < 0), action, "action", "must be >= 0 (0 hold, 1..K contents)")
    _check_rows(mask & ~np.isfinite(reward), reward, "reward", "must be a finite number")
    _check_rows(mask & ~((logged_prob > 0) & (logged_prob <= 1)), logged_prob, "action_prob", "must lie in (0, 1]")


def _check_rows(bad: np.ndarray, values: np.ndarray, name: str, rule: str) -> None:
    if bad.any():
        first = np.argwhere(bad)[0]
        slot = f", slot {first[1]}" if len(first) > 1 else ""
        raise CampaignError(
            f"evaluation: {name} {rule}; {int(bad.sum())} of {bad.size} do not, first row {first[0]}{slot} with "
            f"{values[tuple(first)]}. Set these rows aside or mend them."
        )


def check_target(target: np.ndarray, action: np.ndarray, mask: np.ndarray) -> None:
    """Refuses targets that are no probabilities over enough decisions; rows where `mask` is False are not read.

    Raises:
        CampaignError: naming the first bad row.
    """
    least = 1 + int(action[mask].max())
    if target.ndim != action.ndim + 1 or target.shape[:-1] != action.shape or target.shape[-1] < least:
        raise CampaignError(
            f"evaluation: target probabilities have shape {target.shape}; expected {(*action.shape, '1 + K')} with "
            f"1 + K at least {least}."
        )
    rule, sums = "must be >= 0 and sum to 1", target @ np.ones(target.shape[-1])
    # NaN makes every comparison false; the whole array's minimum is found faster than each row's
    if not target.min() >= -1e-9:
        lowest = target.min(axis=-1)
        _check_rows(mask & ~(lowest >= -1e-9), lowest, "target probabilities", rule)
    _check_rows(mask & ~(np.abs(sums - 1) < SUM_TOLERANCE), sums, "target probabilities", rule)


def checked_model(predicted: np.ndarray | None, target: np.ndarray, mask: np.ndarray, name: str) -> np.ndarray:
    """The reward model's predictions, once they are known to be there and usable.

    Raises:
        CampaignError: where they are missing, of another shape than `target`, or not finite.
    """
    if predicted is None:
        raise CampaignError(f"evaluation: {name} needs a reward model's predictions, shape {target.shape}; got none.")
    if predicted.shape != target.shape:
        raise CampaignError(f"evaluation: predicted rewards have shape {predicted.shape}; expected {target.shape}.")
    sums = predicted @ np.ones(predicted.shape[-1])
    _check_rows(mask & ~np.isfinite(sums), sums, "predicted rewards", "must be finite numbers")
    return predicted
