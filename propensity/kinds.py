"""Any family of models by its name: how a saved one is read. Nothing is ever unpickled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from propensity.fit_settings import check_kind
from propensity.model import Calibration, PropensityModel
from propensity.network import PropensityNetwork
from propensity.response_model import Predictor


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
    # Earlier versions wrote one level for holds and sends.
    offset = tensors["offset"].expand(2, -1)
    calibration = Calibration(
        tensors["slope"], offset, settings["value_scale"], tensors["residuals"], settings["floor"]
    )
    return PropensityModel(
        _restore(kind, settings, own), calibration, frozenset(settings["known"]), tensors.get("doubt")
    )


def _restore(kind: str, settings: Mapping[str, Any], weights: Mapping[str, Tensor]) -> Predictor:
    # Imported where it is needed: a policy that serves a network loads no other family.
    if kind == "logistic":
        from propensity.logistic import Logistic

        return Logistic.restore(settings, weights)
    if kind == "gbdt":
        from propensity.gbdt import BoostedTrees

        return BoostedTrees.restore(settings, weights)
    return PropensityNetwork.restore(settings, weights)
