"""Features phi(s, a) of a decision in a state, linear in the decision, so that a policy's mean of them is exact.

With p the probability of any send, the row holds: state, customer, the mean candidate, what a reward model expects of
holding, of sending and of the best send; p, p times state and customer; the mean of candidate and content features over
what is sent; and the reward expected of the decision. What was taken is the policy that takes it for sure.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from evaluation.sequences import Sequences

LEAST_SPREAD = 1e-3
"""A column that varies less than this over the log is left out: its effect could not be told."""

SCALED_BY = 400
"""Customers whose slots give means and scales: more would move them little and cost as much as all else."""


@dataclass(frozen=True)
class DecisionFeatures:
    """How rows are made and scaled.

    Attributes:
        mean, scale: of the kept columns as they are logged; the first column is the constant 1. Shape [d].
        kept: of the raw columns. Shape [raw], bool.
    """

    mean: Tensor
    scale: Tensor
    kept: Tensor

    def of(self, sequences: Sequences, chances: Tensor) -> Tensor:
        """Mean features under decision probabilities [N, T, 1 + K]. Shape [N, T, d]."""
        rows = _raw(sequences, chances)
        if not bool(self.kept.all()):
            rows = rows[..., self.kept]
        return rows.sub_(self.mean).div_(self.scale)

    @property
    def prior(self) -> Tensor:
        """Coefficients under which a row says what the reward model expects of the decision. Shape [d]."""
        result = torch.zeros_like(self.mean)
        if bool(self.kept[-1]):
            result[0], result[-1] = self.mean[-1], self.scale[-1]
        return result

    def taken(self, sequences: Sequences) -> Tensor:
        """Features of what was decided. Shape [N, T, d]."""
        return self.of(sequences, _decided(sequences))


def fit_features(sequences: Sequences) -> DecisionFeatures:
    """Scales features by what is logged for some of the customers, without looking at rewards."""
    some = sequences.take(torch.arange(min(len(sequences), SCALED_BY)))
    rows = _raw(some, _decided(some))[some.known]
    mean, spread = rows.mean(dim=0), rows.std(dim=0)
    kept = spread > LEAST_SPREAD
    kept[0] = True
    mean, scale = mean[kept], spread[kept]
    mean[0], scale[0] = 0.0, 1.0
    return DecisionFeatures(mean, scale, kept)


def _decided(sequences: Sequences) -> Tensor:
    return torch.nn.functional.one_hot(sequences.action, sequences.immediate.shape[2]).float()


def _raw(sequences: Sequences, chances: Tensor) -> Tensor:
    """Unscaled columns. Shape [N, T, raw]."""
    state, slots = sequences.state, sequences.state.shape[1]
    people = sequences.people.unsqueeze(1).expand(-1, slots, -1)
    sends = chances[..., 1:]
    send = sends.sum(dim=2, keepdim=True)
    immediate = sequences.immediate
    known = torch.stack(
        [sequences.open, immediate[..., 0], immediate[..., 1:].mean(dim=2), immediate[..., 1:].amax(dim=2)], dim=2
    )
    return torch.cat(
        [
            torch.ones_like(send),
            state,
            people,
            sequences.candidates.mean(dim=2),
            known,
            send,
            send * state,
            send * people,
            (sends.unsqueeze(2) @ sequences.candidates).squeeze(2),
            sends @ sequences.contents,
            (chances * immediate).sum(dim=2, keepdim=True),
        ],
        dim=2,
    )
