"""The law of the reference market: one slot of every customer's life, drawn and in expectation.

With local hour h, fatigue F, wear-out w of the content, demand D, interest m in its category, s the customer's fatigue
sensitivity and p its price sensitivity, net price n = price (1 - discount), and the factors of the content's channel,
which are 1 for a push (`envs.reference.channels`):

    attention  a = 0.08 + 0.92 min(1, sum_j weight_j exp(kappa (cos(2 pi (h - peak_j) / 24) - 1)))
    over the day b = 0.08 + 0.92 min(1, sum_j weight_j exp(-kappa) I0(kappa)), the mean of a but for its cut at 1
    heard        = (1 - lasting) a + lasting b
    drifted      s grows by fatigue_drift and the walk g of a content's log appeal steps by appeal_drift a month
    rested     r = 1 / (1 + (s F)^2)
    P(open | send)     = min(0.98, opening open_peak heard r (0.25 + 0.75 m) exp(-0.3 novelty w))
    P(click | open)    = min(0.95, clicking click_peak exp(g) (1 + 0.35^2) m^2 / (m^2 + 0.35^2))
    P(convert | click) = min(0.95, convert_peak D season_content exp(-elasticity p (n - 1)))
    organic rate l     = organic D weekday (1 + trend day) (0.25 + 1.5 a) slot_hours / 168
    P(organic)         = 1 - exp(-l) where nothing was converted; 1 - exp(-1.25 l) after an unclicked open
    P(opt out | send)  = min(0.5, leaving opt_out (1 + 4 (s F)^2) (1.6 - m))
    season_content     = weekday (1 + trend day) exp(season (cos(2 pi (date - season_peak) / 365.25) - 1))

A converted send earns basket price (margin - discount), an organic purchase basket margin, each times a log-normal
factor of mean 1. Visits follow every click and purchase, and with 1 - exp(-4 l) besides.

Fatigue halves every `fatigue_hours` and grows by `tiring` a send (half of it if it was opened). Wear-out halves every
`wear_days` and grows by 1 when the content and by 0.3 when another of its category is sent. Demand fills up again with
`demand_days` and falls to 0.15 of itself at a purchase: what a send sells today is not bought unasked tomorrow.
An opt-out closes the channel of its content.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from scipy.special import i0e
from torch import Tensor

from campaigns.clock import SlotClock, local_calendar
from campaigns.rowwise import overwrite_rows
from envs.reference.channels import CHANNELS
from envs.reference.customers import ZONES, Customers
from envs.reference.variants import Variant

NOISE_COLUMNS = 7
"""Uniforms a customer and slot: open, click, convert, organic, basket, opt-out, visit."""

BASKET_SPREAD = 0.6
"""Standard deviation of a basket's logarithm."""

ATTENTION_FLOOR = 0.08
CLICK_HALF = 0.35
REMINDED = 1.25
VISITS = 4.0
DEMAND_LEFT = 0.15
RELATED_WEAR = 0.3
WEAR_WEIGHT = 0.3
MOST_CLICKS = 0.95
MOST_OPENS = 0.98
MONTH = 28
"""Days in which drift takes one step."""


@dataclass(frozen=True)
class TruthState:
    """What the market knows of N customers and no observer sees.

    Attributes:
        slot: to be decided. Shape [N], int64.
        fatigue: decayed count of sends. Shape [N].
        wear: wear-out of each content, a decayed count of its sends. Shape [N, K].
        demand: what a customer would buy now, 0..1. Shape [N].
        closed: channels that the customer opted out of. Shape [N, M], bool.
    """

    slot: Tensor
    fatigue: Tensor
    wear: Tensor
    demand: Tensor
    closed: Tensor

    @property
    def opted_out(self) -> Tensor:
        """Whether the customer opted out of any channel. Shape [N], bool."""
        return self.closed.any(dim=1)

    def to(self, device: torch.device | str) -> TruthState:
        """The same state on another device."""
        return TruthState(*(getattr(self, f.name).to(device) for f in fields(self)))

    def take(self, rows: Tensor) -> TruthState:
        """The state of the customers at `rows` [M], int64."""
        return TruthState(*(getattr(self, f.name)[rows] for f in fields(self)))

    def overwrite(self, rows: Tensor, others: TruthState) -> None:
        """Puts `others` into `rows`; see `campaigns.rowwise`."""
        overwrite_rows(self, rows, others, [f.name for f in fields(self)])


