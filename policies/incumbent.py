"""The incumbent as a policy: what the team did so far, as its log shows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from campaigns.logging_policy import LoggingPolicyModel
from campaigns.observation import Observation
from policies.chooser import Chooser, register


@register
class Incumbent(Chooser):
    """A fitted logging policy.

    Args:
        model: fitted by `campaigns.logging_policy.fit_logging_policy`.
    """

    kind = "incumbent"

    def __init__(self, model: LoggingPolicyModel) -> None:
        self.model = model

    def probabilities(self, observation: Observation) -> Tensor:
        """What the logging policy would do, within what is allowed. Shape [N, 1 + K]."""
        return self.model.probabilities(observation)

    def settings(self) -> dict[str, Any]:
        """JSON-able settings."""
        return self.model.settings()

    def tensors(self) -> dict[str, Tensor]:
        """Weights by name."""
        return {name: value.detach().cpu().contiguous() for name, value in self.model.state_dict().items()}

    @classmethod
    def restore(cls, settings: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Incumbent:
        """The inverse of `settings` and `tensors`."""
        return cls(LoggingPolicyModel.restore(settings, tensors))
