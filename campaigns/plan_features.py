"""What a weekly plan is chosen by: what is known of the customer, but not the hour at which the plan is made."""

from __future__ import annotations

import torch
from torch import Tensor

from campaigns.clock import DAYPARTS
from campaigns.features import STATE_FEATURES, shrunk_rate
from campaigns.history import OPEN, SEND
from campaigns.observation import Observation

MOMENTARY = frozenset(
    {
        "hour sin", "hour cos", "half-day sin", "half-day cos", *DAYPARTS, "weekday sin", "weekday cos", "weekend",
        "sends in this daypart", "open rate in this daypart, relative",
    }
)  # fmt: skip
"""State features of the hour in which one looks; a plan holds for the week."""

LASTING = tuple(name for name in STATE_FEATURES if name not in MOMENTARY)

PLAN_FEATURES = (
    *LASTING,
    *(f"sends in the {part}" for part in DAYPARTS),
    *(f"open rate in the {part}, relative" for part in DAYPARTS),
)

_COLUMNS = [STATE_FEATURES.index(name) for name in LASTING]


def plan_features(observation: Observation) -> Tensor:
    """Columns as in PLAN_FEATURES. Shape [N, Fp], float32."""
    history = observation.history
    sends, opens = history.daypart_counts[..., 0].float(), history.daypart_counts[..., 1].float()
    total = history.total.float()
    rates = shrunk_rate(opens, sends) - shrunk_rate(total[:, OPEN], total[:, SEND]).unsqueeze(1)
    return torch.cat([observation.state[:, _COLUMNS], torch.log1p(sends), rates], dim=1)