@dataclass(frozen=True)
class Outcome:
    """What one slot brought N customers, drawn and in expectation under the same law. All of shape [N].

    Attributes:
        opened, clicked, visited, purchased, unsubscribed: drawn; bool.
        revenue: drawn payments, in currency.
        value: drawn margin before send and opt-out costs, in currency; negative where a discount exceeds the margin.
        expected_value, expected_revenue: mean given state and decision, in currency.
        expected_opened, expected_clicked, expected_visited, expected_purchased, expected_unsubscribed: probabilities
            given state and decision.
    """

    opened: Tensor
    clicked: Tensor
    visited: Tensor
    purchased: Tensor
    unsubscribed: Tensor
    revenue: Tensor
    value: Tensor
    expected_value: Tensor
    expected_revenue: Tensor
    expected_opened: Tensor
    expected_clicked: Tensor
    expected_visited: Tensor
    expected_purchased: Tensor
    expected_unsubscribed: Tensor


@dataclass(frozen=True)
class Law:
    """Everything that stays as it is while customers live: who they are, what can be sent, and what clocks say.

    Attributes:
        variant, customers: the world.
        category: of each content. Shape [K], int64.
        price, discount, season, season_peak: of each content; see `ContentSpec`. Shape [K].
        channel: of each content, index into the variant's channels. Shape [K], int64.
        opening, lasting, clicking, tiring, leaving: of each content's channel; see `ChannelSpec`. Shape [K].
        appeal: log appeal of each content at the end of month 0, 1, ... after the origin. Shape [M, K].
        weekday_factor: of demand, Monday to Sunday. Shape [7].
        minute, weekday: the zones' clocks. Shape [Z, T], int64.
        first_slot: slot of the clocks' column 0.
        origin: slot at which trend and drift start.
        origin_date: day of the year at `origin`.
        slot_hours: length of a slot, in hours.
    """

    variant: Variant
    customers: Customers
    category: Tensor
    price: Tensor
    discount: Tensor
    season: Tensor
    season_peak: Tensor
    channel: Tensor
    opening: Tensor
    lasting: Tensor
    clicking: Tensor
    tiring: Tensor
    leaving: Tensor
    appeal: Tensor
    weekday_factor: Tensor
    minute: Tensor
    weekday: Tensor
    first_slot: int
    origin: int
    origin_date: float
    slot_hours: int

    def to(self, device: torch.device | str) -> Law:
        """The same law on another device."""
        mine = {f.name: getattr(self, f.name) for f in fields(self)}
        moved: dict[str, Any] = {n: v.to(device) for n, v in mine.items() if isinstance(v, Tensor | Customers)}
        return replace(self, **moved)

    def reachable(self, state: TruthState) -> Tensor:
        """Which contents may reach each customer by consents and opt-outs. Shape [N, K], bool."""
        return (self.customers.consents & ~state.closed)[:, self.channel]

    def clocks(self, slot: Tensor) -> tuple[Tensor, Tensor]:
        """The customers' minute of the day and weekday at `slot` [N]; each of shape [N], int64."""
        column = slot - self.first_slot
        return self.minute[self.customers.zone, column], self.weekday[self.customers.zone, column]


