"""A policy learned from the log alone: the highest value by doubly robust scores.

Dudik, Langford and Li (2011); Athey and Wager (2021), section 2: every logged decision gives a score to each decision
that could have been taken, its predicted reward, corrected for the taken one by what the prediction missed over the
probability of taking it. Predictions are of customers that their model has not seen. A softmax policy, linear in the
bandits' features, is then moved up the gradient of its mean score. Several slots of one customer are several decisions,
each with the rewards of a window: what a decision does to later weeks is not seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from agents.bandit_lessons import windowed_rewards
from agents.dr_settings import DoublyRobustSettings
from agents.lesson import Lesson, LoggedCustomers
from agents.ridge import RidgeStatistics
from campaigns.errors import CampaignError
from campaigns.guardrails import Guardrails
from campaigns.observation import Observation
from campaigns.replay import replay
from evaluation.offline import LEAST_PROBABILITY, as_logged
from policies.bandit import decided_features, feature_width, linear_values
from policies.chooser import rows_of
from policies.decision_values import LinearValues

PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1)
"""Weights of the squared parameters that are tried, scores in units of their spread; the best on customers left out."""


@dataclass(frozen=True)
class ScoredDecisions:
    """R logged decisions in which there was a choice.

    Attributes:
        customer: whose. Shape [R], int64.
        people, state, daypart, candidates: what was known; shapes as `joint_features` has them, R rows.
        allowed: Shape [R, 1 + K], bool.
        decision: Shape [R], int64.
        decided: joint features of what was decided. Shape [R, D].
        reward: of the window. Shape [R].
        probability: of what was decided. Shape [R].
    """

    customer: Tensor
    people: Tensor
    state: Tensor
    daypart: Tensor
    candidates: Tensor
    allowed: Tensor
    decision: Tensor
    decided: Tensor
    reward: Tensor
    probability: Tensor

    def __len__(self) -> int:
        return len(self.customer)

    def take(self, rows: Tensor) -> ScoredDecisions:
        """The decisions at `rows` (bool mask)."""
        return ScoredDecisions(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    def values(self, theta: Tensor, contents: Tensor) -> Tensor:
        """Linear values of every decision. Shape [R, 1 + K]."""
        return linear_values(theta, self.people, self.state, self.daypart, contents, self.candidates)


def learn_doubly_robust(lesson: Lesson) -> LinearValues:
    """Learns from a lesson's log; serves the softmax policy."""
    log, settings = lesson.log(), lesson.settings
    decisions = collect_decisions(log, lesson)
    contents = log.catalogue.features
    fold = folds_of(decisions.customer, settings.folds, lesson.seed)
    scores = doubly_robust_scores(decisions, contents, fold, settings)
    width = feature_width(log.population, log.catalogue)
    total, done = len(PENALTIES) * settings.folds + 1, 0

    def fit(rows: Tensor, penalty: float) -> Tensor:
        nonlocal done
        done += 1
        lesson.progress.update(done, total)
        return ascend(decisions.take(rows), scores[rows], contents, width, penalty, settings.iterations)

    penalty = best_penalty(fit, decisions, scores, contents, fold)
    theta = fit(torch.ones(len(decisions), dtype=torch.bool), penalty)
    return LinearValues(theta, 1.0, "doubly_robust")


def collect_decisions(log: LoggedCustomers, lesson: Lesson) -> ScoredDecisions:
    """The log's decisions whose outcome is known and that had a choice.

    Raises:
        CampaignError: where there are none.
    """
    settings: DoublyRobustSettings = lesson.settings
    earned, whole = windowed_rewards(log, lesson.objective, settings.window_hours)
    share = min(1.0, settings.decisions / max(int(whole.sum()), 1))
    generator = np.random.default_rng([lesson.seed, 41])
    guardrails: Guardrails = lesson.guardrails
    fitted = lesson.logging_policy() if np.isnan(log.grid.action_prob[:, : whole.shape[1]][whole]).any() else None
    parts: list[ScoredDecisions] = []
    for step in replay(log.grid, log.population, log.catalogue, log.clock, guardrails=guardrails):
        column = step.column
        if column >= earned.shape[1]:
            break
        kept = whole[:, column] & (generator.random(len(whole)) < share)
        kept &= step.observation.allowed.sum(dim=1).numpy() > 1
        rows = torch.from_numpy(np.flatnonzero(kept))
        if not len(rows):
            continue
        seen, decision = rows_of(step.observation, rows), step.decision[rows]
        probability = torch.from_numpy(log.grid.action_prob[:, column].astype(np.float64))[rows]
        if fitted is not None:
            asked = fitted.probabilities(as_logged(seen, log.grid.eligible[kept, column])).double()
            own = asked.gather(1, decision.unsqueeze(1)).squeeze(1).clamp(min=LEAST_PROBABILITY)
            probability = torch.where(probability.isnan(), own, probability)
        parts.append(_scored(seen, decision, rows, torch.from_numpy(earned[:, column])[rows], probability))
    if not parts:
        raise CampaignError("agent doubly_robust: no logged decision has a known outcome and anything to choose from.")
    return ScoredDecisions(**{f.name: torch.cat([getattr(p, f.name) for p in parts]) for f in fields(ScoredDecisions)})


