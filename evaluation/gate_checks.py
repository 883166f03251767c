"""One check of the market gate, and how an interval becomes pass, fail or undecided.

A check passes where the interval of simulated over observed lies inside the equivalence margin (two one-sided
tests, Schuirmann 1987), fails where it lies wholly outside, and is undecided in between: then the log is too
small to tell.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from evaluation.logged import customer_index

OUTCOMES = {
    "opens": "opened",
    "clicks": "clicked",
    "visits": "visited",
    "purchases": "purchased",
    "opt-outs": "unsubscribed",
    "value": "value",
}
"""Plural in words, and the log's column."""


RARE_MARGIN = 3.0
"""Opt-outs are rare in any log, and the network's own fit of them no surer: their margin is this many times wider."""


@dataclass(frozen=True)
class GateCheck:
    """One figure of the market beside the log's.

    Attributes:
        name: what is compared.
        observed, simulated: the two figures.
        ratio: simulated over observed; NaN where the check is on something else (`low` and `high` then hold that).
        low, high: interval, by customer bootstrap.
        passed: True inside the margin, False wholly outside, None undecided.
        kind: `total`, `sends by content`, `strata`, `effect`, `tilted policy` or `realism`.
        margin: of this check, relative; of `strata` the largest deviation, of `realism` the largest AUC.
        decides: whether the check alone can fail the market.
    """

    name: str
    observed: float
    simulated: float
    ratio: float
    low: float
    high: float
    passed: bool | None
    kind: str = "total"
    margin: float = 0.1
    decides: bool = True

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return asdict(self)


def within(low: float, high: float, least: float, most: float) -> bool | None:
    """Whether an interval lies inside [least, most] (True), wholly outside (False) or neither (None)."""
    if not (np.isfinite(low) and np.isfinite(high)):
        return None
    if low >= least and high <= most:
        return True
    return False if high < least or low > most else None


def customer_weights(customers: int, draws: int, seed: int, units: np.ndarray | None = None) -> np.ndarray:
    """Bootstrap weights of customers, Poisson(1), the observed sample first. Shape [1 + draws, customers].

    Customers of one unit, such as a household, are drawn together. `units` has shape [customers].
    """
    index, size = (None, customers) if units is None else customer_index(units)
    drawn = np.random.default_rng(seed).poisson(1.0, (draws, size)).astype(np.float32)
    weights = np.concatenate([np.ones((1, size), dtype=np.float32), drawn])
    return weights if index is None else weights[:, index]
