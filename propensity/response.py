"""The joint law of one slot's outcomes, in expectation and as draws.

A purchase is drawn first, from its directly modelled total probability; what opened, clicked and visited
accompany it is drawn given whether there was one (Bayes' rule read backwards). So the effect of sending on
purchases is a single head's, and the path still fits it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

NOISE_COLUMNS = 6
"""Uniforms a customer and slot: purchase, open, click, visit, unsubscribe, value."""


@dataclass(frozen=True)
class Response:
    """Probabilities of one slot's outcomes. All tensors share one shape, usually [N].

    Attributes:
        purchase: total probability of a purchase.
        open_if_bought, open_if_not: of an open given a purchase or none; 0 on hold.
        click_if_bought, click_if_not: of a click given an open, and a purchase or none.
        visit_if_bought, visit_if_not: of a visit given a purchase or none.
        unsubscribe: of an opt-out.
        value_unclicked, value_clicked: mean value of a purchase without and with a click, in currency.
        residuals: value residuals in units of `spread`, as a table of Q equally likely values of mean 0. Shape [Q].
        floor: part of the spread that does not grow with the mean, in currency.
    """

    purchase: Tensor
    open_if_bought: Tensor
    open_if_not: Tensor
    click_if_bought: Tensor
    click_if_not: Tensor
    visit_if_bought: Tensor
    visit_if_not: Tensor
    unsubscribe: Tensor
    value_unclicked: Tensor
    value_clicked: Tensor
    residuals: Tensor
    floor: float

    @property
    def opened(self) -> Tensor:
        """P(open)."""
        return self.purchase * self.open_if_bought + (1 - self.purchase) * self.open_if_not

    @property
    def clicked(self) -> Tensor:
        """P(open and click)."""
        bought = self.purchase * self.open_if_bought * self.click_if_bought
        return bought + (1 - self.purchase) * self.open_if_not * self.click_if_not

    @property
    def visited(self) -> Tensor:
        """P(visit)."""
        return self.purchase * self.visit_if_bought + (1 - self.purchase) * self.visit_if_not

    @property
    def value_if_bought(self) -> Tensor:
        """E[value | purchase], over the path."""
        click = self.open_if_bought * self.click_if_bought
        return self.value_unclicked + click * (self.value_clicked - self.value_unclicked)

    @property
    def expected_value(self) -> Tensor:
        """E[value]."""
        return self.purchase * self.value_if_bought

    def expected(self, outcome: str) -> Tensor:
        """What is expected of an outcome of the log, by the log's name; `revenue` is answered with the value."""
        names = {"purchased": "purchase", "unsubscribed": "unsubscribe", "value": "expected_value",
                 "revenue": "expected_value"}  # fmt: skip
        answer: Tensor = getattr(self, names.get(outcome, outcome))
        return answer

    def by_head(self) -> dict[str, Tensor]:
        """The probability that each head is judged by: of a click given an open, the others whatever else happens."""
        return {
            "purchase": self.purchase,
            "visit": self.visited,
            "unsubscribe": self.unsubscribe,
            "open": self.opened,
            "click": self.clicked / self.opened.clamp(min=1e-9),
        }


@dataclass(frozen=True)
class Drawn:
    """Drawn outcomes. Shape [N]; bool, and float32 for `value` (in currency)."""

    opened: Tensor
    clicked: Tensor
    visited: Tensor
    purchased: Tensor
    unsubscribed: Tensor
    value: Tensor


def draw(response: Response, noise: Tensor) -> Drawn:
    """Draws a slot's outcomes by inverse CDF.

    Args:
        response: of N customers.
        noise: uniforms in [0, 1). Shape [N, NOISE_COLUMNS].
    """
    purchased = noise[:, 0] < response.purchase
    opened = noise[:, 1] < torch.where(purchased, response.open_if_bought, response.open_if_not)
    clicked = opened & (noise[:, 2] < torch.where(purchased, response.click_if_bought, response.click_if_not))
    visited = noise[:, 3] < torch.where(purchased, response.visit_if_bought, response.visit_if_not)
    unsubscribed = noise[:, 4] < response.unsubscribe
    mean = torch.where(clicked, response.value_clicked, response.value_unclicked)
    bins = len(response.residuals)
    residual = response.residuals[(noise[:, 5] * bins).long().clamp(max=bins - 1)]
    value = torch.where(purchased, mean + (mean.abs() + response.floor) * residual, 0.0)
    return Drawn(opened, clicked, visited, purchased, unsubscribed, value)
