"""Who the customers are: latent tempers, and the columns that a company would see, which tell part of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from envs.reference.variants import Variant

ZONES = ("Europe/Berlin", "Europe/London", "America/New_York")


@dataclass(frozen=True)
class People:
    """N customers; what is latent.

    Attributes:
        interest: how much each category interests the customer, 0..1. Shape [N, C].
        peak: hour of most attention. Shape [N].
        second_peak: hour of a lesser peak. Shape [N].
        price_sensitivity: 0..1. Shape [N].
        fatigue_sensitivity: around 1. Shape [N].
        fatigue_hours: half-life of fatigue. Shape [N].
        novelty: how fast a repeated content wears out, around 1. Shape [N].
        organic: purchases a week unasked, at full demand. Shape [N].
        basket: average basket, in currency. Shape [N].
        opt_out: probability that a send makes a rested, interested customer opt out. Shape [N].
        zone: index into ZONES. Shape [N], int64.
        consent: whether pushes are allowed. Shape [N], bool.
    """

    interest: Tensor
    peak: Tensor
    second_peak: Tensor
    price_sensitivity: Tensor
    fatigue_sensitivity: Tensor
    fatigue_hours: Tensor
    novelty: Tensor
    organic: Tensor
    basket: Tensor
    opt_out: Tensor
    zone: Tensor
    consent: Tensor

    def __len__(self) -> int:
        return int(self.peak.shape[0])


def make_people(variant: Variant, customers: int, seed: int) -> tuple[People, pd.DataFrame]:
    """Draws customers and the table that a company would have of them.

    Args:
        variant: the world.
        customers: N.
        seed: the same seed gives the same people.
    Returns:
        The latent tempers, and the `users` table of DESIGN's log format.
    """
    g = np.random.default_rng([seed, len(variant.name)])
    categories = variant.categories
    age = np.clip(g.normal(42, 14, customers), 18, 80)
    income = np.exp(g.normal(10.6, 0.45, customers) + 0.006 * (age - 42))
    education = np.clip(np.round(g.normal(13, 2.5, customers) + 0.8 * (np.log(income) - 10.6)), 8, 20)
    gender = g.choice(["female", "male", "other"], customers, p=[0.5, 0.47, 0.03])
    region = g.choice(["metropolis", "town", "countryside"], customers, p=[0.45, 0.35, 0.2])
    loyalty = g.gamma(2.0, 0.5, customers)

    # Interests are a Gaussian match of a customer's and a category's place in a small taste space.
    taste = g.normal(0, 1, (customers, 3))
    taste[:, 0] += 0.03 * (age - 42)
    taste[:, 1] += np.where(gender == "female", 0.5, -0.5)
    places = np.random.default_rng([7, len(variant.name)]).normal(0, 1.2, (len(categories), 3))
    distance = ((taste[:, None, :] - places[None]) ** 2).sum(axis=2)
    interest = np.exp(-distance / (2 * 1.4**2))
    interest = interest / interest.max(axis=1, keepdims=True) * g.beta(6, 2, customers)[:, None]

    hours = np.array([hour for hour, _ in variant.rhythms])
    shares = np.array([share for _, share in variant.rhythms])
    tilt = np.exp(np.outer((age - 42) / 14, np.linspace(0.5, -0.5, len(hours)))) * shares
    kind = (tilt.cumsum(axis=1) / tilt.sum(axis=1, keepdims=True) < g.random((customers, 1))).sum(axis=1)
    peak = hours[kind] + g.normal(0, 0.9, customers)
    second = hours[g.integers(len(hours), size=customers)] + g.normal(0, 1.5, customers)

    sensitivity = 1 / (1 + np.exp(-(g.normal(0, 1.1, customers) - 1.2 * (np.log(income) - 10.6))))
    fatigue = np.exp(g.normal(0, 0.55, customers) - 0.25 * (loyalty - 1))
    organic = variant.organic_per_week * np.exp(g.normal(-0.25, 0.5, customers) + 0.35 * (loyalty - 1))
    basket = variant.basket * np.exp(g.normal(-0.09, 0.3, customers) + 0.5 * (np.log(income) - 10.7))
    opt_out = variant.opt_out * np.exp(g.normal(-0.2, 0.6, customers) - 0.2 * (loyalty - 1))

    # The company knows a favourite category that is right two times in three, and rough tiers.
    best = interest.argmax(axis=1)
    told = np.where(g.random(customers) < 0.66, best, g.integers(len(categories), size=customers))
    tier = pd.cut(loyalty * np.exp(g.normal(0, 0.25, customers)), [-1, 0.6, 1.4, 99], labels=["new", "regular", "gold"])
    zone = g.choice(len(ZONES), customers, p=[0.6, 0.25, 0.15])
    consent = g.random(customers) < 0.97
    width = len(str(max(customers - 1, 1)))
    users = pd.DataFrame(
        {
            "user_id": [f"c{i:0{width}d}" for i in range(customers)],
            "age": np.round(age).astype(int),
            "gender": gender,
            "income": np.round(income, -2),
            "education_years": education.astype(int),
            "region": region,
            "loyalty_tier": tier.astype(str),
            "favourite_category": np.array(categories)[told],
            "past_purchases": g.poisson(organic * 26),
            "average_basket": np.round(basket * np.exp(g.normal(0, 0.2, customers)), 2),
            "timezone": np.array(ZONES)[zone],
            "consent_push": consent,
        }
    )

    def column(values: np.ndarray) -> Tensor:
        return torch.tensor(values, dtype=torch.float32)

    people = People(
        column(interest),
        column(peak),
        column(second),
        column(sensitivity),
        column(fatigue),
        column(variant.fatigue_hours * np.exp(g.normal(0, 0.3, customers))),
        column(np.exp(g.normal(0, 0.4, customers))),
        column(organic),
        column(basket),
        column(opt_out),
        torch.tensor(zone, dtype=torch.int64),
        torch.tensor(consent),
    )
    return people, users
