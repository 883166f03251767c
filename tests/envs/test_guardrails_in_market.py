"""No guardrail is broken where agents learn: a million decisions in the learned market, judged by plain pandas.

Agents act through `Episodes`, which answers a forbidden decision as a hold. Here every customer would be sent to in
every slot, while clocks change and in zones that nobody knows.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from campaigns.audience import make_population
from campaigns.guardrails import Guardrails
from campaigns.history import SEND
from campaigns.objective import Objective
from envs.episodes import Episodes
from envs.market import Market, make_market
from tests.policies.test_guardrails_hold import broken_rules
from tests.worlds import small_model, small_world

ZONES = ("Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Chatham", "Nowhere/Land", None)
RULES = Guardrails(content_max_per_month=2, holdout=0.0)
LOOSE = Guardrails("loose", 20, 9, 2, 4, 8.0, 20.0, 3, 0, 0.0)


def users_everywhere(customers: int, seed: int) -> pd.DataFrame:
    """Customers in zones with daylight saving, odd offsets, and none that exists; some without consent."""
    users = small_world().log.users
    generator = np.random.default_rng(seed)
    rows = users.iloc[generator.integers(len(users), size=customers)].reset_index(drop=True)
    zones = np.array(ZONES, dtype=object)[generator.integers(len(ZONES), size=customers)]
    return rows.assign(user_id=range(customers), timezone=zones, consent_push=generator.random(customers) < 0.95)


def market_of(users: pd.DataFrame, rules: Guardrails, first: str, slots: int) -> Market:
    w = small_world()
    people = make_population(users, w.users, w.catalogue.channels, "UTC", holdout=0.0)
    return make_market(small_model(), people, w.catalogue, w.log.clock, rules, int(w.log.clock.slot(first)), slots)


def insist(rules: Guardrails, first: str, customers: int, days: int, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Wants a random send for everybody in every slot of one episode.

    Returns:
        What was decided (with the opt-outs that came of it), and the users.
    """
    users = users_everywhere(customers, seed)
    slots = days * 6
    market = market_of(users, rules, first, slots)
    episodes = Episodes(market, Objective(horizon_days=days), customers, seed, staggered=False)
    everyone = market.begin(torch.arange(customers), *episodes.generators)
    episodes.resume(episodes.running() | {"state": everyone.tensors()})
    names = np.array([None, *market.catalogue.ids], dtype=object)
    frames = []
    for slot in range(slots - 1):  # with the last slot the episodes end, and their histories with them
        wanted = torch.randint(1, 1 + len(market.catalogue), (customers,), generator=episodes.generators[0])
        before = episodes.state.history.total[:, SEND].clone()
        _, transition = episodes.step(wanted)
        sent = (episodes.state.history.total[:, SEND] > before).numpy()
        frames.append(
            pd.DataFrame(
                {
                    "user_id": users["user_id"],
                    "time": small_world().log.clock.times([market.first_slot + slot])[0],
                    "content_id": np.where(sent, names[wanted.numpy()], None),
                    "unsubscribed": transition.outcome.unsubscribed.numpy(),
                }
            )
        )
    return pd.concat(frames, ignore_index=True), users


def check(rules: Guardrails, first: str, customers: int, days: int, seed: int) -> int:
    """Decisions in which nothing was broken, of which a fair share were sends."""
    decisions, users = insist(rules, first, customers, days, seed)
    assert broken_rules(decisions, users, rules) == []
    assert decisions["content_id"].notna().mean() > 0.02
    return len(decisions)


@pytest.mark.parametrize("first", ["2025-03-05", "2025-03-27", "2025-10-24"])
def test_other_rules_hold_in_the_market_as_well(first: str) -> None:
    assert check(LOOSE, first, 1000, days=9, seed=1) > 50_000


@pytest.mark.parametrize("first", ["2025-03-05", "2025-03-27", "2025-10-24"])
def test_a_million_decisions_in_the_market_break_no_guardrail(first: str) -> None:
    done = check(RULES, first, 7000, days=9, seed=2)
    assert done * 3 > 1_000_000


def test_the_checker_sees_what_a_market_without_guardrails_does() -> None:
    free = Guardrails("free", 0, 0, 0, 0, 0.0, 0.0, 0, 0, 0.0)
    decisions, users = insist(free, "2025-03-27", 300, days=9, seed=0)
    found = broken_rules(decisions, users, RULES)
    assert {"quiet hours", "spacing", "content spacing", "cap of 1 in 1 days by user_id"} <= set(found)
    assert broken_rules(decisions, users, free) == []  # consent and opt-outs bind all the same
    assert decisions["unsubscribed"].any()
