"""Names groups of customers by a shallow tree over the customers' own columns, in the columns' own units."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from campaigns.encoding import FeatureEncoder

DEPTH = 3
"""Questions that a rule asks at most: more are no longer read."""

LEAST_SHARE = 0.03
"""Share of the customers below which a rule says nothing of its own."""

WORTH_ASKING = 0.01
"""Part of the customers' impurity that a question has to remove, by minimal cost-complexity pruning (Breiman 1984)."""


@dataclass(frozen=True)
class OwnColumn:
    """One column as rules read it.

    Attributes:
        name: of the customers' column.
        kind: `number`, `whole` (whole numbers), `flag` (0 or 1), `level` (whether the value is `level`) or `missing`.
        level: for kind `level`.
        step: for numbers, what thresholds are rounded to, in the column's unit.
    """

    name: str
    kind: str
    level: str = ""
    step: float = 1.0


@dataclass(frozen=True)
class RuleTree:
    """A fitted tree; node 0 is its root.

    Attributes:
        columns: what its questions are about. Length P.
        column: index of the column that a node asks about, -1 in a leaf. Length of the nodes.
        threshold: values below it go left, others right.
        left, right: the nodes that follow.
        group: the group that most customers of the node belong to.
    """

    columns: tuple[OwnColumn, ...]
    column: tuple[int, ...]
    threshold: tuple[float, ...]
    left: tuple[int, ...]
    right: tuple[int, ...]
    group: tuple[int, ...]

    def assign(self, table: np.ndarray) -> np.ndarray:
        """The group that each customer's rule names. `table`: shape [N, P]; returns int64, shape [N]."""
        found = np.zeros(len(table), dtype=np.int64)
        waiting = [(0, np.arange(len(table)))]
        while waiting:
            node, rows = waiting.pop()
            if self.column[node] < 0:
                found[rows] = self.group[node]
                continue
            below = table[rows, self.column[node]] < self.threshold[node]
            waiting += [(self.left[node], rows[below]), (self.right[node], rows[~below])]
        return found

    def rules(self) -> dict[int, str]:
        """Every group's rule in words; "everyone" where no question is asked. A group may hold several leaves."""
        parts: dict[int, list[str]] = {}
        waiting: list[tuple[int, list[tuple[int, float, bool]]]] = [(0, [])]
        while waiting:
            node, path = waiting.pop()
            if self.column[node] < 0:
                parts.setdefault(self.group[node], []).append(_sentence(self.columns, path))
                continue
            asked = (self.column[node], self.threshold[node])
            waiting += [(self.right[node], [*path, (*asked, False)]), (self.left[node], [*path, (*asked, True)])]
        return {group: ", or ".join(texts) for group, texts in parts.items()}


def own_columns(features: np.ndarray, encoder: FeatureEncoder) -> tuple[OwnColumn, ...]:
    """What can be asked of customers: numbers, flags and levels; other kinds of columns are left out.

    Args:
        features: encoded training customers. Shape [N, F].
        encoder: by which they were encoded.
    """
    found: list[OwnColumn] = []
    for column, block in _blocks(features, encoder):
        if column.kind == "category":
            found += [OwnColumn(column.name, "level", level) for level in column.levels]
        elif column.kind == "number":
            present = block[:, 1] < 0.5 if column.missing else np.ones(len(block), dtype=bool)
            values = block[present, 0].astype(np.float64) * column.scale + column.mean
            found.append(_number(column.name, values))
            if column.missing:
                found.append(OwnColumn(column.name, "missing"))
    return tuple(found)


def own_table(features: np.ndarray, encoder: FeatureEncoder, columns: tuple[OwnColumn, ...]) -> np.ndarray:
    """Encoded customers in their columns' own units; a missing number counts as the mean.

    Returns:
        float64, shape [N, P] for the P `columns`.
    """
    parts: list[np.ndarray] = []
    for column, block in _blocks(features, encoder):
        if column.kind == "category":
            parts.append(block.astype(np.float64))
        elif column.kind == "number":
            parts.append(block[:, :1].astype(np.float64) * column.scale + column.mean)
            if column.missing:
                parts.append(block[:, 1:2].astype(np.float64))
    table = np.concatenate(parts, axis=1) if parts else np.zeros((len(features), 0))
    whole = [place for place, column in enumerate(columns) if column.kind == "whole"]
    table[:, whole] = np.round(table[:, whole])
    return table


