"""The law of the reference market: one slot of every customer's life, drawn and in expectation.

With F fatigue, w wear-out, D demand, m interest and a attention at the local hour:

    attention   a = 0.12 + 0.88 max(exp(kappa (cos(h - peak) - 1)), 0.6 exp(kappa (cos(h - second peak) - 1)))
    rested      r = 1 / (1 + (weight * sensitivity * F)^2)
    P(open | send)   = open_peak a r (0.2 + 0.8 m) exp(-0.5 novelty w)
    P(click | open)  = click_peak m^0.7 (1 + 0.4 price_sensitivity discount)
    P(convert | click) = convert_peak D exp(-0.5 price_sensitivity (price - 1)) (1 + price_pull price_sensitivity
                         min(discount / 0.25, 1))
    P(organic)  = organic rate x slot x weekday x trend x 24 h rhythm x D, a little more after an unclicked open
    P(opt out | send) = opt_out (1 + 3 (sensitivity F)^1.5) (1.6 - m)

Fatigue halves every `fatigue_hours` and grows by 1 a send (0.5 if it was opened); wear-out of a content halves
every `wear_days`, grows by 1 when it and by 0.3 when its category is sent; demand refills with `demand_days` and
falls to 15 % at a purchase, so that what a push sells early is not bought unasked later.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from campaigns.observation import Calendar
from envs.reference.people import People
from envs.reference.variants import Variant
from envs.world import Outcome

NOISE_COLUMNS = 7
"""Uniforms a customer and slot: open, click, convert, organic, basket, opt-out, visit."""

BASKET_SPREAD = 0.6
"""Standard deviation of a basket's logarithm."""


@dataclass(frozen=True)
class TruthState:
    """What the market knows of N customers and no observer sees.

    Attributes:
        slot: to be decided. Shape [N], int64.
        fatigue: Shape [N].
        wear: wear-out of each content. Shape [N, K].
        demand: 0..1. Shape [N].
        opted_out: Shape [N], bool.
    """

    slot: Tensor
    fatigue: Tensor
    wear: Tensor
    demand: Tensor
    opted_out: Tensor


@dataclass(frozen=True)
class ContentTensors:
    """The contents of a variant. Shapes [K]; `category` int64."""

    category: Tensor
    price: Tensor
    discount: Tensor


def content_tensors(variant: Variant) -> ContentTensors:
    """A variant's contents as tensors."""
    index = {name: i for i, name in enumerate(variant.categories)}
    return ContentTensors(
        torch.tensor([index[c.category] for c in variant.contents]),
        torch.tensor([c.price for c in variant.contents]),
        torch.tensor([c.discount for c in variant.contents]),
    )


def fresh_state(people: People, contents: int, slot: int) -> TruthState:
    """Rested customers with full demand at `slot`."""
    n = len(people)
    return TruthState(
        torch.full((n,), slot, dtype=torch.int64),
        torch.zeros(n),
        torch.zeros(n, contents),
        torch.ones(n),
        torch.zeros(n, dtype=torch.bool),
    )


