"""Serving: what a policy decides for a table of customers, slot by slot, and what it remembers of them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from campaigns.audience import Population, hash_uniform
from campaigns.errors import CampaignError
from campaigns.guardrails import customer_blocks
from campaigns.history import HOLD, History
from campaigns.observation import make_calendar, observe
from policies.chooser import carrying, sample
from policies.ledger import Ledger
from policies.reports import OutcomeTable, read_history
from policies.roster import Roster, make_roster

if TYPE_CHECKING:
    from policies.policy import Policy

REASONS = (
    "sent",
    "hold_chosen",
    "holdout",
    "no_consent",
    "opted_out",
    "quiet_hours",
    "cap_day",
    "cap_week",
    "cap_channel",
    "spacing",
    "not_eligible",
    "content_limits",
    "already_sent",
)
"""Why a row of `decide` is as it is. `content_limits`: no content is left by spacing, caps or channel.
`already_sent`: a send of this very slot was reported before it was decided."""

ROWS_AT_ONCE = 4096
"""Customers in one pass: what is computed of them on the way then stays in the processor's cache."""

Eligible = np.ndarray | pd.Series | pd.DataFrame | Sequence[Any] | None

NOTES = logging.getLogger("campaign")


@dataclass(frozen=True)
class Decided:
    """What was decided for a slot.

    Attributes:
        slot: which.
        chances: what was drawn from. Shape [N, 1 + K], float32.
        decision: HOLD or 1 + content. Shape [N], int64.
        action_prob: of the decision. Shape [N], float64.
        reason: index into REASONS. Shape [N], int64.
    """

    slot: int
    chances: Tensor
    decision: Tensor
    action_prob: Tensor
    reason: Tensor


