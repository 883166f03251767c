"""What a session knows of its customers: decisions and outcomes slot by slot, which later reports may correct.

The history is a function of the records alone, whatever the order in which they came: rows of the last `KEPT_DAYS`
are kept, and when one of them is corrected its customer's history is replayed from them. What is older is settled.
Memory: 5 bytes a customer and kept slot.
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
from campaigns.columns import FLAGS
from campaigns.errors import CampaignError
from campaigns.features import daypart_of
from campaigns.history import ABSENT, HOLD, NEVER, Happenings, History
from campaigns.observation import make_calendar

KEPT_DAYS = 28

ITSELF = -1
"""Events credited to the decision of their own slot."""


def bit(flag: str) -> int:
    """The bit of one of FLAGS."""
    return 1 << FLAGS.index(flag)


POSSIBLE_ON_HOLD = bit("visited") | bit("purchased") | bit("unsubscribed")
"""What can happen where nothing was sent."""


@dataclass
class Past:
    """Rows of a session's past, one a customer and slot.

    Attributes:
        slot, row: of what follows. Shape [R], int64.
        decision: ABSENT, HOLD, 1 + content, or 1 + K for a content that is not listed. Shape [R], int64.
        happened: bits of FLAGS. Shape [R], uint8.
        credit: decision that the events are credited to, or ITSELF. Shape [R], int64; None: all to their own.
        left: the same for an opt-out, whose channel it closes.
    """

    slot: np.ndarray
    row: np.ndarray
    decision: np.ndarray
    happened: np.ndarray
    credit: np.ndarray | None = None
    left: np.ndarray | None = None


@dataclass(frozen=True)
class SlotRecord:
    """What is known of one slot.

    Attributes:
        decision: as in `Past`. Shape [N], int32.
        happened: bits of FLAGS. Shape [N], uint8.
        credit, left: as in `Past`. Shape [N], int32; None where all is credited to the slot's own decision.
    """

    decision: Tensor
    happened: Tensor
    credit: Tensor | None = None
    left: Tensor | None = None

    @staticmethod
    def empty(customers: int) -> SlotRecord:
        """Nothing decided, nothing happened."""
        return SlotRecord(
            torch.full((customers,), ABSENT, dtype=torch.int32), torch.zeros(customers, dtype=torch.uint8)
        )

    def take(self, rows: Tensor) -> SlotRecord:
        """The customers at `rows`."""
        parts = (self.decision, self.happened, self.credit, self.left)
        return SlotRecord(*(None if part is None else part[rows] for part in parts))  # type: ignore[arg-type]

    @property
    def told(self) -> Tensor:
        """Of whom anything is known here. Shape [N], bool."""
        return (self.decision != ABSENT) | (self.happened != 0)


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
        self.current = past.start(len(population), catalogue)

    def decide(self, slot: int, decision: Tensor) -> None:
        """Records the decisions of a slot ([N], int64); a send that was reported of it before stands."""
        known = self.records.get(slot)
        later = [record for other, record in self.records.items() if other > slot]
        if known is None:
            record = SlotRecord(decision.to(torch.int32), torch.zeros(len(decision), dtype=torch.uint8))
        else:
            taken = torch.where(known.decision > HOLD, known.decision, decision.to(torch.int32))
            record = SlotRecord(taken, known.happened, known.credit, known.left)
        who = torch.zeros(len(decision), dtype=torch.bool)
        for other in ([] if known is None else [known]) + later:
            who |= other.told
        self._put(slot, record)
        plain = SlotRecord(torch.where(who, ABSENT, record.decision), torch.where(who, 0, record.happened))
        self._advance(self.current, slot, plain, self._daypart(slot))
        self._replay_where(who)
        self._settle(slot - self.clock.slots_in(KEPT_DAYS))

    def sent_in(self, slot: int) -> Tensor | None:
        """Who was sent something in `slot`, as far as was reported. Shape [N], bool; None for nobody."""
        known = self.records.get(slot)
        return None if known is None else known.decision > HOLD

    def report(self, slot: int, rows: Tensor, decision: Tensor | None, told: Tensor, happened: Tensor) -> int:
        """Records what came of a slot. What is told replaces what was told before; the rest stays as it was.

        Args:
            slot: of the decision.
            rows: customers, each once. Shape [R], int64.
            decision: what was really done, shape [R], int64; None keeps what is known, a hold where nothing is.
            told: bits of FLAGS that are known now. Shape [R], uint8.
            happened: bits of FLAGS that happened. Shape [R], uint8.
        Returns:
            How many rows told of opens or clicks without a send; those are left out.
        Raises:
            CampaignError: where the slot is older than what is kept.
        """
        self.check_kept(slot)
        known = self.records.get(slot)
        newest = not self.records or slot >= max(self.records)
        fresh = SlotRecord.empty(len(self.population)) if known is None else known
        before = fresh.take(rows)
        taken = before.decision if decision is None else decision.to(torch.int32)
        taken = torch.where(taken == ABSENT, HOLD, taken)
        bits = (before.happened & ~told) | happened
        possible = torch.where(taken == HOLD, bits & POSSIBLE_ON_HOLD, bits)
        impossible = int(((happened != (happened & possible)) & (taken == HOLD)).sum())
        changed = (taken != before.decision) | (possible != before.happened)
        record = SlotRecord(
            fresh.decision.index_copy(0, rows, taken),
            fresh.happened.index_copy(0, rows, possible),
            fresh.credit,
            fresh.left,
        )
        self._put(slot, record)
        on_top = (before.happened & ~possible == 0) & ((taken == before.decision) | ~before.told)
        if newest and bool(on_top.all()):
            # Nothing came after and nothing is taken back: what is new goes on top of what is recorded.
            unheard = torch.where(taken == before.decision, ABSENT, taken)
            new = SlotRecord(
                unheard, possible & ~before.happened, _named(before.credit, taken), _named(before.left, taken)
            )
            part = self.current.take(rows)
            self._advance(part, slot, new, self._daypart(slot, rows))
            _write_rows(self.current, rows, part)
        else:
            who = torch.zeros(len(self.population), dtype=torch.bool)
            who[rows[changed]] = True
            self._replay_where(who)
        return impossible

    def check_kept(self, slot: int) -> None:
        """Checks that what is known of a slot can still be corrected.

        Raises:
            CampaignError: where it cannot.
        """
        if slot <= self.settled_until:
            raise CampaignError(
                f"observe: {self.clock.times([slot])[0]} is more than {KEPT_DAYS} days before the latest decision; "
                "start a new session with these outcomes in `history` instead."
            )

    def begin_with(self, rows: Past) -> None:
        """Takes over a past, which may be given in any order."""
        if not len(rows.slot):
            return
        order = np.argsort(rows.slot, kind="stable")
        slots, starts = np.unique(rows.slot[order], return_index=True)
        cutoff = int(slots[-1]) - self.clock.slots_in(KEPT_DAYS)
        for slot, part in zip(slots.tolist(), np.split(order, starts[1:]), strict=True):
            who = torch.from_numpy(rows.row[part])
            told = SlotRecord(
                torch.from_numpy(rows.decision[part]).to(torch.int32),
                torch.from_numpy(rows.happened[part]),
                None if rows.credit is None else torch.from_numpy(rows.credit[part]).to(torch.int32),
                None if rows.left is None else torch.from_numpy(rows.left[part]).to(torch.int32),
            )
            if slot < cutoff:
                history = self.settled.take(who)
                self._advance(history, slot, told, self._daypart(slot, who))
                _write_rows(self.settled, who, history)
                self.settled_until = slot
            else:
                self._put(slot, _spread(told, who, len(self.population)))
        self.current = self._replayed(torch.arange(len(self.population)))

    def _put(self, slot: int, record: SlotRecord) -> None:
        last = next(reversed(self.records), slot)
        self.records[slot] = record
        if slot < last:
            self.records = dict(sorted(self.records.items()))

    def _daypart(self, slot: int, rows: Tensor | None = None) -> Tensor:
        """The customers' own daypart at `slot`. Shape [N] or of `rows`, int64."""
        zone = self.population.zone if rows is None else self.population.zone[rows]
        return daypart_of(make_calendar(self.clock, self.population.zones, slot, 1).minute[zone, 0])

    def _replay_where(self, who: Tensor) -> None:
        """Replays the customers of `who` ([N], bool) of whom the kept records tell anything."""
        rows = torch.nonzero(who).squeeze(1)
        if len(rows):
            _write_rows(self.current, rows, self._replayed(rows))

    def _replayed(self, rows: Tensor) -> History:
        history = self.settled.take(rows)
        for slot, record in self.records.items():
            self._advance(history, slot, record.take(rows), self._daypart(slot, rows))
        return history

    def _advance(self, history: History, slot: int, record: SlotRecord, daypart: Tensor) -> None:
        """Takes one slot into a history that nobody else holds, in place: most rows change nothing."""
        news = (record.decision > HOLD) | (record.happened != 0)
        news |= (record.decision == HOLD) & (history.first == NEVER)
        rows = torch.nonzero(news).squeeze(1)
        if not len(rows):
            return
        part, told, daypart = history.take(rows), record.take(rows), daypart[rows]
        decision = told.decision.long()
        slots = torch.full_like(decision, slot)
        part = past.record_decision(part, decision, slots, daypart, self.catalogue)
        if bool(told.happened.any()):
            for happened in _happenings(told):
                part = past.record_happenings(part, happened, slots, daypart, self.catalogue)
        _write_rows(history, rows, part)

    def _settle(self, before: int) -> None:
        for slot in [s for s in self.records if s < before]:
            self._advance(self.settled, slot, self.records.pop(slot), self._daypart(slot))
            self.settled_until = slot

    def tensors(self) -> dict[str, Tensor]:
        """Everything, as saved to disk."""
        parts = {f"settled.{name}": value for name, value in self.settled.tensors().items()}
        parts |= {f"current.{name}": value for name, value in self.current.tensors().items()}
        parts["settled_until"] = torch.tensor(self.settled_until)
        for slot, record in self.records.items():
            for name in ("decision", "happened", "credit", "left"):
                value = getattr(record, name)
                if value is not None:
                    parts[f"records.{slot}.{name}"] = value
        return parts

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """The inverse of `tensors`; a missing part raises KeyError."""

        def under(prefix: str) -> dict[str, Tensor]:
            return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}

        self.settled, self.current = (History.from_tensors(under(f"{part}.")) for part in ("settled", "current"))
        self.settled_until = int(tensors["settled_until"])
        records = under("records.")
        slots = sorted({int(name.split(".")[0]) for name in records})
        self.records = {
            slot: SlotRecord(
                records[f"{slot}.decision"],
                records[f"{slot}.happened"],
                records.get(f"{slot}.credit"),
                records.get(f"{slot}.left"),
            )
            for slot in slots
        }