def make_law(
    variant: Variant,
    customers: Customers,
    clock: SlotClock,
    origin: int,
    before: int,
    after: int,
    device: torch.device | str = "cpu",
) -> Law:
    """Lays a world out on a device.

    Args:
        variant, customers: the world.
        clock: the grid. Where a slot is a whole day, everything happens at noon.
        origin: slot at which trend and drift start.
        before, after: how many slots before the origin and from it on the world can be stepped.
        device: where everything lives.
    """
    names = {name: i for i, name in enumerate(variant.categories)}
    local = local_calendar(clock, ZONES, origin - before, before + after)
    minute = torch.from_numpy(local.minute)
    if clock.slot_hours == 24:
        minute = torch.full_like(minute, 12 * 60)

    def column(name: str) -> Tensor:
        return torch.tensor([getattr(c, name) for c in variant.contents], dtype=torch.float32, device=device)

    def of_channel(name: str) -> Tensor:
        factors = [getattr(CHANNELS[c.channel], name) for c in variant.contents]
        return torch.tensor(factors, dtype=torch.float32, device=device)

    return Law(
        variant=variant,
        customers=customers.to(device),
        category=torch.tensor([names[c.category] for c in variant.contents], device=device),
        price=column("price"),
        discount=column("discount"),
        season=column("season"),
        season_peak=column("season_peak"),
        channel=torch.tensor([variant.channels.index(c.channel) for c in variant.contents], device=device),
        opening=of_channel("opening"),
        lasting=of_channel("lasting"),
        clicking=of_channel("clicking"),
        tiring=of_channel("tiring"),
        leaving=of_channel("leaving"),
        appeal=appeal_walk(variant, after * clock.slot_hours // (24 * MONTH) + 2).to(device),
        weekday_factor=torch.tensor(variant.weekday, dtype=torch.float32, device=device),
        minute=minute.to(device),
        weekday=torch.from_numpy(local.weekday).to(device),
        first_slot=origin - before,
        origin=origin,
        origin_date=float(clock.times([origin])[0].day_of_year),
        slot_hours=clock.slot_hours,
    )


def appeal_walk(variant: Variant, months: int) -> Tensor:
    """Log appeal of each content from month to month, 0 at first; a longer walk begins like a shorter. Shape [M, K]."""
    generator = np.random.default_rng([zlib.crc32(variant.name.encode()), 5])
    steps = generator.normal(0.0, 1.0, (months, len(variant.contents))) * variant.appeal_drift
    steps[0] = 0.0
    return torch.tensor(steps.cumsum(axis=0), dtype=torch.float32)


def fresh_state(law: Law, slot: int) -> TruthState:
    """Rested customers with full demand at `slot`."""
    zone = law.customers.zone
    rest = torch.zeros_like(law.customers.organic)
    return TruthState(
        slot=torch.full_like(zone, slot),
        fatigue=rest,
        wear=rest.unsqueeze(1).repeat(1, len(law.category)),
        demand=torch.ones_like(rest),
        closed=torch.zeros_like(law.customers.consents),
    )


def attention(law: Law, minute: Tensor) -> Tensor:
    """How ready the customers are at their own `minute` of the day [N], 0..1: a mixture of von Mises modes."""
    hour = (minute.to(torch.float32) / 60.0).unsqueeze(1)
    turn = torch.cos((hour - law.customers.peaks) * (2.0 * math.pi / 24.0))
    modes = law.customers.weights * torch.exp(law.variant.sharpness * (turn - 1.0))
    return ATTENTION_FLOOR + (1.0 - ATTENTION_FLOOR) * modes.sum(dim=1).clamp(max=1.0)


def over_the_day(law: Law) -> Tensor:
    """Attention over the whole day, from the mean of a von Mises mode in closed form (I0 is Bessel's). Shape [N]."""
    modes = law.customers.weights * float(i0e(law.variant.sharpness))
    return ATTENTION_FLOOR + (1.0 - ATTENTION_FLOOR) * modes.sum(dim=1).clamp(max=1.0)


def drifted(law: Law, day: Tensor, content: Tensor) -> tuple[Tensor, Tensor]:
    """Factors of `content`'s appeal and of fatigue sensitivity, `day` days after the origin. Shape [N] each."""
    month = (day / MONTH).clamp(min=0.0, max=len(law.appeal) - 1.001)
    begun, part = month.long(), month.frac()
    appeal = (1.0 - part) * law.appeal[begun, content] + part * law.appeal[begun + 1, content]
    return appeal.exp(), 1.0 + law.variant.fatigue_drift * month


def step(  # noqa: PLR0915 - the law is told in one piece
    law: Law, state: TruthState, decision: Tensor, noise: Tensor
) -> tuple[TruthState, Outcome]:
    """One slot of every customer's life; the formulas are in the module's docstring.

    Args:
        law: the world.
        state: before the decisions.
        decision: 0 hold, 1 + content index. Shape [N], int64. Who has not consented to the content's channel, or opted
            out of it, is held.
        noise: uniforms in [0, 1). Shape [N, NOISE_COLUMNS].
    Returns:
        The next state and the outcome.
    """
    variant, people = law.variant, law.customers
    minute, weekday = law.clocks(state.slot)
    content = (decision - 1).clamp(min=0)
    channel = law.channel[content].unsqueeze(1)
    sent = (decision > 0) & (people.consents & ~state.closed).gather(1, channel).squeeze(1)
    gate = sent.to(torch.float32)
    price, discount = law.price[content], law.discount[content]
    interest = people.interest.gather(1, law.category[content].unsqueeze(1)).squeeze(1)
    wear = state.wear.gather(1, content.unsqueeze(1)).squeeze(1)

    day = (state.slot - law.origin).to(torch.float32) * (law.slot_hours / 24.0)
    appeal, growth = drifted(law, day, content)

    awake = attention(law, minute)
    heard = awake + law.lasting[content] * (over_the_day(law) - awake)
    tired = (people.fatigue_sensitivity * growth * state.fatigue).square()
    fresh = torch.exp(-WEAR_WEIGHT * people.novelty * wear)
    p_open = gate * variant.open_peak * heard / (1.0 + tired) * (0.25 + 0.75 * interest) * fresh
    p_open = (p_open * law.opening[content]).clamp(max=MOST_OPENS)
    liked = interest.square()
    p_click = variant.click_peak * (1.0 + CLICK_HALF**2) * liked / (liked + CLICK_HALF**2)
    p_click = (p_click * appeal * law.clicking[content]).clamp(max=MOST_CLICKS)

    season = law.weekday_factor[weekday] * (1.0 + variant.trend_per_day * day)
    turn = torch.cos((law.origin_date + day - law.season_peak[content]) * (2.0 * math.pi / 365.25))
    wanted = season * torch.exp(law.season[content] * (turn - 1.0))
    dear = torch.exp(-variant.elasticity * people.price_sensitivity * (price * (1.0 - discount) - 1.0))
    p_convert = (variant.convert_peak * state.demand * wanted * dear).clamp(max=0.95)

    rate = people.organic * state.demand * season * (0.25 + 1.5 * awake) * (law.slot_hours / 168.0)
    p_organic = -torch.expm1(-rate)
    p_reminded = -torch.expm1(-REMINDED * rate)
    p_visit = -torch.expm1(-VISITS * rate)
    p_out = people.opt_out * (1.0 + 4.0 * tired) * (1.6 - interest) * law.leaving[content]
    p_out = gate * p_out.clamp(max=0.5)

    opened = noise[:, 0] < p_open
    clicked = opened & (noise[:, 1] < p_click)
    converted = clicked & (noise[:, 2] < p_convert)
    organic = ~converted & (noise[:, 3] < torch.where(opened & ~clicked, p_reminded, p_organic))
    purchased = converted | organic
    visited = purchased | clicked | (noise[:, 6] < p_visit)
    unsubscribed = noise[:, 5] < p_out

    pushed_revenue = people.basket * price * (1.0 - discount)
    pushed_value = people.basket * price * (variant.margin - discount)
    organic_value = people.basket * variant.margin
    normal = torch.erfinv((2.0 * noise[:, 4] - 1.0).clamp(-0.999999, 0.999999)) * math.sqrt(2.0)
    skew = purchased * torch.exp(BASKET_SPREAD * normal - BASKET_SPREAD**2 / 2)

    # The four ways in which a slot can go: converted; clicked only; opened only; neither.
    p_clicked = p_open * p_click
    p_converted = p_clicked * p_convert
    p_clicked_only, p_opened_only = p_clicked - p_converted, p_open - p_clicked
    p_unasked = (p_clicked_only + 1.0 - p_open) * p_organic + p_opened_only * p_reminded
    p_nothing = p_opened_only * (1.0 - p_reminded) + (1.0 - p_open) * (1.0 - p_organic)
    outcome = Outcome(
        opened=opened,
        clicked=clicked,
        visited=visited,
        purchased=purchased,
        unsubscribed=unsubscribed,
        revenue=skew * torch.where(converted, pushed_revenue, people.basket),
        value=skew * torch.where(converted, pushed_value, organic_value),
        expected_value=p_converted * pushed_value + p_unasked * organic_value,
        expected_revenue=p_converted * pushed_revenue + p_unasked * people.basket,
        expected_opened=p_open,
        expected_clicked=p_clicked,
        expected_visited=1.0 - p_nothing * (1.0 - p_visit),
        expected_purchased=p_converted + p_unasked,
        expected_unsubscribed=p_out,
    )
    tiring = gate * torch.where(opened, 0.5, 1.0) * law.tiring[content]
    own_channel = torch.nn.functional.one_hot(law.channel[content], state.closed.shape[1]).bool()
    related = law.category.unsqueeze(0) == law.category[content].unsqueeze(1)
    exactly = torch.arange(len(law.category), device=content.device).unsqueeze(0) == content.unsqueeze(1)
    wearing = gate.unsqueeze(1) * torch.where(exactly, 1.0, RELATED_WEAR * related)
    refilled = 1.0 - (1.0 - state.demand) * math.exp(-law.slot_hours / (24.0 * variant.demand_days))
    return (
        TruthState(
            slot=state.slot + 1,
            fatigue=state.fatigue * torch.exp2(-law.slot_hours / people.fatigue_hours) + tiring,
            wear=state.wear * 2.0 ** (-law.slot_hours / (24.0 * variant.wear_days)) + wearing,
            demand=torch.where(purchased, DEMAND_LEFT * refilled, refilled),
            closed=state.closed | (own_channel & unsubscribed.unsqueeze(1)),
        ),
        outcome,
    )
