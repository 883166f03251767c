"""The reference market for one customer in plain Python, written from the formulas of its docstring."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from statistics import NormalDist

from envs.reference.variants import Variant


@dataclass
class Person:
    """One customer's temper."""

    interest: list[float]
    peak: float
    second_peak: float
    price_sensitivity: float
    fatigue_sensitivity: float
    fatigue_hours: float
    novelty: float
    organic: float
    basket: float
    opt_out: float
    consent: bool


@dataclass
class Life:
    """What the market knows of one customer."""

    contents: int
    fatigue: float = 0.0
    demand: float = 1.0
    opted_out: bool = False
    wear: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.wear = [0.0] * self.contents


def live_one_slot(
    variant: Variant, person: Person, life: Life, decision: int, hour: float, weekday: int, day: float, slot_hours: int,
    noise: list[float],
) -> dict[str, float]:  # fmt: skip
    """Moves `life` on by one slot and says what happened and what was to be expected."""
    sent = decision > 0 and person.consent and not life.opted_out
    spec = variant.contents[decision - 1] if decision else variant.contents[0]
    place = variant.contents.index(spec)
    m = person.interest[variant.categories.index(spec.category)]

    def peak(at: float) -> float:
        return math.exp(variant.sharpness * (math.cos(2 * math.pi * (hour - at) / 24) - 1))

    a = 0.12 + 0.88 * max(peak(person.peak), 0.6 * peak(person.second_peak))
    tired = person.fatigue_sensitivity * life.fatigue
    p_open = 0.0
    if sent:
        rested = 1 / (1 + (variant.fatigue_weight * tired) ** 2)
        p_open = variant.open_peak * a * rested * (0.2 + 0.8 * m) * math.exp(-0.5 * person.novelty * life.wear[place])
    p_click = variant.click_peak * m**0.7 * (1 + 0.4 * person.price_sensitivity * spec.discount)
    pull = 1 + variant.price_pull * person.price_sensitivity * min(spec.discount / 0.25, 1)
    p_convert = variant.convert_peak * life.demand * math.exp(-0.5 * person.price_sensitivity * (spec.price - 1)) * pull
    p_convert = min(p_convert, 0.95)
    season = variant.weekday[weekday] * (1 + variant.trend_per_day * day)
    rate = person.organic * season * life.demand * (0.25 + 1.5 * a) * slot_hours / 168
    p_organic, p_reminded, p_visit = (1 - math.exp(-k * rate) for k in (1.0, 1.25, 4.0))
    p_out = min(person.opt_out * (1 + 3 * tired**1.5) * (1.6 - m), 0.5) if sent else 0.0

    opened = noise[0] < p_open
    clicked = opened and noise[1] < p_click
    converted = clicked and noise[2] < p_convert
    unasked = not converted and noise[3] < (p_reminded if opened and not clicked else p_organic)
    normal = NormalDist().inv_cdf(min(max(noise[4], 5e-7), 1 - 5e-7))
    skew = math.exp(0.6 * normal - 0.18)
    pushed = person.basket * spec.price * (variant.margin - spec.discount)
    own = person.basket * variant.margin
    value = skew * (pushed if converted else own if unasked else 0.0)

    p_conv = p_open * p_click * p_convert
    p_only = p_open * (1 - p_click) * p_reminded + (p_open * p_click * (1 - p_convert) + 1 - p_open) * p_organic
    result = {
        "opened": opened,
        "clicked": clicked,
        "purchased": converted or unasked,
        "visited": converted or unasked or clicked or noise[6] < p_visit,
        "unsubscribed": noise[5] < p_out,
        "value": value,
        "expected_value": p_conv * pushed + p_only * own,
        "expected_opened": p_open,
        "expected_clicked": p_open * p_click,
        "expected_purchased": p_conv + p_only,
        "expected_unsubscribed": p_out,
    }
    life.fatigue *= 2 ** (-slot_hours / person.fatigue_hours)
    life.wear = [w * 2 ** (-slot_hours / (24 * variant.wear_days)) for w in life.wear]
    if sent:
        life.fatigue += 0.5 if opened else 1.0
        for k, other in enumerate(variant.contents):
            life.wear[k] += 1.0 if k == place else 0.3 if other.category == spec.category else 0.0
    life.demand = 1 - (1 - life.demand) * math.exp(-slot_hours / (24 * variant.demand_days))
    if result["purchased"]:
        life.demand *= 0.15
    life.opted_out = life.opted_out or bool(result["unsubscribed"])
    return result
