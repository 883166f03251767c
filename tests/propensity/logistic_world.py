"""A log whose every probability is a logistic function that is written down, with more effect for some."""

from __future__ import annotations

from functools import cache

import torch

from campaigns.audience import Catalogue, Population
from campaigns.replay import DecisionRows

CUSTOMERS, ROWS, K = 2000, 40_000, 3


def catalogue() -> Catalogue:
    """Three contents told apart by two attributes."""
    features = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    zero = torch.zeros(K, dtype=torch.int64)
    return Catalogue(("a", "b", "c"), features, zero, zero, torch.zeros(K), ("all",), ("push",))


def population(features: torch.Tensor | None = None) -> Population:
    """Customers with three standard normal columns, or with those given."""
    if features is None:
        features = torch.randn(CUSTOMERS, 3, generator=torch.Generator().manual_seed(0))
    some = torch.zeros(len(features), dtype=torch.int64)
    consent = torch.ones(len(features), 1, dtype=torch.bool)
    return Population(features, some, consent, some.bool(), ("UTC",))


def truth(people: torch.Tensor, state: torch.Tensor, decision: torch.Tensor) -> dict[str, torch.Tensor]:
    """What is really true of each decision: probabilities, and the mean value of a purchase."""
    sent = (decision > 0).float()
    first = sent * catalogue().features[(decision - 1).clamp(min=0), 0]
    gain = sent * (0.4 + 0.6 * people[:, 1]) + 0.5 * first
    return {
        "purchase": torch.sigmoid(-2 + 0.7 * people[:, 0] + 0.3 * state[:, 0] + gain),
        "unsubscribe": torch.sigmoid(-4.5 + sent * 1.5),
        "open_if_not": sent * torch.sigmoid(-0.8 + 0.8 * people[:, 1] + 0.6 * state[:, 1]),
        "open_if_bought": sent * torch.sigmoid(0.7 + 0.8 * people[:, 1] + 0.6 * state[:, 1]),
        "visit": torch.sigmoid(-1.5 + 0.5 * people[:, 2] + 0.5 * sent),
        "click": torch.sigmoid(-0.5 + 0.9 * first),
        "value": 10 + 3 * people[:, 0],
    }  # fmt: skip


@cache
def rows(seed: int = 1) -> DecisionRows:
    """Randomised decisions and what came of them."""
    g = torch.Generator().manual_seed(seed)
    customer = torch.randint(CUSTOMERS, (ROWS,), generator=g)
    decision = torch.randint(1 + K, (ROWS,), generator=g)
    state = torch.randn(ROWS, 2, generator=g)
    t = truth(population().features[customer], state, decision)
    noise = torch.rand(ROWS, 5, generator=g)
    bought = noise[:, 0] < t["purchase"]
    opened = noise[:, 1] < torch.where(bought, t["open_if_bought"], t["open_if_not"])
    outcomes = {
        "purchased": bought,
        "opened": opened,
        "clicked": opened & (noise[:, 4] < t["click"]),
        "visited": bought | (noise[:, 3] < t["visit"]),
        "unsubscribed": noise[:, 2] < t["unsubscribe"],
        "value": bought * (t["value"] + 4 * torch.randn(ROWS, generator=g)),
    }
    return DecisionRows(
        customer, torch.arange(ROWS), decision, state, torch.zeros(ROWS, 1),
        {name: values.float() for name, values in outcomes.items()}, torch.ones(ROWS),
    )  # fmt: skip
