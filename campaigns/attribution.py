"""Credits events to decisions by a stated window."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from campaigns.clock import SlotClock
from campaigns.columns import AMOUNTS

COLUMN_OF = {
    "open": "opened",
    "click": "clicked",
    "visit": "visited",
    "purchase": "purchased",
    "unsubscribe": "unsubscribed",
}
NEEDS_SEND = ("open", "click", "unsubscribe")


def attribute_events(
    decisions: pd.DataFrame, events: pd.DataFrame, clock: SlotClock, window_hours: float, warnings: list[str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Outcomes of decisions from events.

    Opens, clicks and opt-outs go to the customer's latest send within the window (of the event's content where it
    names one); purchases and visits too, or else to the decision of the slot in which they happened (organic); a
    refund is a negative value of the decision that the customer's latest purchase went to. Rows whose window the
    log's end cuts off are not labelled. Events before the first decision are credited to nothing.

    Args:
        decisions: in order of customer and slot, with `_user` and `_content` rows.
        events: in order of customer and time, with `_user`, `_content` and `slot`.
        clock: the grid.
        window_hours: from the start of the send's slot, in hours.
        warnings: takes what could not be credited.
    Returns:
        The decisions with outcome columns (existing ones are replaced) and `labelled`, and the events, whose
        `_content` is that of the send to which they were credited where they name none.
    """
    decisions, events = decisions.copy(), events.copy()
    window = max(1, int(np.ceil(window_hours / clock.slot_hours)))
    base = int(decisions["slot"].min())
    last = max(int(decisions["slot"].max()), int(events["slot"].max()))
    span = last - base + 2 + window
    key = decisions["_user"].to_numpy() * span + (decisions["slot"].to_numpy() - base)
    sent, send_content = decisions["content_id"].notna().to_numpy(), decisions["_content"].to_numpy()
    outcome = {name: np.zeros(len(decisions), dtype=np.float32) for name in COLUMN_OF.values()}
    amounts = {name: np.zeros(len(decisions)) for name in AMOUNTS if name in events.columns}

    early = events["slot"].to_numpy() < base
    event_key = events["_user"].to_numpy() * span + np.where(early, 0, events["slot"].to_numpy() - base)
    named = events["_content"].to_numpy()
    sends = Sends(*(decisions[column].to_numpy()[sent] for column in ("_user", "slot", "_content")))
    found = credited_sends(sends, events, clock, window_hours)
    target = np.where(found >= 0, np.flatnonzero(sent)[np.maximum(found, 0)] if sent.any() else -1, -1)
    events["_content"] = np.where((named < 0) & (target >= 0), send_content[np.maximum(target, 0)], named)
    here = np.searchsorted(key, event_key)
    at_slot = np.where((here < len(key)) & (key[np.minimum(here, len(key) - 1)] == event_key) & ~early, here, -1)

    kind = events["event"].to_numpy()
    target = np.where((target < 0) & ~np.isin(kind, NEEDS_SEND), at_slot, target)
    purchase = np.where((kind == "purchase") & (target >= 0), target, -1)
    refunds = np.flatnonzero(kind == "refund")
    if len(refunds):
        latest = pd.Series(np.where(purchase >= 0, purchase, np.nan)).groupby(events["_user"].to_numpy()).ffill()
        target[refunds] = latest.fillna(-1).to_numpy(dtype=np.int64)[refunds]
    for event, column in COLUMN_OF.items():
        rows = target[(kind == event) & (target >= 0)]
        outcome[column][rows] = 1.0
    for name, totals in amounts.items():
        values = events[name].fillna(0.0).to_numpy()
        values = np.where(kind == "refund", -np.abs(values), values)
        usable = (target >= 0) & np.isin(kind, ("purchase", "refund"))
        np.add.at(totals, target[usable], values[usable])
    for name, flags in outcome.items():
        decisions[name] = flags
    for name, totals in amounts.items():
        decisions[name] = totals.astype(np.float32)
    decisions["labelled"] = decisions["slot"] <= last_labelled_slot(decisions, events, clock, window_hours)
    decisions["opened"] = np.maximum(decisions["opened"], decisions["clicked"])
    _note_uncredited(kind, target, early, window_hours, warnings)
    return decisions, events


@dataclass(frozen=True)
class Sends:
    """Sends in order of customer and slot. Shape [S] each, int64.

    Attributes:
        user: row of the customer.
        slot: of the send.
        content: what was sent, 0 or more, in the numbering that events name contents by.
    """

    user: np.ndarray
    slot: np.ndarray
    content: np.ndarray


