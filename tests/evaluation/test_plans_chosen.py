"""Which weekly plans are told: the commonest of groups that are large enough, as they were really made."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch

from campaigns.plans import PlanMenu
from evaluation.plans_chosen import PlanDiary, plans_by_segment
from evaluation.rollout import rollout
from policies.following import Follower
from policies.plans import PlanChooser
from tests.envs.hand_made import hand_made_market, its_objective
from tests.policies.conftest import make_policy

MENU = PlanMenu((1, 3))
EVENING, MORNING = (int(MENU.number(*torch.tensor(parts), 2)) for parts in ((2, 3, 0), (1, 1, 1)))


class ByRow(PlanChooser):
    """Plans by the customer's row and week: for tests of what is noted."""

    kind = "by_row"

    def scores(self, observation):  # type: ignore[no-untyped-def]
        plans = torch.where(torch.arange(len(observation)) % 2 == 0, EVENING, MORNING)
        plans = torch.where(observation.slot % 84 < 42, plans, 0)  # nothing in every second week
        return torch.nn.functional.one_hot(plans, self.menu.size(len(observation.catalogue))).float()

    @classmethod
    def restore(cls, settings, tensors):  # type: ignore[no-untyped-def]
        raise NotImplementedError


def test_the_diary_holds_every_weeks_plan_of_every_customer() -> None:
    market, objective = hand_made_market(days=21), its_objective(21)
    chooser = ByRow(MENU, market.guardrails)
    follower = Follower(make_policy(chooser=chooser))
    diary = PlanDiary(follower)
    played = rollout(market, follower, objective, 40, 3, watch=diary)
    plans = diary.plans()
    assert plans.shape[0] == 40
    assert plans.shape[1] in (3, 4)
    assert set(np.unique(plans)) == {0, EVENING, MORNING}
    assert (plans[::2] != MORNING).all()
    assert (plans[1::2] != EVENING).all()
    assert (played.sends[::2].sum() > 2 * played.sends[1::2].sum()) or played.opted_out.any()


def test_the_commonest_plans_of_large_groups_are_told_in_words() -> None:
    tier = np.array(["gold"] * 30 + ["new"] * 61 + ["lone"] * 9)
    plans = np.where((tier == "gold")[:, None], EVENING, np.full((100, 2), 0))
    plans[30:80, 1] = MORNING
    plans[:5, 0] = MORNING  # too few to be told among the golden ones
    rows = plans_by_segment(pd.DataFrame({"user_id": range(100), "tier": tier}), plans, MENU, ("sale", "news"))
    table = {row["segment"]: row for row in rows}
    assert list(table) == ["everyone", "tier = gold", "tier = new"]
    gold = table["tier = gold"]["plans"]
    assert gold == [{"frequency": 3, "daypart": "evening", "content": "sale", "share": 55 / 60}]
    first, second = table["tier = new"]["plans"]
    assert first == {"frequency": 0, "daypart": "", "content": "", "share": 72 / 122}
    assert second == {"frequency": 1, "daypart": "morning", "content": "news", "share": 50 / 122}
    assert table["everyone"]["sends"] == (55 * 3 + 5 + 50) / 200
