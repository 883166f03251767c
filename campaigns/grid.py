"""A log as dense arrays: customers in rows, slots in columns. Memory: about 60 bytes a customer and slot."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from campaigns.attribution import COLUMN_OF, last_labelled_slot
from campaigns.columns import AMOUNTS, FLAGS
from campaigns.history import ABSENT, HOLD
from campaigns.logs import CampaignLog


@dataclass(frozen=True)
class DecisionGrid:
    """Decisions and what came of them. N customers in the order of `users`, T slots.

    Attributes:
        first_slot: slot number of column 0.
        decision: ABSENT, HOLD or 1 + row of `contents`. Shape [N, T], int32.
        action_prob: the logging policy's probability of the decision, NaN where unknown. Shape [N, T], float32.
        eligible: whether the logging policy could send. Shape [N, T], bool.
        labelled: whether the decision's outcomes are known to the end of their window. Shape [N, T], bool.
        outcomes: attributed outcomes by name, NaN where unknown. Shape [N, T] each, float32.
        happened: what history sees in the slot in which it happened, by name. Shape [N, T] each, bool.
        happened_content: what it is credited to, 0 for nothing. Shape [N, T] each, int32.
    """

    first_slot: int
    decision: np.ndarray
    action_prob: np.ndarray
    eligible: np.ndarray
    labelled: np.ndarray
    outcomes: dict[str, np.ndarray]
    happened: dict[str, np.ndarray]
    happened_content: dict[str, np.ndarray]

    @property
    def slots(self) -> int:
        """T."""
        return int(self.decision.shape[1])

    @property
    def is_one_shot(self) -> bool:
        """Whether every customer is decided on once."""
        return self.slots == 1

    def take(self, rows: np.ndarray) -> DecisionGrid:
        """The customers at `rows`."""
        return DecisionGrid(
            self.first_slot,
            self.decision[rows],
            self.action_prob[rows],
            self.eligible[rows],
            self.labelled[rows],
            {k: v[rows] for k, v in self.outcomes.items()},
            {k: v[rows] for k, v in self.happened.items()},
            {k: v[rows] for k, v in self.happened_content.items()},
        )

    def columns(self, first: int, slots: int) -> DecisionGrid:
        """The `slots` slots from column `first` on."""
        part = slice(first, first + slots)
        return DecisionGrid(
            self.first_slot + first,
            self.decision[:, part],
            self.action_prob[:, part],
            self.eligible[:, part],
            self.labelled[:, part],
            {k: v[:, part] for k, v in self.outcomes.items()},
            {k: v[:, part] for k, v in self.happened.items()},
            {k: v[:, part] for k, v in self.happened_content.items()},
        )


def make_grid(log: CampaignLog) -> DecisionGrid:
    """Puts a log's decisions on the grid.

    Where `holds=implied` the grid is complete: every slot of every customer without a row is a hold of which nothing
    came.
    """
    decisions = log.decisions
    row, slot = decisions["_user"].to_numpy(), decisions["slot"].to_numpy()
    first = int(slot.min())
    shape = (len(log.users), int(slot.max()) - first + 1)
    cell = (row, slot - first)

    def table(fill: float, dtype: type, values: np.ndarray) -> np.ndarray:
        grid: np.ndarray = np.full(shape, fill, dtype=dtype)
        grid[cell] = values
        return grid

    decision = table(ABSENT, np.int32, decisions["_content"].to_numpy() + 1)
    labelled = table(False, np.bool_, decisions["labelled"].to_numpy())
    names = [name for name in (*FLAGS, *AMOUNTS) if name in decisions.columns]
    outcomes = {
        name: table(np.nan, np.float32, decisions[name].to_numpy(dtype=np.float32, na_value=np.nan)) for name in names
    }
    action_prob = table(np.nan, np.float32, decisions["action_prob"].to_numpy())
    if log.settings.holds == "implied":
        implied = decision == ABSENT
        decision[implied] = HOLD
        until = first + shape[1]
        if log.events is not None:  # the log's end cuts off the windows of implied holds too
            until = last_labelled_slot(decisions, log.events, log.clock, log.settings.attribution_hours)
        labelled |= implied & (np.arange(first, first + shape[1]) <= until)
        for values in outcomes.values():
            values[implied] = 0.0
    happened = {name: np.nan_to_num(outcomes[name]) == 1 for name in FLAGS if name in outcomes}
    credited = np.maximum(decision, HOLD)
    happened_content = {name: np.where(happened[name], credited, HOLD) for name in happened}
    if log.events is not None:
        happened, happened_content = _from_events(log, shape, first)
    return DecisionGrid(
        first,
        decision,
        action_prob,
        table(True, np.bool_, decisions["eligible"].to_numpy()),
        labelled,
        outcomes,
        happened,
        happened_content,
    )


def _from_events(
    log: CampaignLog, shape: tuple[int, int], first: int
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """What history sees where events have their own times; opt-outs from before the log bind from its first slot on."""
    events = log.events
    assert events is not None
    early = (events["slot"] < first) & (events["event"] == "unsubscribe")
    events = events.assign(slot=events["slot"].where(~early, first))
    events = events[(events["slot"] >= first) & (events["slot"] < first + shape[1])]
    happened, content = {}, {}
    for event, name in COLUMN_OF.items():
        part = events[events["event"] == event]
        cell = (part["_user"].to_numpy(), part["slot"].to_numpy() - first)
        happened[name] = np.zeros(shape, dtype=bool)
        happened[name][cell] = True
        content[name] = np.zeros(shape, dtype=np.int32)
        content[name][cell] = part["_content"].to_numpy() + 1
    return happened, content
