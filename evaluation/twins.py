"""Twins of the user's own log, of which every policy's value is known: which estimators would have been right?

A twin keeps the log's contexts (drawn anew, customer by customer) and its logging probabilities. Decisions are drawn
from these, rewards from a model fitted to the log, with the log's noise. Under that law the truth of every policy is a
sum, so that each estimator's ranking, bias and coverage on logs just like this one are facts (a semi-synthetic test;
Dudik, Langford and Li 2011, section 5, make logs of classification sets in this manner).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import rankdata

from campaigns.errors import CampaignError
from evaluation.analytic_intervals import student_quantile
from evaluation.diagnostics import diagnose_weights
from evaluation.estimators import (
    DM,
    DR,
    IPS,
    SNDR,
    SNIPS,
    ClippedIPS,
    Contributions,
    DRos,
    Estimator,
    LoggedDecisions,
    SwitchDR,
    ratio_sum,
)
from evaluation.reward_model import RewardModel

MOST_ROWS = 20_000
"""A larger log's twins have this many rows, and the report says so."""

CELLS = 500_000
"""Rows times decisions held at a time."""

ESTIMATORS: tuple[Estimator, ...] = (
    DM(), IPS(), ClippedIPS(10.0), SNIPS(), DR(), SNDR(), SwitchDR(10.0), DRos(100.0),
)  # fmt: skip
"""Every estimator of one decision; those with a setting have a common one."""

RIGHT_COVERAGE, RIGHT_REGRET = 0.9, 0.1
"""An estimator would have been right where its intervals (95 %) cover at least this often, and choosing by it loses at
most this share of what lies between the panel's best and worst."""


@dataclass(frozen=True)
class TwinLaw:
    """What the twins are drawn from.

    Attributes:
        mean: expected reward of every decision. Shape [n, 1 + K].
        logging: the logging policy. Shape [n, 1 + K], rows sum to 1.
        residuals: by decision, what rewards deviate from `mean`, centred; None where rewards are 0 or 1.
    """

    mean: np.ndarray
    logging: np.ndarray
    residuals: tuple[np.ndarray, ...] | None


def twin_law(logged: LoggedDecisions, features: np.ndarray, logging: np.ndarray, seed: int = 0) -> TwinLaw:
    """Fits the law of the twins to a log.

    Args:
        logged: n decisions, one a customer.
        features: known before the decision. Shape [n, F].
        logging: shares by which what the logged probability leaves is spread over the other decisions, as a model of
            what was decided gives them. Shape [n, 1 + K].
        seed: of the reward model.
    Returns:
        The logged probability for what was decided, the rest in the proportions of `logging`; a linear model for each
        decision as the mean reward, within the range of the rewards seen.
    """
    rows, decisions = np.arange(len(logged)), logging.shape[1]
    model = RewardModel(np.zeros((decisions - 1, 0)), learner="ridge", seed=seed)
    mean = model.fit(features, logged.action, logged.reward).predict(features)
    mean = np.clip(mean, logged.reward.min(), logged.reward.max())
    others = np.maximum(logging, 0.0)
    others[rows, logged.action] = 0.0
    total = others.sum(axis=1, keepdims=True)
    rest = 1 - logged.logged_prob[:, None]
    own = np.where(total > 0, others * rest / np.where(total > 0, total, 1.0), 0.0)
    own[rows, logged.action] = np.where(total[:, 0] > 0, logged.logged_prob, 1.0)
    if np.isin(logged.reward, (0.0, 1.0)).all():
        return TwinLaw(mean, own, None)
    left = logged.reward - mean[rows, logged.action]
    noise = tuple(_centred(left[logged.action == d] if (logged.action == d).any() else left) for d in range(decisions))
    return TwinLaw(mean, own, noise)


