"""A fitted model with its calibration and the joint law of a slot's outcomes: what markets and policies ask."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from propensity.network import HEADS, PropensityNetwork
from propensity.response import Response
from propensity.response_model import Predictor

CALIBRATED = ("purchase", "visit", "unsubscribe", "open", "click")
"""Heads with a calibration of their own, in the order of `Calibration.slope`."""

OUTCOME_OF = {
    "purchase": "purchased",
    "visit": "visited",
    "unsubscribe": "unsubscribed",
    "open": "opened",
    "click": "clicked",
}
"""The log's column for each head."""


@dataclass(frozen=True)
class Calibration:
    """One slope a head, shared by all decisions, members and customers (Platt 1999), and a level of holds and of sends.

    Attributes:
        slope: of the logits. Shape [5], in the order of CALIBRATED.
        offset: of the logits of holds and of sends. Shape [2, 5].
        value_scale: currency of one unit of the value head, with its calibration.
        residuals: table of value residuals of mean 0. Shape [Q].
        floor: see `Response.floor`.
    """

    slope: Tensor
    offset: Tensor
    value_scale: float
    residuals: Tensor
    floor: float


@dataclass(frozen=True)
class PropensityModel:
    """A fitted model of any family; see `propensity.response_model.ResponseModel`.

    Attributes:
        predictor: what its family learned, in evaluation mode.
        calibration: of its heads.
        known: heads whose outcome the log has; the others answer 0.
        doubt: covariance of the weights with which the opt-out head answers a send (`propensity.optouts`). Shape
            [D, D], or [1, 1] where a family knows how uncertain the level is alone; None of a log without opt-outs.
    """

    predictor: Predictor
    calibration: Calibration
    known: frozenset[str]
    doubt: Tensor | None = None

    @property
    def members(self) -> int:
        """k, the number of ensemble members."""
        return self.predictor.members

    @property
    def kind(self) -> str:
        """The family: network, logistic or gbdt."""
        return self.predictor.kind

    @torch.no_grad()
    def project_customers(self, customers: Tensor) -> Tensor:
        """What customers' features [N, Fu] contribute (a network's first layers), to be kept for an episode."""
        return self.predictor.project_customers(customers)

    @torch.no_grad()
    def respond(
        self,
        customers: Tensor,
        state: Tensor,
        contents: Tensor,
        candidate: Tensor,
        sent: Tensor,
        member: Tensor | None = None,
        projected: Tensor | None = None,
    ) -> Response:
        """What N decisions would bring.

        Args:
            customers: encoded customers. Shape [N, Fu].
            state: state features. Shape [N, Fs].
            contents: encoded attributes of what is sent. Shape [N, Fx]; ignored on hold.
            candidate: its candidate-relative features. Shape [N, Fc]; ignored on hold.
            sent: Shape [N], bool.
            member: the ensemble member to ask for each row, shape [N], int64; None averages the members'
                probabilities.
            projected: `project_customers(customers)`, where it is at hand.
        """
        kept = self.predictor.project_customers(customers) if projected is None else projected
        outputs = self.predictor(kept, state, contents, candidate, sent, member)
        response = self._response(outputs, sent)
        return response if member is not None else _mean(response)

    def respond_with_gradients(
        self, customers: Tensor, state: Tensor, contents: Tensor, candidate: Tensor, sent: Tensor
    ) -> Response:
        """As `respond`, with gradients to its inputs: what attributions integrate. Families without have no such."""
        projected = self.predictor.project_customers(customers)
        return _mean(self._response(self.predictor(projected, state, contents, candidate, sent, None), sent))

    @torch.no_grad()
    def respond_members(
        self, customers: Tensor, state: Tensor, contents: Tensor, candidate: Tensor, sent: Tensor
    ) -> Response:
        """As `respond`, every member's answer on its own. Shapes [N, k]."""
        projected = self.predictor.project_customers(customers)
        return self._response(self.predictor(projected, state, contents, candidate, sent, None), sent)

    @torch.no_grad()
    def optout_pull(
        self, customers: Tensor, state: Tensor, contents: Tensor, candidate: Tensor
    ) -> tuple[Tensor, float]:
        """How the opt-outs of N sends, added up, move with the weights whose covariance is `doubt`, by members' means.

        Args:
            customers, state, contents, candidate: as for `respond`.
        Returns:
            Gradient of the sum, shape [D], float64 (empty without `doubt`), and the sum.
        """
        sent = torch.ones(len(state), dtype=torch.bool, device=state.device)
        chance = self.respond(customers, state, contents, candidate, sent).unsubscribe
        if self.doubt is None:
            return chance.new_zeros(0, dtype=torch.float64), float(chance.sum())
        moves = chance * (1 - chance)
        # A doubt of one weight is that of the level alone.
        level = torch.ones(len(state), 1, device=state.device)
        inputs = level if len(self.doubt) == 1 else self._inputs(customers, state, contents, candidate)
        return (moves @ inputs).double().cpu(), float(chance.sum())

    def _inputs(self, customers: Tensor, state: Tensor, contents: Tensor, candidate: Tensor) -> Tensor:
        """The network's inputs of the opt-out head. Shape [N, D]."""
        assert isinstance(self.predictor, PropensityNetwork)
        return self.predictor.response_inputs(customers, state, contents, candidate)

    @torch.no_grad()
    def respond_all(self, projected: Tensor, state: Tensor, contents: Tensor, candidates: Tensor) -> Response:
        """What hold and every content would bring, averaged over members; shapes as for `forward_all`.

        Returns:
            Tensors of shape [N, 1 + K].
        """
        outputs = self.predictor.forward_all(projected, state, contents, candidates)
        rows, decisions = outputs.shape[:2]
        sent = torch.ones(rows, decisions, dtype=torch.bool, device=outputs.device)
        sent[:, 0] = False
        response = _mean(self._response(outputs.flatten(0, 1), sent.flatten()))
        shaped = {
            f.name: getattr(response, f.name).view(rows, decisions)
            for f in fields(Response)
            if f.name not in {"residuals", "floor"}
        }
        return Response(**shaped, residuals=response.residuals, floor=response.floor)

    def _response(self, outputs: Tensor, sent: Tensor) -> Response:
        logits = dict(zip(HEADS, outputs.unbind(dim=-1), strict=True))
        gate = sent.view(-1, *[1] * (outputs.dim() - 2)).to(outputs.dtype)
        calibration = self.calibration

        def probability(head: str, shift: str | None = None) -> Tensor:
            logit = logits[head] if shift is None else logits[head] + logits[shift]
            if head not in self.known:
                return torch.zeros_like(logit)
            index = CALIBRATED.index(head)
            held, sends = calibration.offset[:, index]
            return torch.sigmoid(calibration.slope[index] * logit + (held + gate * (sends - held)))

        value = logits["value"] * calibration.value_scale
        return Response(
            probability("purchase"),
            gate * probability("open", "open_bought"),
            gate * probability("open"),
            gate * probability("click", "click_bought"),
            gate * probability("click"),
            probability("visit", "visit_bought"),
            probability("visit"),
            probability("unsubscribe"),
            value,
            value + gate * logits["value_clicked"] * calibration.value_scale,
            calibration.residuals,
            calibration.floor,
        )

    def to(self, device: torch.device | str) -> PropensityModel:
        """The same model on another device."""
        c = self.calibration
        moved = Calibration(c.slope.to(device), c.offset.to(device), c.value_scale, c.residuals.to(device), c.floor)
        doubt = None if self.doubt is None else self.doubt.to(device)
        return PropensityModel(self.predictor.moved(device), moved, self.known, doubt)

    def settings(self) -> dict[str, Any]:
        """JSON-able part."""
        return {
            "kind": self.kind,
            **self.predictor.settings(),
            "known": sorted(self.known),
            "value_scale": self.calibration.value_scale,
            "floor": self.calibration.floor,
        }

    def tensors(self) -> dict[str, Tensor]:
        """The rest, by name; the family's own begin with its kind."""
        own = {f"{self.kind}.{k}": v.detach().cpu().contiguous() for k, v in self.predictor.weights().items()}
        c = self.calibration
        own |= {"slope": c.slope.cpu(), "offset": c.offset.cpu().contiguous(), "residuals": c.residuals.cpu()}
        return own if self.doubt is None else own | {"doubt": self.doubt.cpu().contiguous()}

    def digest(self) -> str:
        """A short hash of everything fitted."""
        sha = hashlib.sha256()
        for name, tensor in sorted(self.tensors().items()):
            sha.update(name.encode())
            sha.update(tensor.numpy().tobytes())
        return sha.hexdigest()[:12]


def _mean(response: Response) -> Response:
    """Averages members (dim 1) so that purchase, marginals and expected value are the members' means."""
    purchase = response.purchase.mean(dim=1)
    bought, not_bought = response.purchase, 1 - response.purchase

    def given(weight: Tensor, probability: Tensor) -> Tensor:
        return (weight * probability).sum(dim=1) / weight.sum(dim=1).clamp(min=1e-12)

    open_bought, open_not = bought * response.open_if_bought, not_bought * response.open_if_not
    click = bought * response.open_if_bought * response.click_if_bought
    return Response(
        purchase,
        given(bought, response.open_if_bought),
        given(not_bought, response.open_if_not),
        given(open_bought, response.click_if_bought),
        given(open_not, response.click_if_not),
        given(bought, response.visit_if_bought),
        given(not_bought, response.visit_if_not),
        response.unsubscribe.mean(dim=1),
        given(bought - click, response.value_unclicked),
        given(click, response.value_clicked),
        response.residuals,
        response.floor,
    )
