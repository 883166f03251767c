"""How many decisions one policy would take otherwise than another, in the states that a log shows, and for whom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch

from campaigns.audience import Catalogue, Population
from campaigns.clock import SlotClock
from campaigns.grid import DecisionGrid
from campaigns.guardrails import Guardrails
from campaigns.history import ABSENT
from campaigns.replay import replay
from evaluation.intervals import mean_interval
from evaluation.offline import as_allowed
from evaluation.segments import LEAST_CUSTOMERS, telling_groups
from policies.following import Decides, following


class Guarded(Decides, Protocol):
    """A policy with its own guardrails."""

    @property
    def guardrails(self) -> Guardrails:
        """Within which it decides."""
        ...


@dataclass(frozen=True)
class Changes:
    """Two policies' decisions in N customers' logged states, as expected numbers.

    Attributes:
        free: decisions in which one of them could have sent. Shape [N].
        changed: decisions that come out otherwise: total variation distance of the two, summed. Shape [N].
    """

    free: np.ndarray
    changed: np.ndarray

    @property
    def share(self) -> float:
        """Share of free decisions that change; NaN without any."""
        return float(self.changed.sum() / self.free.sum()) if self.free.sum() else float("nan")


@torch.no_grad()
def decision_changes(
    grid: DecisionGrid,
    people: Population,
    catalogue: Catalogue,
    clock: SlotClock,
    before: Guarded,
    after: Guarded,
    first: int = 0,
) -> Changes:
    """Asks both policies in every logged state from column `first` on.

    Args:
        grid, people, catalogue, clock: the log, earlier slots included, and its customers, nobody held out.
        before, after: the policies, each within its own guardrails.
        first: column of the grid.
    """
    free, changed = torch.zeros(len(people)), torch.zeros(len(people))
    asked = following(before), following(after)
    carries = asked[0] is not before or asked[1] is not after
    for step in replay(grid, people, catalogue, clock):
        if step.column < first:
            continue
        there = torch.from_numpy(grid.decision[:, step.column] != ABSENT)
        eligible = grid.eligible[:, step.column]
        old, new = (as_allowed(step.observation, part.guardrails, eligible) for part in (before, after))
        open_ = there & (old.allowed[:, 1:] | new.allowed[:, 1:]).any(dim=1)
        if bool(open_.any()) or carries:  # who carries something is asked in every slot
            distance = (asked[1].probabilities_of(new) - asked[0].probabilities_of(old)).abs().sum(dim=1) / 2
            free += open_
            changed += torch.where(open_, distance, 0.0)
    return Changes(free.numpy(), changed.numpy())


def changes_by_segment(
    users: pd.DataFrame,
    customer: np.ndarray,
    gain: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
    changed: np.ndarray,
    weeks: float,
    columns: int = 3,
) -> list[dict[str, Any]]:
    """For whom it changes: the columns by which the change in sends differs most.

    Args:
        users: N customers' own columns.
        customer: which customer each row is; one may take part more than once. Shape [N].
        gain: value after less value before, paired. Shape [N].
        before, after: sends. Shape [N] each.
        changed: share of a customer's decisions that change; NaN where none was free. Shape [N].
        weeks: over which sends are counted.
        columns: how many columns are shown.
    Returns:
        Rows of `segment` ("column = level"), `customers`, `changed`, `sends_before` and `sends_after` a week, and
        `difference` in value with its interval; groups of fewer than `LEAST_CUSTOMERS` are left out.
    """
    rows = []
    for name, groups in telling_groups(users, after - before, columns):
        for level in groups.cat.categories:
            inside = (groups == level).to_numpy()
            people = len(np.unique(customer[inside]))
            if people < LEAST_CUSTOMERS:
                continue
            known = changed[inside][np.isfinite(changed[inside])]
            rows.append(
                {
                    "segment": f"{name} = {level}",
                    "customers": people,
                    "changed": float(known.mean()) if len(known) else None,
                    "sends_before": float(before[inside].mean() / weeks),
                    "sends_after": float(after[inside].mean() / weeks),
                    "difference": mean_interval(gain[inside]).to_dict(),
                }
            )
    return rows
