"""How a propensity model is fitted; also the schema of its configuration."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field

from campaigns.errors import CampaignError
from campaigns.ranges import check_range

KINDS = ("network", "logistic", "gbdt")
"""The families that a market can be made of."""


def check_kind(setting: str, kind: str) -> None:
    """Checks that there is such a family.

    Raises:
        CampaignError: naming the setting, the families and the nearest.
    """
    if kind in KINDS:
        return
    near = difflib.get_close_matches(str(kind), KINDS, n=1, cutoff=0.4)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise CampaignError(f"{setting}={kind}: must be one of {', '.join(KINDS)}.{hint}")


@dataclass(frozen=True)
class LogisticSettings:
    """How logistic regression is fitted.

    Attributes:
        penalty: ridge on coefficients, in rows of the log.
    """

    penalty: float = 1.0

    def __post_init__(self) -> None:
        check_range("propensity.logistic.penalty", self.penalty, above=0, unit="(rows of the log)")


@dataclass(frozen=True)
class GBDTSettings:
    """How boosted trees are fitted.

    Attributes:
        trees: a head at most.
        leaves: a tree at most.
        learning_rate: share of a tree that counts.
        leaf_rows: a leaf at least.
        l2: ridge on leaves.
        bins: values of a feature that are told apart.
        patience: trees without a better validation loss before stopping.
    """

    trees: int = 200
    leaves: int = 8
    learning_rate: float = 0.1
    leaf_rows: int = 50
    l2: float = 1.0
    bins: int = 63
    patience: int = 15

    def __post_init__(self) -> None:
        for setting in ("trees", "leaf_rows", "patience"):
            check_range(f"propensity.gbdt.{setting}", getattr(self, setting), at_least=1)
        check_range("propensity.gbdt.leaves", self.leaves, at_least=2)
        check_range("propensity.gbdt.bins", self.bins, at_least=2, at_most=65_535)
        check_range("propensity.gbdt.learning_rate", self.learning_rate, above=0, at_most=1)
        check_range("propensity.gbdt.l2", self.l2, at_least=0)


@dataclass(frozen=True)
class FitSettings:
    """How a propensity model is fitted.

    Attributes:
        kind: the family that the market is made of: network, logistic or gbdt.
        logistic, gbdt: of those families; the other settings are the network's, or shared by all.
        members: of the ensemble; a network's share weights, others are fitted one by one.
        width: hidden units of a layer.
        epochs: passes over the rows at most.
        batch_size: rows in a minibatch.
        learning_rate: at the start; falls to zero by a cosine.
        weight_decay: of AdamW.
        patience: epochs without a better validation loss before stopping.
        validation_share: share of the customers that stop the training and calibrate.
        hold_share: share of the uneventful holds that is kept (weighted up).
    """

    members: int = 4
    width: int = 64
    epochs: int = 12
    batch_size: int = 4096
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    patience: int = 3
    validation_share: float = 0.15
    hold_share: float = 0.1
    kind: str = "network"
    logistic: LogisticSettings = field(default_factory=LogisticSettings)
    gbdt: GBDTSettings = field(default_factory=GBDTSettings)

    def __post_init__(self) -> None:
        check_kind("propensity.kind", self.kind)
        for setting in ("members", "width", "epochs", "batch_size", "patience"):
            check_range(f"propensity.{setting}", getattr(self, setting), at_least=1)
        check_range("propensity.learning_rate", self.learning_rate, above=0, at_most=1)
        check_range("propensity.weight_decay", self.weight_decay, at_least=0)
        check_range("propensity.validation_share", self.validation_share, above=0, below=1, unit="(of the customers)")
        check_range("propensity.hold_share", self.hold_share, above=0, at_most=1, unit="(of the uneventful holds)")
