"""Where the log is thin: the share of a policy's decisions that are unlike any that the log holds.

A decision is a state and what was decided in it: a hold, or a content with its candidate features. It lies where the
log is thin when its distance to the k-th nearest logged decision of its kind exceeds what the log's own decisions keep
from each other, left out one at a time, in all but a few cases. Distances are Euclidean in whitened features, so that
nothing counts twice (Mahalanobis 1936; Loftsgaarden and Quesenberry 1965). A policy that did what the logger did has a
share of about 1 - quantile.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from campaigns.audience import Catalogue, Population
from campaigns.clock import SlotClock
from campaigns.features import STATE_FEATURES
from campaigns.grid import DecisionGrid
from campaigns.history import HOLD
from campaigns.observation import Observation
from campaigns.replay import replay
from policies.chooser import rows_of

NEAREST = 5
"""k: the distance to a single nearest decision would hang on one odd customer."""

REFERENCE = 1000
"""Logged decisions kept of each kind."""

LEAST = 50
"""A content sent less often than this in the log has no reference: every send of it is thin."""

FLOOR = 0.05
"""Directions whose variance is below this share of the mean are not blown up."""


@dataclass(frozen=True)
class Neighbourhood:
    """The log's decisions of one kind.

    Attributes:
        centre: mean of the features. Shape [F].
        whiten: projects centred features. Shape [F, F].
        reference: projected logged decisions. Shape [R, F].
        threshold: distance to the k-th nearest beyond which the log is thin.
    """

    centre: Tensor
    whiten: Tensor
    reference: Tensor
    threshold: float

    def is_thin(self, features: Tensor) -> Tensor:
        """Whether decisions [M, F] lie where the log is thin. Shape [M], bool."""
        projected = (features - self.centre) @ self.whiten
        distance = torch.cdist(projected, self.reference).kthvalue(min(NEAREST, len(self.reference)), dim=1).values
        return distance > self.threshold


@dataclass(frozen=True)
class LogSupport:
    """What the log knows, by kind of decision.

    Attributes:
        kinds: hold first, then every content; None where the log has too few.
    """

    kinds: tuple[Neighbourhood | None, ...]

    def is_thin(self, seen: Observation, decision: Tensor) -> Tensor:
        """Whether decisions taken at an observation lie where the log is thin.

        Args:
            seen: N customers before the decision.
            decision: HOLD or 1 + content index. Shape [N], int64.
        Returns:
            Shape [N], bool.
        """
        thin = torch.ones(len(decision), dtype=torch.bool)
        features = decision_features(seen, decision)
        for kind, neighbourhood in enumerate(self.kinds):
            rows = torch.nonzero(decision == kind).squeeze(1)
            if len(rows) and neighbourhood is not None:
                thin[rows] = neighbourhood.is_thin(features[rows, : len(neighbourhood.centre)])
        return thin

    def tensors(self) -> dict[str, Tensor]:
        """Everything by name, as saved to disk."""
        found = {"kinds": torch.tensor(len(self.kinds))}
        for kind, part in enumerate(self.kinds):
            if part is not None:
                found |= {f"{kind}.centre": part.centre, f"{kind}.whiten": part.whiten.contiguous(),
                          f"{kind}.reference": part.reference.contiguous(),
                          f"{kind}.threshold": torch.tensor(part.threshold)}  # fmt: skip
        return found

    @staticmethod
    def from_tensors(tensors: Mapping[str, Tensor]) -> LogSupport:
        """The inverse of `tensors`."""
        kinds: list[Neighbourhood | None] = []
        for kind in range(int(tensors["kinds"])):
            parts = [tensors.get(f"{kind}.{name}") for name in ("centre", "whiten", "reference", "threshold")]
            centre, whiten, reference, threshold = parts
            if centre is None or whiten is None or reference is None or threshold is None:
                kinds.append(None)
            else:
                kinds.append(Neighbourhood(centre, whiten, reference, float(threshold)))
        return LogSupport(tuple(kinds))


class ThinCount:
    """Counts, along a policy's trajectories, the decisions that lie where the log is thin. A call takes one slot's.

    Args:
        support: of the log.
        customers: how many of each slot's are looked at, chosen at random.
        seed: of that choice.
    """

    def __init__(self, support: LogSupport, customers: int = 24, seed: int = 0) -> None:
        self.support = support
        self.customers = customers
        self.generator = torch.Generator().manual_seed(seed)
        self.decisions = self.thin = self.sends = self.thin_sends = 0

    def __call__(self, seen: Observation, decision: Tensor) -> None:
        """Looks at the decisions [N] taken at an observation."""
        rows = torch.randperm(len(decision), generator=self.generator)[: self.customers]
        decision = decision[rows]
        thin, sent = self.support.is_thin(rows_of(seen, rows), decision), decision > HOLD
        self.decisions += len(rows)
        self.thin += int(thin.sum())
        self.sends += int(sent.sum())
        self.thin_sends += int((thin & sent).sum())

    def shares(self) -> dict[str, float | None]:
        """`thin_support_share` of all decisions, `thin_send_share` of the sends; None where there was none."""
        return {
            "thin_support_share": self.thin / self.decisions if self.decisions else None,
            "thin_send_share": self.thin_sends / self.sends if self.sends else None,
        }


def decision_features(seen: Observation, decision: Tensor) -> Tensor:
    """State and candidate features of what was decided, the latter 0 on a hold. Shape [N, Fs + Fc]."""
    candidate = seen.candidate((decision - 1).clamp(min=0)) * (decision > HOLD).unsqueeze(1)
    return torch.cat([seen.state, candidate], dim=1)


def fit_log_support(
    grid: DecisionGrid,
    population: Population,
    catalogue: Catalogue,
    clock: SlotClock,
    quantile: float = 0.975,
    seed: int = 0,
) -> LogSupport:
    """Collects a sample of the log's decisions by kind, and how far they lie from each other.

    Args:
        grid, population, catalogue, clock: of one log.
        quantile: share of the log's own decisions that counts as well supported.
        seed: of the subsample.
    """
    generator = np.random.default_rng([seed, 37])
    counts = np.array([(grid.decision == kind).sum() for kind in range(1 + len(catalogue))])
    share = np.minimum(1.0, REFERENCE / np.maximum(counts, 1))
    parts: list[list[Tensor]] = [[] for _ in counts]
    for step in replay(grid, population, catalogue, clock):
        decided = step.decision.numpy()
        known = (decided >= HOLD) & (decided < len(counts))
        kept = known & (generator.random(len(decided)) < share[np.clip(decided, 0, len(counts) - 1)])
        rows = torch.from_numpy(np.flatnonzero(kept))
        if not len(rows):
            continue
        features = decision_features(step.observation, step.decision.clamp(0, len(catalogue)))[rows]
        for kind in np.unique(decided[kept]):
            parts[kind].append(features[step.decision[rows] == kind])
    kinds: list[Neighbourhood | None] = []
    for kind, chunks in enumerate(parts):
        if sum(map(len, chunks)) < LEAST:
            kinds.append(None)
            continue
        table = torch.cat(chunks)
        # On a hold there is no candidate.
        kinds.append(_neighbourhood(table[:, : len(STATE_FEATURES)] if kind == HOLD else table, quantile))
    return LogSupport(tuple(kinds))


def _neighbourhood(table: Tensor, quantile: float) -> Neighbourhood:
    centre = table.mean(dim=0)
    scale = table.std(dim=0).clamp(min=1e-3)
    standard = (table - centre) / scale
    variance, axes = torch.linalg.eigh(standard.T @ standard / len(standard))
    whiten = axes * variance.clamp(min=FLOOR * float(variance.mean())).rsqrt()
    whiten = whiten / scale.unsqueeze(1)
    reference = (table - centre) @ whiten
    # The nearest of a logged decision is itself.
    nearest = min(NEAREST + 1, len(reference))
    own = torch.cdist(reference, reference).kthvalue(nearest, dim=1).values
    return Neighbourhood(centre, whiten, reference, float(torch.quantile(own, quantile)))
