"""Which weekly plans a policy makes, and for whom: what it does, in words that people can agree to."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from campaigns.observation import Observation
from campaigns.plans import PlanMenu
from evaluation.segments import LEAST_CUSTOMERS, telling_groups
from policies.following import Follower
from policies.plans import PLAN, WEEK_NUMBER

MOST_PLANS = 4
"""Plans of a segment that are told one by one."""


class PlanDiary:
    """Notes every customer's plan of every week while a policy of plans is followed; `watch` of a rollout.

    Args:
        follower: that is asked.
    """

    def __init__(self, follower: Follower) -> None:
        self.follower = follower
        self.weeks: list[Tensor] = []
        self._latest: int | None = None

    def __call__(self, seen: Observation, decision: Tensor) -> None:
        """Called in every slot, after the policy was asked."""
        carried = self.follower.carried
        assert carried is not None
        week = int(carried[0, WEEK_NUMBER])
        if week != self._latest:
            self.weeks.append(carried[:, PLAN].clone())
            self._latest = week

    def plans(self) -> np.ndarray:
        """Numbers of the plans. Shape [N, W], int64."""
        noted: np.ndarray = torch.stack(self.weeks, dim=1).numpy()
        return noted


def plans_by_segment(
    users: pd.DataFrame, plans: np.ndarray, menu: PlanMenu, content_ids: tuple[object, ...], columns: int = 3
) -> list[dict[str, Any]]:
    """The plans that are made for everyone, and for the groups of the columns by which their frequency differs most.

    Args:
        users: the customers' own columns. N rows.
        plans: numbers in the menu, by customer and week. Shape [N, W].
        menu, content_ids: of the plans.
        columns: how many columns are shown.
    Returns:
        Rows of `segment` ("column = level", "everyone" first), `customers`, `sends` (planned a week) and `plans`: the
        commonest, each with `frequency`, `daypart`, `content` (empty where nothing is sent) and its `share` of the
        segment's weeks. Segments of fewer than LEAST_CUSTOMERS customers, and plans that fewer ever have, are left out.
    """
    frequency = np.array([0, *menu.frequencies])[menu.places(torch.from_numpy(plans), len(content_ids))[0].numpy()]
    groups = [("everyone", np.ones(len(plans), dtype=bool))]
    for name, levels in telling_groups(users, frequency.mean(axis=1), columns):
        groups += [(f"{name} = {level}", (levels == level).to_numpy()) for level in levels.cat.categories]
    rows = []
    for segment, inside in groups:
        if inside.sum() >= LEAST_CUSTOMERS:
            rows.append(
                {
                    "segment": segment,
                    "customers": int(inside.sum()),
                    "sends": float(frequency[inside].mean()),
                    "plans": _commonest(plans[inside], menu, content_ids),
                }
            )
    return rows


def _commonest(plans: np.ndarray, menu: PlanMenu, content_ids: tuple[object, ...]) -> list[dict[str, Any]]:
    numbers, weeks = np.unique(plans, return_counts=True)
    told: list[dict[str, Any]] = []
    for number, count in sorted(zip(numbers.tolist(), weeks.tolist(), strict=True), key=lambda e: (-e[1], e[0])):
        if len(told) < MOST_PLANS and (plans == number).any(axis=1).sum() >= LEAST_CUSTOMERS:
            frequency, daypart, content = menu.label(number, content_ids)
            told.append({"frequency": frequency, "daypart": daypart, "content": content, "share": count / plans.size})
    return told
