"""The families of models by name: any saved model is read here, and nothing is ever unpickled."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from campaigns.errors import CampaignError
from propensity.model import Calibration, PropensityModel
from propensity.network import PropensityNetwork
from propensity.response_model import Predictor

RESTORES: dict[str, Callable[[Mapping[str, Any], Mapping[str, Tensor]], Predictor]] = {
    PropensityNetwork.kind: PropensityNetwork.restore,
}
"""How each kind's predictor is rebuilt from its settings and weights."""


def restore_model(settings: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> PropensityModel:
    """The inverse of `PropensityModel.settings` and `PropensityModel.tensors`.

    Args:
        settings: with `kind`; without one it is a network, as the first version wrote them.
        tensors: by name, as they were saved.
    Raises:
        CampaignError: where the kind is unknown, naming the nearest.
    """
    kind = settings.get("kind", PropensityNetwork.kind)
    check_kind("model.json: kind", kind)
    prefix = f"{kind}."
    own = {name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    calibration = Calibration(
        tensors["slope"], tensors["offset"], settings["value_scale"], tensors["residuals"], settings["floor"]
    )
    return PropensityModel(RESTORES[kind](settings, own), calibration, frozenset(settings["known"]))


def check_kind(setting: str, kind: str) -> None:
    """Checks that there is such a family.

    Raises:
        CampaignError: naming the setting, the families and the nearest.
    """
    if kind in RESTORES:
        return
    near = difflib.get_close_matches(str(kind), RESTORES, n=1, cutoff=0.4)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise CampaignError(f"{setting}={kind}: must be one of {', '.join(RESTORES)}.{hint}")
