"""Fitted Q evaluation over a finite horizon (Le, Voloshin and Yue 2019, algorithm 3), undiscounted.

Q_h(s, a) = E[r + V_{h-1}(s') | s, a] is the value of h slots to go, V_h(s) = E_{a ~ pi} Q_h(s, a), V_0 = 0. Slots are
pooled in every regression: what sets them apart (hour, weekday, time known) is part of the state.

With Q_h linear in phi(s, a) every regression has the same closed form. With S the sum of phi phi' over rows,
M = S^-1 (sum of phi phibar(s')') and theta = S^-1 (sum of phi r): w_h = theta + M w_{h-1}. That is one pass over the
log, and then H products of a d x d matrix and a vector. A blend (1 - a) log + a policy of decisions has
M = (1 - a) M_log + a M_policy, so that all shares a are solved at once. The same matrix carries the policy's mean
features forward, nu_{t+1} = M' nu_t (Duan, Jia and Wang 2020, section 4).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

RIDGE = 1e-3
"""Penalty of a standardised coefficient of the onward features, as a share of the rows."""

REWARD_RIDGES = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""The same for rewards, which are noisier by far; that with the least squared error on held-out customers is taken."""


@dataclass(frozen=True)
class LoggedFeatures:
    """A log of N sequences of at most T slots, as regressions read it.

    Attributes:
        taken: phi of what was decided; the first column is 1, the others are standardised. Shape [N, T, d].
        reward: in the objective's unit; not read where not known. Shape [N, T].
        known: slots before a sequence's end. Sequences may differ in length and end early. Shape [N, T], bool.
        horizon: H, slots over which value is counted. Where T < H what comes later follows the fitted law.
        fold: of each customer; a fold is evaluated by what was fitted to the others. Shape [N], int64.
        folds: F. With one fold everything is fitted to the customers themselves.
        prior: coefficients of a slot's own reward that a reward model suggests, towards which the fit is shrunk; None
            for zeros. Shape [d].
        group: of customers who are drawn together; None where each stands alone. Shape [N], int64.
    """

    taken: Tensor
    reward: Tensor
    known: Tensor
    horizon: int
    fold: Tensor
    folds: int
    prior: Tensor | None = None
    group: Tensor | None = None

    @property
    def onward(self) -> Tensor:
        """Known slots whose next slot is known too. Shape [N, T], bool."""
        onward = torch.zeros_like(self.known)
        onward[:, :-1] = self.known[:, :-1] & self.known[:, 1:]
        return onward


@dataclass(frozen=True)
class LogMoments:
    """What every policy's regressions share, fold by fold, without the fold's own customers. Float64.

    Attributes:
        gram: penalised sum of phi phi' over rows whose next slot is known. Shape [F, d, d].
        theta: coefficients of the slot's own reward. Shape [F, d].
        onward: M of the logging policy. Shape [F, d, d].
        start: mean phi in the first slot. Shape [F, d].
    """

    gram: Tensor
    theta: Tensor
    onward: Tensor
    start: Tensor


@dataclass(frozen=True)
class LinearFQE:
    """Q of A policies or blends in every fold, fitted to the other folds' customers.

    Attributes:
        weights: coefficients of Q_h, h = 0..H. Shape [A, F, H + 1, d], float64.
        path: nu_t, the mean features that the policy is expected to have in slot t. Shape [A, F, H, d], float64.
    """

    weights: Tensor
    path: Tensor

    def of(self, features: Tensor, fold: Tensor) -> Tensor:
        """Q of the slots that remain at each row of `features` [N, T, d], of customers in `fold`. Shape [A, N, T]."""
        horizon = self.weights.shape[2] - 1
        to_go = (horizon - torch.arange(features.shape[1], device=features.device)).clamp(min=0)
        result = features.new_zeros(self.weights.shape[0], *features.shape[:2])
        for number in range(self.weights.shape[1]):
            rows = fold == number
            weights = self.weights[:, number, to_go].to(features.dtype)
            result[:, rows] = torch.einsum("ntd,atd->ant", features[rows], weights)
        return result


def log_moments(log: LoggedFeatures, ridge: float = RIDGE) -> LogMoments:
    """One pass over a log; see `LogMoments`. The constant is not penalised."""
    every = _by_fold(log, log.taken, log.taken, log.known)
    ends = _by_fold(log, log.taken, log.taken, log.known & ~log.onward)
    earned = _by_fold(log, log.taken, log.reward.unsqueeze(2), log.known).squeeze(2)
    gram = _penalised(_others(every - ends), ridge)
    theta = _reward_coefficients(log, every, earned, ridge)
    onward = torch.linalg.solve(gram, _others(onward_moment(log, log.taken)))
    return LogMoments(gram, theta, onward, _start(log, log.taken))


def onward_moment(log: LoggedFeatures, expected: Tensor) -> Tensor:
    """Sum of phi(s, a) phibar(s')': all that the recursion needs to know of a policy. Shape [F, d, d], float64.

    Args:
        log: N sequences.
        expected: phibar, mean features under the policy's probabilities. Shape [N, T, d].
    """
    later = torch.zeros_like(expected)
    later[:, :-1] = expected[:, 1:]
    return _by_fold(log, log.taken, later, log.onward)


