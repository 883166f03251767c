"""Who the customers are: latent tempers, and the columns that a company would see, which tell part of them."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, fields, replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from campaigns.errors import CampaignError
from campaigns.rowwise import overwrite_rows
from envs.reference.channels import CHANNELS
from envs.reference.variants import Variant

ZONES = ("Europe/Athens", "Europe/London", "America/New_York")
"""Chosen so that a 4-hour grid in UTC leaves each of them a morning, an afternoon and an evening slot by day."""

ZONE_SHARES = (0.5, 0.3, 0.2)
TASTES = 3
"""Dimensions of the taste space in which customers and categories lie."""


@dataclass(frozen=True)
class Customers:
    """N customers: what is latent, and what a company sees of it.

    Attributes:
        interest: how much each category interests the customer, 0..1. Shape [N, C].
        peaks: local hours of the modes of the daily rhythm. Shape [N, J].
        weights: height of each mode; the highest of a customer is 1. Shape [N, J].
        price_sensitivity: 0..1. Shape [N].
        fatigue_sensitivity: how much one recent send tires; its square lowers attention. Shape [N].
        fatigue_hours: half-life of fatigue. Shape [N].
        novelty: how fast a repeated content wears out, around 1. Shape [N].
        organic: purchases a week unasked, at full demand. Shape [N].
        basket: mean basket of an undiscounted purchase, in currency. Shape [N].
        opt_out: probability that a send to a rested customer of middling interest ends consent. Shape [N].
        zone: index into ZONES. Shape [N], int64.
        consents: whether each of the variant's channels is allowed. Shape [N, M], bool.
        users: the company's table of all customers of the world; see `make_customers`.
    """

    interest: Tensor
    peaks: Tensor
    weights: Tensor
    price_sensitivity: Tensor
    fatigue_sensitivity: Tensor
    fatigue_hours: Tensor
    novelty: Tensor
    organic: Tensor
    basket: Tensor
    opt_out: Tensor
    zone: Tensor
    consents: Tensor
    users: pd.DataFrame

    def __len__(self) -> int:
        return int(self.zone.shape[0])

    @property
    def consent(self) -> Tensor:
        """Whether any channel is allowed. Shape [N], bool."""
        return self.consents.any(dim=1)

    def to(self, device: torch.device | str) -> Customers:
        """The same customers with their tensors on `device`."""
        tensors = {f.name: getattr(self, f.name).to(device) for f in fields(self) if f.name != "users"}
        return replace(self, **tensors)

    def take(self, rows: Tensor) -> Customers:
        """The customers at `rows` [M], int64, each as often as it is named; the table stays that of all."""
        return replace(self, **{f.name: getattr(self, f.name)[rows] for f in fields(self) if f.name != "users"})

    def overwrite(self, rows: Tensor, others: Customers) -> None:
        """Puts `others` into `rows`; see `campaigns.rowwise`. The table stays that of all."""
        overwrite_rows(self, rows, others, [f.name for f in fields(self) if f.name != "users"])


def make_customers(variant: Variant, n: int, seed: int) -> Customers:
    """Draws customers and the table that a company would have of them.

    The table tells part of the tempers: age and region of the rhythm, income of price sensitivity and basket, loyalty
    tier of fatigue, organic purchases and opting out, favourite category (one in six wrong) of interest. What
    makes a customer novelty-seeking, how long fatigue lasts and most of the rhythm show only in what customers do.

    Args:
        variant: the world.
        n: N, how many customers.
        seed: the same variant, number and seed give the same customers.
    Returns:
        The customers; `users` has the columns user_id, age, gender, income, education_years, region, loyalty_tier,
        favourite_category, past_purchases (of half a year), average_basket, timezone and a
        `consent_CHANNEL` for each of the variant's channels, on which nothing else of the people hangs.
    Raises:
        CampaignError: where n is less than 1.
    """
    if n < 1:
        raise CampaignError(f"data.customers={n}: a reference market needs at least one customer.")
    g = np.random.default_rng([seed, zlib.crc32(variant.name.encode())])
    age = np.clip(g.normal(42, 14, n), 18, 80)
    older = (age - 42) / 14
    log_income = g.normal(10.6, 0.45, n) + 0.08 * older
    richer = (log_income - 10.6) / 0.45
    education = np.clip(np.round(g.normal(13, 2.3, n) + 0.8 * richer), 8, 20)
    gender = g.choice(["female", "male", "other"], n, p=[0.5, 0.47, 0.03])
    region = g.choice(["metropolis", "town", "countryside"], n, p=[0.45, 0.35, 0.2])
    loyalty = g.gamma(2.0, 0.5, n)
    keener = np.log(loyalty + 0.2) + 0.1

    interest = _interest(variant, older, gender, education, g)
    peaks, weights = _rhythm(variant, older, region, g)
    sensitivity = 1 / (1 + np.exp(-(g.normal(0, 1.2, n) - 1.0 * richer)))
    fatigue = variant.fatigue_weight * np.exp(g.normal(0, 0.5, n) - 0.6 * keener)
    organic = variant.organic_per_week * np.exp(g.normal(-0.25, 0.5, n) + 0.4 * keener)
    basket = variant.basket * np.exp(g.normal(-0.05, 0.3, n) + 0.2 * richer)
    opt_out = variant.opt_out * np.exp(g.normal(-0.2, 0.6, n) - 0.3 * keener)

    best = interest.argmax(axis=1)
    told = np.where(g.random(n) < 0.8, best, g.integers(len(variant.categories), size=n))
    tier = np.digitize(loyalty * np.exp(g.normal(0, 0.25, n)), [0.6, 1.3])
    zone = g.choice(len(ZONES), n, p=ZONE_SHARES)
    consents = _consents(variant, g.random(n), seed)
    width = len(str(max(n - 1, 1)))
    users = pd.DataFrame(
        {
            "user_id": [f"c{i:0{width}d}" for i in range(n)],
            "age": np.round(age).astype(int),
            "gender": gender,
            "income": np.round(np.exp(log_income), -2),
            "education_years": education.astype(int),
            "region": region,
            "loyalty_tier": np.array(["new", "regular", "gold"])[tier],
            "favourite_category": np.array(variant.categories)[told],
            "past_purchases": g.poisson(organic * 26),
            "average_basket": np.round(basket * np.exp(g.normal(0, 0.2, n)), 2),
            "timezone": np.array(ZONES)[zone],
            **{f"consent_{channel}": consents[:, m] for m, channel in enumerate(variant.channels)},
        }
    )

    def column(values: np.ndarray) -> Tensor:
        return torch.tensor(values, dtype=torch.float32)

    return Customers(
        interest=column(interest),
        peaks=column(peaks),
        weights=column(weights),
        price_sensitivity=column(sensitivity),
        fatigue_sensitivity=column(fatigue),
        fatigue_hours=column(variant.fatigue_hours * np.exp(g.normal(0, 0.3, n))),
        novelty=column(np.exp(g.normal(0, 0.4, n))),
        organic=column(organic),
        basket=column(basket),
        opt_out=column(opt_out),
        zone=torch.tensor(zone, dtype=torch.int64),
        consents=torch.tensor(consents),
        users=users,
    )


def _consents(variant: Variant, push: np.ndarray, seed: int) -> np.ndarray:
    """Consent by channel, each given apart from the others. Shape [N, M], bool.

    Args:
        variant: whose channels count.
        push: the uniforms that decide on pushes, those of other channels being drawn apart. Shape [N].
        seed: of the people.
    """
    columns = []
    for channel in variant.channels:
        apart = np.random.default_rng([seed, zlib.crc32(variant.name.encode()), zlib.crc32(channel.encode())])
        uniform = push if channel == "push" else apart.random(len(push))
        columns.append(uniform < CHANNELS[channel].consent)
    return np.stack(columns, axis=1)


def _interest(
    variant: Variant, older: np.ndarray, gender: np.ndarray, education: np.ndarray, g: np.random.Generator
) -> np.ndarray:
    """Gaussian match of places in the taste space, the best category of a customer being 0.6 to 1. Shape [N, C]."""
    n = len(older)
    # The categories lie where they lie, whoever the customers are: their places hang on the variant alone.
    places = np.random.default_rng(zlib.crc32(variant.name.encode())).normal(0, 1.3, (len(variant.categories), TASTES))
    taste = g.normal(0, 1, (n, TASTES))
    taste[:, 0] += 0.5 * older
    taste[:, 1] += np.where(gender == "female", 0.5, -0.5)
    taste[:, 2] += 0.2 * (education - 13) / 2.3
    distance = ((taste[:, None, :] - places[None]) ** 2).sum(axis=2)
    match = np.exp(-(distance - distance.min(axis=1, keepdims=True)) / (2 * variant.breadth**2))
    return np.asarray(match * g.uniform(0.6, 1.0, (n, 1)))


def _rhythm(
    variant: Variant, older: np.ndarray, region: np.ndarray, g: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Hours and heights of the modes of each customer's day; shapes [N, J]. The old and the countryside rise early."""
    n = len(older)
    hours = np.array([hour for hour, _ in variant.rhythms])
    shares = np.array([share for _, share in variant.rhythms])
    later = np.argsort(np.argsort(hours)) - (len(hours) - 1) / 2
    early = 0.9 * older + np.select([region == "countryside", region == "metropolis"], [0.8, -0.4])
    logit = np.log(shares) - early[:, None] * later + g.normal(0, 1.1, (n, len(hours)))
    weights = np.exp(logit - logit.max(axis=1, keepdims=True))
    return hours + g.normal(0, 0.7, (n, len(hours))), weights
