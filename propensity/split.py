"""Which customers train and which validate, and how often members count each: the same for every family."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from campaigns.audience import Population


@dataclass(frozen=True)
class Split:
    """Rows of training and of validation customers, which share nobody (and no group) where there are two or more.

    Attributes:
        training, validation: rows. int64.
        bootstrap: how often each member counts each customer, Poisson(1). Shape [N, k].
    """

    training: Tensor
    validation: Tensor
    bootstrap: Tensor


def split_customers(
    customer: Tensor, population: Population, share: float, members: int, generator: torch.Generator
) -> Split:
    """Draws a split. Customers of one group stay together, or training would be stopped by people it knows.

    Args:
        customer: of each row. Shape [R], int64.
        population: N customers.
        share: of the rows' customers (groups, where there are groups) that validate.
        members: k.
        generator: on the CPU.
    """
    units = population.units
    there = units[customer].unique()
    order = there[torch.randperm(len(there), generator=generator)]
    held = torch.isin(units, order[: max(1, round(share * len(there)))])
    validation = torch.nonzero(held[customer]).squeeze(1)
    training = torch.nonzero(~held[customer]).squeeze(1)
    if not len(training):
        validation = training = torch.arange(len(customer))
    bootstrap = torch.poisson(torch.ones(len(population), members), generator=generator)[units]
    return Split(training, validation, bootstrap)
