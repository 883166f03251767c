"""What a session knows of its customers: decisions and outcomes slot by slot, which later reports may correct.

The history is exact whatever the order of reports: rows of the last `KEPT_DAYS` are kept, and when one of them is
corrected its customer's history is replayed from them. What is older is settled. Memory: about 10 bytes a customer
and kept slot.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from campaigns import history as past
from campaigns.audience import Catalogue, Population
from campaigns.clock import SlotClock
from campaigns.errors import CampaignError
from campaigns.history import ABSENT, HOLD, Happenings, History
from campaigns.observation import make_calendar

KEPT_DAYS = 28
FLAGS = ("opened", "clicked", "visited", "purchased", "unsubscribed")


@dataclass(frozen=True)
class SlotRecord:
    """What is known of one slot.

    Attributes:
        decision: ABSENT, HOLD, 1 + content index, or 1 + K for a content that is not listed. Shape [N], int64.
        happened: bit f is set where FLAGS[f] happened. Shape [N], uint8.
    """

    decision: Tensor
    happened: Tensor

    def take(self, rows: Tensor) -> SlotRecord:
        """The customers at `rows`."""
        return SlotRecord(self.decision[rows], self.happened[rows])


class Ledger:
    """The histories of N customers, correctable.

    Args:
        population, catalogue, clock: of the session.
    """

    def __init__(self, population: Population, catalogue: Catalogue, clock: SlotClock) -> None:
        self.population = population
        self.catalogue = catalogue
        self.clock = clock
        self.settled = past.start(len(population), catalogue)
        self.settled_until = past.NEVER
        self.records: dict[int, SlotRecord] = {}
        self.current = self.settled

    def daypart(self, slot: int, rows: Tensor | None = None) -> Tensor:
        """The customers' own daypart at `slot`. Shape [N] or of `rows`, int64."""
        zone = self.population.zone if rows is None else self.population.zone[rows]
        calendar = make_calendar(self.clock, self.population.zones, slot, 1)
        from campaigns.features import daypart_of

        return daypart_of(calendar.minute[zone, 0])

    def decide(self, slot: int, decision: Tensor) -> None:
        """Records decisions of a slot later than all before ([N], int64)."""
        self.records[slot] = SlotRecord(decision, torch.zeros(len(decision), dtype=torch.uint8))
        self.current = past.record_decision(
            self.current, decision, torch.full_like(decision, slot), self.daypart(slot), self.catalogue
        )
        self._settle(slot - KEPT_DAYS * self.clock.slots_per_day)

    def report(self, slot: int, rows: Tensor, decision: Tensor | None, happened: Tensor) -> None:
        """Records what came of a slot, replacing what was reported of these rows before.

        Args:
            slot: of the decision.
            rows: customers, each once. Shape [R], int64.
            decision: what was really done, shape [R], int64; None keeps what the session decided.
            happened: bits of FLAGS. Shape [R], uint8.
        Raises:
            CampaignError: where the slot is older than what is kept.
        """
        if slot <= self.settled_until:
            raise CampaignError(
                f"observe: {self.clock.times([slot])[0]} is more than {KEPT_DAYS} days before the latest decision; "
                "start a new session with these outcomes in `history` instead."
            )
        known = self.records.get(slot)
        latest = slot == max(self.records, default=slot) and known is not None
        if known is None:
            size = len(self.population)
            known = SlotRecord(torch.full((size,), ABSENT, dtype=torch.int64), torch.zeros(size, dtype=torch.uint8))
        taken = known.decision[rows] if decision is None else decision
        taken = torch.where(taken == ABSENT, HOLD, taken)
        simple = latest & (taken == known.decision[rows]) & (known.happened[rows] == 0)
        new = SlotRecord(
            known.decision.scatter(0, rows, taken), known.happened.scatter(0, rows, happened.to(torch.uint8))
        )
        self.records[slot] = new
        self.records = dict(sorted(self.records.items()))
        if bool(simple.all()):
            # Nothing came after: what happened goes on top of the decision that is already recorded.
            part = self.current.take(rows)
            part = past.record_happenings(
                part, _events(taken, happened), _slots(taken, slot), self.daypart(slot, rows), self.catalogue
            )
            self._replace(rows, part)
        else:
            self._replace(rows, self._replayed(rows))

    def _replayed(self, rows: Tensor) -> History:
        history = self.settled.take(rows)
        for slot, record in self.records.items():
            history = self._apply(history, slot, record.take(rows), self.daypart(slot, rows))
        return history

    def _apply(self, history: History, slot: int, record: SlotRecord, daypart: Tensor) -> History:
        slots = _slots(record.decision, slot)
        history = past.record_decision(history, record.decision, slots, daypart, self.catalogue)
        if not bool(record.happened.any()):
            return history
        return past.record_happenings(
            history, _events(record.decision, record.happened), slots, daypart, self.catalogue
        )

    def _replace(self, rows: Tensor, part: History) -> None:
        if len(rows) == len(self.population) and bool((rows == torch.arange(len(rows))).all()):
            self.current = part
            return
        mine = self.current.tensors()
        self.current = History.from_tensors(
            {name: mine[name].index_copy(0, rows, values) for name, values in part.tensors().items()}
        )

    def _settle(self, before: int) -> None:
        for slot in [s for s in self.records if s < before]:
            self.settled = self._apply(self.settled, slot, self.records.pop(slot), self.daypart(slot))
            self.settled_until = slot

    def begin_with(self, slots: np.ndarray, decisions: Mapping[int, Tensor], happened: Mapping[int, Tensor]) -> None:
        """Takes over a past: for each of `slots` in order, decisions and happenings of all customers ([N])."""
        for slot in slots.tolist():
            self.records[slot] = SlotRecord(decisions[slot], happened[slot])
            self.current = self._apply(self.current, slot, self.records[slot], self.daypart(slot))
        if len(slots):
            self._settle(int(slots.max()) - KEPT_DAYS * self.clock.slots_per_day)

    def tensors(self) -> dict[str, Tensor]:
        """Everything, as saved to disk."""
        parts = {f"settled.{k}": v for k, v in self.settled.tensors().items()}
        parts["settled_until"] = torch.tensor(self.settled_until)
        parts["slots"] = torch.tensor(list(self.records), dtype=torch.int64)
        size = len(self.population)
        parts["decisions"] = (
            torch.stack([r.decision.to(torch.int32) for r in self.records.values()])
            if self.records
            else torch.zeros((0, size), dtype=torch.int32)
        )
        parts["happened"] = (
            torch.stack([r.happened for r in self.records.values()])
            if self.records
            else torch.zeros((0, size), dtype=torch.uint8)
        )
        return parts

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """The inverse of `tensors`."""
        prefix = "settled."
        self.settled = History.from_tensors({k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)})
        self.settled_until = int(tensors["settled_until"])
        self.records = {
            int(slot): SlotRecord(tensors["decisions"][i].long(), tensors["happened"][i])
            for i, slot in enumerate(tensors["slots"])
        }
        self.current = self._replayed(torch.arange(len(self.population)))


def _slots(like: Tensor, slot: int) -> Tensor:
    return torch.full_like(like, slot)


def _events(decision: Tensor, happened: Tensor) -> Happenings:
    bits = [(happened & (1 << index)).bool() for index in range(len(FLAGS))]
    return Happenings(*bits, content=decision.clamp(min=HOLD))
