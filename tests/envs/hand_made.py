"""A learned market whose network was written by hand, so that every expectation in it is known in closed form.

Three contents: `good` sells in the evening alone, `bad` puts people off at any hour, `dull` changes nothing. Nobody
opts out unless asked for, values do not vary, and all contents cost the same.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import log

import torch

from campaigns.audience import Catalogue, Population
from campaigns.features import CANDIDATE_FEATURES, STATE_FEATURES
from campaigns.guardrails import NO_GUARDRAILS, Guardrails
from campaigns.objective import Objective
from envs.market import Market, make_market
from propensity.model import CALIBRATED, Calibration, PropensityModel
from propensity.network import BASE, HEADS, NetworkSpec, PropensityNetwork
from tests.worlds import small_world

GOOD, BAD, DULL = 1, 2, 3
"""Decisions."""

EVENING = STATE_FEATURES.index("evening")


@dataclass(frozen=True)
class Law:
    """What happens in a slot.

    Attributes:
        idle: P(purchase) by member where nothing is sent, or `dull`, or `good` outside the evening.
        gain: logits that `good` adds in the evening, and that `bad` takes at any time.
        opens: P(open | send).
        leaves: P(unsubscribe), sent to or not.
        basket: value of a purchase, in currency.
        taste: logits of `idle` by unit of the customer's first feature.
    """

    idle: tuple[float, ...] = (0.1, 0.1)
    gain: float = 2.0
    opens: float = 0.3
    leaves: float = 0.0
    basket: float = 10.0
    taste: float = 0.0

    def purchase(self, lift: float = 0.0, member: int = 0) -> float:
        """P(purchase) at `lift` logits above idle."""
        odds = self.idle[member] / (1 - self.idle[member]) * torch.tensor(lift).exp().item()
        return odds / (1 + odds)


def logit(chance: float) -> float:
    return log(chance / (1 - chance)) if chance > 0 else -50.0


def hand_made_model(law: Law, population: Population) -> PropensityModel:
    """The law as a network."""
    spec = NetworkSpec(
        population.features.shape[1], len(STATE_FEATURES), 3, len(CANDIDATE_FEATURES), members=len(law.idle), width=4
    )
    network = PropensityNetwork(spec)
    weights = {name: torch.zeros_like(value) for name, value in network.state_dict().items()}
    weights["base_columns"] = network.state_dict()["base_columns"]
    for trunk in ("base", "response"):
        weights[f"{trunk}.second.weight"] = torch.eye(4)
        weights[f"{trunk}.scale"] += 1.0
        weights[f"{trunk}.head_scale"] += 1.0
    for head, chances in (("purchase", law.idle), ("unsubscribe", [law.leaves] * len(law.idle))):
        weights["base.head_shift"][:, BASE.index(head)] = torch.tensor([logit(p) for p in chances])
    weights["base.head_shift"][:, BASE.index("value")] = law.basket
    # Units 0 and 1: the positive and the negative part of the customer's first feature.
    weights["base.first.0.weight"][0, 0], weights["base.first.0.weight"][1, 0] = 1.0, -1.0
    weights["base.head.weight"][BASE.index("purchase"), :2] = torch.tensor([law.taste, -law.taste])
    # Unit 0 is 1 where good meets the evening, unit 1 where the content is bad.
    weights["response.first.2.weight"][0, GOOD - 1] = 2.0
    weights["response.first.1.weight"][0, EVENING] = 2.0
    weights["response.shift"][0, :, 0] = -3.0
    weights["response.first.2.weight"][1, BAD - 1] = 1.0
    weights["response.head.weight"][HEADS.index("purchase"), :2] = torch.tensor([law.gain, -law.gain])
    weights["response.head_shift"][:, HEADS.index("open")] = logit(law.opens)
    network.load_state_dict(weights)
    same, still = torch.ones(len(CALIBRATED)), torch.zeros(2, len(CALIBRATED))
    calibration = Calibration(same, still, 1.0, torch.zeros(8), 0.0)
    return PropensityModel(network.eval(), calibration, frozenset({"purchase", "unsubscribe", "open"}))


def three_contents(cost: float = 0.2) -> Catalogue:
    """The contents, told apart by their features."""
    return replace(
        small_world().catalogue,
        ids=("good", "bad", "dull"),
        features=torch.eye(3),
        category=torch.zeros(3, dtype=torch.int64),
        channel=torch.zeros(3, dtype=torch.int64),
        cost=torch.full((3,), cost),
        categories=("all",),
    )


def hand_made_market(
    law: Law = Law(),
    guardrails: Guardrails = NO_GUARDRAILS,
    days: int = 4,
    cost: float = 0.2,
    pessimism: float = 0.0,
) -> Market:
    """The law as a market of the small world's customers, who all consent."""
    w = small_world()
    slots = days * w.log.clock.slots_per_day
    people = replace(w.population, consent=torch.ones_like(w.population.consent))
    return make_market(
        hand_made_model(law, people), people, three_contents(cost), w.log.clock, guardrails,
        w.grid.first_slot, slots, pessimism,
    )  # fmt: skip


def its_objective(days: int = 4) -> Objective:
    """Margin over the market's days; losing consent costs nothing."""
    return Objective(horizon_days=days, unsubscribe_cost=0.0)
