"""A few held-out customers with their attributions, told so coarsely that at least ten others look the same."""

from __future__ import annotations

from typing import Any

import numpy as np

from propensity.attributions import Attributions
from propensity.profiles import LEAST_CUSTOMERS
from propensity.rules import OwnColumn, plain_number

SHOWN = 4
"""Columns that are told of an example."""

CUTS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
"""Quantiles between which a number is told."""


def examples(
    found: Attributions, rows: np.ndarray, table: np.ndarray, columns: tuple[OwnColumn, ...], group: np.ndarray
) -> list[dict[str, Any]]:
    """One customer of every group of at least LEAST_CUSTOMERS: the one whose effect of sending is the group's median.

    Told are the columns of largest attribution, as long as LEAST_CUSTOMERS customers share everything that is told;
    attributions have two significant digits. There are no ids.

    Args:
        found: attributions of some customers.
        rows: which of the n customers they are. Length of `found`.
        table: all n customers in their columns' own units. Shape [n, P].
        columns: of the table.
        group: of each. Shape [n].
    """
    told = []
    for number in np.unique(group).tolist():
        inside = np.flatnonzero(group[rows] == number)
        if not len(inside) or (group == number).sum() < LEAST_CUSTOMERS:
            continue
        effects = found.answer["effect"][inside]
        place = int(inside[np.argsort(effects, kind="stable")[len(inside) // 2]])
        told.append({"group": int(number), **_example(found, place, int(rows[place]), table, columns)})
    return told


def _example(
    found: Attributions, place: int, row: int, table: np.ndarray, columns: tuple[OwnColumn, ...]
) -> dict[str, Any]:
    sizes = sum(np.abs(values[place]) / max(np.abs(values).max(), 1e-12) for values in found.values.values())
    alike = np.ones(len(table), dtype=bool)
    shown: list[dict[str, Any]] = []
    for index in np.argsort(-np.asarray(sizes), kind="stable"):
        name = found.columns[index]
        text, same = _coarse(name, row, table, columns)
        if not text or (alike & same).sum() < LEAST_CUSTOMERS:
            continue
        alike &= same
        parts = {answer: _two_digits(float(values[place, index])) for answer, values in found.values.items()}
        shown.append({"column": name, "told": text, **parts})
        if len(shown) == SHOWN:
            break
    answer = {name: _two_digits(float(values[place])) for name, values in found.answer.items()}
    return {"answer": answer, "columns": shown, "alike": int(alike.sum())}


def _coarse(name: str, row: int, table: np.ndarray, columns: tuple[OwnColumn, ...]) -> tuple[str, np.ndarray]:
    """What is told of a customer's column, and which customers the same would be told of."""
    own = [(place, column) for place, column in enumerate(columns) if column.name == name]
    for place, column in own:
        values = table[:, place]
        if column.kind == "missing" and values[row] > 0.5:
            return "missing", values > 0.5
        if column.kind == "level" and values[row] > 0.5:
            return column.level, values > 0.5
        if column.kind == "flag":
            return ("yes" if values[row] > 0.5 else "no"), (values > 0.5) == (values[row] > 0.5)
    for place, column in own:
        if column.kind in {"number", "whole"}:
            edges = np.unique(np.round(np.quantile(table[:, place], CUTS[1:-1]) / column.step) * column.step)
            bins = np.searchsorted(edges, table[:, place], side="right")
            return _between(edges, int(bins[row]), column.step), bins == bins[row]
    return "", np.zeros(len(table), dtype=bool)


def _between(edges: np.ndarray, place: int, step: float) -> str:
    if place == 0:
        return f"below {plain_number(float(edges[0]), step)}"
    if place == len(edges):
        return f"{plain_number(float(edges[-1]), step)} and more"
    return f"{plain_number(float(edges[place - 1]), step)} to {plain_number(float(edges[place]), step)}"


def _two_digits(value: float) -> float:
    return float(f"{value:.2g}")
