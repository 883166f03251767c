"""The reference market once more, for one customer in plain Python numbers, from its formulas and not from its code."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import NormalDist
from zoneinfo import ZoneInfo

from envs.reference.channels import CHANNELS


@dataclass
class Life:
    """One customer's tempers (plain numbers and lists), and how they stand now."""

    interest: dict[str, float]
    peaks: list[float]
    weights: list[float]
    price_sensitivity: float
    fatigue_sensitivity: float
    fatigue_hours: float
    novelty: float
    organic: float
    basket: float
    opt_out: float
    zone: str
    consents: dict[str, bool]
    fatigue: float
    wear: dict[str, float]
    demand: float
    closed: set[str]


def live(variant, life: Life, time: datetime, start: datetime, slot_hours: int, content, noise: list[float]) -> dict:
    """One slot from `time` (aware), in place; `content` is None on a hold. Returns drawn and expected outcomes."""
    local = time.astimezone(ZoneInfo(life.zone))
    hour = local.hour + local.minute / 60
    days = (time.replace(tzinfo=None) - start.replace(tzinfo=None)) / timedelta(days=1)
    season = variant.weekday[local.weekday()] * (1 + variant.trend_per_day * days)
    bumps = [
        w * math.exp(variant.sharpness * (math.cos(math.tau * (hour - p) / 24) - 1))
        for p, w in zip(life.peaks, life.weights, strict=True)
    ]
    attention = 0.08 + 0.92 * min(1.0, sum(bumps))
    day_long = statistics.fmean(math.exp(variant.sharpness * (math.cos(math.tau * i / 96) - 1)) for i in range(96))
    day_long = 0.08 + 0.92 * min(1.0, day_long * sum(life.weights))
    rate = life.organic * life.demand * season * (0.25 + 1.5 * attention) * slot_hours / 168
    tired = (life.fatigue_sensitivity * life.fatigue) ** 2
    p_open = p_click = p_convert = p_out = 0.0
    sent = content is not None and life.consents[content.channel] and content.channel not in life.closed
    if sent:
        road = CHANNELS[content.channel]
        m = life.interest[content.category]
        heard = (1 - road.lasting) * attention + road.lasting * day_long
        p_open = road.opening * variant.open_peak * heard / (1 + tired) * (0.25 + 0.75 * m)
        p_open = min(0.98, p_open * math.exp(-0.3 * life.novelty * life.wear[content.content_id]))
        p_click = road.clicking * variant.click_peak * (1 + 0.35**2) * m**2 / (m**2 + 0.35**2)
        net = content.price * (1 - content.discount)
        date = start.timetuple().tm_yday + days
        wanted = season * math.exp(content.season * (math.cos(math.tau * (date - content.season_peak) / 365.25) - 1))
        dear = math.exp(-variant.elasticity * life.price_sensitivity * (net - 1))
        p_convert = min(0.95, variant.convert_peak * life.demand * wanted * dear)
        p_out = min(0.5, road.leaving * life.opt_out * (1 + 4 * tired) * (1.6 - m))

    plain, reminded, visit = (1 - math.exp(-factor * rate) for factor in (1, 1.25, 4))
    opened = noise[0] < p_open
    clicked = opened and noise[1] < p_click
    converted = clicked and noise[2] < p_convert
    organic = not converted and noise[3] < (reminded if opened and not clicked else plain)
    out = noise[5] < p_out
    skew = math.exp(0.6 * NormalDist().inv_cdf(min(max(noise[4], 5e-7), 1 - 5e-7)) - 0.18)
    revenue = value = 0.0
    if converted:
        revenue = skew * life.basket * content.price * (1 - content.discount)
        value = skew * life.basket * content.price * (variant.margin - content.discount)
    elif organic:
        revenue, value = skew * life.basket, skew * life.basket * variant.margin

    # Every path of the slot with its probability: (path, opened, clicked, converted, bought unasked).
    paths = []
    for o in (0, 1):
        for c in (0, 1):
            for b in (0, 1):
                for u in (0, 1):
                    p = p_open if o else 1 - p_open
                    p *= (p_click if c else 1 - p_click) if o else float(not c)
                    p *= (p_convert if b else 1 - p_convert) if c else float(not b)
                    unasked = 0.0 if b else reminded if o and not c else plain
                    paths.append((p * (unasked if u else 1 - unasked), o, c, b, u))
    earned, paid = (0.0, 0.0)
    for p, _, _, b, u in paths:
        if b and p:
            earned += p * life.basket * content.price * (variant.margin - content.discount)
            paid += p * life.basket * content.price * (1 - content.discount)
        elif u:
            earned += p * life.basket * variant.margin
            paid += p * life.basket
    result = {
        "opened": opened,
        "clicked": clicked,
        "visited": converted or organic or clicked or noise[6] < visit,
        "purchased": converted or organic,
        "unsubscribed": out,
        "revenue": revenue,
        "value": value,
        "expected_value": earned,
        "expected_revenue": paid,
        "expected_opened": sum(p for p, o, _, _, _ in paths if o),
        "expected_clicked": sum(p for p, _, c, _, _ in paths if c),
        "expected_purchased": sum(p for p, _, _, b, u in paths if b or u),
        "expected_visited": sum(p * (1.0 if c or b or u else visit) for p, _, c, b, u in paths),
        "expected_unsubscribed": p_out,
    }
    life.fatigue *= 0.5 ** (slot_hours / life.fatigue_hours)
    for other in variant.contents:
        life.wear[other.content_id] *= 0.5 ** (slot_hours / 24 / variant.wear_days)
        if sent and other.content_id == content.content_id:
            life.wear[other.content_id] += 1
        elif sent and other.category == content.category:
            life.wear[other.content_id] += 0.3
    if sent:
        life.fatigue += CHANNELS[content.channel].tiring * (0.5 if opened else 1.0)
    life.demand = 1 - (1 - life.demand) * math.exp(-slot_hours / 24 / variant.demand_days)
    if converted or organic:
        life.demand *= 0.15
    if out:
        life.closed.add(content.channel)
    return result
