"""How far a single customer moves an estimate: the estimate without each customer, by formula from customers' sums."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from evaluation.logged import Contributions, customer_index, ratio_sum


@dataclass(frozen=True)
class OneCustomer:
    """How far the one customer who moves a figure most moves it.

    Attributes:
        value: the estimate without the customer who moves it most.
        change: by how much that differs from the estimate with all.
        difference: to the incumbent, without the customer who moves the difference most; not always the same one.
        difference_change: by how much that differs.
        turns: whether the difference changes its sign with that customer.
    """

    value: float
    change: float
    difference: float
    difference_change: float
    turns: bool

    def to_dict(self) -> dict[str, float | bool]:
        """JSON-able form."""
        return asdict(self)


def without_each(estimate: Contributions, customer: np.ndarray) -> np.ndarray:
    """The estimate without each customer: sum_j (N_j - n_cj) / (D_j - d_cj). Shape [C], in order of the customers.

    NaN where nothing carries weight without that customer.
    """
    index, customers = customer_index(customer)

    def left(part: np.ndarray) -> np.ndarray:
        columns = part.reshape(len(part), -1)
        sums = np.stack([np.bincount(index, weights=c, minlength=customers) for c in columns.T], axis=1)
        rest: np.ndarray = columns.sum(axis=0) - sums
        return rest

    return ratio_sum(left(estimate.numerator), left(estimate.denominator))


def most_telling_customer(
    estimate: Contributions, incumbent: Contributions, customer: np.ndarray
) -> OneCustomer | None:
    """Leaves every customer out once, and tells of the one who moves the estimate most, and the paired difference.

    Args:
        estimate: of a policy.
        incumbent: what really happened, on the same rows.
        customer: of each row. Shape [n].
    Returns:
        None where no customer can be left out.
    """
    values = without_each(estimate, customer)
    differences = values - without_each(incumbent, customer)
    difference = estimate.value - incumbent.value
    if not np.isfinite(differences - difference).any():
        return None
    value = float(values[np.nanargmax(np.abs(values - estimate.value))])
    left = float(differences[np.nanargmax(np.abs(differences - difference))])
    return OneCustomer(value, value - estimate.value, left, left - difference, left * difference < 0)
