"""Off-policy estimators over arrays. Each returns contributions a row; points and intervals are built on them.

Notation: w = pi(a|x) / mu(a|x) with mu the logging policy's probability, r the reward, q a reward model, and
v = sum_a pi(a|x) q(x, a). Over slots, rho_t is the product of w up to slot t, and 1 before the first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

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


class Estimator(Protocol):
    """A way to estimate a policy's value from another policy's log."""

    @property
    def name(self) -> str:
        """In tables."""
        ...

    def contributions(
        self, logged: LoggedDecisions, target: np.ndarray, predicted: np.ndarray | None = None
    ) -> Contributions:
        """Contributions a row.

        Args:
            logged: n decisions.
            target: the policy's probabilities. Shape [n, 1 + K].
            predicted: reward model, fitted without the row's own customer. Shape [n, 1 + K].
        Raises:
            CampaignError: where shapes differ, the target's rows are no probabilities, or a needed model is missing.
        """
        ...


class SequentialEstimator(Protocol):
    """The same over the first H slots: the undiscounted sum of a customer's rewards."""

    @property
    def name(self) -> str:
        """In tables."""
        ...

    def contributions(
        self, logged: LoggedSequences, target: np.ndarray, predicted: np.ndarray | None = None
    ) -> Contributions:
        """Contributions a customer. As `Estimator.contributions`, with shapes [N, H, 1 + K].

        `predicted` is a model of the reward from the slot on (see `reward_to_go`).
        """
        ...


def importance_weights(logged: LoggedDecisions, target: np.ndarray) -> np.ndarray:
    """w = pi(a|x) / mu(a|x) of the logged decisions. Shape [n].

    Raises:
        CampaignError: where the target's rows are no probabilities over enough decisions.
    """
    _check_target(target, logged.action, _all(logged))
    weights: np.ndarray = target[np.arange(len(logged)), logged.action] / logged.logged_prob
    return weights


@dataclass(frozen=True)
class DM:
    """Direct method: mean of v (Dudik, Langford and Li 2011, eq. 1). Biased where q is."""

    name: str = "DM"

    def contributions(
        self, logged: LoggedDecisions, target: np.ndarray, predicted: np.ndarray | None = None
    ) -> Contributions:
        """See `Estimator.contributions`."""
        _check_target(target, logged.action, _all(logged))
        return mean_contributions((target * _model(predicted, target, _all(logged), self.name)).sum(axis=1))


@dataclass(frozen=True)
class IPS:
    """Inverse propensity scoring: mean of w r (Horvitz and Thompson 1952). Unbiased where mu covers pi."""

    name: str = "IPS"

    def contributions(
        self, logged: LoggedDecisions, target: np.ndarray, predicted: np.ndarray | None = None
    ) -> Contributions:
        """See `Estimator.contributions`."""
        return mean_contributions(importance_weights(logged, target) * logged.reward)


@dataclass(frozen=True)
class SNIPS:
    """Self-normalised IPS: sum w r / sum w (Swaminathan and Joachims 2015, eq. 9). Follows a shift of the rewards."""

    name: str = "SNIPS"

    def contributions(
        self, logged: LoggedDecisions, target: np.ndarray, predicted: np.ndarray | None = None
    ) -> Contributions:
        """See `Estimator.contributions`."""
        weights = importance_weights(logged, target)
        return Contributions(weights * logged.reward, weights)


@dataclass(frozen=True)
class DR:
    """Doubly robust: mean of v + w (r - q(x, a)) (Dudik, Langford and Li 2011, eq. 3).

    Unbiased where either the logged probabilities or the reward model are right.
    """

    name: str = "DR"

    def contributions(
        self, logged: LoggedDecisions, target: np.ndarray, predicted: np.ndarray | None = None
    ) -> Contributions:
        """See `Estimator.contributions`."""
        model = _model(predicted, target, _all(logged), self.name)
        weights = importance_weights(logged, target)
        residual = logged.reward - model[np.arange(len(logged)), logged.action]
        return mean_contributions((target * model).sum(axis=1) + weights * residual)


def cumulative_weights(logged: LoggedSequences, target: np.ndarray) -> np.ndarray:
    """rho_t, the product of w up to slot t, which a missing slot leaves as it is. Shape [N, H].

    Raises:
        CampaignError: where the target's rows are no probabilities over enough decisions.
    """
    _check_target(target, logged.action, logged.mask)
    chosen = np.take_along_axis(target, np.where(logged.mask, logged.action, 0)[..., None], axis=2)[..., 0]
    ratios = np.where(logged.mask, chosen, 1.0) / np.where(logged.mask, logged.logged_prob, 1.0)
    products: np.ndarray = np.cumprod(ratios, axis=1)
    return products


@dataclass(frozen=True)
class PerDecisionIS:
    """Per-decision importance sampling: mean of sum_t rho_t r_t (Precup, Sutton and Singh 2000, section 3)."""

    name: str = "PDIS"

    def contributions(
        self, logged: LoggedSequences, target: np.ndarray, predicted: np.ndarray | None = None
    ) -> Contributions:
        """See `SequentialEstimator.contributions`."""
        return mean_contributions((cumulative_weights(logged, target) * _earned(logged)).sum(axis=1))


