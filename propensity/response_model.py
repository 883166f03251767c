"""What markets, policies, metrics and reports ask of a fitted model, and what a family of models has to bring.

A family (network, logistic regression, boosted trees) brings a `Predictor`: the outputs of HEADS for a decision. The
calibration and the joint law of a slot's outcomes stand on top of it and are the same for all (`propensity.model`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from propensity.response import Response


class ResponseModel(Protocol):
    """A fitted and calibrated model of what N decisions bring; N customers in rows, k ensemble members."""

    @property
    def members(self) -> int:
        """k; a market lets each customer live in one member, and a report takes their spread for doubt."""
        ...

    @property
    def known(self) -> frozenset[str]:
        """Heads whose outcome the log has; the others answer 0."""
        ...

    def project_customers(self, customers: Tensor) -> Tensor:
        """What customers' features [N, Fu] contribute, to be kept for an episode. Shape [N, P]."""
        ...

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
        """What N decisions would bring, in one member each or averaged over members. Shapes [N]."""
        ...

    def respond_members(
        self, customers: Tensor, state: Tensor, contents: Tensor, candidate: Tensor, sent: Tensor
    ) -> Response:
        """As `respond`, every member's answer on its own. Shapes [N, k]."""
        ...

    def respond_all(self, projected: Tensor, state: Tensor, contents: Tensor, candidates: Tensor) -> Response:
        """What hold and every one of K contents would bring, averaged over members. Shapes [N, 1 + K]."""
        ...

    def to(self, device: torch.device | str) -> ResponseModel:
        """The same model on another device."""
        ...

    def settings(self) -> dict[str, Any]:
        """JSON-able part, with `kind`; `propensity.kinds.restore_model` reads it again."""
        ...

    def tensors(self) -> dict[str, Tensor]:
        """The rest, by name."""
        ...

    def digest(self) -> str:
        """A short hash of everything fitted."""
        ...


class Predictor(Protocol):
    """What a family of models brings: outputs of HEADS (logits; values in training units), before calibration.

    Inputs are as for `ResponseModel.respond`; `projected` is `project_customers` of the rows' customers.
    """

    @property
    def kind(self) -> str:
        """By which a saved model is found again."""
        ...

    @property
    def members(self) -> int:
        """k."""
        ...

    def project_customers(self, customers: Tensor) -> Tensor:
        """Shape [N, P]."""
        ...

    def __call__(
        self, projected: Tensor, state: Tensor, contents: Tensor, candidate: Tensor, sent: Tensor, member: Tensor | None
    ) -> Tensor:
        """Outputs of N decisions. Shape [N, H], or [N, k, H] where `member` is None."""
        ...

    def forward_all(self, projected: Tensor, state: Tensor, contents: Tensor, candidates: Tensor) -> Tensor:
        """Outputs of hold and of K contents ([K, Fx] and [N, K, Fc]), of all members. Shape [N, 1 + K, k, H]."""
        ...

    def moved(self, device: torch.device | str) -> Predictor:
        """A copy on another device."""
        ...

    def settings(self) -> Mapping[str, Any]:
        """JSON-able part."""
        ...

    def weights(self) -> Mapping[str, Tensor]:
        """The rest, by name."""
        ...
