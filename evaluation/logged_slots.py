"""The first slots of a log, what was earned in them, and what policies would have done there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evaluation.slot_context import SlotContext, full_logging


@dataclass(frozen=True)
class LoggedSlots:
    """The first H slots of N customers, and what policies would do in them.

    Attributes:
        action: HOLD or 1 + content index. Shape [N, H].
        reward: what was earned; the prediction for what was decided, where a field of the log is unknown. Shape [N, H].
        logged_prob: Shape [N, H].
        known: slots before the first that is missing or unlabelled. Shape [N, H], bool.
        predicted: expected rewards. Shape [N, H, 1 + K].
        target: by policy. Shape [N, H, 1 + K] each.
        fitted: whether logged probabilities had to be fitted.
        context: what was known at each decision; None where it was not collected.
        group: of customers who are drawn together, such as a household; None where each stands alone. Shape [N].
    """

    action: np.ndarray
    reward: np.ndarray
    logged_prob: np.ndarray
    known: np.ndarray
    predicted: np.ndarray
    target: dict[str, np.ndarray]
    fitted: bool
    context: SlotContext | None = None
    group: np.ndarray | None = None

    @property
    def units(self) -> np.ndarray:
        """What intervals draw as one: groups, or else single customers. Shape [N], int64."""
        return np.arange(len(self.action)) if self.group is None else self.group

    @property
    def logging(self) -> np.ndarray | None:
        """Probabilities of all decisions in the first slot (`full_logging`), if they were asked. Shape [N, 1 + K]."""
        if self.context is None or self.context.logging is None:
            return None
        return full_logging(self.action[:, 0], self.logged_prob[:, 0], self.context.logging[:, 0])

    def take(self, rows: np.ndarray) -> LoggedSlots:
        """The customers at `rows` (int64 or bool mask)."""
        return LoggedSlots(
            self.action[rows],
            self.reward[rows],
            self.logged_prob[rows],
            self.known[rows],
            self.predicted[rows],
            {name: chances[rows] for name, chances in self.target.items()},
            self.fitted,
            None if self.context is None else self.context.take(rows),
            None if self.group is None else self.group[rows],
        )
