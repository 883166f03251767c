"""Weekly plans: how often, in which part of the day and what to send, in words that people use, and how a plan is kept.

One definition for environments, judging and serving. A week begins on the grid's Monday; a plan for it is carried out
slot by slot, by a rule without chance, under the guardrails of every slot.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from campaigns.clock import DAYPARTS, MONDAY, WEEK, SlotClock
from campaigns.features import shrunk_rate
from campaigns.history import HOLD, NEVER
from campaigns.observation import Observation

ANY = "any"
PLAN_DAYPARTS = (*DAYPARTS, ANY)

ROTATE, FAVOURITE = "rotate", "favourite"
ROTATED, FAVOURED = -1, -2
"""What stands for them where contents are numbers."""

CHOICES = (ROTATE, FAVOURITE)
"""What a plan may send besides a single content, after the K contents."""

NO_PLAN = 0
"""Number of the plan that sends nothing; the others follow, by frequency, daypart and content."""


@dataclass(frozen=True)
class PlanMenu:
    """The plans that can be chosen: nothing, or one of each frequency x daypart x content.

    Attributes:
        frequencies: sends a week, each at least 1, ascending.
    """

    frequencies: tuple[int, ...] = (1, 2, 3, 5, 7)

    def shape(self, contents: int) -> tuple[int, int, int]:
        """Frequencies, dayparts and contents (K + CHOICES) of the plans that send."""
        return len(self.frequencies), len(PLAN_DAYPARTS), contents + len(CHOICES)

    def size(self, contents: int) -> int:
        """P, plans in all."""
        frequencies, dayparts, choices = self.shape(contents)
        return 1 + frequencies * dayparts * choices

    def number(self, frequency: Tensor, daypart: Tensor, choice: Tensor, contents: int) -> Tensor:
        """The plan's number from the places of its parts: frequency 0 is nothing, 1.. those of the menu. Shape [N]."""
        _, dayparts, choices = self.shape(contents)
        number = 1 + ((frequency - 1) * dayparts + daypart) * choices + choice
        return torch.where(frequency == 0, NO_PLAN, number)

    def places(self, plan: Tensor, contents: int) -> tuple[Tensor, Tensor, Tensor]:
        """The inverse of `number`; nothing has daypart and content 0. Shape [N] each, int64."""
        _, dayparts, choices = self.shape(contents)
        rest = (plan - 1).clamp(min=0)
        frequency = torch.where(plan == NO_PLAN, 0, 1 + rest // (dayparts * choices))
        return frequency, rest // choices % dayparts, rest % choices

    def label(self, plan: int, ids: tuple[object, ...]) -> tuple[int, str, str]:
        """Sends a week, daypart and content of a plan in words; both empty for nothing."""
        if plan == NO_PLAN:
            return 0, "", ""
        frequency, daypart, choice = (int(p) for p in self.places(torch.tensor(plan), len(ids)))
        return self.frequencies[frequency - 1], PLAN_DAYPARTS[daypart], (*map(str, ids), *CHOICES)[choice]


def week_of(clock: SlotClock, slot: Tensor) -> Tensor:
    """Number of the calendar week, from Monday on, in which a slot begins. Same shape, int64."""
    return torch.div(slot * clock.slot_hours + (0 if clock.slot_hours == WEEK else MONDAY), WEEK, rounding_mode="floor")


def week_start(clock: SlotClock, week: Tensor) -> Tensor:
    """First slot of a week. Same shape, int64."""
    return (week * WEEK - (0 if clock.slot_hours == WEEK else MONDAY)) // clock.slot_hours


def planned_decisions(observation: Observation, menu: PlanMenu, plan: Tensor) -> Tensor:
    """What plans do in a slot.

    The week's sends are spread over its days: with f sends a week, send number j (from 0) is due from day 7 j / f
    (rounded down) on, counted from Monday, or from the day of a customer's first decision where that is later. What is
    due goes out in the first slot of the plan's daypart, on the customer's own clock, in which the guardrails allow it;
    what they put off is caught up later in the week, and what Sunday leaves is dropped. Every send of the week counts,
    also one that was not the plan's.

    Args:
        observation: of N customers.
        menu: of the plans.
        plan: number of each customer's plan for the running week. Shape [N], int64.
    Returns:
        HOLD or 1 + content index. Shape [N], int64.
    """
    contents, clock, slot = len(observation.catalogue), observation.clock, observation.slot
    frequency, daypart, choice = menu.places(plan, contents)
    wanted = torch.tensor((0, *menu.frequencies), device=slot.device)[frequency]
    monday = week_start(clock, week_of(clock, slot))
    sent = (observation.history.recent >= monday.unsqueeze(1)).sum(dim=1)
    first = observation.history.first.to(torch.int64)
    begin = torch.where(first == NEVER, slot, torch.maximum(monday, first))
    day = (slot - begin) * clock.slot_hours // 24
    due = (sent < wanted) & (day >= sent * 7 // wanted.clamp(min=1))
    now = due & ((daypart == PLAN_DAYPARTS.index(ANY)) | (daypart == observation.daypart))
    special = torch.where(choice == contents, ROTATED, FAVOURED)
    content = chosen_content(observation, torch.where(choice < contents, choice, special))
    can = observation.allowed[:, 1:].gather(1, content.unsqueeze(1)).squeeze(1)
    return torch.where(now & can, content + 1, HOLD)


def chosen_content(observation: Observation, choice: Tensor) -> Tensor:
    """The content that a choice comes to now, among those that are allowed.

    Args:
        observation: of N customers.
        choice: content index; ROTATED: what this customer got longest ago, the earlier of equals; FAVOURED: of the
            category that this customer opens most, what was sent longest ago. Shape [N], int64.
    Returns:
        Content index. Shape [N], int64.
    """
    allowed = observation.allowed[:, 1:]
    # Longest ago first; what was never sent counts as longest ago.
    age = (observation.slot.unsqueeze(1) - observation.history.content_recent[..., 0].clamp(min=NEVER)).double()
    rotate = age.masked_fill(~allowed, -1.0).argmax(dim=1)
    counts = observation.history.category_counts[:, observation.catalogue.category].double()
    rate = shrunk_rate(counts[..., 1], counts[..., 0])
    best_rate = rate.masked_fill(~allowed, -1.0).amax(dim=1, keepdim=True)
    favourite = age.masked_fill(~allowed | (rate < best_rate - 1e-9), -1.0).argmax(dim=1)
    return torch.where(choice == ROTATED, rotate, torch.where(choice == FAVOURED, favourite, choice.clamp(min=0)))
