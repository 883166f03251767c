"""Which rows tell of a head, on five decisions written down by hand."""

from __future__ import annotations

import pytest
import torch

from propensity.telling import telling_rows

SENT = torch.tensor([False, True, True, True, True])
OUTCOME = {
    "purchased": torch.tensor([1.0, 0.0, 1.0, 1.0, 0.0]),
    "opened": torch.tensor([1.0, 0.0, 1.0, 1.0, 1.0]),
    "clicked": torch.tensor([1.0, 0.0, 1.0, 0.0, 0.0]),
    "value": torch.tensor([9.0, 0.0, 5.0, 0.0, 0.0]),
}
KNOWN = {name: torch.ones(5, dtype=torch.bool) for name in OUTCOME} | {
    "value": torch.tensor([True, True, True, False, True]),
    "clicked": torch.tensor([True, True, True, True, False]),
}


@pytest.mark.parametrize(
    ("head", "rows"),
    [("purchase", [0, 1, 2, 3, 4]), ("open", [1, 2, 3, 4]), ("click", [2, 3]), ("value", [0, 2])],
)
def test_rows_tell_of_a_head_where_its_outcome_is_known_and_could_come_about(head: str, rows: list[int]) -> None:
    assert torch.nonzero(telling_rows(head, SENT, OUTCOME, KNOWN)).squeeze(1).tolist() == rows


def test_without_opens_every_send_could_be_clicked() -> None:
    fewer = {name: values for name, values in OUTCOME.items() if name != "opened"}
    assert torch.nonzero(telling_rows("click", SENT, fewer, KNOWN)).squeeze(1).tolist() == [1, 2, 3]
