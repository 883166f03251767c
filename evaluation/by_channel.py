"""By which channels a policy sends, and what came of it in the slots of these sends."""

from __future__ import annotations

from typing import Any

import numpy as np

from evaluation.segments import LEAST_CUSTOMERS

FIGURES = ("sends", "cost", "opens", "purchases", "opt_outs", "value")
"""Columns of `Rollout.by_channel`."""


def by_channel(
    sums: np.ndarray, contents: np.ndarray, channel: np.ndarray, names: tuple[str, ...]
) -> list[dict[str, Any]]:
    """A policy's channels, each with its figures per customer of all.

    Args:
        sums: over customers and slots; see `FIGURES`. Shape [M, 6].
        contents: sends of each content, by customer. Shape [N, K].
        channel: index of each content's channel. Shape [K].
        names: of the M channels.
    Returns:
        Rows of `channel`, `customers` whom it reached, the first five of `FIGURES` per customer over the horizon, and
        `value_per_send`: what the slots with a send earned net of all costs, organic purchases included, by send. Where
        fewer than LEAST_CUSTOMERS were reached, all figures are None, and `suppressed` is true; where nobody was,
        `value_per_send` is None.
    """
    rows: list[dict[str, Any]] = []
    for index, name in enumerate(names):
        reached = int((contents[:, channel == index].sum(axis=1) > 0).sum())
        few = 0 < reached < LEAST_CUSTOMERS
        figures = dict(zip(FIGURES, (sums[index] / len(contents)).tolist(), strict=True))
        value = figures.pop("value")
        figures["value_per_send"] = value / figures["sends"] if reached else None
        rows.append(
            {"channel": name, "suppressed": few, "customers": None if few else reached}
            | {key: None if few else figure for key, figure in figures.items()}
        )
    return rows