def fit_linear_fqe(
    log: LoggedFeatures, moments: LogMoments, expected: Tensor, shares: tuple[float, ...] = (1.0,)
) -> LinearFQE:
    """Solves the recursion of a policy's blends with what was logged, in every fold without its customers.

    Args:
        log: N sequences.
        moments: of the log.
        expected: the policy's phibar. Shape [N, T, d].
        shares: a, of decisions that are the policy's; 0 is the logging policy.
    """
    own = torch.linalg.solve(moments.gram, _others(onward_moment(log, expected)))
    first = _start(log, expected)
    share = own.new_tensor(shares)
    folds, width = moments.theta.shape
    weights = own.new_zeros(len(shares), folds, log.horizon + 1, width)
    path = own.new_zeros(len(shares), folds, log.horizon, width)
    path[:, :, 0] = moments.start + share.view(-1, 1, 1) * (first - moments.start)
    for step in range(log.horizon):
        weights[:, :, step + 1] = moments.theta + _blended(moments.onward, own, share, weights[:, :, step])
        if step:
            turned = (moments.onward.transpose(1, 2), own.transpose(1, 2))
            path[:, :, step] = _blended(*turned, share, path[:, :, step - 1])
    return LinearFQE(weights, path)


def feature_support(log: LoggedFeatures, fitted: LinearFQE, moments: LogMoments) -> Tensor:
    """Effective share of the log's rows for a linear FQE: 1 / mean over slots of nu_t' S^-1 nu_t. Shape [A].

    The variance of linear FQE grows with that quadratic form (Duan, Jia and Wang 2020, theorem 2): it is the mean
    square of the smallest weights that turn the log's mean features into the policy's.
    """
    rows = _others(_by_fold(log, log.taken[..., :1], log.taken[..., :1], log.onward)).squeeze(2)
    solved = torch.linalg.solve(moments.gram, fitted.path.transpose(2, 3)).transpose(2, 3)
    squares = ((fitted.path * solved).sum(dim=3) * rows).mean(dim=(1, 2))
    share: Tensor = squares.clamp(min=1.0).reciprocal()
    return share


def _reward_coefficients(log: LoggedFeatures, every: Tensor, earned: Tensor, least: float) -> Tensor:
    """theta, shrunk to the prior by the ridge that predicts held-out customers best. Shape [F, d]."""
    prior = torch.zeros_like(earned[0]) if log.prior is None else log.prior.to(earned)
    left = earned - every @ prior
    best, least_error = torch.zeros_like(earned), torch.inf
    for ridge in [r for r in REWARD_RIDGES if r >= least] if log.folds > 1 else [least]:
        found = torch.linalg.solve(_penalised(_others(every), ridge), _others(left))
        # the squared error of held-out rows, less a part that is the same for every ridge
        error = float((torch.einsum("fd,fde,fe->f", found, every, found) - 2 * (found * left).sum(dim=1)).sum())
        if error < least_error:
            best, least_error = found, error
    return prior + best


def _blended(logged: Tensor, own: Tensor, share: Tensor, vectors: Tensor) -> Tensor:
    """(1 - a) logged v + a own v for matrices [F, d, d], shares [A] and vectors [A, F, d]."""
    part = share.view(-1, 1, 1)
    by_log = torch.einsum("fde,afe->afd", logged, vectors)
    return by_log + part * (torch.einsum("fde,afe->afd", own, vectors) - by_log)


def _by_fold(log: LoggedFeatures, left: Tensor, right: Tensor, mask: Tensor) -> Tensor:
    """Sum over masked rows of left right', fold by fold. Shape [F, dl, dr], float64."""
    parts = []
    for number in range(log.folds):
        rows = mask & (log.fold == number).unsqueeze(1)
        parts.append((left[rows].T @ right[rows]).double())
    return torch.stack(parts)


def _others(by_fold: Tensor) -> Tensor:
    """Sums over all folds but each one's own."""
    return by_fold if len(by_fold) == 1 else by_fold.sum(dim=0) - by_fold


def _start(log: LoggedFeatures, features: Tensor) -> Tensor:
    """Mean features in the first slot, without each fold's customers. Shape [F, d], float64."""
    first = features[:, :1] * log.known[:, :1].unsqueeze(2)
    sums = _others(torch.stack([first[log.fold == f].double().sum(dim=(0, 1)) for f in range(log.folds)]))
    counts = _others(torch.stack([log.known[log.fold == f, 0].double().sum() for f in range(log.folds)]))
    return sums / counts.clamp(min=1.0).unsqueeze(1)


def _penalised(gram: Tensor, ridge: float) -> Tensor:
    penalty = ridge * gram[:, :1, 0].clamp(min=1.0) * torch.ones_like(gram[:, 0])
    penalty[:, 0] = 1e-9
    return gram + torch.diag_embed(penalty)
