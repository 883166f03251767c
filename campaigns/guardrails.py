"""Hard rules as one masking function, called by replay, market, training and serving alike."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from campaigns.audience import Catalogue, Population
from campaigns.clock import SlotClock, local_calendar
from campaigns.errors import CampaignError, nearest
from campaigns.history import RECENT, REPEATS, SEND, History, ages, count_within, repeats_within
from campaigns.ranges import check_range


@dataclass(frozen=True)
class Guardrails:
    """What may never happen, whatever a policy wants. Consent and opt-outs bind besides, always.

    Attributes:
        name: of the preset.
        quiet_from, quiet_until: local hours between which nothing is sent; equal hours mean no quiet time.
        max_per_day: sends in any 24 h; 0 = no cap.
        max_per_week: sends in any 7 x 24 h; 0 = no cap.
        spacing_hours: least hours between two sends to one customer.
        content_spacing_hours: least hours between two sends of one content to one customer.
        content_max_per_week: sends of one content to one customer in any 7 x 24 h; 0 = no cap.
        content_max_per_month: the same in any 28 x 24 h.
        holdout: share of customers who are never sent anything, so that the programme itself can be measured.
        channel_max_per_week: sends on a channel to one customer in any 7 x 24 h, by the channel's name; a channel
            that is not named has no cap of its own. Contents that the catalogue does not list have no channel.
    """

    name: str = "default"
    quiet_from: int = 21
    quiet_until: int = 8
    max_per_day: int = 1
    max_per_week: int = 5
    spacing_hours: float = 12.0
    content_spacing_hours: float = 48.0
    content_max_per_week: int = 2
    content_max_per_month: int = 0
    holdout: float = 0.05
    channel_max_per_week: dict[str, int] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        for setting in ("quiet_from", "quiet_until"):
            if not 0 <= getattr(self, setting) <= 24:
                raise CampaignError(f"guardrails.{setting}={getattr(self, setting)}: must be an hour from 0 to 24.")
        for setting in ("max_per_day", "max_per_week"):
            if not 0 <= getattr(self, setting) <= RECENT:
                raise CampaignError(
                    f"guardrails.{setting}={getattr(self, setting)}: must be 0 (no cap) to {RECENT} sends."
                )
        for setting in ("content_max_per_week", "content_max_per_month"):
            if not 0 <= getattr(self, setting) <= REPEATS:
                raise CampaignError(
                    f"guardrails.{setting}={getattr(self, setting)}: must be 0 (no cap) to {REPEATS} sends."
                )
        for channel, cap in self.channel_max_per_week.items():
            if not 0 <= cap <= REPEATS:
                raise CampaignError(
                    f"guardrails.channel_max_per_week.{channel}={cap}: must be 0 (no cap) to {REPEATS} sends."
                )
        for setting in ("spacing_hours", "content_spacing_hours"):
            check_range(f"guardrails.{setting}", getattr(self, setting), at_least=0, unit="hours")
        check_range("guardrails.holdout", self.holdout, at_least=0, below=1, unit="(a share of customers)")


NO_GUARDRAILS = Guardrails("none", 0, 0, 0, 0, 0.0, 0.0, 0, 0, 0.0)
"""Drops all rules but consent and opt-out."""


def allowed_decisions(
    guardrails: Guardrails,
    history: History,
    slot: Tensor,
    minute: Tensor,
    population: Population,
    catalogue: Catalogue,
    clock: SlotClock,
    eligible: Tensor | None = None,
) -> Tensor:
    """Which decisions may be taken now. Hold always may.

    Args:
        guardrails: the rules.
        history: of N customers, before the decision.
        slot: slot of the decision. Shape [N], int64.
        minute: the customers' own minute of the day at the slot's start. Shape [N], int64.
        population: the N customers (consent, holdout).
        catalogue: the K contents (channel).
        clock: the grid.
        eligible: a narrowing mask from outside. Shape [N] or [N, K], bool.
    Returns:
        Shape [N, 1 + K], bool; column 0 is hold.
    """
    blocked = torch.zeros_like(slot, dtype=torch.bool)
    for by_rule in customer_blocks(guardrails, history, slot, minute, population, catalogue, clock).values():
        blocked |= by_rule
    reachable = population.consent & ~history.opted_out  # [N, M]
    if any(guardrails.channel_max_per_week.values()):
        reachable = reachable & ~_channels_at_cap(guardrails, history, slot, catalogue, clock)
    content = reachable[:, catalogue.channel] & ~blocked.unsqueeze(1)
    now, latest = slot.to(torch.int32).unsqueeze(1), history.content_recent
    if guardrails.content_spacing_hours:
        content &= now - latest[..., 0] >= guardrails.content_spacing_hours / clock.slot_hours
    for cap, days in ((guardrails.content_max_per_week, 7), (guardrails.content_max_per_month, 28)):
        if cap:  # the latest come first: fewer than `cap` lie in the window where the last of so many does not
            content &= now - latest[..., cap - 1] > clock.slots_in(days)
    if eligible is not None:
        content &= eligible if eligible.dim() == 2 else eligible.unsqueeze(1)
    return torch.cat([torch.ones_like(content[:, :1]), content], dim=1)


def check_channels(guardrails: Guardrails, channels: Iterable[str]) -> None:
    """Refuses a cap on a channel that no content comes in, which would bind nobody.

    Raises:
        CampaignError: naming the channels that there are.
    """
    there = sorted(set(channels))
    for channel in guardrails.channel_max_per_week:
        if channel not in there:
            raise CampaignError(
                f"guardrails.channel_max_per_week.{channel}: no content comes in this channel{nearest(channel, there)} "
                f"The channels are {', '.join(there)}."
            )


def why_nothing_may_be_sent(
    guardrails: Guardrails, population: Population, catalogue: Catalogue, clock: SlotClock, first_slot: int, slots: int
) -> str | None:
    """Why none of the customers may ever be sent anything, whatever happens; None where someone may.

    Caps and spacings always let a first send through, so consent and quiet hours alone can forbid everything.

    Args:
        guardrails, population, catalogue, clock: as for `allowed_decisions`.
        first_slot, slots: the stretch that is asked about.
    """
    willing = population.consent[:, catalogue.channel].any(dim=1)
    if not bool(willing.any()):
        return "no customer consents to a channel in which a content comes"
    if clock.slot_hours < 24:
        zones = tuple(population.zones[int(zone)] for zone in population.zone[willing].unique())
        minute = torch.from_numpy(local_calendar(clock, zones, first_slot, slots).minute)
        if bool(_in_quiet_time(guardrails, minute).all()):
            return f"guardrails: quiet hours from {guardrails.quiet_from} to {guardrails.quiet_until} cover every slot"
    return None


def customer_blocks(
    guardrails: Guardrails,
    history: History,
    slot: Tensor,
    minute: Tensor,
    population: Population,
    catalogue: Catalogue,
    clock: SlotClock,
) -> dict[str, Tensor]:
    """Which customers no content may reach now, by the rule that says so. Arguments as for `allowed_decisions`.

    Returns:
        Masks of shape [N], bool, in the order in which rules are named as a reason.
    """
    blocks = {
        "no_consent": ~population.consent.any(dim=1),
        "opted_out": ~(population.consent & ~history.opted_out).any(dim=1),
        "holdout": population.holdout,
    }
    if clock.slot_hours < 24:  # a daily slot does not say at which hour its send goes out
        blocks["quiet_hours"] = _in_quiet_time(guardrails, minute)
    sent = ages(history.recent, slot)
    if guardrails.max_per_day:
        blocks["cap_day"] = count_within(sent, clock.slots_in(1)) >= guardrails.max_per_day
    if guardrails.max_per_week:
        blocks["cap_week"] = count_within(sent, clock.slots_in(7)) >= guardrails.max_per_week
    if any(guardrails.channel_max_per_week.values()):
        at_cap = _channels_at_cap(guardrails, history, slot, catalogue, clock)
        blocks["cap_channel"] = ~(population.consent & ~history.opted_out & ~at_cap).any(dim=1)
    if guardrails.spacing_hours:
        blocks["spacing"] = (slot - history.last[:, SEND]) * clock.slot_hours < guardrails.spacing_hours
    return blocks


def _channels_at_cap(
    guardrails: Guardrails, history: History, slot: Tensor, catalogue: Catalogue, clock: SlotClock
) -> Tensor:
    """Which channels have reached their weekly cap. Shape [N, M], bool.

    History keeps no counter for it: a content's latest REPEATS sends are remembered, and no cap is above REPEATS, so
    that their sum over a channel's contents reaches a cap exactly where the sends did.
    """
    sends = repeats_within(history, slot, clock.slots_in(7))  # [N, K]
    at_cap = torch.zeros_like(history.opted_out)
    for index, channel in enumerate(catalogue.channels):
        cap = guardrails.channel_max_per_week.get(channel, 0)
        if cap:
            at_cap[:, index] = (sends * (catalogue.channel == index)).sum(dim=1) >= cap
    return at_cap


def _in_quiet_time(guardrails: Guardrails, minute: Tensor) -> Tensor:
    begin, end = guardrails.quiet_from * 60, guardrails.quiet_until * 60
    if begin == end:
        return torch.zeros_like(minute, dtype=torch.bool)
    if begin < end:
        return (minute >= begin) & (minute < end)
    return (minute >= begin) | (minute < end)