class Session:
    """Customers being served by a policy; `Policy.start` and `Policy.resume` make it.

    Args:
        policy: what decides.
        roster: whom, with what.
        seed: of the draws: policy, user and slot decide them alone, so that the same call gives the same answer
            anywhere.
    """

    def __init__(self, policy: Policy, roster: Roster, seed: int) -> None:
        self.policy = policy
        self.roster = roster
        self.seed = seed
        self.ledger = Ledger(roster.population, roster.catalogue, policy.clock)
        self.latest: int | None = None
        self.decided: Decided | None = None
        self.carried: Tensor | None = None  # by the policy since the latest decision, [N, C]
        self._key = (hash_uniform(list(roster.users.series), f"draw-{seed}") * 2.0**53).astype(np.uint64)
        self._content_ids = np.empty(1 + len(roster.contents), dtype=object)
        self._content_ids[1:] = roster.catalogue.ids
        self._reason_names = pd.Series(REASONS)

    @staticmethod
    def begin(
        policy: Policy,
        users: pd.DataFrame,
        contents: pd.DataFrame,
        history: pd.DataFrame | Mapping[str, pd.DataFrame] | None,
        seed: int,
    ) -> Session:
        """See `Policy.start`."""
        if isinstance(seed, bool) or not isinstance(seed, int | np.integer):
            raise CampaignError(f"seed={seed!r}: must be a whole number.")
        session = Session(policy, make_roster(policy, users, contents), int(seed))
        policy.chooser.check(session.roster.catalogue.ids)
        if history is not None:
            past, session.latest = read_history(history, session.roster, policy.clock, policy.attribution_hours)
            session.ledger.begin_with(past)
        return session

    def decide(self, time: object, eligible: Eligible = None) -> pd.DataFrame:
        """Decides for every customer, and remembers it: a send counts until `observe` says otherwise.

        Args:
            time: the start of a slot, after the latest decided one. Called again for the latest slot, it returns the
                same frame and reserves nothing more, also with another `eligible`.
            eligible: a narrowing mask in the order of users and contents. Shape [N] or [N, K], bool.
        Returns:
            user_id, content_id (None = hold), action_prob (float64: the probability of this very decision) and
            reason (one of REASONS), in the order of users, with a RangeIndex.
        Raises:
            CampaignError: for a time that is none, off the grid or before the latest decision, or a mask of another
                type or shape.
        """
        slot, mask = self._slot(time), self._mask(eligible)
        if self.decided is None or slot != self.decided.slot:
            self._refuse_past(slot, time, "decide")
            with _one_thread():
                self.decided = self._decide(slot, mask)
            self.latest = slot
        return self._frame(self.decided)

    def probabilities(self, time: object, eligible: Eligible = None) -> np.ndarray:
        """What `decide` would draw from, exploration included, as if nobody were held out. Reserves nothing.

        For the latest decided slot it is what `decide` did draw from, whatever `eligible`.

        Args:
            time, eligible: as for `decide`.
        Returns:
            float64, shape [N, 1 + K]: hold, then `contents` in order; rows sum to 1.
        Raises:
            CampaignError: as `decide`.
        """
        slot, mask = self._slot(time), self._mask(eligible)
        if self.decided is not None and slot == self.decided.slot:
            chances = self.decided.chances
        else:
            self._refuse_past(slot, time, "probabilities")
            with _one_thread():
                chances, _, _ = self._chances(slot, mask)
        exact = chances.double()
        result: np.ndarray = (exact / exact.sum(dim=1, keepdim=True)).numpy()
        return result

    def observe(self, outcomes: pd.DataFrame) -> None:
        """Takes in what came of decisions.

        Args:
            outcomes: user_id, time (in the decision's slot), and any of content_id, opened, clicked, visited,
                purchased, revenue, value, unsubscribed. A missing column or field is unknown, not 0: it changes
                nothing. With `content_id`, a null releases a reserved send (nothing was sent) or is an organic row.
                A row replaces what an earlier one of its user and slot told; rows of other users are ignored.
        Raises:
            CampaignError: for missing keys, unreadable times, flags or amounts, or rows older than what is kept;
                then nothing of the table is taken in.
        """
        table = OutcomeTable(outcomes, self.roster, self.policy.clock)
        reports = list(table.by_slot())
        if reports:
            self.ledger.check_kept(reports[0].slot)
        impossible = sum(self.ledger.report(r.slot, r.rows, r.decision, r.told, r.happened) for r in reports)
        if impossible:
            NOTES.warning("observe: %d opens or clicks without a send are left out.", impossible)

    def save(self, path: str | Path) -> Path:
        """Writes the state of all customers, so that a nightly job need not replay. Holds personal data.

        The folder appears whole or not at all; an earlier saved session there is replaced.

        Raises:
            CampaignError: where the path holds anything else, or ids are neither text nor numbers.
        """
        from policies.saved_session import save_session

        return save_session(self, Path(path))

    def _decide(self, slot: int, eligible: Tensor | None) -> Decided:
        chances, reason, self.carried = self._chances(slot, eligible)
        decision = sample(chances, torch.from_numpy(self._uniforms(slot)))
        drawn = chances.gather(1, decision.unsqueeze(1)).squeeze(1).double()
        action_prob = drawn / chances.sum(dim=1, dtype=torch.float64)
        holdout = self.roster.holdout
        decision = torch.where(holdout, HOLD, decision)
        action_prob = torch.where(holdout, 1.0, action_prob)
        reason = torch.where(decision > HOLD, REASONS.index("sent"), reason)
        self.ledger.decide(slot, decision)
        return Decided(slot, chances, decision, action_prob, reason)

    def _frame(self, decided: Decided) -> pd.DataFrame:
        content = pd.Series(self._content_ids[decided.decision.numpy()], dtype=object)
        return pd.DataFrame(
            {
                "user_id": self.roster.users.series.copy(),
                "content_id": content,
                "action_prob": decided.action_prob.numpy().copy(),
                "reason": self._reason_names.take(decided.reason.numpy()).reset_index(drop=True),
            }
        )

    def _slot(self, time: object) -> int:
        clock = self.policy.clock
        slot = clock.slot(time)
        if not bool(clock.on_grid(pd.DatetimeIndex([pd.Timestamp(time)]))[0]):  # type: ignore[arg-type]
            raise CampaignError(
                f"time {time} is off the grid: slots of {clock.slot_hours} h start at midnight in {clock.timezone}; "
                f"the nearest before it is {clock.times([slot])[0]}."
            )
        return slot

    def _refuse_past(self, slot: int, time: object, what: str) -> None:
        if self.latest is not None and slot <= self.latest:
            raise CampaignError(
                f"{what}: {time} is not after the latest decision ({self.policy.clock.times([self.latest])[0]}); "
                "decide in order of time."
            )

    def _mask(self, eligible: Eligible) -> Tensor | None:
        """`eligible` as a tensor, checked."""
        if eligible is None:
            return None
        rows, contents = len(self.roster), len(self.roster.contents)
        if isinstance(eligible, pd.Series | pd.DataFrame):
            _refuse_other_order(eligible.index, self.roster.users.series, "index", "users")
        if isinstance(eligible, pd.DataFrame):
            _refuse_other_order(eligible.columns, self.roster.contents.series, "columns", "contents")
        try:
            mask = np.asarray(eligible)
        except ValueError:  # rows of unequal length
            mask = np.empty(0)
        if mask.dtype == object and mask.size and all(isinstance(v, bool | np.bool_) for v in mask.flat):
            mask = mask.astype(bool)  # nullable booleans without a null
        if mask.shape == (0,) and not rows:
            mask = mask.astype(bool)
        if mask.dtype != np.bool_ or mask.shape not in ((rows,), (rows, contents)):
            raise CampaignError(
                f"eligible: got {mask.dtype} of shape {mask.shape}; must be true or false, none missing, of shape "
                f"({rows},) or ({rows}, {contents})."
            )
        return torch.from_numpy(np.array(mask, order="C"))  # the caller's own may be read-only, or change

    def _chances(self, slot: int, eligible: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
        """What is drawn from ([N, 1 + K], float32), why each customer who is held is held ([N], int64), and what the
        policy carries from this slot on ([N, C], int64)."""
        rows, contents = len(self.roster), len(self.roster.contents)
        chances, reason = torch.zeros(rows, 1 + contents), torch.empty(rows, dtype=torch.int64)
        sent, carried = self.ledger.sent_in(slot), []
        for begin in range(0, rows, ROWS_AT_ONCE):
            part = slice(begin, begin + ROWS_AT_ONCE)
            chances[part], reason[part], kept = self._chances_of(
                slot,
                part,
                None if eligible is None else eligible[part],
                None if sent is None else sent[part],
            )
            carried += [] if kept is None else [kept]
        return chances, reason, torch.cat(carried) if carried else None

    def _chances_of(
        self, slot: int, part: slice, eligible: Tensor | None, sent: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        policy, roster = self.policy, self.roster
        calendar = make_calendar(policy.clock, roster.population.zones, slot, 1)
        people = _slice(roster.population, part)
        history = History(*(tensor[part] for tensor in self.ledger.current.tensors().values()))
        slots = torch.full((len(people),), slot, dtype=torch.int64)
        minute, _ = calendar.at(people.zone, slots)
        blocks = customer_blocks(policy.guardrails, history, slots, minute, people, roster.catalogue, policy.clock)
        blocks["holdout"] = roster.holdout[part]
        if eligible is not None:
            blocks["not_eligible"] = ~(eligible if eligible.dim() == 1 else eligible.any(dim=1))
        if sent is not None:
            blocks["already_sent"] = sent
        reason = torch.full_like(slots, REASONS.index("hold_chosen"))
        free = torch.ones_like(slots, dtype=torch.bool)
        for name, blocked in reversed(blocks.items()):
            reason = torch.where(blocked, REASONS.index(name), reason)
            if name != "holdout":  # who is held out has probabilities all the same
                free &= ~blocked
        chances = torch.zeros(len(people), 1 + len(roster.contents))
        chances[:, HOLD] = 1.0
        rows = torch.nonzero(free).squeeze(1)
        carried = None
        if policy.carries:  # for everybody, since a blocked customer's week begins all the same
            whole = observe(history, slots, calendar, people, roster.catalogue, policy.clock, policy.guardrails)
            carried = policy.carry(carrying(whole, None if self.carried is None else self.carried[part]))
        if len(rows):
            seen = observe(
                history.take(rows), slots[rows], calendar, people.take(rows), roster.catalogue, policy.clock,
                policy.guardrails, None if eligible is None else eligible[rows],
            )  # fmt: skip
            seen = carrying(seen, None if carried is None else carried[rows])
            chances[rows] = policy.probabilities_of(seen).float()
            stuck = ~seen.allowed[:, 1:].any(dim=1)
            reason[rows] = torch.where(
                stuck & (reason[rows] == REASONS.index("hold_chosen")), REASONS.index("content_limits"), reason[rows]
            )
        return chances, reason, carried

    def _uniforms(self, slot: int) -> np.ndarray:
        """A uniform in [0, 1) for each user: splitmix64 (Steele et al. 2014) of the user's key and the slot."""
        with np.errstate(over="ignore"):
            z = self._key + np.uint64(slot % 2**64) * np.uint64(0x9E3779B97F4A7C15)
            z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            z ^= z >> np.uint64(31)
        uniforms: np.ndarray = (z >> np.uint64(11)).astype(np.float64) / 2.0**53
        return uniforms


@contextmanager
def _one_thread() -> Iterator[None]:
    """Small pieces lose more to waiting for other threads than they gain, and everything on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _slice(people: Population, part: slice) -> Population:
    return Population(
        people.features[part], people.zone[part], people.consent[part], people.holdout[part], people.zones
    )


def _refuse_other_order(labels: pd.Index, ids: pd.Series, side: str, table: str) -> None:
    """Masks go by position; labels that say another order would be silently wrong."""
    if isinstance(labels, pd.RangeIndex) or len(labels) != len(ids) or labels.equals(pd.Index(ids)):
        return
    if set(labels) == set(ids):
        raise CampaignError(
            f"eligible: its {side} holds the ids of {table} in another order; it is read by position. Bring it into "
            f"the order of {table}."
        )
