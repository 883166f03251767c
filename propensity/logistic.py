"""Logistic regression of every head by maximum likelihood; sending has an effect that depends on who, when and what.

The logit of a purchase is base(customer, moment), and where something is sent also response(customer, moment, content):
all interactions of sending are there. Members are the estimate and its spread under a bootstrap of customers, each by
two Newton steps from it (Davidson and MacKinnon 1999) and centred, so that their mean is the estimate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import exp, isnan
from typing import Any, ClassVar

import pandas as pd
import torch
from torch import Tensor

from propensity.head_rows import SHIFT_OF, HeadRows, Inputs
from propensity.model import CALIBRATED
from propensity.network import HEADS
from propensity.regression import chosen_ridge, fit_logistic, moments, ridge
from propensity.split import Split
from propensity.telling import SENT_ONLY

NEWTON_STEPS_OF_MEMBERS = 2
LEVEL = 1.959963984540054
"""Half-width of a 95 % interval in standard errors."""

HeadsOf = Callable[[str, Tensor], HeadRows | None]
"""The rows of a head among some rows of the log."""


@dataclass(frozen=True)
class Logistic:
    """Coefficients of every member; see `propensity.response_model.Predictor`.

    Attributes:
        widths: Fu, Fs, Fx, Fc.
        base: of constant, customer, moment. Shape [k, H, 1 + Fu + Fs].
        response: of the same and content and candidate, where something is sent. Shape [k, H, 1 + Fu + Fs + Fx + Fc].
        base_error, response_error: robust standard errors of the members' mean; NaN where there are none. Shapes as
            the coefficients without members.
    """

    widths: tuple[int, int, int, int]
    base: Tensor
    response: Tensor
    base_error: Tensor
    response_error: Tensor
    kind: ClassVar[str] = "logistic"

    @property
    def members(self) -> int:
        """k."""
        return int(self.base.shape[0])

    def project_customers(self, customers: Tensor) -> Tensor:
        """What customers add to both parts, for all members. Shape [N, 2 k H]."""
        own = slice(1, 1 + self.widths[0])
        parts = [customers @ table[..., own].flatten(0, 1).T for table in (self.base, self.response)]
        return torch.cat(parts, dim=1)

    def __call__(
        self, projected: Tensor, state: Tensor, contents: Tensor, candidate: Tensor, sent: Tensor, member: Tensor | None
    ) -> Tensor:
        """Shape [N, H], or [N, k, H]."""
        base, response = self._common(projected, state)
        response = response + contents @ self._part(2).T + candidate @ self._part(3).T
        outputs = (base + sent.unsqueeze(1).to(base.dtype) * response).view(len(state), self.members, len(HEADS))
        if member is None:
            return outputs
        return outputs.gather(1, member.view(-1, 1, 1).expand(-1, 1, len(HEADS))).squeeze(1)

    def forward_all(self, projected: Tensor, state: Tensor, contents: Tensor, candidates: Tensor) -> Tensor:
        """Shape [N, 1 + K, k, H]."""
        base, response = self._common(projected, state)
        sends = (base + response).unsqueeze(1) + contents @ self._part(2).T + candidates @ self._part(3).T
        outputs = torch.cat([base.unsqueeze(1), sends], dim=1)
        return outputs.view(len(state), 1 + len(contents), self.members, len(HEADS))

    def _common(self, projected: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Both parts of customer and moment. Shape [N, k H] each."""
        size, first = self.members * len(HEADS), 1 + self.widths[0]
        moment = slice(first, first + self.widths[1])
        sums = []
        for place, table in enumerate((self.base, self.response)):
            flat = table.flatten(0, 1)
            own = projected[:, place * size : (place + 1) * size]
            sums.append(own + flat[:, 0] + state @ flat[:, moment].T)
        return sums[0], sums[1]

    def _part(self, group: int) -> Tensor:
        """Response coefficients of contents (2) or candidates (3). Shape [k H, F]."""
        first = 1 + sum(self.widths[:group])
        return self.response[..., first : first + self.widths[group]].flatten(0, 1)

    def moved(self, device: torch.device | str) -> Logistic:
        """A copy on another device."""
        return Logistic(self.widths, **{name: table.to(device) for name, table in self.weights().items()})

    def settings(self) -> dict[str, Any]:
        """JSON-able part."""
        return {"widths": list(self.widths)}

    def weights(self) -> dict[str, Tensor]:
        """The rest, by name."""
        return {
            "base": self.base,
            "response": self.response,
            "base_error": self.base_error,
            "response_error": self.response_error,
        }

    @staticmethod
    def restore(settings: Mapping[str, Any], weights: Mapping[str, Tensor]) -> Logistic:
        """The inverse of `settings` and `weights`."""
        widths = settings["widths"]
        return Logistic((widths[0], widths[1], widths[2], widths[3]), **weights)

    def table(self, names: tuple[list[str], list[str], list[str], list[str]]) -> pd.DataFrame:
        """The coefficients as a person reads them, before calibration.

        Args:
            names: of the columns of customers, moment, contents and candidates.
        Returns:
            outcome, part (`always`, `if sent`), input, coefficient (logits a unit of the input), low, high (95 %,
            robust to dependence within customers), odds_ratio (of one unit).
        """
        groups = [[f"{group}: {name}" for name in part] for group, part in
                  zip(("customer", "moment", "content", "repetition"), names, strict=True)]  # fmt: skip
        base = ["constant", *groups[0], *groups[1]]
        response = [*base, *groups[2], *groups[3]]
        rows = []
        for head in CALIBRATED:
            place = HEADS.index(head)
            for part, inputs, table, error in (
                ("always", base, self.base, self.base_error),
                ("if sent", response, self.response, self.response_error),
            ):
                for name, value, spread in zip(
                    inputs, table[:, place].mean(dim=0).tolist(), error[place].tolist(), strict=True
                ):
                    if not isnan(spread):  # heads that the log lacks have no error
                        rows.append((head, part, name, value, value - LEVEL * spread, value + LEVEL * spread))
        frame = pd.DataFrame(rows, columns=["outcome", "part", "input", "coefficient", "low", "high"])
        return frame.assign(odds_ratio=frame["coefficient"].clip(-50, 50).map(exp))