def fit_rules(table: np.ndarray, columns: tuple[OwnColumn, ...], group: np.ndarray, seed: int) -> RuleTree:
    """Fits the tree; thresholds are rounded, so that the rule that is read is the rule that is applied.

    Args:
        table: customers. Shape [N, P].
        columns: their P columns.
        group: which group each belongs to. Shape [N], int64.
        seed: of ties.
    """
    from sklearn.tree import DecisionTreeClassifier

    if not columns or len(np.unique(group)) < 2:
        most = int(np.bincount(group).argmax()) if len(group) else 0
        return RuleTree(columns, (-1,), (0.0,), (-1,), (-1,), (most,))
    least = max(10, math.ceil(LEAST_SHARE * len(table)))
    fitted = DecisionTreeClassifier(
        max_depth=DEPTH, min_samples_leaf=least, ccp_alpha=WORTH_ASKING, random_state=seed
    ).fit(table, group)
    tree = fitted.tree_
    classes = fitted.classes_[tree.value[:, 0, :].argmax(axis=1)]
    column, threshold = tree.feature.copy(), np.zeros(tree.node_count)
    left, right = tree.children_left, tree.children_right
    for node in range(tree.node_count):
        if left[node] >= 0:
            values = table[:, column[node]]
            threshold[node] = _rounded(float(tree.threshold[node]), columns[column[node]], values)
    # From the last node up, for children come after their parents: leaves of one group beside each other are one.
    asks = left >= 0
    for node in reversed(range(tree.node_count)):
        if asks[node] and not asks[left[node]] and not asks[right[node]]:
            asks[node] = classes[left[node]] != classes[right[node]]
            if not asks[node]:
                classes[node] = classes[left[node]]
    return RuleTree(
        columns,
        tuple(int(c) if ask else -1 for c, ask in zip(column, asks, strict=True)),
        tuple(threshold.tolist()),
        tuple(left.tolist()),
        tuple(right.tolist()),
        tuple(int(c) for c in classes),
    )


def plain_number(value: float, step: float = 0.0) -> str:
    """A number as a person writes it: thousands separated, with the decimals that `step` needs."""
    if step >= 1 or (not step and abs(value) >= 1000):
        return f"{value:,.0f}"
    decimals = max(0, -math.floor(math.log10(step) + 1e-9)) if step else 2
    return f"{value:,.{decimals}f}"


def nice_step(spread: float) -> float:
    """About a twentieth of a spread, as 1, 2 or 5 times a power of ten."""
    if not spread > 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(spread / 20))
    return float(max(m * power for m in (1, 2, 5) if m * power <= spread / 20 * (1 + 1e-9)))


def _blocks(features: np.ndarray, encoder: FeatureEncoder) -> Iterable[tuple[Any, np.ndarray]]:
    begin = 0
    for column in encoder.columns:
        yield column, features[:, begin : begin + column.width]
        begin += column.width


def _number(name: str, values: np.ndarray) -> OwnColumn:
    step = nice_step(float(values.std())) if len(values) else 1.0
    near = np.abs(values - np.round(values)) < 1e-3 * max(1.0, float(np.abs(values).max(initial=1.0)) * 1e-3)
    if not near.all():
        return OwnColumn(name, "number", step=step)
    if np.isin(np.round(values), (0, 1)).all():
        return OwnColumn(name, "flag")
    return OwnColumn(name, "whole", step=max(1.0, step))


def _rounded(threshold: float, column: OwnColumn, values: np.ndarray) -> float:
    """The nearest round number that splits the values in two all the same, else the threshold itself."""
    if column.kind in {"flag", "level", "missing"}:
        return 0.5
    steps = threshold / column.step
    # Between two whole numbers the upper one is the limit: below 34.5 is below 35.
    near = (math.ceil(steps) if column.kind == "whole" and column.step == 1 else round(steps)) * column.step
    return float(near) if values.min() < near <= values.max() else threshold


def _sentence(columns: tuple[OwnColumn, ...], path: list[tuple[int, float, bool]]) -> str:
    """A path's conditions, a column's own conditions in one."""
    by_name: dict[str, list[tuple[OwnColumn, float, bool]]] = {}
    for place, threshold, below in path:
        by_name.setdefault(columns[place].name, []).append((columns[place], threshold, below))
    return " and ".join(_condition(name, asked) for name, asked in by_name.items()) or "everyone"


def _condition(name: str, asked: list[tuple[OwnColumn, float, bool]]) -> str:
    known = [below for column, _, below in asked if column.kind == "missing"]
    rest = [entry for entry in asked if entry[0].kind != "missing"]
    if known and not known[-1]:
        return f"{name} is missing"
    if not rest:
        return f"{name} is known"
    kind, step = rest[0][0].kind, rest[0][0].step
    if kind == "level":
        taken = [column.level for column, _, below in rest if not below]
        others = [column.level for column, _, _ in rest]
        said = taken[-1] if taken else f"not {others[0]}" if len(others) == 1 else f"neither {' nor '.join(others)}"
        return f"{name} is {said}"
    if kind == "flag":
        return f"{name} is {'no' if rest[-1][2] else 'yes'}"
    low = max((t for _, t, below in rest if not below), default=None)
    high = min((t for _, t, below in rest if below), default=None)
    if kind == "whole" and low is not None and high == low + 1:
        return f"{name} is {plain_number(low, step)}" + (", known" if known else "")
    said = f"< {plain_number(high, step)}" if high is not None else ""
    if low is not None:
        said = f">= {plain_number(low, step)}" + (f" and {said}" if said else "")
    return f"{name} {said}" + (", known" if known else "")