def credited_sends(sends: Sends, events: pd.DataFrame, clock: SlotClock, window_hours: float) -> np.ndarray:
    """The send that each event is credited to: the customer's latest within the window, of the content it names.

    Logs are read and histories are served by this one rule.

    Args:
        sends: that events may be credited to.
        events: E rows with `_user`, `slot`, `time` (naive, of the grid's zone) and `_content` (negative: none named).
        clock: the grid.
        window_hours: from the start of the send's slot, in hours.
    Returns:
        Index into the sends, -1 for none. Shape [E], int64.
    """
    target = np.full(len(events), -1)
    if not len(sends.slot) or not len(events):
        return target
    window = max(1, int(np.ceil(window_hours / clock.slot_hours)))
    base, slot = int(sends.slot.min()), events["slot"].to_numpy()
    span = max(int(sends.slot.max()), int(slot.max())) - base + 2 + window
    send_key, event_key = sends.user * span + sends.slot - base, events["_user"].to_numpy() * span + slot - base
    named = events["_content"].to_numpy()
    for content in np.unique(np.maximum(named, -1)):
        own = np.flatnonzero((content < 0) | (sends.content == content))
        rows = np.flatnonzero((np.maximum(named, -1) == content) & (slot >= base))
        if len(own):
            found = _latest_send(send_key[own], event_key[rows], slot[rows] - base, span, window)
            target[rows] = np.where(found >= 0, own[np.maximum(found, 0)], -1)
    begun = clock.times(sends.slot[np.maximum(target, 0)])
    hours = (pd.DatetimeIndex(events["time"]) - begun) / pd.Timedelta(hours=1)
    return np.where(hours.to_numpy() < window_hours, target, -1)  # the window may end within a slot


def last_labelled_slot(decisions: pd.DataFrame, events: pd.DataFrame, clock: SlotClock, window_hours: float) -> int:
    """The last slot whose window lies within what decisions and events cover; the tables have `slot`."""
    last = max(int(decisions["slot"].max()), int(events["slot"].max()))
    return last + 1 - max(1, int(np.ceil(window_hours / clock.slot_hours)))


def add_organic_holds(
    decisions: pd.DataFrame, events: pd.DataFrame, users: pd.DataFrame, clock: SlotClock
) -> pd.DataFrame:
    """The decisions with rows for those implied holds in which something organic happened, so that it is not lost.

    Args:
        decisions: in order of customer and slot; an absent row is a hold.
        events: visits and purchases among them count.
        users: for the ids.
        clock: the grid.
    """
    organic = events[events["event"].isin(("purchase", "visit"))][["_user", "slot"]].drop_duplicates()
    organic = organic[organic["slot"].between(decisions["slot"].min(), decisions["slot"].max())]
    there = pd.MultiIndex.from_frame(decisions[["_user", "slot"]])
    organic = organic[~pd.MultiIndex.from_frame(organic).isin(there)]
    if not len(organic):
        return decisions
    holds = pd.DataFrame(
        {
            "user_id": users["user_id"].to_numpy()[organic["_user"].to_numpy()],
            "time": clock.times(organic["slot"].to_numpy()),
            "slot": organic["slot"].to_numpy(),
            "_user": organic["_user"].to_numpy(),
            "_content": -1,
            "eligible": True,
            "labelled": True,
        }
    )
    holds["content_id"] = pd.Series([None] * len(holds), dtype=decisions["content_id"].dtype)
    holds["action_prob"] = np.full(len(holds), np.nan)
    return pd.concat([decisions, holds], ignore_index=True).sort_values(["_user", "slot"], ignore_index=True)


def _note_uncredited(
    kind: np.ndarray, target: np.ndarray, early: np.ndarray, window_hours: float, warnings: list[str]
) -> None:
    if early.any():
        warnings.append(
            f"events: {int(early.sum())} lie before the first decision and are credited to none; opt-outs among them "
            "bind from the start."
        )
    lost = (target < 0) & ~early
    for event, reason in (
        *((event, f"no send within {window_hours:g} h before them") for event in NEEDS_SEND),
        *((event, "no send within the window and no row for their slot") for event in ("visit", "purchase")),
        ("refund", "no purchase before them"),
    ):
        count = int((lost & (kind == event)).sum())
        if count:
            warnings.append(f"events: {count} of kind {event} are credited to no decision: {reason}.")


def _latest_send(send_key: np.ndarray, event_key: np.ndarray, slot: np.ndarray, span: int, window: int) -> np.ndarray:
    """Index of the latest send of the same customer in the `window` slots up to each event, -1 for none."""
    found = np.searchsorted(send_key, event_key, side="right") - 1
    candidate = send_key[np.maximum(found, 0)]
    earliest = event_key - np.minimum(slot, window - 1)
    return np.where((found >= 0) & (candidate >= earliest) & (candidate // span == event_key // span), found, -1)
