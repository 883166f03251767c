"""What a network sees of a history: state features of the customer and candidate-relative ones of a content.

Only integers go in and the same float arithmetic comes out, wherever it is called from. It is done with customers in
the last dimension, so that every operation goes over many customers at once.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from campaigns.audience import Catalogue
from campaigns.clock import DAYPARTS, MINUTES_PER_DAY
from campaigns.history import (
    CLICK,
    NEVER,
    OPEN,
    PURCHASE,
    RECENT,
    REPEATS,
    SEND,
    History,
    ages,
    count_within,
)

FAR_HOURS = 28 * 24
"""Beyond four weeks, and for what never happened, recency counts as this many hours."""

RATE_PRIOR, RATE_STRENGTH = 0.2, 4.0
"""A customer's own rates are shrunk towards 0.2 as if four sends had shown it."""

LOAD_HALF_LIVES = (24, 96)
"""Half-lives of decayed counts of sends, in hours: load wears off smoothly, which windows show only in steps."""

LOAD_FEATURES = tuple(f"sends, halved every {hours} h" for hours in LOAD_HALF_LIVES)
"""Their names."""

STATE_FEATURES = (
    "hour sin", "hour cos", "half-day sin", "half-day cos",
    *DAYPARTS,
    "weekday sin", "weekday cos", "weekend",
    "hours since send", "hours since open", "hours since click", "hours since visit", "hours since purchase",
    "hours since organic purchase",
    "sends in 24 h", "sends in 72 h", "sends in 7 days", "unopened sends in a row",
    *LOAD_FEATURES,
    "sends", "opens", "clicks", "visits", "purchases", "organic purchases",
    "open rate", "click rate", "purchases per day",
    "sends in this daypart", "open rate in this daypart, relative",
    "hours known", "opted-out share",
)  # fmt: skip

CANDIDATE_FEATURES = (
    "hours since content",
    "content never sent",
    "content sends in 3 days",
    "content sends in 7 days",
    "content sends in 14 days",
    "content sends in 28 days",
    "hours since category",
    "category sends in 3 days",
    "category sends in 7 days",
    "category sends in 14 days",
    "category sends",
    "category open rate, relative",
    "category click rate",
    "category purchases",
)

CHANNEL_FEATURES = (
    "hours since channel",
    "channel sends in 3 days",
    "channel sends in 7 days",
    *(f"channel sends, halved every {hours} h" for hours in LOAD_HALF_LIVES),
    "channel sends",
    "channel open rate, relative",
)
"""What else is told of a content where the catalogue tells of channels: with one they would repeat what is told of all
sends."""


def candidate_names(tells_channels: bool) -> tuple[str, ...]:
    """Names of the candidate-relative features, length Fc; see `Catalogue.tells_channels`."""
    return CANDIDATE_FEATURES + CHANNEL_FEATURES if tells_channels else CANDIDATE_FEATURES


def daypart_of(minute: Tensor) -> Tensor:
    """Daypart (0..3) of a local minute of the day. Same shape, int64."""
    return minute // (MINUTES_PER_DAY // len(DAYPARTS))


def state_features(history: History, slot: Tensor, minute: Tensor, weekday: Tensor, slot_hours: int) -> Tensor:
    """Features of the customer and the moment.

    Args:
        history: of N customers, before the decision.
        slot: slot of the decision. Shape [N], int64.
        minute, weekday: the customers' own time of day (minutes) and day of the week (Monday = 0). Shape [N].
        slot_hours: length of a slot.
    Returns:
        Columns as in STATE_FEATURES. Shape [N, Fs], float32.
    """
    # Customers come last until the end, as in `ages`.
    hour = minute.float() * (2.0 * math.pi / MINUTES_PER_DAY)
    day = weekday.float() * (2.0 * math.pi / 7.0)
    daypart = daypart_of(minute)
    dayparts = daypart == torch.arange(len(DAYPARTS), device=slot.device).unsqueeze(1)  # [4, N]
    sent = ages(history.recent, slot)  # [RECENT, N]
    recent = [count_within(sent, _slots(days, slot_hours)) for days in (1, 3, 7)]
    total = history.total.t().float()
    open_rate, click_rate = shrunk_rate(total[OPEN], total[SEND]), shrunk_rate(total[CLICK], total[SEND])
    hours_known = ((slot - history.first) * slot_hours).clamp(max=FAR_HOURS).float()
    hours_known = torch.where(history.first == NEVER, 0.0, hours_known)
    here = history.daypart_counts.gather(1, daypart.view(-1, 1, 1).expand(-1, 1, 2)).squeeze(1).t().float()
    features = torch.cat(
        [
            torch.stack([hour.sin(), hour.cos(), (2 * hour).sin(), (2 * hour).cos()]),
            dayparts.float(),
            torch.stack([day.sin(), day.cos(), (weekday >= 5).float()]),
            _recency(ages(history.last, slot), slot_hours),
            torch.log1p(torch.stack([*recent, history.unopened]).float()),
            torch.log1p(_load(sent, slot_hours)),
            torch.log1p(total),  # columns SEND to ORGANIC
            torch.stack(
                [
                    open_rate,
                    click_rate,
                    total[PURCHASE] / (hours_known / 24.0 + 7.0),
                    torch.log1p(here[0]),
                    shrunk_rate(here[1], here[0]) - open_rate,
                    torch.log1p(hours_known) / math.log1p(FAR_HOURS),
                    history.opted_out.float().mean(dim=1),
                ]
            ),
        ]
    )
    return features.t().contiguous()


