"""Doubly robust over a horizon with truncated weights: FQE, and the Bellman errors of the log weighted by few slots.

    value = mean V_H(s_0) + sum_t mean rho_t (r_t + V_{H-t-1}(s_{t+1}) - Q_{H-t}(s_t, a_t))

(Kallus and Uehara 2020, eq. 8) is right where either Q or the marginal ratio rho_t = d_pi,t(s, a) / d_mu,t(s, a) is
(Liu et al. 2018). rho_t is estimated by the product of the last L weights, as if states did not remember decisions that
lie further back; self-normalised, slot by slot. L = 0 is FQE, L >= H per-decision doubly robust. Short windows may be
biased, long ones are noisy: the shortest is taken that no longer one contradicts (SLOPE: Su, Srinath and Krishnamurthy
2020, with the standard error of paired differences, since all windows see the same customers).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from evaluation.fqe import LoggedFeatures
from evaluation.logged import customer_index

WINDOWS = (1, 2, 3, 4, 6, 9, 12, 18, 24, 42, 84, 168)
"""Slots over which weights may be multiplied."""

LEAST_WINDOW_SHARE = 0.2
"""A window whose weights leave less than this share of the customers in effect is not used."""

MEAN_WINDOW_TOLERANCE = 0.2
"""Nor one whose mean weight is further than this from 1."""

AS_GOOD = 2.0
"""The interval spans all longer windows whose standard error is at most this many times the chosen one's."""

CONTRADICTED = 2.0
"""Windows contradict each other where they differ by more than this many standard errors of their difference."""


@dataclass(frozen=True)
class Windows:
    """One policy's estimates by window.

    Attributes:
        windows: L, ascending; the usable ones, or the shortest alone where none is. Length J.
        contributions: what each customer adds to the mean. Shape [J, N], float64.
        effective_share: effective sample size as a share of the customers, on average over slots. Shape [J].
        mean_weight: Shape [J].
        chosen: position of the recommended window.
        last: position of the longest that its interval spans.
        usable: whether any window was.
    """

    windows: tuple[int, ...]
    contributions: np.ndarray
    effective_share: np.ndarray
    mean_weight: np.ndarray
    chosen: int
    last: int
    usable: bool

    @property
    def spanned(self) -> slice:
        """Positions whose intervals together are the estimate's."""
        return slice(self.chosen, self.last + 1)


def window_ratios(weights: Tensor, window: int) -> Tensor:
    """Product of the weights of a slot and of the `window` - 1 before it; ones for 0. Both of shape [N, T]."""
    result = torch.ones_like(weights)
    for back in range(min(window, weights.shape[1])):
        result[:, back:] *= weights[:, : weights.shape[1] - back]
    return result


def bellman_errors(log: LoggedFeatures, values: Tensor, taken_values: Tensor) -> tuple[Tensor, Tensor]:
    """r_t + V(s_{t+1}) - Q(s_t, a_t), and where it is known: not in a slot whose successor was censored.

    Args:
        log: N sequences.
        values: V of the slots that remain. Shape [N, T].
        taken_values: Q of them. Shape [N, T].
    Returns:
        Shapes [N, T]; 0 where not known.
    """
    slots = values.shape[1]
    later = torch.zeros_like(values)
    later[:, :-1] = values[:, 1:]
    known = log.onward.clone()
    if slots == log.horizon:  # nothing follows the horizon
        known[:, -1] = log.known[:, -1]
    return torch.where(known, log.reward + later - taken_values, 0.0), known


