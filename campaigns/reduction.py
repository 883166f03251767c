"""Vectors as a few numbers, fitted on training rows and never more of them than the rows allow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

MOST_COLUMNS = 16
"""Columns that a wide vector becomes, at most."""

ROWS_A_COLUMN = 3
"""Different training rows that it takes for one more column: with as many columns as rows, a column would be an id."""

MOST_ROWS = 2000
"""Training rows, evenly spread over the table, that components are fitted to."""

LARGEST = 1e30
"""Numbers beyond it count as it, so that their squares stay finite."""

SAME = 1e-6
"""Spread, relative to the size, below which rows are alike."""

DIGITS = 6
"""Decimals of what is kept, so that a file written on one machine reads the same on another."""


@dataclass(frozen=True)
class Reduction:
    """A linear map from D numbers to d columns: (x - centre) . components, clipped to the trained range.

    Attributes:
        centre: mean of the training rows. Length D.
        components: directions. Shape [d][D].
        bounds: largest size that each column had in training. Length d.
        unit: whether rows are divided by their length first.
    """

    centre: tuple[float, ...]
    components: tuple[tuple[float, ...], ...]
    bounds: tuple[float, ...]
    unit: bool

    @property
    def width(self) -> int:
        """d."""
        return len(self.components)

    def apply(self, vectors: np.ndarray, known: np.ndarray) -> np.ndarray:
        """Reduces vectors.

        Args:
            vectors: Shape [N, D].
            known: rows that have one; the others become 0, which is the training mean. Shape [N], bool.
        Returns:
            Shape [N, d], float64.
        """
        bounds = np.array(self.bounds)
        rows = unit_length(vectors) if self.unit else np.clip(vectors, -LARGEST, LARGEST)
        reduced = (rows - np.array(self.centre)) @ np.array(self.components).T
        columns: np.ndarray = np.clip(reduced, -bounds, bounds)
        columns[~known] = 0.0
        return columns

    @staticmethod
    def from_dict(stored: Mapping[str, Any]) -> Reduction:
        """The inverse of `dataclasses.asdict`, also after a round trip through JSON."""
        components = tuple(tuple(row) for row in stored["components"])
        return Reduction(tuple(stored["centre"]), components, tuple(stored["bounds"]), bool(stored["unit"]))


def fit_reduction(vectors: np.ndarray) -> Reduction | None:
    """Standardises narrow vectors, and turns wide ones into the principal components of their directions.

    Wide is what has more numbers than d = min(MOST_COLUMNS, different rows / ROWS_A_COLUMN), at least 1, allows. Of
    wide ones the first d components are kept, the first scaled to a standard deviation of 1 and all by the same
    factor, so that weaker directions stay weaker.

    Args:
        vectors: training rows, all known. Shape [N, D].
    Returns:
        The map; None where all rows are alike.
    """
    if len(vectors) > MOST_ROWS:
        vectors = vectors[np.linspace(0, len(vectors) - 1, MOST_ROWS).astype(np.int64)]
    directed = unit_length(vectors)
    allowed = min(MOST_COLUMNS, max(1, len(np.unique(directed.round(DIGITS), axis=0)) // ROWS_A_COLUMN))
    unit = vectors.shape[1] > allowed
    rows = directed if unit else np.clip(vectors, -LARGEST, LARGEST)
    centre = rows.mean(axis=0)
    spread = rows.std(axis=0)
    if not len(rows) or not (spread > SAME * np.maximum(1.0, np.abs(centre))).any():
        return None
    if unit:
        _, sizes, directions = np.linalg.svd(rows - centre, full_matrices=False)
        count = int(min(allowed, (sizes > 1e-4 * sizes[0]).sum()))
        # A direction and its opposite explain alike: the largest part of each is made positive.
        largest = np.abs(directions[:count]).round(DIGITS).argmax(axis=1)
        signs = np.where(directions[np.arange(count), largest] < 0, -1.0, 1.0)
        components = directions[:count] * signs[:, None] / (sizes[0] / np.sqrt(len(rows)))
        centre, components = centre.round(DIGITS), components.round(DIGITS)
    else:
        varies = spread > SAME * np.maximum(1.0, np.abs(centre))
        components = np.diag(1.0 / np.where(varies, spread, 1.0))[varies]
    bounds = np.abs((rows - centre) @ components.T).max(axis=0)
    return Reduction(tuple(centre.tolist()), tuple(map(tuple, components.tolist())), tuple(bounds.tolist()), unit)


def unit_length(vectors: np.ndarray) -> np.ndarray:
    """Rows divided by their length; rows of length 0 stay. Shape [N, D]."""
    # Divided by the largest part first: a square of a huge number is no number.
    largest = np.abs(vectors).max(axis=1, keepdims=True, initial=0.0)
    scaled = vectors / np.where(largest > 0, largest, 1.0)
    length = np.linalg.norm(scaled, axis=1, keepdims=True)
    unit: np.ndarray = scaled / np.where(length > 0, length, 1.0)
    return unit
