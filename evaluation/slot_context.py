"""What was known when decisions of a log were taken, and what the fitted logging policy makes of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from campaigns.observation import Observation


@dataclass(frozen=True)
class SlotContext:
    """The contexts of H slots of N customers.

    Attributes:
        features: of customer and moment, as the logging policy could see them. Shape [N, H, F], float32.
        daypart: the customer's own, 0..3. Shape [N, H], int64.
        logging: probabilities of the fitted logging policy, where it was asked: where some of the log's are missing,
            and in one-shot logs. Shape [N, H, 1 + K].
    """

    features: np.ndarray
    daypart: np.ndarray
    logging: np.ndarray | None

    def take(self, rows: np.ndarray) -> SlotContext:
        """The customers at `rows` (int64 or bool mask)."""
        return SlotContext(
            self.features[rows], self.daypart[rows], None if self.logging is None else self.logging[rows]
        )


def join_contexts(parts: list[SlotContext]) -> SlotContext:
    """The slots of all parts, one after the other."""
    logging = [part.logging for part in parts if part.logging is not None]
    return SlotContext(
        np.concatenate([part.features for part in parts], axis=1),
        np.concatenate([part.daypart for part in parts], axis=1),
        np.concatenate(logging, axis=1) if logging else None,
    )


def context_of(seen: Observation, logging: np.ndarray | None) -> SlotContext:
    """The context of one slot.

    Args:
        seen: N customers before the decision.
        logging: the fitted logging policy's probabilities there, if it is asked. Shape [N, 1 + K].
    """
    features = np.concatenate([seen.population.features.numpy(), seen.state.numpy()], axis=1)
    return SlotContext(features[:, None], seen.daypart.numpy()[:, None], None if logging is None else logging[:, None])


def full_logging(action: np.ndarray, logged_prob: np.ndarray, fitted: np.ndarray) -> np.ndarray:
    """The logging policy's probabilities of all decisions: what was logged, the rest shared out as fitted.

    Args:
        action: what was decided. Shape [N], int64.
        logged_prob: its probability. Shape [N].
        fitted: a fitted logging policy's. Shape [N, 1 + K].
    Returns:
        Shape [N, 1 + K], rows sum to 1; that of the decision taken is the logged one.
    """
    taken, logged = action[:, None], logged_prob[:, None]
    rest = 1.0 - np.take_along_axis(fitted, taken, axis=1)
    some = rest > 1e-9
    scale = np.divide(1.0 - logged, rest, out=np.zeros_like(rest), where=some)
    mixed: np.ndarray = fitted * scale
    np.put_along_axis(mixed, taken, np.where(some, logged, 1.0), axis=1)
    return mixed
