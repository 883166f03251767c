"""What regressions see of the rows that tell of each head: the inputs of the families beside the network.

A hold shows its customer and moment; a send shows them again, gated by having been sent, with the content. So the
first part answers whatever is decided, and the second is the effect of sending and what it depends on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from campaigns.audience import Catalogue, Population
from campaigns.replay import DecisionRows
from propensity.fit import FitTables, fit_tables
from propensity.model import OUTCOME_OF
from propensity.telling import SENT_ONLY, telling_rows

SHIFT_OF = {"visit": "visit_bought", "open": "open_bought", "click": "click_bought", "value": "value_clicked"}
"""Heads that shift another where a purchase (for values: a click) accompanies it."""

BLOCK = 16_384
"""Rows of the design held at a time."""


@dataclass(frozen=True)
class Inputs:
    """What every family reads of R decisions.

    Attributes:
        customers: encoded features of the rows' customers are `people[customers]`. Shape [R], int64.
        people: Shape [N, Fu].
        units: group of each customer, or the customer. Shape [N], int64.
        state, contents, candidate: Shape [R, F]; contents and candidate are 0 on hold.
        sent: Shape [R], bool.
    """

    customers: Tensor
    people: Tensor
    units: Tensor
    state: Tensor
    contents: Tensor
    candidate: Tensor
    sent: Tensor

    @property
    def widths(self) -> tuple[int, int, int, int]:
        """Fu, Fs, Fx, Fc."""
        parts = (self.people, self.state, self.contents, self.candidate)
        return (parts[0].shape[1], parts[1].shape[1], parts[2].shape[1], parts[3].shape[1])

    @property
    def base_width(self) -> int:
        """1 + Fu + Fs: constant, customer, moment."""
        return 1 + sum(self.widths[:2])

    @property
    def response_width(self) -> int:
        """1 + Fu + Fs + Fx + Fc: the same gated by a send, and what was sent."""
        return 1 + sum(self.widths)

    def base(self, rows: Tensor) -> Tensor:
        """Constant, customer and moment. Shape [n, 1 + Fu + Fs]."""
        one = self.state.new_ones(len(rows), 1)
        return torch.cat([one, self.people[self.customers[rows]], self.state[rows]], dim=1)


@dataclass(frozen=True)
class HeadRows:
    """The rows that tell of one head.

    Attributes:
        head: one of CALIBRATED, or `value`.
        rows: which of the inputs' rows, holds first. Shape [n], int64.
        outcome: 0 or 1; in units of the value head for values. Shape [n], float32.
        weight: rows of the log that each stands for. Shape [n], float32.
        beside: whether a purchase (for values: a click) accompanies it; 0 for heads without a shift. Shape [n].
    """

    head: str
    rows: Tensor
    outcome: Tensor
    weight: Tensor
    beside: Tensor

    def width(self, inputs: Inputs) -> int:
        """d, columns of the head's design."""
        own = inputs.response_width + 1
        return own if self.head in SENT_ONLY else own + inputs.base_width

    def blocks(self, inputs: Inputs) -> Iterator[tuple[slice, Tensor]]:
        """The design, a block of rows at a time.

        Yields:
            Which of the head's rows, and their columns: what accompanies the outcome, base (where a hold has the
            head), response. Blocks of holds end with the base: the rest would be 0. Shape [b, d or fewer].
        """
        sent = inputs.sent[self.rows]
        holds = int((~sent).sum())
        for first, last in ((0, holds), (holds, len(self.rows))):
            for begin in range(first, last, BLOCK):
                part = slice(begin, min(begin + BLOCK, last))
                rows = self.rows[part]
                base = inputs.base(rows)
                columns = [self.beside[part].unsqueeze(1)]
                if self.head not in SENT_ONLY:
                    columns.append(base)
                if begin >= holds:
                    columns += [base, inputs.contents[rows], inputs.candidate[rows]]
                yield part, torch.cat(columns, dim=1)


@dataclass(frozen=True)
class LogRows:
    """All rows of a log.

    Attributes:
        tables: as a network's loss reads them.
        inputs: as regressions and trees read them.
    """

    tables: FitTables
    inputs: Inputs

    def head(self, head: str, among: Tensor) -> HeadRows | None:
        """The rows among some ([n], int64) that tell of a head, or None where the log lacks its outcome."""
        return _head_rows(head, self.inputs, self.tables, among)


def log_rows(rows: DecisionRows, population: Population, catalogue: Catalogue) -> LogRows:
    """Rows as every family beside the network reads them.

    Raises:
        CampaignError: where there is nothing to learn from.
    """
    tables = fit_tables(rows, catalogue)
    candidate = tables.candidate * tables.sent.unsqueeze(1)
    inputs = Inputs(
        tables.customers, population.features, population.units, tables.state, tables.contents, candidate, tables.sent
    )
    return LogRows(tables, inputs)


def _head_rows(head: str, inputs: Inputs, tables: FitTables, rows: Tensor) -> HeadRows | None:
    outcomes, known, weight = tables.outcome, tables.known, tables.weight
    column = OUTCOME_OF.get(head, head)
    if column not in outcomes or (head == "value" and "purchased" not in outcomes):
        return None
    kept = rows[telling_rows(head, inputs.sent, outcomes, known)[rows]]
    kept = kept[torch.argsort(inputs.sent[kept].long(), stable=True)]
    beside = torch.zeros(len(kept))
    accompanies = "clicked" if head == "value" else "purchased"
    if head in SHIFT_OF and accompanies in outcomes:
        beside = outcomes[accompanies][kept].float()
        if head == "value":
            beside = beside * inputs.sent[kept]
    outcome = outcomes[column][kept] / (tables.value_unit if head == "value" else 1.0)
    return HeadRows(head, kept, outcome, weight[kept], beside)