def fit_logistic_heads(inputs: Inputs, split: Split, heads: HeadsOf, penalty: float, members: int) -> Logistic:
    """Fits all heads.

    Args:
        inputs: of all rows.
        split: training and validation customers, and the members' bootstrap.
        heads: rows of a head among the given rows.
        penalty: ridge on every coefficient but the constant, in rows of the log: a coefficient is drawn to 0 as by a
            normal prior of variance 1 / penalty.
        members: k.
    """
    shape = (members, len(HEADS))
    base, response = torch.zeros(*shape, inputs.base_width), torch.zeros(*shape, inputs.response_width)
    errors = [torch.full(table.shape[1:], float("nan")) for table in (base, response)]
    for head in (*CALIBRATED, "value"):
        own = heads(head, split.training)
        if own is None:
            continue
        found, error = (
            _value_members(own, heads(head, split.validation), inputs, split.bootstrap[:, :members])
            if head == "value"
            else _members(own, inputs, split.bootstrap[:, :members], penalty)
        )
        place = HEADS.index(head)
        cut = 1 + (0 if head in SENT_ONLY else inputs.base_width)
        base[:, place, : cut - 1] = found[:, 1:cut].float()
        response[:, place] = found[:, cut:].float()
        if error is not None:
            errors[0][place, : cut - 1], errors[1][place] = error[1:cut].float(), error[cut:].float()
        if head in SHIFT_OF:
            # A click that goes with a purchase is possible only after a send; the rest may be on hold, too.
            beside = response if head == "value" or head in SENT_ONLY else base
            beside[:, HEADS.index(SHIFT_OF[head]), 0] = found[:, 0].float()
    return Logistic(inputs.widths, base, response, *errors)


def _members(own: HeadRows, inputs: Inputs, bootstrap: Tensor, penalty: float) -> tuple[Tensor, Tensor | None]:
    """Members' coefficients [k, d] of one head, and robust standard errors [d] of their mean."""
    width, members = own.width(inputs), bootstrap.shape[1]
    constant = 1  # the column after what accompanies the outcome
    start = torch.zeros(width, dtype=torch.float64)
    total, events = float(own.weight.sum()), float((own.weight * own.outcome).sum())
    start[constant] = torch.logit(torch.tensor((events + 0.5) / (total + 1.0), dtype=torch.float64))
    if events in (0, total):  # one class only: a base rate is all that can be said
        return start.expand(members, -1), None
    penalties = torch.full((width,), penalty, dtype=torch.float64)
    penalties[constant] = 0.0
    customers = inputs.customers[own.rows]
    estimate = fit_logistic(
        lambda: own.blocks(inputs), own.outcome, own.weight, penalties, start, clusters=inputs.units[customers]
    )  # fmt: skip
    draws = []
    for member in range(members if members > 1 else 0):
        weight = own.weight * bootstrap[customers, member]
        drawn = float((weight * own.outcome).sum())
        few = drawn < 1 or drawn > float(weight.sum()) - 1
        draws.append(
            estimate.coefficients
            if few
            else fit_logistic(
                lambda: own.blocks(inputs), own.outcome, weight, penalties, estimate.coefficients,
                NEWTON_STEPS_OF_MEMBERS,
            ).coefficients
        )  # fmt: skip
    assert estimate.covariance is not None
    return _centred(estimate.coefficients, draws), estimate.covariance.diagonal().clamp(min=0).sqrt()


def _value_members(
    own: HeadRows, validation: HeadRows | None, inputs: Inputs, bootstrap: Tensor
) -> tuple[Tensor, None]:
    """Ridge regression of purchases' values, the ridge chosen on validation customers. Shape [k, d]."""
    width, members = own.width(inputs), bootstrap.shape[1]
    penalised = torch.ones(width)
    penalised[1] = 0.0
    if not len(own.rows):
        return torch.zeros(members, width, dtype=torch.float64), None
    held = own if validation is None or not len(validation.rows) else validation
    share, estimate = chosen_ridge(
        moments(lambda: own.blocks(inputs), own.outcome, own.weight, width), penalised,
        lambda: held.blocks(inputs), held.outcome, held.weight,
    )  # fmt: skip
    customers = inputs.customers[own.rows]
    draws = []
    for member in range(members if members > 1 else 0):
        weight = own.weight * bootstrap[customers, member]
        if float(weight.sum()) > 0:
            drawn = moments(lambda: own.blocks(inputs), own.outcome, weight, width)
            draws.append(ridge(drawn, share, penalised))
        else:
            draws.append(estimate)
    return _centred(estimate, draws), None


def _centred(estimate: Tensor, draws: list[Tensor]) -> Tensor:
    """The draws around the estimate, as far apart as k draws around their own mean are too near. Shape [k, d]."""
    if not draws:
        return estimate.unsqueeze(0)
    stacked = torch.stack(draws)
    count = len(draws)
    spread: Tensor = (stacked - stacked.mean(dim=0)) * (count / (count - 1)) ** 0.5
    return estimate + spread
