"""A few kinds of customers, as the network tells them apart, and what the log shows of each.

A customer is represented by what the network answers for him in typical moments, in log odds: how likely he buys
unasked, by how much each content moves that, how likely he opens, and opts out. Customers who are answered alike
are of a kind, whatever their columns; the columns only name the kind. Kinds are found among training customers;
every figure is of customers whom neither the network nor the kinds have seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from campaigns.audience import Catalogue, Population
from campaigns.clock import DAYPARTS, SlotClock
from campaigns.encoding import FeatureEncoder
from campaigns.grid import DecisionGrid
from campaigns.history import HOLD
from campaigns.replay import replay
from propensity.response_model import ResponseModel
from propensity.rules import RuleTree, fit_rules, own_columns, own_table

MOST_SEGMENTS = 6
LEAST_CUSTOMERS = 10
"""Figures of fewer customers are not shown (k-anonymity)."""

MOST_CONTENTS = 8
"""Contents that customers are asked about: those sent most."""

MOMENTS, BANK_CUSTOMERS = 8, 64
"""Typical moments, and the customers from whose pasts they are taken."""

STABLE = 0.8
"""Mean adjusted Rand index between clusterings of halves from which on a number of clusters counts as stable."""

DISTINCT = 0.25
"""Silhouette below which clusters are cuts through a continuum (Kaufman and Rousseeuw 1990)."""

AS_CLEAR = 0.02
"""Difference of silhouettes up to which more segments are as clear as fewer, and then preferred."""

SLIGHT = 0.15
"""Differences between customers, in log odds, below which an answer hardly tells them apart."""

SAMPLED = 1500
"""Customers on whom the silhouette, which compares all pairs, is computed."""


@dataclass(frozen=True)
class Moments:
    """M moments of the log, in which every customer is imagined.

    Attributes:
        state: Shape [M, Fs].
        candidates: of every content. Shape [M, K, Fc].
    """

    state: Tensor
    candidates: Tensor

    def __len__(self) -> int:
        return int(self.state.shape[0])


@dataclass(frozen=True)
class Answers:
    """What a network says of N customers, averaged over typical moments.

    Attributes:
        names: of the columns of `values`. Length D.
        values: log odds and differences of log odds, scaled so that every kind of answer that tells customers apart
            counts alike. Shape [N, D].
        scale: that they were divided by. Shape [D].
        contents: index of the contents that were asked about. Length C.
        effect: of sending each, in probability of the outcome. Shape [N, C].
    """

    names: tuple[str, ...]
    values: np.ndarray
    scale: np.ndarray
    contents: tuple[int, ...]
    effect: np.ndarray


@dataclass(frozen=True)
class Segmentation:
    """Kinds of customers and the rules that name them.

    Attributes:
        centres: of the kinds, in principal components. Shape [S, P].
        mean, axes: of the principal components: `(values - mean) @ axes`. Shapes [D] and [D, P].
        tree: names the kinds.
        tried: silhouette and stability of each number of kinds.
    """

    centres: np.ndarray
    mean: np.ndarray
    axes: np.ndarray
    tree: RuleTree
    tried: tuple[Mapping[str, float], ...]

    def nearest(self, values: np.ndarray) -> np.ndarray:
        """The kind whose centre is nearest. `values`: shape [N, D]; returns int64, shape [N]."""
        placed = (values - self.mean) @ self.axes
        found: np.ndarray = ((placed[:, None] - self.centres[None]) ** 2).sum(axis=2).argmin(axis=1)
        return found


def typical_moments(
    grid: DecisionGrid, population: Population, catalogue: Catalogue, clock: SlotClock, seed: int
) -> Moments:
    """Moments of a few customers' pasts in which something could be sent, spread over the day.

    Args:
        grid, population, catalogue, clock: of one log.
        seed: of the draw.
    """
    generator = np.random.default_rng([seed, 23])
    chosen = np.sort(generator.permutation(len(population))[:BANK_CUSTOMERS])
    few, people = grid.take(chosen), population.take(torch.from_numpy(chosen))
    found: list[tuple[int, float, Tensor, Tensor]] = []
    for step in replay(few, people, catalogue, clock):
        seen = step.observation
        free = seen.allowed[:, 1:].any(dim=1) & (step.decision >= HOLD)
        for row in torch.nonzero(free).flatten().tolist():
            found.append((int(seen.daypart[row]), generator.random(), seen.state[row], seen.candidates[row]))
    if not found:  # nobody could be sent anything: any moment serves
        step = next(iter(replay(few, people, catalogue, clock)))
        return Moments(step.observation.state[:1], step.observation.candidates[:1])
    found.sort(key=lambda entry: entry[:2])
    each = max(1, MOMENTS // len({entry[0] for entry in found}))
    kept = [entry for part in range(len(DAYPARTS)) for entry in [f for f in found if f[0] == part][:each]]
    states, places = torch.unique(torch.stack([entry[2] for entry in kept]), dim=0, return_inverse=True)
    first = [places.tolist().index(place) for place in range(len(states))]
    return Moments(states, torch.stack([kept[place][3] for place in first]))


@torch.no_grad()
def answers(
    model: ResponseModel,
    features: Tensor,
    moments: Moments,
    catalogue: Catalogue,
    sends: np.ndarray,
    outcome: str,
    scale: np.ndarray | None = None,
) -> Answers:
    """Asks the network what each customer would do, by hold and by content, in each moment.

    Args:
        model: averaged over its members.
        features: encoded customers. Shape [N, Fu].
        moments: in which they are imagined.
        catalogue: the K contents.
        sends: how often the log sent each. Shape [K].
        outcome: `purchased` or `visited`: what effects are of.
        scale: of the training customers' answers; None where these are they.
    """
    contents = np.sort(np.argsort(-sends, kind="stable")[:MOST_CONTENTS])
    index = torch.from_numpy(contents)
    projected = model.project_customers(features)
    parts: dict[str, list[Tensor]] = {}
    effects = []
    for state, candidates in zip(moments.state, moments.candidates[:, index], strict=True):
        response = model.respond_all(
            projected,
            state.expand(len(features), -1),
            catalogue.features[index],
            candidates.expand(len(features), -1, -1),
        )
        for head in ("purchase", "visited"):
            odds = _log_odds(getattr(response, head))
            parts.setdefault(f"{head}, unasked", []).append(odds[:, :1])
            parts.setdefault(f"{head}, effect", []).append(odds[:, 1:] - odds[:, :1])
        parts.setdefault("open", []).append(_log_odds(response.opened[:, 1:]))
        parts.setdefault("opt-out", []).append(_log_odds(response.unsubscribe[:, 1:]).mean(dim=1, keepdim=True))
        chance = response.expected(outcome)
        effects.append(chance[:, 1:] - chance[:, :1])
    names, blocks = [], []
    for name, asked in parts.items():
        block = torch.stack(asked).mean(dim=0).double().numpy()
        columns = [""] if block.shape[1] == 1 else [f" {catalogue.ids[place]}" for place in contents]
        names += [name + column for column in columns]
        blocks.append(block)
    if scale is None:
        scale = np.concatenate([np.full(block.shape[1], _block_scale(block)) for block in blocks])
    return Answers(
        tuple(names),
        np.concatenate(blocks, axis=1) / scale,
        scale,
        tuple(contents.tolist()),
        torch.stack(effects).mean(dim=0).double().numpy(),
    )


def find_segments(values: np.ndarray, features: np.ndarray, encoder: FeatureEncoder, seed: int) -> Segmentation:
    """Clusters customers by their answers, and names the clusters by a tree.

    Of the numbers of clusters on which clusterings of two random halves agree, it is the largest whose silhouette is
    as high as any, within AS_CLEAR; where answers hardly differ, all customers are of one kind.

    Args:
        values: of training customers; see `Answers`. Shape [N, D].
        features: their encoded columns. Shape [N, Fu].
        encoder: of the columns.
        seed: of everything random.
    """
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA

    columns = own_columns(features, encoder)
    table = own_table(features, encoder, columns)
    most = min(MOST_SEGMENTS, len(values) // (2 * LEAST_CUSTOMERS))
    if most < 2 or values.std(axis=0).max() < 1e-3:
        tree = fit_rules(table, columns, np.zeros(len(values), dtype=np.int64), seed)
        return Segmentation(np.zeros((1, 1)), values.mean(axis=0), np.zeros((values.shape[1], 1)), tree, ())
    shape = PCA(n_components=0.95, svd_solver="full").fit(values)
    mean, axes = shape.mean_, shape.components_.T
    placed = (values - mean) @ axes
    tried = [_try(placed, count, seed) for count in range(2, most + 1)]
    steady = [entry for entry in tried if entry["stability"] >= STABLE]
    if steady:
        clear = max(entry["silhouette"] for entry in steady) - AS_CLEAR
        best = max((entry for entry in steady if entry["silhouette"] >= clear), key=lambda entry: entry["segments"])
    else:
        best = max(tried, key=lambda entry: entry["stability"])
    fitted = KMeans(int(best["segments"]), n_init=10, random_state=seed).fit(placed)
    tree = fit_rules(table, columns, fitted.labels_.astype(np.int64), seed)
    return Segmentation(fitted.cluster_centers_, mean, axes, tree, tuple(tried))


def _try(placed: np.ndarray, count: int, seed: int) -> dict[str, float]:
    """Silhouette of `count` clusters, and how far clusterings of random halves agree on everybody."""
    from sklearn.cluster import KMeans
    from sklearn.metrics import adjusted_rand_score, silhouette_score

    generator = np.random.default_rng([seed, count])
    found = KMeans(count, n_init=3, random_state=seed).fit_predict(placed)
    agreed = []
    for _ in range(3):
        order = generator.permutation(len(placed))
        first, second = (
            KMeans(count, n_init=3, random_state=seed).fit(placed[half]).predict(placed)
            for half in np.array_split(order, 2)
        )
        agreed.append(adjusted_rand_score(first, second))
    rows = generator.permutation(len(placed))[:SAMPLED]
    silhouette = silhouette_score(placed[rows], found[rows]) if len(np.unique(found[rows])) > 1 else 0.0
    return {"segments": count, "silhouette": float(silhouette), "stability": float(np.mean(agreed))}


def _block_scale(block: np.ndarray) -> float:
    """What makes one kind of answer of unit variance in all; where customers differ by less than SLIGHT, of less."""
    return float(np.sqrt(block.var(axis=0).sum() + block.shape[1] * SLIGHT**2))


def _log_odds(chance: Tensor) -> Tensor:
    """Log odds; an outcome that the log lacks is answered 0 for all and so tells nobody apart."""
    bounded = chance.double().clamp(1e-6, 1 - 1e-6)
    return torch.log(bounded) - torch.log1p(-bounded)


def describe(segmentation: Segmentation, measured: Mapping[str, Any]) -> dict[str, Any]:
    """JSON-able: how the kinds were found, beside what was measured of them."""
    tried = list(segmentation.tried)
    count = len(segmentation.centres)
    chosen = next((entry for entry in tried if entry["segments"] == count), None)
    notes = []
    if chosen is None:
        notes.append("The network answers alike for all customers: there are no kinds to tell apart.")
    elif chosen["silhouette"] < DISTINCT:
        notes.append("Customers differ by degrees: these segments are cuts through a continuum, not separate kinds.")
    if chosen is not None and chosen["stability"] < STABLE:
        notes.append("Another sample of customers would be cut differently: take the segments as a sketch.")
    return {"clusters": count, "tried": [dict(entry) for entry in tried], "notes": notes, **measured}