@dataclass(frozen=True)
class TwinScores:
    """What an estimator would have made of the twins, over the policies that it does not refuse.

    Attributes:
        bias: mean of |mean error| over policies, in the reward's unit.
        error: root mean squared error.
        coverage: share of intervals that hold the truth.
        refused: share of estimates that are refused.
        rank_correlation: mean of Spearman's between estimates and truths over the panel.
        regret_at_1, regret_at_3: what the best of the k policies that it ranks first lacks to the best of all, as a
            share of what lies between the panel's best and worst.
        right: coverage and regret are as `RIGHT_COVERAGE` and `RIGHT_REGRET` ask.
    """

    bias: float
    error: float
    coverage: float
    refused: float
    rank_correlation: float
    regret_at_1: float
    regret_at_3: float
    right: bool


def score_on_twins(
    law: TwinLaw,
    targets: Mapping[str, np.ndarray],
    predicted: np.ndarray,
    twins: int = 50,
    level: float = 0.95,
    seed: int = 0,
    estimators: Sequence[Estimator] = ESTIMATORS,
) -> dict[str, TwinScores]:
    """Draws twins and lets every estimator judge every policy.

    Args:
        law: of the twins.
        targets: the panel's probabilities by policy. Shape [n, 1 + K] each.
        predicted: the reward model that the estimators use; not the law's, and not fitted to the twins, so that DM is
            as far off as models of one log are from each other. Shape [n, 1 + K].
        twins: number drawn.
        level: of the intervals, Student's t.
        seed: of the draws.
        estimators: row by row, as all of `evaluation.estimators` are.
    Returns:
        Scores by estimator.
    Raises:
        CampaignError: with fewer than two policies, or no twin.
    """
    if len(targets) < 2 or twins < 1:
        raise CampaignError(f"evaluation.twins={twins}: ranking needs a twin and two policies; got {len(targets)}.")
    names = list(targets)
    truth = np.array([float(np.einsum("nk,nk->n", targets[name], law.mean).mean()) for name in names])
    estimates = np.empty((len(estimators), len(names), twins))
    errors, refused = np.empty_like(estimates), np.zeros((len(names), twins), dtype=bool)
    done = 0
    for drawn in _draw(law, twins, seed):
        count, size = drawn.index.shape
        row, action, reward = drawn.index.ravel(), drawn.action.ravel(), drawn.reward.ravel()
        logged = LoggedDecisions(np.arange(len(row)), action, reward, law.logging[row, action])
        model = predicted[row]
        for place, name in enumerate(names):
            target = targets[name][row]
            weights = (target[np.arange(len(row)), action] / logged.logged_prob).reshape(count, size)
            refused[place, done : done + count] = [diagnose_weights(w).refused is not None for w in weights]
            for number, estimator in enumerate(estimators):
                found = estimator.contributions(logged, target, model)
                value, error = _values_and_errors(found, count)
                estimates[number, place, done : done + count] = value
                errors[number, place, done : done + count] = error
        done += count
    half = student_quantile(0.5 + level / 2, len(law.mean)) * errors
    return {
        estimator.name: _scores(
            estimates[number], half[number], truth,
            np.zeros_like(refused) if estimator.name == DM().name else refused | ~np.isfinite(estimates[number]),
        )
        for number, estimator in enumerate(estimators)
    }  # fmt: skip


def twins_report(scores: Mapping[str, TwinScores], twins: int, rows: int, policies: int) -> dict[str, Any]:
    """JSON-able: a table of the scores, and a sentence."""
    right = [name for name, score in scores.items() if score.right]
    plural = "s" if twins != 1 else ""
    told = (
        f"would have been right: {', '.join(right)}"
        if right
        else "none would have been right in both ranking and interval; read the figures with care"
    )
    return {
        "twins": twins,
        "rows": rows,
        "policies": policies,
        "estimators": [{"name": name, **vars(score)} for name, score in scores.items()],
        "right": right,
        "reason": None,
        "sentence": f"On {twins} twin{plural} of this log, whose truth is known, of {len(scores)} estimators {told}.",
    }


@dataclass(frozen=True)
class _Twins:
    """Some twins: rows of the law, decisions and rewards. Shape [T, n] each."""

    index: np.ndarray
    action: np.ndarray
    reward: np.ndarray


