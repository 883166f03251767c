"""Which weekly plans are open to a customer: joint over frequency, daypart and content.

A plan that the guardrails would cut short is no plan that people could rely on, so it is not offered.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import torch
from torch import Tensor

from campaigns import history as past
from campaigns.audience import Catalogue, Population
from campaigns.clock import MINUTES_PER_DAY, WEEK, SlotClock
from campaigns.guardrails import Guardrails
from campaigns.observation import Calendar, Observation, observe
from campaigns.plans import CHOICES, NO_PLAN, PLAN_DAYPARTS, PlanMenu, planned_decisions, week_of, week_start


def allowed_plans(observation: Observation, menu: PlanMenu, guardrails: Guardrails) -> Tensor:
    """Plans that can be kept in a whole week by a customer who is reached by what they send. Nothing always can.

    What earlier sends block, opt-outs in the week and caps of single channels are not foreseen: they are left to
    the mask of every slot.

    Args:
        observation: of N customers.
        menu: of the plans.
        guardrails: that will hold.
    Returns:
        Shape [N, P], bool.
    """
    catalogue, clock = observation.catalogue, observation.clock
    reached = (observation.population.consent & ~observation.history.opted_out)[:, catalogue.channel]  # [N, K]
    several = reached.any(dim=1, keepdim=True).expand(-1, len(CHOICES))
    monday = week_start(clock, week_of(clock, observation.slot))
    minute = (observation.minute - (observation.slot - monday) * clock.slot_hours * 60) % MINUTES_PER_DAY
    clocks, which = minute.unique(return_inverse=True)
    one_channel = replace(guardrails, channel_max_per_week={})  # which binds some contents only: slots keep to it
    kept = torch.stack(
        [kept_plans(menu, one_channel, clock.slot_hours, int(begin), len(catalogue)) for begin in clocks]
    ).to(minute.device)
    sends = kept[which] & torch.cat([reached, several], dim=1)[:, None, None, :]
    return torch.cat([torch.ones_like(reached[:, :1]), sends.flatten(1)], dim=1)


@lru_cache(maxsize=256)
def kept_plans(menu: PlanMenu, guardrails: Guardrails, slot_hours: int, begin: int, contents: int) -> Tensor:
    """Which plans send as often as they say in a week of a customer who got nothing before: they are played.

    Args:
        menu: of the plans.
        guardrails: that hold.
        slot_hours: of the grid.
        begin: the customer's own minute of the day when the week begins.
        contents: K; all on one channel, of one category.
    Returns:
        Shape [F, D, K + CHOICES], bool.
    """
    clock = SlotClock("UTC", slot_hours)
    # One content stands for all.
    shown = torch.tensor([0, *range(contents, contents + len(CHOICES))])
    plans = torch.arange(1, menu.size(contents)).view(menu.shape(contents))[..., shown].flatten()
    customers, slots = len(plans), WEEK // slot_hours
    catalogue = Catalogue(
        tuple(range(contents)), torch.zeros(contents, 1), torch.zeros(contents, dtype=torch.int64),
        torch.zeros(contents, dtype=torch.int64), torch.zeros(contents), ("all",), ("push",),
    )  # fmt: skip
    nobody = torch.zeros(customers, dtype=torch.bool)
    people = Population(
        torch.zeros(customers, 1), torch.zeros(customers, dtype=torch.int64), ~nobody.unsqueeze(1), nobody, ("UTC",)
    )
    monday = int(week_start(clock, torch.tensor(2000)))
    minute = (begin + torch.arange(slots) * slot_hours * 60) % MINUTES_PER_DAY
    calendar = Calendar(monday, minute.unsqueeze(0), torch.zeros(1, slots, dtype=torch.int64))
    history = past.start(customers, catalogue)
    for number in range(slots):
        slot = torch.full((customers,), monday + number)
        seen = observe(history, slot, calendar, people, catalogue, clock, guardrails)
        history = past.record_decision(history, planned_decisions(seen, menu, plans), slot, seen.daypart, catalogue)
    wanted = torch.tensor(menu.frequencies).view(-1, 1, 1)
    kept = history.total[:, past.SEND].view(len(menu.frequencies), len(PLAN_DAYPARTS), -1) >= wanted
    return torch.cat([kept[..., :1].expand(-1, -1, contents), kept[..., 1:]], dim=2)


def marginal_masks(joint: Tensor, menu: PlanMenu, contents: int) -> tuple[Tensor, Tensor, Tensor]:
    """Places of each part that some open plan has; where only nothing is open, daypart and content do not matter.

    Args:
        joint: from `allowed_plans`. Shape [N, P], bool.
        menu, contents: of the plans.
    Returns:
        Shapes [N, 1 + F], [N, D] and [N, K + CHOICES], bool.
    """
    sends = joint[:, NO_PLAN + 1 :].view(len(joint), *menu.shape(contents))
    none = ~sends.flatten(1).any(dim=1, keepdim=True)
    frequency = torch.cat([joint[:, :1], sends.any(dim=3).any(dim=2)], dim=1)
    return frequency, sends.any(dim=3).any(dim=1) | none, sends.any(dim=2).any(dim=1) | none
