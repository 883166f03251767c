"""What a network sees of a history: state features of the customer and candidate-relative ones of a content.

Only integers go in and the same float arithmetic comes out, wherever it is called from.
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
    ORGANIC,
    PURCHASE,
    REPEATS,
    SEND,
    VISIT,
    History,
    count_since,
    sends_within,
)

FAR_HOURS = 28 * 24
"""Beyond four weeks, and for what never happened, recency counts as this many hours."""

RATE_PRIOR, RATE_STRENGTH = 0.2, 4.0
"""A customer's own rates are shrunk towards 0.2 as if four sends had shown it."""

LOAD_HALF_LIVES = (24, 96)
"""Half-lives of decayed counts of sends, in hours: load wears off smoothly, which windows show only in steps."""

STATE_FEATURES = (
    "hour sin", "hour cos", "half-day sin", "half-day cos",
    *DAYPARTS,
    "weekday sin", "weekday cos", "weekend",
    "hours since send", "hours since open", "hours since click", "hours since visit", "hours since purchase",
    "hours since organic purchase",
    "sends in 24 h", "sends in 72 h", "sends in 7 days", "unopened sends in a row",
    *(f"sends, halved every {hours} h" for hours in LOAD_HALF_LIVES),
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
    hour = minute.float() * (2.0 * math.pi / MINUTES_PER_DAY)
    day = weekday.float() * (2.0 * math.pi / 7.0)
    daypart = daypart_of(minute)
    clock = torch.stack(
        [
            hour.sin(),
            hour.cos(),
            (2 * hour).sin(),
            (2 * hour).cos(),
            day.sin(),
            day.cos(),
            (weekday >= 5).float(),
        ],
        dim=1,
    )
    dayparts = torch.nn.functional.one_hot(daypart, len(DAYPARTS)).float()
    recency = _recency(slot.unsqueeze(1), history.last, slot_hours)  # [N, 6]
    recent = torch.stack(
        [
            sends_within(history, slot, _slots(1, slot_hours)),
            sends_within(history, slot, _slots(3, slot_hours)),
            sends_within(history, slot, _slots(7, slot_hours)),
            history.unopened,
        ],
        dim=1,
    )
    total = history.total.float()
    sends = total[:, SEND]
    open_rate = _rate(total[:, OPEN], sends)
    click_rate = _rate(total[:, CLICK], sends)
    hours_known = ((slot - history.first) * slot_hours).clamp(max=FAR_HOURS).float()
    hours_known = torch.where(history.first == NEVER, 0.0, hours_known)
    purchases_per_day = total[:, PURCHASE] / (hours_known / 24.0 + 7.0)
    here = history.daypart_counts.gather(1, daypart.view(-1, 1, 1).expand(-1, 1, 2)).squeeze(1).float()
    rest = torch.stack(
        [
            open_rate,
            click_rate,
            purchases_per_day,
            torch.log1p(here[:, 0]),
            _rate(here[:, 1], here[:, 0]) - open_rate,
            torch.log1p(hours_known) / math.log1p(FAR_HOURS),
            history.opted_out.float().mean(dim=1),
        ],
        dim=1,
    )
    counters = total[:, [SEND, OPEN, CLICK, VISIT, PURCHASE, ORGANIC]]
    return torch.cat(
        [
            clock[:, :4],
            dayparts,
            clock[:, 4:],
            recency,
            torch.log1p(recent.float()),
            torch.log1p(_load(history, slot, slot_hours)),
            torch.log1p(counters),
            rest,
        ],
        dim=1,
    )


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
        Columns as in CANDIDATE_FEATURES. Shape [N, K, Fc], or [N, Fc] where `content` is given. float32.
    """
    if content is None:
        content_recent = history.content_recent
        category_recent = history.category_recent[:, catalogue.category]
        counts = history.category_counts[:, catalogue.category].float()
    else:
        row = content.view(-1, 1, 1)
        category = catalogue.category[content].view(-1, 1, 1)
        content_recent = history.content_recent.gather(1, row.expand(-1, 1, REPEATS))
        category_recent = history.category_recent.gather(1, category.expand(-1, 1, REPEATS))
        counts = history.category_counts.gather(1, category.expand(-1, 1, 4)).float()
    moment = slot.view(-1, 1, 1)
    content_hours = _recency(moment, content_recent[..., :1], slot_hours).squeeze(-1)
    category_hours = _recency(moment, category_recent[..., :1], slot_hours).squeeze(-1)
    total = history.total.float()
    open_rate = _rate(total[:, OPEN], total[:, SEND]).unsqueeze(1)
    features = torch.stack(
        [
            content_hours,
            (content_recent[..., 0] == NEVER).float(),
            *(_within(content_recent, moment - _slots(days, slot_hours)) for days in (3, 7, 14, 28)),
            category_hours,
            *(_within(category_recent, moment - _slots(days, slot_hours)) for days in (3, 7, 14)),
            torch.log1p(counts[..., 0]),
            _rate(counts[..., 1], counts[..., 0]) - open_rate,
            _rate(counts[..., 2], counts[..., 0]),
            torch.log1p(counts[..., 3]),
        ],
        dim=-1,
    )
    return features if content is None else features.squeeze(1)


def _load(history: History, slot: Tensor, slot_hours: int) -> Tensor:
    hours = ((slot.unsqueeze(1) - history.recent) * slot_hours).clamp(max=FAR_HOURS).float()
    return torch.stack([torch.exp2(-hours / half).sum(dim=1) for half in LOAD_HALF_LIVES], dim=1)


def _slots(days: int, slot_hours: int) -> int:
    """As `SlotClock.slots_in`: 0 where a slot is longer, which counts nothing."""
    return days * 24 // slot_hours


def _recency(slot: Tensor, last: Tensor, slot_hours: int) -> Tensor:
    hours = ((slot - last) * slot_hours).clamp(0, FAR_HOURS).float()
    return torch.log1p(hours) / math.log1p(FAR_HOURS)


def _within(recent: Tensor, since: Tensor) -> Tensor:
    return count_since(recent, since).float() / 2.0


def _rate(successes: Tensor, tries: Tensor) -> Tensor:
    return (successes + RATE_PRIOR * RATE_STRENGTH) / (tries + RATE_STRENGTH)