def _scored(
    seen: Observation, decision: Tensor, customer: Tensor, reward: Tensor, probability: Tensor
) -> ScoredDecisions:
    return ScoredDecisions(
        customer,
        seen.population.features,
        seen.state,
        seen.daypart,
        seen.candidates,
        seen.allowed,
        decision,
        decided_features(seen, decision),
        reward.float(),
        probability.float(),
    )


def folds_of(customer: Tensor, folds: int, seed: int) -> Tensor:
    """A fold for every decision, the same for all of one customer. Shape [R], int64."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(int(customer.max()) + 1, generator=generator)
    return order[customer] % folds


def doubly_robust_scores(
    decisions: ScoredDecisions, contents: Tensor, fold: Tensor, settings: DoublyRobustSettings
) -> Tensor:
    """What each decision would have earned, as far as the log tells.

    Args:
        decisions: the logged ones.
        contents: Shape [K, Fx].
        fold: Shape [R], int64.
        settings: how.
    Returns:
        Shape [R, 1 + K], in the objective's unit: unbiased where the probabilities are right and no weight was cut.
    """
    scores = torch.zeros(decisions.allowed.shape)
    for number in range(settings.folds):
        inside = fold == number
        model = RidgeStatistics(decisions.decided.shape[1], settings.ridge)
        model.update(decisions.decided[~inside], decisions.reward[~inside])
        part = decisions.take(inside)
        predicted = part.values(model.estimate.float(), contents)
        taken = part.decision.unsqueeze(1)
        missed = part.reward.unsqueeze(1) - predicted.gather(1, taken)
        weight = (1.0 / part.probability).clamp(max=settings.max_weight).unsqueeze(1)
        scores[inside] = predicted.scatter_add(1, taken, weight * missed)
    return scores


def ascend(
    decisions: ScoredDecisions, scores: Tensor, contents: Tensor, width: int, penalty: float, iterations: int
) -> Tensor:
    """The softmax policy of the highest penalised mean score; from all decisions alike. Shape [D], float32."""
    spread = scores.std().clamp(min=1e-9)
    # A level that all decisions of a row share moves no policy; without it the numbers stay small.
    scaled = (scores - scores.masked_fill(~decisions.allowed, 0).sum(1, keepdim=True)
              / decisions.allowed.sum(1, keepdim=True)) / spread  # fmt: skip
    theta = torch.zeros(width, requires_grad=True)
    optimiser = torch.optim.LBFGS([theta], max_iter=iterations, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        missed: Tensor = penalty * theta.square().sum() - mean_score(theta, decisions, scaled, contents)
        missed.backward()
        return missed

    with torch.enable_grad():
        optimiser.step(loss)
    return theta.detach()


def mean_score(theta: Tensor, decisions: ScoredDecisions, scores: Tensor, contents: Tensor) -> Tensor:
    """Mean score of the softmax policy of `theta`. Scalar."""
    values = decisions.values(theta, contents).masked_fill(~decisions.allowed, -torch.inf)
    return (values.softmax(dim=1) * scores).sum(dim=1).mean()


def best_penalty(
    fit: Callable[[Tensor, float], Tensor],
    decisions: ScoredDecisions,
    scores: Tensor,
    contents: Tensor,
    fold: Tensor,
    penalties: Sequence[float] = PENALTIES,
) -> float:
    """The penalty whose policies score best on customers that they were not fitted to."""

    def outside(penalty: float) -> float:
        total = 0.0
        for number in range(int(fold.max()) + 1):
            held = fold == number
            if bool(held.any()) and not bool(held.all()):
                theta = fit(~held, penalty)
                total += float(mean_score(theta, decisions.take(held), scores[held], contents)) * int(held.sum())
        return total

    return max(penalties, key=outside)
