"""How a network is fitted; also the schema of its configuration."""

from __future__ import annotations

from dataclasses import dataclass

from campaigns.ranges import check_range


@dataclass(frozen=True)
class FitSettings:
    """How a network is fitted.

    Attributes:
        members: ensemble members that share the weights.
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

    def __post_init__(self) -> None:
        for setting in ("members", "width", "epochs", "batch_size", "patience"):
            check_range(f"propensity.{setting}", getattr(self, setting), at_least=1)
        check_range("propensity.learning_rate", self.learning_rate, above=0, at_most=1)
        check_range("propensity.weight_decay", self.weight_decay, at_least=0)
        check_range("propensity.validation_share", self.validation_share, above=0, below=1, unit="(of the customers)")
        check_range("propensity.hold_share", self.hold_share, above=0, at_most=1, unit="(of the uneventful holds)")
