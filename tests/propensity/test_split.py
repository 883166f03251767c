"""The split that all families share: customers, and groups of them, on one side alone."""

from __future__ import annotations

from dataclasses import replace

import torch

from propensity.split import Split, split_customers
from tests.propensity.logistic_world import CUSTOMERS, population, rows


def split(people_of_a_group: int, share: float = 0.2, seed: int = 0) -> tuple[Split, torch.Tensor]:
    people = replace(population(), group=torch.arange(CUSTOMERS) // people_of_a_group)
    generator = torch.Generator().manual_seed(seed)
    return split_customers(rows().customer, people, share, 3, generator), people.units


def test_nobody_and_no_group_is_on_both_sides() -> None:
    for size in (1, 4):
        found, units = split(size)
        trained, held = (set(units[rows().customer[part]].tolist()) for part in (found.training, found.validation))
        assert not trained & held
        assert len(held) == round(0.2 * CUSTOMERS / size)
        assert len(found.training) + len(found.validation) == len(rows())


def test_a_group_is_drawn_together_by_every_member() -> None:
    found, _ = split(4)
    by_group = found.bootstrap.view(-1, 4, 3)
    assert bool((by_group == by_group[:, :1]).all())
    assert 0.9 < float(found.bootstrap.mean()) < 1.1


def test_a_single_customer_trains_and_validates() -> None:
    one = torch.zeros(5, dtype=torch.int64)
    found = split_customers(one, population(), 0.15, 1, torch.Generator().manual_seed(0))
    assert len(found.training) == len(found.validation) == 5