@dataclass(frozen=True)
class WeightedPerDecisionIS:
    """Its self-normalised form, slot by slot: sum_t (sum_i rho_it r_it / sum_i rho_it) (Thomas 2015, eq. 3.15)."""

    name: str = "WPDIS"

    def contributions(
        self, logged: LoggedSequences, target: np.ndarray, predicted: np.ndarray | None = None
    ) -> Contributions:
        """See `SequentialEstimator.contributions`."""
        weights = cumulative_weights(logged, target)
        return Contributions(weights * _earned(logged), weights)


@dataclass(frozen=True)
class PerDecisionDR:
    """Doubly robust over slots: mean of sum_t rho_{t-1} v_t + rho_t (r_t - q_t) (Jiang and Li 2016, eq. 10, unrolled).

    Unbiased where the logged probabilities are right, whatever the model; the better it is, the narrower.
    """

    name: str = "per-decision DR"

    def contributions(
        self, logged: LoggedSequences, target: np.ndarray, predicted: np.ndarray | None = None
    ) -> Contributions:
        """See `SequentialEstimator.contributions`."""
        weights, before, residual, expected = _doubly_robust_parts(logged, target, predicted, self.name)
        return mean_contributions((before * expected + weights * residual).sum(axis=1))


@dataclass(frozen=True)
class WeightedPerDecisionDR:
    """Its self-normalised form: PerDecisionDR with rho_t / sum_i rho_it (Thomas and Brunskill 2016, WDR)."""

    name: str = "per-decision SNDR"

    def contributions(
        self, logged: LoggedSequences, target: np.ndarray, predicted: np.ndarray | None = None
    ) -> Contributions:
        """See `SequentialEstimator.contributions`."""
        weights, before, residual, expected = _doubly_robust_parts(logged, target, predicted, self.name)
        return Contributions(
            np.concatenate([before * expected, weights * residual], axis=1), np.concatenate([before, weights], axis=1)
        )


def reward_to_go(immediate: np.ndarray, logged: LoggedSequences) -> np.ndarray:
    """Makes a model of a slot's own reward one of the reward from that slot on.

    The mean logged reward of the slots after it is added, a constant a slot: it leaves PerDecisionDR consistent and
    takes most of the later rewards' noise out of it. `immediate` and the result have shape [N, H, 1 + K].
    """
    counts = np.maximum(logged.mask.sum(axis=0), 1)
    # what those who have slot t earn after it; a customer's own reward moves it by 1 / N only
    rest = np.cumsum(_earned(logged)[:, ::-1], axis=1)[:, ::-1] - _earned(logged)
    later = (rest * logged.mask).sum(axis=0) / counts
    model: np.ndarray = immediate + later[None, :, None]
    return model


def per_decision_dr(
    action: np.ndarray,
    reward: np.ndarray,
    logged_prob: np.ndarray,
    target: np.ndarray,
    predicted: np.ndarray,
    known: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """`PerDecisionDR` from bare arrays, and the weights that it rests on.

    The first three and `known` have shape [N, H] (see `LoggedSequences`), `target` and `predicted` [N, H, 1 + K].

    Returns:
        Value of each customer's sequence under the policy, and its cumulated weight. Shapes [N].
    """
    logged = LoggedSequences(action, reward, logged_prob, known)
    value = PerDecisionDR().contributions(logged, target, predicted).numerator
    return value, cumulative_weights(logged, target)[:, -1]


def _doubly_robust_parts(
    logged: LoggedSequences, target: np.ndarray, predicted: np.ndarray | None, name: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """rho_t, rho_{t-1}, r_t - q_t and v_t; the last two are 0 where a slot is missing. Shapes [N, H]."""
    weights = cumulative_weights(logged, target)
    model = _model(predicted, target, logged.mask, name)
    before = np.concatenate([np.ones((len(logged), 1)), weights[:, :-1]], axis=1)
    taken = np.take_along_axis(model, np.where(logged.mask, logged.action, 0)[..., None], axis=2)[..., 0]
    residual = np.where(logged.mask, _earned(logged) - taken, 0.0)
    expected = np.where(logged.mask, (target * model).sum(axis=2), 0.0)
    return weights, before, residual, expected


def _all(logged: LoggedDecisions) -> np.ndarray:
    return np.ones(len(logged), dtype=bool)


def _earned(logged: LoggedSequences) -> np.ndarray:
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


def _check_target(target: np.ndarray, action: np.ndarray, mask: np.ndarray) -> None:
    least = 1 + int(action[mask].max())
    if target.ndim != action.ndim + 1 or target.shape[:-1] != action.shape or target.shape[-1] < least:
        raise CampaignError(
            f"evaluation: target probabilities have shape {target.shape}; expected {(*action.shape, '1 + K')} with "
            f"1 + K at least {least}."
        )
    sums = target.sum(axis=-1)
    # NaN makes every comparison false
    fine = (np.abs(sums - 1) < SUM_TOLERANCE) & (target >= -1e-9).all(axis=-1)
    _check_rows(mask & ~fine, sums, "target probabilities", "must be >= 0 and sum to 1")


def _model(predicted: np.ndarray | None, target: np.ndarray, mask: np.ndarray, name: str) -> np.ndarray:
    if predicted is None:
        raise CampaignError(f"evaluation: {name} needs a reward model's predictions, shape {target.shape}; got none.")
    if predicted.shape != target.shape:
        raise CampaignError(f"evaluation: predicted rewards have shape {predicted.shape}; expected {target.shape}.")
    sums = predicted.sum(axis=-1)
    _check_rows(mask & ~np.isfinite(sums), sums, "predicted rewards", "must be finite numbers")
    return predicted