def candidate_features(
    history: History, slot: Tensor, catalogue: Catalogue, slot_hours: int, content: Tensor | None = None
) -> Tensor:
    """Features of contents relative to the customer.

    Args:
        history: of N customers, before the decision.
        slot: slot of the decision. Shape [N], int64.
        catalogue: the K contents.
        slot_hours: length of a slot.
        content: content index of one candidate a customer, shape [N], int64; or None for all K.
    Returns:
        Columns as in `candidate_names`, customers last. Shape [K, Fc, N], or [1, Fc, N] where `content` is given;
        float32.
    """
    content_recent, category_recent, counts = history.content_recent, history.category_recent, history.category_counts
    if content is not None:
        row, category = content.view(-1, 1, 1), catalogue.category[content].view(-1, 1, 1)
        content_recent = content_recent.gather(1, row.expand(-1, 1, REPEATS))
        category_recent = category_recent.gather(1, category.expand(-1, 1, REPEATS))
        counts = counts.gather(1, category.expand(-1, 1, 4))
    of_content, of_category = ages(content_recent, slot), ages(category_recent, slot)
    sends, opens, clicks, purchases = counts.permute(2, 1, 0).float()  # [C, N] each
    total = history.total.t().float()
    told = torch.stack(
        [
            _recency(of_category[:, 0], slot_hours),
            *(_within(of_category, days, slot_hours) for days in (3, 7, 14)),
            torch.log1p(sends),
            shrunk_rate(opens, sends) - shrunk_rate(total[OPEN], total[SEND]),
            shrunk_rate(clicks, sends),
            torch.log1p(purchases),
        ],
        dim=1,
    )  # [C, 8, N]
    width = len(candidate_names(catalogue.tells_channels))
    features = torch.empty((content_recent.shape[1], width, len(history)), device=slot.device)
    features[:, 0] = _recency(of_content[:, 0], slot_hours)
    features[:, 1] = (content_recent[..., 0] == NEVER).t()
    for column, days in enumerate((3, 7, 14, 28), start=2):
        features[:, column] = _within(of_content, days, slot_hours)
    of_channels = len(CANDIDATE_FEATURES)
    features[:, 6:of_channels] = told.index_select(0, catalogue.category) if content is None else told
    if catalogue.tells_channels:
        told = _channel_features(history, slot, slot_hours, None if content is None else catalogue.channel[content])
        features[:, of_channels:] = told.index_select(0, catalogue.channel) if content is None else told
    return features


def _channel_features(history: History, slot: Tensor, slot_hours: int, channel: Tensor | None) -> Tensor:
    """Columns as in CHANNEL_FEATURES of all M channels, or of one a customer ([N], int64). Shape [M or 1, 7, N]."""
    recent, counts = history.channel_recent, history.channel_counts
    if channel is not None:
        row = channel.view(-1, 1, 1)
        recent, counts = recent.gather(1, row.expand(-1, 1, RECENT)), counts.gather(1, row.expand(-1, 1, 2))
    age = ages(recent, slot)  # [M, RECENT, N]
    sends, opens = counts.permute(2, 1, 0).float()  # [M, N] each
    total = history.total.t().float()
    return torch.stack(
        [
            _recency(age[:, 0], slot_hours),
            *(_within(age, days, slot_hours) for days in (3, 7)),
            *torch.log1p(_load(age, slot_hours)),
            torch.log1p(sends),
            shrunk_rate(opens, sends) - shrunk_rate(total[OPEN], total[SEND]),
        ],
        dim=1,
    )


def _load(age: Tensor, slot_hours: int) -> Tensor:
    """Decayed counts from the ages of the latest sends, [..., RECENT, N]; one row a half-life, [2, ..., N]."""
    hours = (age.float() * slot_hours).clamp_(max=FAR_HOURS)
    return torch.stack([torch.div(hours, -half).exp2_().sum(dim=-2) for half in LOAD_HALF_LIVES])


def _slots(days: int, slot_hours: int) -> int:
    """As `SlotClock.slots_in`: 0 where a slot is longer, which counts nothing."""
    return days * 24 // slot_hours


def _recency(age: Tensor, slot_hours: int) -> Tensor:
    hours = (age.float() * slot_hours).clamp_(0, FAR_HOURS)
    return torch.log1p(hours) / math.log1p(FAR_HOURS)


def _within(age: Tensor, days: int, slot_hours: int) -> Tensor:
    return count_within(age, _slots(days, slot_hours)).float() / 2.0


def shrunk_rate(successes: Tensor, tries: Tensor) -> Tensor:
    """A customer's own rate, as if RATE_STRENGTH more tries had succeeded at RATE_PRIOR. Same shape."""
    return (successes + RATE_PRIOR * RATE_STRENGTH) / (tries + RATE_STRENGTH)