def corrected(first: Tensor, errors: Tensor, known: Tensor, ratios: Tensor) -> np.ndarray:
    """Contributions a customer: V(s_0) and the weighted errors, self-normalised slot by slot and linearised.

    A slot's mean is taken over those of whom it is known, so that censoring that does not depend on what is to come
    leaves the estimate where it is.

    Args:
        first: V of the whole horizon in the first slot. Shape [N].
        errors, known: from `bellman_errors`.
        ratios: rho_t. Shape [N, T].
    Returns:
        Shape [N], float64; the mean is the estimate and the spread its error.
    """
    weights = torch.where(known, ratios, 0.0).double()
    totals = weights.sum(dim=0).clamp(min=1e-12)
    means = (weights * errors).sum(dim=0) / totals
    spread = weights * (errors - means) * (len(errors) / totals)
    contributions: np.ndarray = (first.double() + means.sum() + spread.sum(dim=1)).cpu().numpy()
    return contributions


def estimate_windows(
    log: LoggedFeatures, values: Tensor, taken_values: Tensor, weights: Tensor, windows: tuple[int, ...] = WINDOWS
) -> Windows:
    """Estimates with every window, and which of them to believe.

    Args:
        log: N sequences; every one has its first slot.
        values, taken_values: V and Q of FQE, fitted without the customer. Shape [N, T].
        weights: pi / mu of what was decided, 1 where nothing is known. Shape [N, T].
        windows: ascending.
    """
    errors, known = bellman_errors(log, values, taken_values)
    kept: list[tuple[int, np.ndarray, float, float, bool]] = []
    for window in windows:
        ratios = window_ratios(weights, window)
        effective, mean = _weight_figures(ratios, known)
        fine = effective >= LEAST_WINDOW_SHARE and abs(mean - 1) <= MEAN_WINDOW_TOLERANCE
        if fine or not kept:
            kept.append((window, corrected(values[:, 0], errors, known, ratios), effective, mean, fine))
        if not fine or window >= values.shape[1]:
            break
    contributions = np.stack([entry[1] for entry in kept])
    chosen, last = choose_window(contributions, None if log.group is None else log.group.cpu().numpy())
    return Windows(
        tuple(entry[0] for entry in kept),
        contributions,
        np.array([entry[2] for entry in kept]),
        np.array([entry[3] for entry in kept]),
        chosen,
        last,
        kept[0][4],
    )


def choose_window(contributions: np.ndarray, group: np.ndarray | None = None) -> tuple[int, int]:
    """Positions of the shortest window that no longer one contradicts, and of the last that is about as precise.

    Args:
        contributions: windows ascending. Shape [J, N].
        group: of customers who are drawn together; None where each stands alone. Shape [N].
    """
    means, errors = contributions.mean(axis=1), _standard_errors(contributions, group)
    chosen = len(means) - 1
    for shorter in range(len(means) - 2, -1, -1):
        apart = contributions[shorter] - contributions[shorter + 1 :]
        if (np.abs(apart.mean(axis=1)) > CONTRADICTED * _standard_errors(apart, group) + 1e-12).any():
            break
        chosen = shorter
    precise = np.flatnonzero(errors <= AS_GOOD * errors[chosen] + 1e-12)
    return chosen, int(max(precise.max(), chosen)) if len(means) else chosen


def _standard_errors(values: np.ndarray, group: np.ndarray | None) -> np.ndarray:
    """Of the means of values [J, N], with groups as units. Shape [J]."""
    apart = values - values.mean(axis=1, keepdims=True)
    if group is not None:
        index, groups = customer_index(group)
        apart = np.stack([np.bincount(index, weights=row, minlength=groups) for row in apart])
    errors: np.ndarray = np.sqrt(np.square(apart).sum(axis=1)) / values.shape[1]
    return errors


def _weight_figures(ratios: Tensor, known: Tensor) -> tuple[float, float]:
    """Effective share of the customers and mean weight, on average over the slots that anybody has."""
    weights = torch.where(known, ratios, 0.0).double()
    counts = known.sum(dim=0).double()
    some = counts > 0
    if not bool(some.any()):
        return 1.0, 1.0
    effective = weights.sum(dim=0) ** 2 / (weights**2).sum(dim=0).clamp(min=1e-300) / counts.clamp(min=1.0)
    means = weights.sum(dim=0) / counts.clamp(min=1.0)
    return float(effective[some].mean()), float(means[some].mean())
