"""Fitted Q iteration (Ernst, Geurts and Wehenkel 2005, figure 1) straight from a log, linear in the bandits' features.

Every backup regresses r + discount x V(s') on phi(s, a), with V(s') the best value among the decisions that were open
in s'. Regressions are those of linear FQE (`evaluation.fqe`): coefficients of the slot's own reward under a ridge of
their own, since rewards are noisier by far than what follows them. The best of several noisy values is too high
(Thrun and Schwartz 1993), so customers are split in two: one half's weights pick, the other's say what the pick is
worth (van Hasselt 2010), and the mean of both serves.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from agents.fqi_settings import FQISettings
from agents.logged_states import LoggedStates
from campaigns.audience import Catalogue, Population
from campaigns.errors import CampaignError
from evaluation.decision_features import LEAST_SPREAD
from evaluation.fqe import LoggedFeatures, LogMoments, log_moments
from policies.bandit import feature_width, joint_features, linear_values
from policies.decision_values import LinearValues

HALVES = 2
ROWS_AT_ONCE = 16_384
"""Customers' slots whose values are computed at once."""


def regressors_a_slot(population: Population, catalogue: Catalogue) -> int:
    """Numbers that fitting keeps of each slot at its peak: the joint features, and a copy of them while summing."""
    return 2 * feature_width(population, catalogue)


@torch.no_grad()
def train_fqi(
    log: LoggedStates,
    discount: float,
    settings: FQISettings,
    seed: int,
    progress: Callable[[int], None] | None = None,
) -> LinearValues:
    """Learns from a log.

    Args:
        log: N customers over T slots. Memory: theirs and 8 D bytes a customer and slot, D the joint features' width.
        discount: of a slot, as of `agents.logged_states.discount`.
        settings: how.
        seed: of the two halves; the same seed gives the same policy.
        progress: called with the backups done.
    Raises:
        CampaignError: where values grow without bound.
    """
    features, mean, scale, kept = _regressors(log)
    half = torch.from_numpy(np.random.default_rng(seed).permutation(len(log)) % HALVES)
    data = LoggedFeatures(features, log.reward, log.usable, log.decision.shape[1], half, HALVES)
    moments = log_moments(data)
    weights = moments.theta
    for backup in range(settings.backups):
        raw = torch.stack([_unscaled(w, mean, scale, kept) for w in weights]).float()
        after = _best_values(log, raw, half)
        weights = moments.theta + discount * _onward(data, moments, after)
        if not bool(weights.isfinite().all()):
            raise CampaignError(
                f"agent.fqi: values are no longer finite at backup {backup + 1} of {settings.backups}; "
                "lower agent.fqi.gamma."
            )
        if progress is not None:
            progress(backup + 1)
    theta = torch.stack([_unscaled(w, mean, scale, kept) for w in weights]).mean(dim=0)
    return LinearValues(theta.float(), settings.temperature, "fqi")


def _regressors(log: LoggedStates) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """phi of what was decided [N, T, d], standardised over usable slots; mean, scale and the columns kept [D]."""
    features = torch.stack([_taken(log, slot) for slot in range(log.decision.shape[1])], dim=1)
    spread, mean = torch.std_mean(features[log.usable], dim=0)
    kept = spread > LEAST_SPREAD
    kept[0] = True
    mean[0], spread[0] = 0.0, 1.0
    features = features[..., kept] if not bool(kept.all()) else features
    return features.sub_(mean[kept]).div_(spread[kept]), mean[kept], spread[kept], kept


def _taken(log: LoggedStates, slot: int) -> Tensor:
    """phi of what was decided in a slot. Shape [N, D]."""
    decision = log.decision[:, slot]
    content = (decision - 1).clamp(min=0)
    own = log.candidates[torch.arange(len(log)), slot, content].unsqueeze(1)
    both = joint_features(log.people, log.state[:, slot], log.daypart[:, slot], log.contents[content].unsqueeze(1), own)
    return both[torch.arange(len(log)), (decision > 0).long()]


def _unscaled(weights: Tensor, mean: Tensor, scale: Tensor, kept: Tensor) -> Tensor:
    """Coefficients of the features as they are. Shape [D], float64."""
    theta = torch.zeros(len(kept), dtype=torch.float64)
    theta[kept] = weights / scale
    theta[0] -= (weights / scale * mean).sum()
    return theta


def _best_values(log: LoggedStates, theta: Tensor, half: Tensor) -> Tensor:
    """V of every slot: what weights fitted to the other half say of what a customer's own half would choose.

    `theta[f]` is fitted without the customers in half f. Shape [N, T].
    """
    best = log.reward.new_zeros(log.decision.shape)
    daypart, slots = log.daypart, log.decision.shape[1]
    for number in range(HALVES):
        for rows in torch.nonzero(half == number).squeeze(1).split(max(1, ROWS_AT_ONCE // slots)):
            seen = (
                log.people[rows].repeat_interleave(slots, dim=0), log.state[rows].flatten(0, 1),
                daypart[rows].flatten(), log.contents, log.candidates[rows].flatten(0, 1),
            )  # fmt: skip
            open_then = log.allowed[rows].flatten(0, 1)
            picked = linear_values(theta[1 - number], *seen).masked_fill(~open_then, -torch.inf)
            worth = linear_values(theta[number], *seen)
            best[rows] = worth.gather(1, picked.argmax(dim=1, keepdim=True)).view(-1, slots)
    return best


def _onward(data: LoggedFeatures, moments: LogMoments, after: Tensor) -> Tensor:
    """Coefficients of V(s') on phi(s, a), in each half without its own customers. Shape [F, d], float64."""
    later = torch.zeros_like(after)
    later[:, :-1] = after[:, 1:]
    sums = []
    for number in range(HALVES):
        rows = data.onward & (data.fold == 1 - number).unsqueeze(1)
        sums.append((data.taken[rows].T @ later[rows]).double())
    coefficients: Tensor = torch.linalg.solve(moments.gram, torch.stack(sums))
    return coefficients
