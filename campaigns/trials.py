"""A log as an experiment: decisions that chance was free to take, each a content sent or held, with its weight.

Where the logging policy gave a decision the probability p, a row on which it was taken stands for 1/p rows on which
it could have been (Horvitz and Thompson 1952). So sent and held decisions, weighted, are two samples of one
population: every free decision with every content that could have been sent then.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from campaigns.audience import Catalogue, Population
from campaigns.clock import SlotClock
from campaigns.grid import DecisionGrid
from campaigns.history import HOLD
from campaigns.replay import replay


@dataclass(frozen=True)
class Trials:
    """R pairs of a free decision and a content; a hold is paired with some of the contents that it left unsent.

    Attributes:
        customer: row of the population. Shape [R], int64.
        content: index of the content. Shape [R], int64.
        sent: whether it was sent; else the customer was sent nothing. Shape [R], bool.
        state: state features before the decision. Shape [R, Fs], float32.
        candidate: candidate features of the content. Shape [R, Fc], float32.
        outcomes: attributed outcomes by name, NaN where unknown. Shape [R] each, float32.
        weight: pairs of the population that each stands for. Shape [R], float64.
    """

    customer: Tensor
    content: Tensor
    sent: Tensor
    state: Tensor
    candidate: Tensor
    outcomes: dict[str, Tensor]
    weight: Tensor

    def __len__(self) -> int:
        return int(self.customer.shape[0])


def free_trials(
    grid: DecisionGrid,
    population: Population,
    catalogue: Catalogue,
    clock: SlotClock,
    most_holds: int = 50_000,
    contents_a_hold: int = 2,
    seed: int = 0,
) -> Trials | None:
    """The trials of a log.

    Used are labelled decisions on eligible rows whose logged probability is known, above 0 and below 1. A content
    could have been sent where consent, opt-outs and eligibility allowed it; that the logging policy then gave it a
    chance is assumed, and shows in the weights: those of sent and of held pairs sum to the same number, or it did
    not. Memory: one slot, and the pairs.

    Args:
        grid, population, catalogue, clock: of one log.
        most_holds: how many of the uneventful holds are kept, about; the rest is thinned out evenly, weighted up.
        contents_a_hold: contents with which a hold is paired at most, drawn evenly and weighted up.
        seed: of both draws.
    Returns:
        The trials; None where the log has no free send or no free hold.
    """
    generator = np.random.default_rng(seed)
    chance = (grid.action_prob > 0) & (grid.action_prob < 1)
    holds = int(((grid.decision == HOLD) & grid.labelled & grid.eligible & chance).sum())
    hold_share = min(1.0, most_holds / max(holds, 1))
    parts: list[Trials] = []
    for step in replay(grid, population, catalogue, clock):
        decision = step.decision.numpy()
        probability = grid.action_prob[:, step.column].astype(np.float64)
        outcomes = {name: values[:, step.column] for name, values in grid.outcomes.items()}
        free = (decision >= HOLD) & grid.labelled[:, step.column] & grid.eligible[:, step.column]
        free &= (probability > 0) & (probability < 1)  # false where it is unknown
        allowed = step.observation.allowed.numpy()[:, 1:]
        free &= allowed.any(axis=1)
        held = free & (decision == HOLD)
        sent = np.flatnonzero(free & (decision > HOLD) & (decision <= allowed.shape[1]))
        sent = sent[allowed[sent, decision[sent] - 1]]
        eventful = np.zeros(len(decision), dtype=bool)
        for values in outcomes.values():
            eventful |= np.nan_to_num(values) != 0
        quiet = generator.permutation(np.flatnonzero(held & ~eventful))
        few = quiet[: int(np.ceil(hold_share * len(quiet)))]  # of each slot the same share, so that weights add up
        thinned = np.ones(len(decision))
        thinned[few] = len(few) / max(len(quiet), 1)
        kept = np.concatenate([np.flatnonzero(held & eventful), few])
        hold, content, share = _paired(allowed[kept], contents_a_hold, generator)
        hold = kept[hold]
        row = np.concatenate([sent, hold])
        if not len(row):
            continue
        weight = np.concatenate([1 / probability[sent], 1 / (probability[hold] * share * thinned[hold])])
        chosen, which = torch.from_numpy(row), np.concatenate([decision[sent] - 1, content])
        seen = step.observation
        parts.append(
            Trials(
                chosen,
                torch.from_numpy(which.astype(np.int64)),
                torch.arange(len(row)) < len(sent),
                seen.state[chosen],
                seen.candidates[chosen, torch.from_numpy(which.astype(np.int64))],
                {name: torch.from_numpy(values[row].astype(np.float32)) for name, values in outcomes.items()},
                torch.from_numpy(weight),
            )
        )
    if not parts:
        return None
    trials = Trials(
        torch.cat([p.customer for p in parts]),
        torch.cat([p.content for p in parts]),
        torch.cat([p.sent for p in parts]),
        torch.cat([p.state for p in parts]),
        torch.cat([p.candidate for p in parts]),
        {name: torch.cat([p.outcomes[name] for p in parts]) for name in parts[0].outcomes},
        torch.cat([p.weight for p in parts]),
    )
    return trials if bool(trials.sent.any()) and not bool(trials.sent.all()) else None


def _paired(
    allowed: np.ndarray, most: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draws up to `most` of each row's allowed contents, without replacement.

    Returns:
        Row and content of each pair, and the share of the row's contents that were drawn.
    """
    order = np.where(allowed, generator.random(allowed.shape), np.inf).argsort(axis=1)[:, :most]
    count = allowed.sum(axis=1)
    taken = np.arange(order.shape[1])[None, :] < count[:, None]
    row, place = np.nonzero(taken)
    return row, order[row, place], np.minimum(count, most)[row] / count[row]
