"""Tables of the past as callers hand them in: histories at a session's start, outcomes on the way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from campaigns.attribution import COLUMN_OF
from campaigns.audience import Catalogue
from campaigns.clock import SlotClock
from campaigns.errors import CampaignError
from campaigns.history import ABSENT, HOLD
from campaigns.log_checks import FALSE, TRUE
from policies.ledger import FLAGS, Ledger


class OutcomeTable:
    """Outcomes in rows of a session's customers.

    Args:
        frame: user_id, time and any of content_id and the outcome columns.
        user_ids, catalogue, clock: of the session.
        name: of the table, in errors.
    Raises:
        CampaignError: for missing keys or unreadable times.
    """

    def __init__(
        self, frame: pd.DataFrame, user_ids: np.ndarray, catalogue: Catalogue, clock: SlotClock, name: str = "observe"
    ) -> None:
        frame = frame.reset_index(drop=True)
        for column in ("user_id", "time"):
            if column not in frame.columns:
                raise CampaignError(f"{name}: column {column!r} is missing; got {', '.join(map(str, frame.columns))}.")
        row = pd.Index(user_ids).get_indexer(frame["user_id"])
        frame = frame[row >= 0]
        self.row = row[row >= 0]
        self.slot = _slots(frame["time"], clock, name)
        self.decision = None
        if "content_id" in frame.columns:
            self.decision = content_codes(frame["content_id"], catalogue)
        self.happened = _bits(frame, name)
        order = pd.DataFrame({"slot": self.slot, "row": self.row})
        last = ~order.duplicated(keep="last").to_numpy()
        self.row, self.slot, self.happened = self.row[last], self.slot[last], self.happened[last]
        if self.decision is not None:
            self.decision = self.decision[last]

    def by_slot(self) -> Iterator[tuple[int, Tensor, Tensor | None, Tensor]]:
        """Slot, customers, decisions (None where contents were not told) and happenings, in order of time."""
        for slot in np.unique(self.slot):
            rows = np.flatnonzero(self.slot == slot)
            rows = rows[np.argsort(self.row[rows], kind="stable")]
            decision = None if self.decision is None else torch.from_numpy(self.decision[rows])
            yield int(slot), torch.from_numpy(self.row[rows]), decision, torch.from_numpy(self.happened[rows])


class HistoryTables:
    """The past of a session's customers.

    Args:
        history: decisions with outcomes, or `{"decisions": ..., "events": ...}`; rows of other users are ignored.
        user_ids, catalogue, clock: of the session.
    """

    def __init__(
        self,
        history: pd.DataFrame | Mapping[str, pd.DataFrame],
        user_ids: np.ndarray,
        catalogue: Catalogue,
        clock: SlotClock,
    ) -> None:
        tables = {"decisions": history} if isinstance(history, pd.DataFrame) else dict(history)
        unknown = set(tables) - {"decisions", "events"}
        if unknown or "decisions" not in tables:
            raise CampaignError(f"history: got {sorted(tables)}; give a decisions table, or decisions and events.")
        decisions = tables["decisions"]
        if "content_id" not in decisions.columns:
            raise CampaignError("history: column 'content_id' is missing; null means that nothing was sent.")
        self.customers = len(user_ids)
        events = tables.get("events")
        self.events = None
        if events is not None:
            decisions = decisions.drop(columns=[c for c in FLAGS if c in decisions.columns])
            self.events = OutcomeTable(_event_flags(events), user_ids, catalogue, clock, "history events")
        self.decisions = OutcomeTable(decisions, user_ids, catalogue, clock, "history")

    def fill(self, ledger: Ledger) -> int | None:
        """Replays the past into a ledger. Returns the slot of the latest decision, None for an empty past."""
        slots = np.unique(self.decisions.slot)
        if self.events is not None:
            slots = np.union1d(slots, self.events.slot)
        taken, happened = {}, {}
        for slot in slots.tolist():
            taken[slot] = torch.full((self.customers,), ABSENT, dtype=torch.int64)
            happened[slot] = torch.zeros(self.customers, dtype=torch.uint8)
        for slot, rows, decision, flags in self.decisions.by_slot():
            assert decision is not None
            taken[slot][rows] = decision
            happened[slot][rows] = flags
        if self.events is not None:
            for slot, rows, _, flags in self.events.by_slot():
                happened[slot][rows] |= flags
        ledger.begin_with(slots, taken, happened)
        return int(self.decisions.slot.max()) if len(self.decisions.slot) else None


def content_codes(ids: pd.Series, catalogue: Catalogue) -> np.ndarray:
    """Decisions from content ids: HOLD for null, 1 + index, or 1 + K for what is not listed. Shape [N], int64."""
    index = pd.Index(list(catalogue.ids)).get_indexer(ids)
    codes = np.where(index >= 0, index + 1, 1 + len(catalogue))
    return np.where(ids.isna().to_numpy(), HOLD, codes).astype(np.int64)


def _slots(times: pd.Series, clock: SlotClock, name: str) -> np.ndarray:
    if not len(times):
        return np.zeros(0, dtype=np.int64)
    try:
        parsed = pd.to_datetime(times)
    except (ValueError, TypeError) as error:
        raise CampaignError(f"{name}.time: not readable as times ({str(error).splitlines()[0]}).") from None
    if parsed.isna().any():
        raise CampaignError(f"{name}.time: missing in {int(parsed.isna().sum())} rows.")
    return clock.slots(parsed)


def _bits(frame: pd.DataFrame, name: str) -> np.ndarray:
    bits = np.zeros(len(frame), dtype=np.uint8)
    for index, column in enumerate(FLAGS):
        if column not in frame.columns:
            continue
        text = frame[column].astype("string").str.strip().str.lower()
        true = text.isin(TRUE).fillna(False).to_numpy(dtype=bool)
        readable = true | text.isin(FALSE).fillna(False).to_numpy(dtype=bool) | frame[column].isna().to_numpy()
        if not readable.all():
            first = frame[column][~readable].iloc[0]
            raise CampaignError(f"{name}.{column}: {first!r} is neither 0 nor 1 nor missing.")
        bits |= true.astype(np.uint8) << np.uint8(index)
    return bits


def _event_flags(events: pd.DataFrame) -> pd.DataFrame:
    """One row a customer and time with the flags of what happened."""
    for column in ("user_id", "time", "event"):
        if column not in events.columns:
            raise CampaignError(f"history events: column {column!r} is missing.")
    flags = pd.DataFrame({"user_id": events["user_id"], "time": events["time"]})
    for event, column in COLUMN_OF.items():
        flags[column] = (events["event"] == event).astype("int8")
    return flags.groupby(["user_id", "time"], sort=False, as_index=False).max()
