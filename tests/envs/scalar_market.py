"""The learned market again, one customer and one number at a time, from its definitions and with no code of its own.

A customer's past is a list of what happened; every feature is counted from it anew. The network is written out in
numpy. What a batch of tensors does must come out here as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import cos, exp, log1p, pi, sin
from zoneinfo import ZoneInfo

import numpy as np

FAR = 24.0 * 28
"""Hours beyond which the past looks the same; what never happened counts as so long ago."""

HEADS = (
    "purchase", "visit", "visit_bought", "unsubscribe", "open", "open_bought", "click", "click_bought", "value",
    "value_clicked",
)  # fmt: skip
OF_HOLD = ("purchase", "visit", "visit_bought", "unsubscribe", "value")
CALIBRATED = ("purchase", "visit", "unsubscribe", "open", "click")


@dataclass(frozen=True)
class Fitted:
    """Weights and calibration by name, in float64."""

    weights: Mapping[str, np.ndarray]
    slope: np.ndarray
    offset: np.ndarray
    unit: float
    residuals: np.ndarray
    floor: float

    def trunk(self, name: str, inputs: list[np.ndarray], member: int) -> np.ndarray:
        """One trunk's outputs."""
        w = {k.removeprefix(name + "."): v for k, v in self.weights.items() if k.startswith(name + ".")}
        first = w["first.0.bias"] + sum(w[f"first.{i}.weight"] @ x for i, x in enumerate(inputs))
        width = w["scale"].shape[2]
        hidden, linear = first[:width], first[width:]
        hidden = np.maximum(w["scale"][0, member] * hidden + w["shift"][0, member], 0)
        hidden = np.maximum(w["scale"][1, member] * (w["second.weight"] @ hidden) + w["shift"][1, member], 0)
        outputs: np.ndarray = w["head.weight"] @ (hidden * w["head_scale"][member]) + w["head_shift"][member] + linear
        return outputs

    def liking(self, customer: np.ndarray, features: np.ndarray) -> np.ndarray:
        """What the product of the customer's and a content's attributes adds to every head."""
        mixed = self.weights["likings.weight"]
        tastes = (self.weights["tastes.weight"] @ customer).reshape(-1, mixed.shape[1])
        added: np.ndarray = mixed @ ((self.weights["kinds.weight"] @ features) @ tastes)
        return added

    def chance(self, head: str, logit: float, sent: bool) -> float:
        """Calibrated probability."""
        index = CALIBRATED.index(head)
        return 1 / (1 + exp(-(self.slope[index] * logit + self.offset[int(sent)][index])))


@dataclass
class Past:
    """What happened to one customer so far.

    Attributes:
        sends: slot, content and daypart of each.
        opens, clicks, purchases: slot, credited content (None: organic) and daypart of each.
        visits: slots.
        first: slot of the first decision.
        left: whether the one channel is closed.
    """

    sends: list[tuple[int, int, int]] = field(default_factory=list)
    opens: list[tuple[int, int | None, int]] = field(default_factory=list)
    clicks: list[tuple[int, int | None, int]] = field(default_factory=list)
    purchases: list[tuple[int, int | None, int]] = field(default_factory=list)
    visits: list[int] = field(default_factory=list)
    first: int | None = None
    left: bool = False


@dataclass(frozen=True)
class Place:
    """Where and when a customer is asked.

    Attributes:
        hours: length of a slot.
        zone: the customer's own.
        categories: of the contents, by content.
    """

    hours: int
    zone: str
    categories: tuple[int, ...]

    def local(self, slot: int) -> datetime:
        """The customer's own time at the slot's start, the grid being UTC."""
        begun = datetime(1970, 1, 1, tzinfo=ZoneInfo("UTC")) + timedelta(hours=self.hours * slot)
        return begun.astimezone(ZoneInfo(self.zone))


def rate(successes: int, tries: int) -> float:
    return (successes + 0.8) / (tries + 4)


def since(slot: int, slots: list[int], hours: int) -> float:
    """Log-scaled hours since the latest, 1 where there was none."""
    passed = min(max((slot - max(slots)) * hours, 0), FAR) if slots else FAR
    return log1p(passed) / log1p(FAR)


