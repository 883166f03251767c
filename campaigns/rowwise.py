"""Choosing between two tables of customers row by row."""

from __future__ import annotations

import torch
from torch import Tensor


def where_rows(mask: Tensor, theirs: Tensor, mine: Tensor) -> Tensor:
    """`theirs` in the rows where `mask` is true, `mine` in the others.

    Args:
        mask: Shape [N], bool.
        theirs, mine: Shape [N, ...], alike.
    """
    return torch.where(mask.view(-1, *[1] * (mine.dim() - 1)), theirs, mine)