def _draw(law: TwinLaw, twins: int, seed: int) -> Iterator[_Twins]:
    """Twins, chunk after chunk; each has a generator of its own, so that chunks do not change the draws."""
    rows, decisions = law.mean.shape
    cumulative = law.logging.cumsum(axis=1)[:, :-1]
    chunk = max(1, CELLS // (rows * decisions))
    for begin in range(0, twins, chunk):
        parts = []
        for twin in range(begin, min(begin + chunk, twins)):
            generator = np.random.default_rng([seed, 53, twin])
            index = generator.integers(0, rows, rows)
            action = (generator.random((rows, 1)) > cumulative[index]).sum(axis=1)
            # Rounding must not draw what has no probability.
            action = np.where(law.logging[index, action] > 0, action, law.logging[index].argmax(axis=1))
            mean = law.mean[index, action]
            if law.residuals is None:
                reward = (generator.random(rows) < mean).astype(np.float64)
            else:
                place, reward = generator.random((rows,)), mean
                for decision, noise in enumerate(law.residuals):
                    mine = action == decision
                    reward[mine] += noise[(place[mine] * len(noise)).astype(np.int64)]
            parts.append((index, action, reward))
        yield _Twins(*(np.stack(columns) for columns in zip(*parts, strict=True)))


def _values_and_errors(found: Contributions, twins: int) -> tuple[np.ndarray, np.ndarray]:
    """Estimates and standard errors of stacked twins (`clustered_error`, a row a customer). Shapes [T]."""
    numerator, denominator = (part.reshape(twins, len(found) // twins, -1) for part in
                              (found.numerator, found.denominator))  # fmt: skip
    above, below = numerator.sum(axis=1, keepdims=True), denominator.sum(axis=1, keepdims=True)
    below = np.where(below == 0, np.nan, below)
    influence = ((numerator - above / below * denominator) / below).sum(axis=2)
    size = influence.shape[1]
    return ratio_sum(above[:, 0], below[:, 0]), np.sqrt(size / max(size - 1, 1) * np.square(influence).sum(axis=1))


def _scores(estimates: np.ndarray, half: np.ndarray, truth: np.ndarray, refused: np.ndarray) -> TwinScores:
    """Scores of one estimator; estimates, half widths and refusals have shape [policies, twins]."""
    off = np.where(refused, np.nan, estimates - truth[:, None])
    kept = ~refused
    judged = kept.any(axis=1)
    means = np.nansum(off, axis=1)[judged] / kept.sum(axis=1)[judged]
    correlations: list[float] = []
    first: list[float] = []
    third: list[float] = []
    spread = float(truth.max() - truth.min())
    for twin in range(estimates.shape[1]):
        there = kept[:, twin]
        if there.sum() < 2:
            continue
        mine, true = estimates[there, twin], truth[there]
        correlations.append(_spearman(mine, true))
        order = np.argsort(-mine, kind="stable")
        for k, regrets in ((1, first), (3, third)):
            regrets.append(float(true.max() - true[order[:k]].max()) / spread if spread > 0 else 0.0)
    coverage = float((np.abs(off[kept]) <= half[kept]).mean()) if kept.any() else float("nan")
    regret = float(np.mean(first)) if first else float("nan")
    return TwinScores(
        bias=float(np.abs(means).mean()) if judged.any() else float("nan"),
        error=float(np.sqrt(np.nanmean(np.square(off)))) if kept.any() else float("nan"),
        coverage=coverage,
        refused=float(refused.mean()),
        rank_correlation=float(np.mean(correlations)) if correlations else float("nan"),
        regret_at_1=regret,
        regret_at_3=float(np.mean(third)) if third else float("nan"),
        right=bool(coverage >= RIGHT_COVERAGE and regret <= RIGHT_REGRET),
    )


def _spearman(estimates: np.ndarray, truth: np.ndarray) -> float:
    """Spearman's rank correlation; 0 where either side does not tell the policies apart."""
    one, other = rankdata(estimates), rankdata(truth)
    if one.std() == 0 or other.std() == 0:
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])


def _centred(values: np.ndarray) -> np.ndarray:
    centred: np.ndarray = values - values.mean()
    return centred
