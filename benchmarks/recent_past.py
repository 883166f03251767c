"""A customer's recent past as a sequence, and attention over it: what `benchmarks.attention_ablation` puts beside the
counters.

A token is a slot in which something was sent or happened; holds of which nothing came would fill three days with
silence, and the hours that have passed tell of them too. Attention is asked by the moment, or by moment and content
(Vaswani et al. 2017; asked by the content as in Zhou et al. 2018).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from campaigns.audience import Catalogue, Population
from campaigns.clock import DAYPARTS, SlotClock
from campaigns.features import FAR_HOURS, LOAD_HALF_LIVES, daypart_of
from campaigns.grid import DecisionGrid
from campaigns.history import HOLD
from campaigns.observation import make_calendar
from campaigns.replay import BINARY_OUTCOMES, DecisionRows

LATEST = 16
"""Slots that are remembered."""

WIDTH, ATTENTION_HEADS = 32, 2


@dataclass(frozen=True)
class RecentPast:
    """What R rows may know of their customers' N x T slots.

    Attributes:
        customer: of each row. Shape [R], int64.
        own: each row's own slot, as a column. Shape [R], int64.
        column: the latest slots before it in which something was sent or happened, latest first, -1 for none. Shape
            [R, LATEST], int64.
        content: 1 + what was sent or, where nothing was, what the slot's events are credited to; HOLD for none. Shape
            [N, T], int64.
        sent: Shape [N, T], bool.
        happened: what became known in each slot, in the order of BINARY_OUTCOMES. Shape [N, T, 5], bool.
        daypart: the customers' own. Shape [N, T], int64.
        attributes: of hold (zeros) and contents. Shape [1 + K, Fx].
        slot_hours: length of a slot.
    """

    customer: Tensor
    own: Tensor
    column: Tensor
    content: Tensor
    sent: Tensor
    happened: Tensor
    daypart: Tensor
    attributes: Tensor
    slot_hours: int

    @property
    def width(self) -> int:
        """Ft, numbers of a token."""
        return self.attributes.shape[1] + 1 + len(BINARY_OUTCOMES) + len(DAYPARTS) + 1 + len(LOAD_HALF_LIVES)

    def tokens(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """What attention reads.

        Args:
            rows: Shape [B], int64.
        Returns:
            Tokens, latest first: attributes of the content, whether it was sent, what happened, the daypart, and how
            long ago. Shape [B, LATEST, Ft]. Which of them there are. Shape [B, LATEST], bool.
        """
        column = self.column[rows]
        there = column >= 0
        cell = (self.customer[rows].unsqueeze(1), column.clamp(min=0))
        hours = (self.own[rows].unsqueeze(1) - column).unsqueeze(2) * float(self.slot_hours)
        parts = [
            self.attributes[self.content[cell]],
            self.sent[cell].unsqueeze(2).float(),
            self.happened[cell].float(),
            F.one_hot(self.daypart[cell], len(DAYPARTS)).float(),
            torch.log1p(hours.clamp(max=FAR_HOURS)) / math.log1p(FAR_HOURS),
            *(torch.exp2(-hours / half) for half in LOAD_HALF_LIVES),
        ]
        return torch.cat(parts, dim=2) * there.unsqueeze(2), there


def make_recent_past(
    grid: DecisionGrid, population: Population, catalogue: Catalogue, clock: SlotClock, rows: DecisionRows
) -> RecentPast:
    """What rows of a log may know: decisions of earlier slots, and events as history sees them, once they happened.

    Args:
        grid, population, catalogue, clock: of one log.
        rows: of the same log.
    """
    decision = torch.from_numpy(grid.decision.astype(np.int64))
    sent, content = decision > HOLD, decision.clamp(min=HOLD)
    nothing = np.zeros(grid.decision.shape, dtype=bool)
    happened = torch.from_numpy(np.stack([grid.happened.get(name, nothing) for name in BINARY_OUTCOMES], axis=2))
    for name, credited in grid.happened_content.items():
        events = torch.from_numpy(grid.happened[name]) & (content == HOLD)
        content = torch.where(events, torch.from_numpy(credited.astype(np.int64)), content)
    content = torch.where(content <= len(catalogue), content, HOLD)
    calendar = make_calendar(clock, population.zones, grid.first_slot, grid.slots)
    own = rows.slot - grid.first_slot
    return RecentPast(
        rows.customer,
        own,
        latest_before(sent | happened.any(dim=2), rows.customer, own),
        content,
        sent,
        happened,
        daypart_of(calendar.minute[population.zone]),
        F.pad(catalogue.features, (0, 0, 1, 0)),
        clock.slot_hours,
    )


def latest_before(busy: Tensor, customer: Tensor, column: Tensor) -> Tensor:
    """The latest columns before `column` in which the customer was busy.

    Args:
        busy: Shape [N, T], bool.
        customer, column: of each row. Shape [R], int64.
    Returns:
        Latest first, -1 for none. Shape [R, LATEST], int64.
    """
    count = busy.long().cumsum(dim=1)
    before = count[customer, column] - busy[customer, column].long()
    who, when = torch.nonzero(busy, as_tuple=True)
    listed = torch.full((len(busy), max(int(count[:, -1].max()), 1)), -1)
    listed[who, count[who, when] - 1] = when
    place = before.unsqueeze(1) - 1 - torch.arange(LATEST)
    found = listed[customer.unsqueeze(1), place.clamp(min=0)]
    return torch.where(place >= 0, found, -1)


class RecentEncoder(nn.Module):
    """One layer of attention over the tokens, and over one more that stands for nothing, which a newcomer has too.

    Args:
        token: Ft.
        asking: numbers of what asks.
    """

    def __init__(self, token: int, asking: int) -> None:
        super().__init__()
        self.embed = nn.Linear(token, WIDTH)
        self.ask = nn.Linear(asking, WIDTH)
        self.nothing = nn.Parameter(torch.zeros(WIDTH))
        self.attention = nn.MultiheadAttention(WIDTH, ATTENTION_HEADS, batch_first=True)

    def forward(self, tokens: Tensor, there: Tensor, asking: Tensor) -> Tensor:
        """What the recent past says to what asks.

        Args:
            tokens: Shape [B, L, Ft].
            there: Shape [B, L], bool.
            asking: Shape [B, A].
        Returns:
            Shape [B, WIDTH].
        """
        kept = torch.cat([self.nothing.expand(len(tokens), 1, -1), torch.relu(self.embed(tokens))], dim=1)
        hidden = F.pad(~there, (1, 0))
        question = self.ask(asking).unsqueeze(1)
        answer: Tensor = self.attention(question, kept, kept, key_padding_mask=hidden, need_weights=False)[0]
        return answer.squeeze(1)