def within(slot: int, slots: list[int], days: int, hours: int, kept: int) -> int:
    """How many of the latest `kept` lie in the days before."""
    return sum(slot - s <= days * 24 // hours for s in sorted(slots)[-kept:])


def state_features(past: Past, slot: int, place: Place) -> np.ndarray:
    """What is told of the customer and the moment."""
    now = place.local(slot)
    minute, weekday = now.hour * 60 + now.minute, now.weekday()
    hour, day, daypart = 2 * pi * minute / 1440, 2 * pi * weekday / 7, now.hour // 6
    sends, opens = [s for s, _, _ in past.sends], [s for s, _, _ in past.opens]
    clicks, purchases = [s for s, _, _ in past.clicks], [s for s, _, _ in past.purchases]
    organic = [s for s, content, _ in past.purchases if content is None]
    unopened = sum(s > max(opens) for s in sends) if opens else len(sends)
    known = min((slot - past.first) * place.hours, FAR) if past.first is not None else 0.0
    latest = sorted(sends)[-16:]
    load = [
        sum(0.5 ** (min((slot - s) * place.hours, FAR) / half) for s in latest)
        + (16 - len(latest)) * 0.5 ** (FAR / half)
        for half in (24, 96)
    ]
    sent_here = sum(d == daypart for _, _, d in past.sends)
    opened_here = sum(d == daypart for _, _, d in past.opens)
    return np.array([
        sin(hour), cos(hour), sin(2 * hour), cos(2 * hour),
        *(float(daypart == d) for d in range(4)),
        sin(day), cos(day), float(weekday >= 5),
        *(since(slot, slots, place.hours) for slots in (sends, opens, clicks, past.visits, purchases, organic)),
        *(log1p(within(slot, sends, days, place.hours, 16)) for days in (1, 3, 7)),
        log1p(unopened),
        *(log1p(x) for x in load),
        *(log1p(len(x)) for x in (sends, opens, clicks, past.visits, purchases, organic)),
        rate(len(opens), len(sends)), rate(len(clicks), len(sends)), len(purchases) / (known / 24 + 7),
        log1p(sent_here), rate(opened_here, sent_here) - rate(len(opens), len(sends)),
        log1p(known) / log1p(FAR), float(past.left),
    ])  # fmt: skip


def candidate_features(past: Past, slot: int, content: int, place: Place) -> np.ndarray:
    """What is told of one content and the customer."""
    mine = place.categories[content]
    own = [s for s, c, _ in past.sends if c == content]
    category = [s for s, c, _ in past.sends if place.categories[c] == mine]

    def of(events: list[tuple[int, int | None, int]]) -> int:
        return sum(c is not None and place.categories[c] == mine for _, c, _ in events)

    return np.array([
        since(slot, own, place.hours), float(not own),
        *(within(slot, own, days, place.hours, 5) / 2 for days in (3, 7, 14, 28)),
        since(slot, category, place.hours),
        *(within(slot, category, days, place.hours, 5) / 2 for days in (3, 7, 14)),
        log1p(len(category)),
        rate(of(past.opens), len(category)) - rate(len(past.opens), len(past.sends)),
        rate(of(past.clicks), len(category)),
        log1p(of(past.purchases)),
    ])  # fmt: skip


@dataclass(frozen=True)
class Slot:
    """Drawn events of one slot, and their expectations."""

    sent: bool
    opened: bool
    clicked: bool
    visited: bool
    purchased: bool
    unsubscribed: bool
    value: float
    expected: dict[str, float]


def live(
    fitted: Fitted,
    past: Past,
    slot: int,
    place: Place,
    customer: np.ndarray,
    member: int,
    consent: bool,
    content: int | None,
    features: np.ndarray,
    noise: np.ndarray,
) -> Slot:
    """One slot of one customer, whose past is brought up to date.

    Args:
        fitted: the network.
        past: so far.
        slot, place: when and where.
        customer: encoded columns.
        member: in which the customer lives.
        consent: whether anything may be sent.
        content: what was decided, None for a hold.
        features: its attributes.
        noise: six uniforms: purchase, open, click, visit, unsubscribe, value.
    """
    sent = content is not None and consent and not past.left
    moment = state_features(past, slot, place)
    heads = dict.fromkeys(HEADS, 0.0)
    for name, value in zip(OF_HOLD, fitted.trunk("base", [customer, moment], member), strict=True):
        heads[name] += value
    if sent:
        assert content is not None
        relative = candidate_features(past, slot, content, place)
        outputs = fitted.trunk("response", [customer, moment, features, relative], member)
        outputs = outputs + fitted.liking(customer, features)
        for name, value in zip(HEADS, outputs, strict=True):
            heads[name] += value

    def says(head: str, logit: float) -> float:
        return fitted.chance(head, logit, bool(sent))

    buy = says("purchase", heads["purchase"])
    open_if = {b: sent * says("open", heads["open"] + b * heads["open_bought"]) for b in (True, False)}
    click_if = {b: sent * says("click", heads["click"] + b * heads["click_bought"]) for b in (True, False)}
    visit_if = {b: says("visit", heads["visit"] + b * heads["visit_bought"]) for b in (True, False)}
    leave = says("unsubscribe", heads["unsubscribe"])
    mean = {c: (heads["value"] + (sent and c) * heads["value_clicked"]) * fitted.unit for c in (True, False)}

    def over(chance: dict[bool, float]) -> float:
        return buy * chance[True] + (1 - buy) * chance[False]

    share = open_if[True] * click_if[True]
    expected = {
        "expected_purchased": buy,
        "expected_opened": over(open_if),
        "expected_clicked": over({b: open_if[b] * click_if[b] for b in (True, False)}),
        "expected_visited": over(visit_if),
        "expected_unsubscribed": leave,
        "expected_value": buy * (share * mean[True] + (1 - share) * mean[False]),
    }
    purchased = bool(noise[0] < buy)
    opened = bool(noise[1] < open_if[purchased])
    clicked = bool(opened and noise[2] < click_if[purchased])
    visited, unsubscribed = bool(noise[3] < visit_if[purchased]), bool(noise[4] < leave)
    residual = fitted.residuals[min(int(noise[5] * len(fitted.residuals)), len(fitted.residuals) - 1)]
    value = mean[clicked] + (abs(mean[clicked]) + fitted.floor) * residual if purchased else 0.0

    daypart = place.local(slot).hour // 6
    credited = content if sent else None
    past.first = slot if past.first is None else past.first
    if sent:
        assert content is not None
        past.sends.append((slot, content, daypart))
    for happened, events in ((opened, past.opens), (clicked, past.clicks), (purchased, past.purchases)):
        if happened:
            events.append((slot, credited, daypart))
    if visited:
        past.visits.append(slot)
    past.left = past.left or unsubscribed  # one channel: an opt-out on a hold closes it too
    return Slot(sent, opened, clicked, visited, purchased, unsubscribed, value, expected)