def step(
    variant: Variant,
    people: People,
    contents: ContentTensors,
    calendar: Calendar,
    slot_hours: int,
    first_slot: int,
    state: TruthState,
    decision: Tensor,
    noise: Tensor,
) -> tuple[TruthState, Outcome]:
    """One slot of every customer's life; the formulas are in the module's docstring.

    Args:
        variant, people, contents: the world.
        calendar: the customers' clocks.
        slot_hours: length of a slot, in hours.
        first_slot: where the trend starts.
        state: before the decisions.
        decision: 0 hold, 1 + content index. Shape [N], int64. Customers without consent or opted out are held.
        noise: uniforms. Shape [N, NOISE_COLUMNS].
    Returns:
        The next state and the outcome.
    """
    minute, weekday = calendar.at(people.zone, state.slot)
    reachable = people.consent & ~state.opted_out
    sent = (decision > 0) & reachable
    content = (decision - 1).clamp(min=0)
    price, discount = contents.price[content], contents.discount[content]
    interest = people.interest.gather(1, contents.category[content].unsqueeze(1)).squeeze(1)
    wear = state.wear.gather(1, content.unsqueeze(1)).squeeze(1)
    gate = sent.float()

    attention = _attention(variant, people, minute)
    tired = people.fatigue_sensitivity * state.fatigue
    rested = 1.0 / (1.0 + (variant.fatigue_weight * tired).square())
    p_open = gate * variant.open_peak * attention * rested * (0.2 + 0.8 * interest)
    p_open = p_open * torch.exp(-0.5 * people.novelty * wear)
    p_click = variant.click_peak * interest.pow(0.7) * (1.0 + 0.4 * people.price_sensitivity * discount)
    pull = 1.0 + variant.price_pull * people.price_sensitivity * (discount / 0.25).clamp(max=1.0)
    p_convert = variant.convert_peak * state.demand * torch.exp(-0.5 * people.price_sensitivity * (price - 1.0)) * pull
    p_convert = p_convert.clamp(max=0.95)

    day = (state.slot - first_slot).float() * slot_hours / 24.0
    season = torch.tensor(variant.weekday)[weekday] * (1.0 + variant.trend_per_day * day)
    rate = people.organic * season * state.demand * (0.25 + 1.5 * attention) * slot_hours / (7 * 24)
    p_organic = 1.0 - torch.exp(-rate)
    p_reminded = 1.0 - torch.exp(-rate * 1.25)  # opened, not clicked
    p_visit = 1.0 - torch.exp(-4.0 * rate)
    # An opt-out is likelier where the customer is tired of pushes and not interested in this one.
    p_out = gate * (people.opt_out * (1.0 + 3.0 * tired.pow(1.5)) * (1.6 - interest)).clamp(max=0.5)

    opened = noise[:, 0] < p_open
    clicked = opened & (noise[:, 1] < p_click)
    converted = clicked & (noise[:, 2] < p_convert)
    p_unasked = torch.where(opened & ~clicked, p_reminded, p_organic)
    unasked = ~converted & (noise[:, 3] < p_unasked)
    purchased = converted | unasked
    visited = purchased | clicked | (noise[:, 6] < p_visit)
    unsubscribed = noise[:, 5] < p_out

    normal = torch.erfinv((2.0 * noise[:, 4] - 1.0).clamp(-0.999999, 0.999999)) * math.sqrt(2.0)
    skew = torch.exp(BASKET_SPREAD * normal - BASKET_SPREAD**2 / 2)
    pushed_value = people.basket * price * (variant.margin - discount)
    organic_value = people.basket * variant.margin
    value = skew * torch.where(converted, pushed_value, torch.where(unasked, organic_value, 0.0))

    p_converted = p_open * p_click * p_convert
    p_ignored = p_open * (1.0 - p_click)
    p_organic_only = p_ignored * p_reminded + (p_open * p_click * (1.0 - p_convert) + (1.0 - p_open)) * p_organic
    p_any = p_converted + p_organic_only
    p_any_unclicked = p_ignored * p_reminded + (1.0 - p_open) * p_organic
    p_click_total = p_open * p_click
    outcome = Outcome(
        opened,
        clicked,
        visited,
        purchased,
        unsubscribed,
        value,
        p_converted * pushed_value + p_organic_only * organic_value,
        p_open,
        p_click_total,
        p_click_total + p_any_unclicked + (1.0 - p_click_total - p_any_unclicked) * p_visit,
        p_any,
        p_out,
    )
    decay = torch.exp2(-slot_hours / people.fatigue_hours)
    fatigue = state.fatigue * decay + gate * torch.where(opened, 0.5, 1.0)
    same = torch.nn.functional.one_hot(content, state.wear.shape[1]).float()
    related = (contents.category.unsqueeze(0) == contents.category[content].unsqueeze(1)).float() - same
    worn = state.wear * 2.0 ** (-slot_hours / (24.0 * variant.wear_days)) + gate.unsqueeze(1) * (same + 0.3 * related)
    refilled = 1.0 - (1.0 - state.demand) * math.exp(-slot_hours / (24.0 * variant.demand_days))
    demand = torch.where(purchased, 0.15 * refilled, refilled)
    return TruthState(state.slot + 1, fatigue, worn, demand, state.opted_out | unsubscribed), outcome


def _attention(variant: Variant, people: People, minute: Tensor) -> Tensor:
    turn = 2.0 * math.pi / 24.0
    hour = minute.float() / 60.0
    first = torch.exp(variant.sharpness * (torch.cos((hour - people.peak) * turn) - 1.0))
    second = torch.exp(variant.sharpness * (torch.cos((hour - people.second_peak) * turn) - 1.0))
    return 0.12 + 0.88 * torch.maximum(first, 0.6 * second)
