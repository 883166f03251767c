"""Which customers train and which validate, and how often members count each: the same for every family."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Split:
    """Rows of training and of validation customers, which share nobody where there are two or more.

    Attributes:
        training, validation: rows. int64.
        bootstrap: how often each member counts each customer, Poisson(1). Shape [N, k].
    """

    training: Tensor
    validation: Tensor
    bootstrap: Tensor


def split_customers(customer: Tensor, customers: int, share: float, members: int, generator: torch.Generator) -> Split:
    """Draws a split.

    Args:
        customer: of each row. Shape [R], int64.
        customers: N, of the population.
        share: of the rows' customers that validate.
        members: k.
        generator: on the CPU.
    """
    there = customer.unique()
    order = there[torch.randperm(len(there), generator=generator)]
    held = torch.zeros(customers, dtype=torch.bool)
    held[order[: max(1, round(share * len(there)))]] = True
    validation = torch.nonzero(held[customer]).squeeze(1)
    training = torch.nonzero(~held[customer]).squeeze(1)
    if not len(training):
        validation = training = torch.arange(len(customer))
    return Split(training, validation, torch.poisson(torch.ones(customers, members), generator=generator))
