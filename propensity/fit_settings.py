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


MANY_SLOTS = {"epochs": 12, "learning_rate": 3e-3, "weight_decay": 0.3, "dropout": 0.0, "bins": 0, "patience": 3}
"""Settings for logs in which customers are decided on again and again (ablations in docs/network.md)."""

ONE_SHOT = {"epochs": 60, "learning_rate": 1e-3, "weight_decay": 0.1, "dropout": 0.2, "bins": 32, "patience": 8}
"""Settings for logs with one decision a customer."""


@dataclass(frozen=True)
class ChosenSettings:
    """A network's settings with nothing left open; see `FitSettings`."""

    members: int
    width: int
    tastes: int
    batch_size: int
    validation_share: float
    epochs: int
    learning_rate: float
    weight_decay: float
    dropout: float
    bins: int
    patience: int


@dataclass(frozen=True)
class FitSettings:
    """How a propensity model is fitted.

    Attributes:
        kind: the family that the market is made of: network, logistic or gbdt.
        logistic, gbdt: of those families; the other settings are the network's, or shared by all.
        members: of the ensemble; a network's share weights, others are fitted one by one.
        width: hidden units of a layer.
        tastes: rank of the product of customers' and contents' attributes; 0 for none.
        batch_size: rows in a minibatch.
        epochs: passes over the rows at most.
        learning_rate: at the start; falls to zero by a cosine.
        weight_decay: of AdamW.
        dropout: share of hidden units left out in a step.
        bins: of the embedding of each of the customers' numbers; 0 for none.
        patience: epochs without a better validation loss before stopping.
            These six, where None, follow from the log; see `for_log`.
        validation_share: share of the customers that stop the training and calibrate.
        hold_share: share of the uneventful holds that is kept (weighted up).
    """

    members: int = 4
    width: int = 64
    tastes: int = 8
    batch_size: int = 4096
    epochs: int | None = None
    learning_rate: float | None = None
    weight_decay: float | None = None
    dropout: float | None = None
    bins: int | None = None
    patience: int | None = None
    validation_share: float = 0.15
    hold_share: float = 0.1
    kind: str = "network"
    logistic: LogisticSettings = field(default_factory=LogisticSettings)
    gbdt: GBDTSettings = field(default_factory=GBDTSettings)

    def __post_init__(self) -> None:
        check_kind("propensity.kind", self.kind)
        for setting in ("members", "width", "batch_size"):
            check_range(f"propensity.{setting}", getattr(self, setting), at_least=1)
        check_range("propensity.tastes", self.tastes, at_least=0)
        chosen = self.for_log(one_shot=False)
        for setting in ("epochs", "patience"):
            check_range(f"propensity.{setting}", getattr(chosen, setting), at_least=1)
        check_range("propensity.learning_rate", chosen.learning_rate, above=0, at_most=1)
        check_range("propensity.weight_decay", chosen.weight_decay, at_least=0)
        check_range("propensity.dropout", chosen.dropout, at_least=0, below=1, unit="(of the hidden units)")
        check_range("propensity.bins", chosen.bins, at_least=0)
        check_range("propensity.validation_share", self.validation_share, above=0, below=1, unit="(of the customers)")
        check_range("propensity.hold_share", self.hold_share, above=0, at_most=1, unit="(of the uneventful holds)")

    def for_log(self, one_shot: bool) -> ChosenSettings:
        """The settings with what was left open chosen by the log.

        A customer with one row tells by its attributes alone, and such a log is small: numbers are embedded, training
        is slow and long, and dropout holds it back. With a row a slot a customer's history tells most; rows are many,
        and customers, whom embeddings would learn by heart, are few.

        Args:
            one_shot: whether every customer is decided on once.
        """
        chosen = dict(ONE_SHOT if one_shot else MANY_SLOTS)
        chosen |= {name: getattr(self, name) for name in chosen if getattr(self, name) is not None}
        kept = {name: getattr(self, name) for name in ("members", "width", "tastes", "batch_size", "validation_share")}
        return ChosenSettings(**kept, **chosen)  # type: ignore[arg-type]
