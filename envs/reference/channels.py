"""The roads by which contents reach customers: what each costs, how it is read, and how it wears on people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from campaigns.errors import CampaignError, nearest
from envs.reference.variants import ContentSpec, Variant


@dataclass(frozen=True)
class ChannelSpec:
    """One channel. A push is the measure: all its factors are 1.

    Attributes:
        name: of the channel.
        cost: of a send, as a multiple of the variant's `send_cost`.
        opening: factor of the probability of opening.
        lasting: share of attention that does not hang on the hour of the send, since the message waits to be read.
        clicking: factor of the probability of clicking what was opened.
        tiring: factor of the fatigue that a send leaves behind.
        leaving: factor of the probability of opting out.
        consent: share of customers who allow it.
        liking: by how much the logging policy prefers its contents, in log-odds.
    """

    name: str
    cost: float = 1.0
    opening: float = 1.0
    lasting: float = 0.0
    clicking: float = 1.0
    tiring: float = 1.0
    leaving: float = 1.0
    consent: float = 0.97
    liking: float = 0.0


CHANNELS: dict[str, ChannelSpec] = {
    channel.name: channel
    for channel in (
        ChannelSpec("push"),
        # Cheap, opened whenever there is time, seldom a nuisance.
        ChannelSpec("email", 0.3, 0.8, 0.8, 1.1, 0.5, 0.6, 0.85),
        # Nearly always read, and soon; dear, tiring, and seldom allowed.
        ChannelSpec("sms", 6.0, 1.3, 0.3, 0.8, 1.5, 2.0, 0.5, -0.7),
    )
}


def check_channel_names(channels: Sequence[str]) -> None:
    """Refuses channels that the reference market does not have.

    Raises:
        CampaignError: naming the setting, and the nearest channel that there is.
    """
    if not channels:
        raise CampaignError("data.channels=[]: name at least one channel, such as data.channels=[push].")
    for channel in channels:
        if channel not in CHANNELS:
            raise CampaignError(
                f"data.channels: {channel} is no channel of the reference market{nearest(channel, CHANNELS)} "
                f"It has {', '.join(CHANNELS)}."
            )
        if list(channels).count(channel) > 1:
            raise CampaignError(f"data.channels: {channel} is there more than once.")


def with_channels(variant: Variant, channels: Sequence[str]) -> Variant:
    """The variant with its contents on `channels`.

    The first channel carries all contents under their own names; each further one carries the first content of every
    category, as `CONTENT_CHANNEL`. With push alone it is the variant itself.

    Raises:
        CampaignError: where a channel is not known.
    """
    check_channel_names(channels)
    first: dict[str, ContentSpec] = {}
    for content in variant.contents:
        first.setdefault(content.category, content)
    contents = [replace(content, channel=channels[0]) for content in variant.contents]
    for channel in channels[1:]:
        contents += [
            replace(content, content_id=f"{content.content_id}_{channel}", channel=channel)
            for content in first.values()
        ]
    return replace(variant, contents=tuple(contents))