def _happenings(record: SlotRecord) -> list[Happenings]:
    """A slot's events; opt-outs apart, where they close another channel than that of the events' content."""
    bits = {name: (record.happened & bit(name)).bool() for name in FLAGS}
    own = record.decision.clamp(min=HOLD).long()
    if record.credit is None or record.left is None:
        return [Happenings(**bits, content=own)]
    credit, left = _named(record.credit, own), _named(record.left, own)
    none = torch.zeros_like(bits["unsubscribed"])
    alone = Happenings(none, none, none, none, bits["unsubscribed"], content=left)
    return [Happenings(**{**bits, "unsubscribed": none}, content=credit), alone]


def _named(credit: Tensor | None, own: Tensor) -> Tensor:
    """The credited decision, or a slot's own where none is named."""
    return own if credit is None else torch.where(credit > HOLD, credit.to(own.dtype), own)


def _spread(record: SlotRecord, rows: Tensor, customers: int) -> SlotRecord:
    """A record of all customers from one of `rows`."""

    def full(part: Tensor, fill: int) -> Tensor:
        return torch.full((customers,), fill, dtype=part.dtype).index_copy(0, rows, part)

    return SlotRecord(
        full(record.decision, ABSENT),
        full(record.happened, 0),
        None if record.credit is None else full(record.credit, ITSELF),
        None if record.left is None else full(record.left, ITSELF),
    )


def _write_rows(history: History, rows: Tensor, part: History) -> None:
    for name, values in part.tensors().items():
        history.tensors()[name].index_copy_(0, rows, values)
