"""What is known of every customer's past: one definition that replay, market and serving all call.

The state is integer counters and slot numbers in tensors with customers in rows, so that gaps replay exactly.
Facts about single contents are kept by content index here and reach a network only as candidate-relative
features (see `campaigns.features`). All functions are pure: they return a new history.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from campaigns.audience import Catalogue
from campaigns.clock import DAYPARTS
from campaigns.rowwise import overwrite_rows

ABSENT = -1
"""A slot in which no decision was taken for the customer."""
HOLD = 0
"""Nothing was sent. Content number k of the catalogue is decision 1 + k."""

NEVER = -(2**30)
"""The slot number of what has not happened yet."""

RECENT = 16
"""How many of the latest sends are remembered by their slot; caps beyond it are refused."""

REPEATS = 5
"""How many of the latest sends of each content, and of each category, are remembered by their slot."""

CHANNEL_WIDTHS = {"channel_recent": RECENT, "channel_counts": 2}
"""Numbers that are kept of each channel: slots of its latest sends; its sends and opens."""

SEND, OPEN, CLICK, VISIT, PURCHASE, ORGANIC = range(6)
"""Columns of `History.last` and `History.total`; organic: purchases in a slot without a send."""


@dataclass(frozen=True)
class History:
    """What is known of N customers before a decision.

    Attributes:
        first: slot of the customer's first decision (NEVER before it). Shape [N], int32.
        last: slot of the latest send, open, click, visit, purchase and organic purchase. Shape [N, 6], int32.
        total: how often each happened. Shape [N, 6], int32.
        unopened: sends since the last open. Shape [N], int32.
        recent: slots of the latest sends, a ring written at `total sends mod RECENT`. Shape [N, RECENT], int32.
        content_recent: slots of the latest sends of each content, latest first. Shape [N, K, REPEATS], int32.
        category_recent: the same of each category. Shape [N, C, REPEATS], int32.
        category_counts: sends, opens, clicks, purchases by category. Shape [N, C, 4], int32.
        daypart_counts: sends and opens by the customer's own daypart. Shape [N, 4, 2], int32.
        channel_recent: slots of the latest sends by each channel, latest first. Shape [N, M', RECENT], int32, M' being
            M where the catalogue tells of channels and 0 where it does not.
        channel_counts: sends and opens by channel. Shape [N, M', 2], int32.
        opted_out: channels closed for good by an unsubscribe. Shape [N, M], bool.
    """

    first: Tensor
    last: Tensor
    total: Tensor
    unopened: Tensor
    recent: Tensor
    content_recent: Tensor
    category_recent: Tensor
    category_counts: Tensor
    daypart_counts: Tensor
    channel_recent: Tensor
    channel_counts: Tensor
    opted_out: Tensor

    def __len__(self) -> int:
        return int(self.first.shape[0])

    def take(self, rows: Tensor) -> History:
        """The histories at `rows` (int64 or bool mask), in that order."""
        return History(*(getattr(self, f.name)[rows] for f in fields(self)))

    def overwrite(self, rows: Tensor, others: History) -> None:
        """Puts `others` into `rows`; see `campaigns.rowwise`."""
        overwrite_rows(self, rows, others, self.tensors())

    def to(self, device: torch.device | str) -> History:
        """The same histories on another device."""
        return History(*(getattr(self, f.name).to(device) for f in fields(self)))

    def tensors(self) -> dict[str, Tensor]:
        """Every field by name, as saved to disk."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @staticmethod
    def from_tensors(tensors: Mapping[str, Tensor]) -> History:
        """The inverse of `tensors`."""
        first = tensors["first"]
        # Histories saved by earlier versions tell of no channel.
        untold = {name: first.new_empty(len(first), 0, width) for name, width in CHANNEL_WIDTHS.items()}
        return History(**{f.name: {**untold, **tensors}[f.name] for f in fields(History)})


@dataclass(frozen=True)
class Happenings:
    """What happened to N customers in one slot, as history sees it.

    Attributes:
        opened, clicked, visited, purchased, unsubscribed: Shape [N], bool.
        content: decision (1 + content index) that it is credited to, HOLD for none. Shape [N], int64.
    """

    opened: Tensor
    clicked: Tensor
    visited: Tensor
    purchased: Tensor
    unsubscribed: Tensor
    content: Tensor


def start(customers: int, catalogue: Catalogue, device: torch.device | str = "cpu") -> History:
    """Histories of customers of whom nothing is known."""

    def zeros(*shape: int) -> Tensor:
        return torch.zeros((customers, *shape), dtype=torch.int32, device=device)

    def never(*shape: int) -> Tensor:
        return torch.full((customers, *shape), NEVER, dtype=torch.int32, device=device)

    contents, categories = len(catalogue), len(catalogue.categories)
    channels = len(catalogue.channels) if catalogue.tells_channels else 0
    return History(
        first=never(),
        last=never(6),
        total=zeros(6),
        unopened=zeros(),
        recent=never(RECENT),
        content_recent=never(contents, REPEATS),
        category_recent=never(categories, REPEATS),
        category_counts=zeros(categories, 4),
        daypart_counts=zeros(len(DAYPARTS), 2),
        channel_recent=never(channels, CHANNEL_WIDTHS["channel_recent"]),
        channel_counts=zeros(channels, CHANNEL_WIDTHS["channel_counts"]),
        opted_out=torch.zeros((customers, len(catalogue.channels)), dtype=torch.bool, device=device),
    )


def record_decision(history: History, decision: Tensor, slot: Tensor, daypart: Tensor, catalogue: Catalogue) -> History:
    """The histories after a decision was taken.

    Args:
        history: of N customers.
        decision: ABSENT, HOLD, 1 + content index, or 1 + K for a content that the catalogue does not list
            (it counts for totals and caps alone). Shape [N], int64.
        slot: slot of the decision. Shape [N], int64.
        daypart: the customer's own daypart then. Shape [N], int64.
        catalogue: the K contents.
    """
    contents = len(catalogue)
    sent = decision > HOLD
    listed = sent & (decision <= contents)
    now = slot.to(torch.int32)
    content = (decision - 1).clamp(0, contents - 1)
    category = catalogue.category[content]
    sent_count, listed_count = sent.to(torch.int32), listed.to(torch.int32)

    first = torch.where((history.first == NEVER) & (decision != ABSENT), now, history.first)
    last, total = history.last.clone(), history.total.clone()
    last[:, SEND] = torch.where(sent, now, last[:, SEND])
    total[:, SEND] += sent_count

    position = (history.total[:, SEND] % RECENT).long().unsqueeze(1)
    recent = _write(history.recent, position, now, sent)
    content_recent = _push(history.content_recent, content, now, listed)
    category_recent = _push(history.category_recent, category, now, listed)
    channel_recent, channel_counts = history.channel_recent, history.channel_counts
    if catalogue.tells_channels:
        channel = catalogue.channel[content]
        channel_recent = _push(channel_recent, channel, now, listed)
        channel_counts = _count(channel_counts, channel, 0, listed_count.unsqueeze(1))
    return replace(
        history,
        first=first,
        last=last,
        total=total,
        unopened=history.unopened + sent_count,
        recent=recent,
        content_recent=content_recent,
        category_recent=category_recent,
        category_counts=_count(history.category_counts, category, 0, listed_count.unsqueeze(1)),
        daypart_counts=_count(history.daypart_counts, daypart, 0, sent_count.unsqueeze(1)),
        channel_recent=channel_recent,
        channel_counts=channel_counts,
    )


def record_happenings(
    history: History, happened: Happenings, slot: Tensor, daypart: Tensor, catalogue: Catalogue
) -> History:
    """The histories after a slot's events became known.

    An unsubscribe closes the channel of the content that it is credited to, or every channel where it is
    credited to none. A purchase in a slot without a credited content counts as organic.

    Args:
        history: of N customers.
        happened: what happened; an event counts once a slot.
        slot, daypart: when, as for `record_decision`. Shape [N], int64.
        catalogue: the K contents.
    """
    contents = len(catalogue)
    now = slot.to(torch.int32).unsqueeze(1)
    credited = (happened.content > HOLD) & (happened.content <= contents)
    organic = happened.purchased & (happened.content == HOLD)
    flags = torch.stack(
        [happened.opened, happened.clicked, happened.visited, happened.purchased, organic], dim=1
    )  # [N, 5], columns OPEN to ORGANIC
    counts = flags.to(torch.int32)
    last, total = history.last.clone(), history.total.clone()
    last[:, OPEN:] = torch.where(flags, now, last[:, OPEN:])
    total[:, OPEN:] += counts

    content = (happened.content - 1).clamp(0, contents - 1)
    category = catalogue.category[content]
    by_category = torch.stack([happened.opened, happened.clicked, happened.purchased], dim=1) & credited.unsqueeze(1)

    channel, channel_counts = catalogue.channel[content], history.channel_counts
    if catalogue.tells_channels:
        channel_counts = _count(channel_counts, channel, 1, by_category[:, :1])
    own_channel = torch.nn.functional.one_hot(channel, history.opted_out.shape[1]).bool()
    closes = torch.where(credited.unsqueeze(1), own_channel, torch.ones_like(own_channel))
    return replace(
        history,
        last=last,
        total=total,
        unopened=torch.where(happened.opened, 0, history.unopened),
        category_counts=_count(history.category_counts, category, 1, by_category),
        daypart_counts=_count(history.daypart_counts, daypart, 1, counts[:, :1]),
        channel_counts=channel_counts,
        opted_out=history.opted_out | (closes & happened.unsubscribed.unsqueeze(1)),
    )


def sends_within(history: History, slot: Tensor, slots: int) -> Tensor:
    """Sends in the `slots` slots before `slot` (itself excluded), at most RECENT. Shape [N], int64."""
    return count_within(ages(history.recent, slot), slots).to(torch.int64)


def repeats_within(history: History, slot: Tensor, slots: int) -> Tensor:
    """Sends of each content in the `slots` slots before `slot`, at most REPEATS. Shape [N, K], int64."""
    return count_within(ages(history.content_recent, slot), slots).t().to(torch.int64)


OLDEST = 2**15 - 1
"""Slots that an age is cut at: beyond every window, and small integers are fast."""


def ages(recent: Tensor, slot: Tensor) -> Tensor:
    """Slots that have passed since each of the latest sends, OLDEST for what never happened.

    Customers come last, so that sums over the latest sends and over contents go over many customers at once.

    Args:
        recent: Shape [N, R] or [N, G, R], int32.
        slot: Shape [N], int64.
    Returns:
        Shape [R, N] or [G, R, N], int16.
    """
    turned = recent.flatten(1).t().contiguous()
    passed = (slot.to(torch.int32) - turned).clamp_(-OLDEST, OLDEST).to(torch.int16)
    return passed.view(*recent.shape[1:], len(slot))


def count_within(age: Tensor, slots: int) -> Tensor:
    """How many of the `ages` [..., R, N] are at most `slots`. Shape [..., N], int16."""
    # Compared into integers of the same size: into bools, which then had to be added up, took five times as long.
    return torch.le(age, slots, out=torch.empty_like(age)).sum(dim=-2, dtype=torch.int16)


def _write(table: Tensor, column: Tensor, value: Tensor, mask: Tensor) -> Tensor:
    """`table` [N, W] with `value` [N] written at `column` [N, 1] where `mask` [N]."""
    kept = table.gather(1, column).squeeze(1)
    return table.scatter(1, column, torch.where(mask, value, kept).unsqueeze(1))


def _push(table: Tensor, group: Tensor, value: Tensor, mask: Tensor) -> Tensor:
    """`table` [N, G, R] with `value` [N] put first at row `group` [N], the rest moved on, where `mask` [N]."""
    row = group.view(-1, 1, 1).expand(-1, 1, table.shape[2])
    kept = table.gather(1, row).squeeze(1)
    moved = torch.cat([value.unsqueeze(1), kept[:, :-1]], dim=1)
    return table.scatter(1, row, torch.where(mask.unsqueeze(1), moved, kept).unsqueeze(1))


def _count(table: Tensor, group: Tensor, first: int, add: Tensor) -> Tensor:
    """`table` [N, G, W] with `add` [N, J] added in row `group` [N], columns from `first` on."""
    columns = torch.arange(first, first + add.shape[1], device=table.device)
    flat = group.unsqueeze(1) * table.shape[2] + columns
    return table.flatten(1).scatter_add(1, flat, add.to(table.dtype)).view_as(table)
