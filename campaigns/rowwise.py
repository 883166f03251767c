"""Tables of customers in which some rows are given to others."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor


def overwrite_rows(mine: object, rows: Tensor, theirs: object, names: Iterable[str]) -> None:
    """Writes `theirs` into `rows` of `mine`, in place: only for who holds the only reference to these tensors.

    Args:
        mine: has tensors of N rows under `names`; what it has not (None) is left out.
        rows: distinct. Shape [E], int64.
        theirs: has tensors of E rows under the same names.
    """
    for name in names:
        table = getattr(mine, name)
        if table is not None:
            table.index_copy_(0, rows, getattr(theirs, name))
