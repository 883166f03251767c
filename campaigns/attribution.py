"""Credits events to decisions by a stated window."""

from __future__ import annotations

import numpy as np
import pandas as pd

from campaigns.clock import SlotClock

COLUMN_OF = {
    "open": "opened",
    "click": "clicked",
    "visit": "visited",
    "purchase": "purchased",
    "unsubscribe": "unsubscribed",
}
NEEDS_SEND = ("open", "click", "unsubscribe")


def attribute_events(
    decisions: pd.DataFrame, events: pd.DataFrame, clock: SlotClock, window_hours: float, contents: pd.DataFrame
) -> pd.DataFrame:
    """Outcomes of decisions from events.

    Opens, clicks and opt-outs go to the customer's latest send within the window (of the event's content where it
    names one); purchases and visits too, or else to the decision of the slot in which they happened (organic); a
    refund is a negative value of the decision that the customer's latest purchase went to. Rows whose window the
    log's end cuts off are not labelled.

    Args:
        decisions: in order of customer and slot, with `_user` and `_content` rows.
        events: in order of customer and time, with `_user`, `_content` and `slot`.
        clock: the grid.
        window_hours: from the start of the send's slot, in hours.
        contents: for the number of contents.
    Returns:
        The decisions with outcome columns (existing ones are replaced) and `labelled`.
    """
    decisions = decisions.copy()
    window = max(1, int(np.ceil(window_hours / clock.slot_hours)))
    base = int(decisions["slot"].min())
    span = int(max(decisions["slot"].max(), events["slot"].max() if len(events) else base)) - base + 2 + window
    key = decisions["_user"].to_numpy() * span + (decisions["slot"].to_numpy() - base)
    sent = decisions["content_id"].notna().to_numpy()
    sends, send_content = np.flatnonzero(sent), decisions["_content"].to_numpy()
    outcome = {name: np.zeros(len(decisions), dtype=np.float32) for name in COLUMN_OF.values()}
    amounts = {name: np.zeros(len(decisions)) for name in ("revenue", "value") if name in events.columns}

    slot = np.clip(events["slot"].to_numpy() - base, 0, span - 1)
    event_key = events["_user"].to_numpy() * span + slot
    target = _latest_send(key[sends], event_key, slot, span, window)
    target = np.where(target >= 0, sends[np.maximum(target, 0)] if len(sends) else -1, -1)
    named = events["_content"].to_numpy()
    for content in np.unique(named[named >= 0]):
        own = np.flatnonzero(sent & (send_content == content))
        rows = np.flatnonzero(named == content)
        found = _latest_send(key[own], event_key[rows], slot[rows], span, window)
        target[rows] = np.where(found >= 0, own[np.maximum(found, 0)] if len(own) else -1, -1)
    here = np.searchsorted(key, event_key)
    at_slot = np.where((here < len(key)) & (key[np.minimum(here, len(key) - 1)] == event_key), here, -1)

    kind = events["event"].to_numpy()
    organic = ~np.isin(kind, NEEDS_SEND)
    target = np.where((target < 0) & organic, at_slot, target)
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
    last = int(max(decisions["slot"].max(), events["slot"].max() if len(events) else base))
    decisions["labelled"] = decisions["slot"].to_numpy() + window - 1 <= last
    decisions["opened"] = np.maximum(decisions["opened"], decisions["clicked"])
    return decisions


def _latest_send(send_key: np.ndarray, event_key: np.ndarray, slot: np.ndarray, span: int, window: int) -> np.ndarray:
    """Index of the latest send of the same customer in the `window` slots up to each event, -1 for none."""
    if not len(send_key):
        return np.full(len(event_key), -1)
    found = np.searchsorted(send_key, event_key, side="right") - 1
    candidate = send_key[np.maximum(found, 0)]
    earliest = event_key - np.minimum(slot, window - 1)
    return np.where((found >= 0) & (candidate >= earliest) & (candidate // span == event_key // span), found, -1)
