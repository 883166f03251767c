"""Piecewise-linear embeddings of numbers, so that thresholds and plateaus need no depth."""

from __future__ import annotations

import torch
from torch import Tensor, nn

UNITS = 8
"""That a number becomes."""


class NumberEmbedding(nn.Module):
    """Customers' numbers as a few units each (Gorishniy, Rubachev and Babenko 2022).

    A number becomes how far it has come through each of its quantile bins; a linear map of its own and a ReLU turn that
    into units. Columns of two values, and levels of categories, stay as they are.

    Args:
        columns: F, how many of the customers' features are numbers.
        bins: T, bins a column.
    """

    def __init__(self, columns: int, bins: int) -> None:
        super().__init__()
        self.register_buffer("columns", torch.zeros(columns, dtype=torch.int64))
        self.register_buffer("edges", torch.zeros(columns, bins + 1))
        self.weight = nn.Parameter(torch.randn(columns, bins, UNITS) / max(bins, 1) ** 0.5)
        self.bias = nn.Parameter(torch.zeros(columns, UNITS))

    def forward(self, customers: Tensor) -> Tensor:
        """The features with their embeddings beside them. Shape [N, Fu + F units]."""
        columns, edges = self.columns, self.edges
        assert isinstance(columns, Tensor)
        assert isinstance(edges, Tensor)
        if not len(columns):
            return customers
        low, high = edges[:, :-1], edges[:, 1:]
        values = customers[:, columns].clamp(edges[:, 0], edges[:, -1])
        # Bins without a width, where many customers share a value, become steps.
        passed = ((values.unsqueeze(2) - low) / (high - low).clamp(min=1e-6)).clamp(0.0, 1.0)
        units = torch.relu(torch.einsum("nft,ftu->nfu", passed, self.weight) + self.bias)
        return torch.cat([customers, units.flatten(1)], dim=1)


def number_columns(customers: Tensor, bins: int) -> tuple[Tensor, Tensor]:
    """Columns of more than two values, and their quantile edges.

    Args:
        customers: of the training rows. Shape [N, Fu].
        bins: T; 0 for no embeddings.
    Returns:
        Shapes [F], int64, and [F, T + 1].
    """
    found = [column for column in range(customers.shape[1]) if bins and len(customers[:, column].unique()) > 2]
    columns = torch.tensor(found, dtype=torch.int64, device=customers.device)
    shares = torch.linspace(0, 1, bins + 1, device=customers.device, dtype=torch.float64)
    edges = [torch.quantile(customers[:, column].double(), shares).float() for column in found]
    return columns, torch.stack(edges) if edges else customers.new_zeros(0, bins + 1)
