"""Estimators that weigh what a content is like instead of which one it is: MIPS and OffCEM.

A content that was never sent has no weight of its own, yet others with its category, offer or tone were sent. With e a
discrete value that describes a decision, the weight is w(x, e) = pi(e|x) / mu(e|x), where pi(e|x) = sum_a pi(a|x)
p(e|a). MIPS is unbiased where a content acts on the reward through e alone; OffCEM needs less, namely that a reward
model is right about differences between contents of one e.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from sklearn.linear_model import LogisticRegression

from campaigns.errors import CampaignError
from evaluation.logged import SUM_TOLERANCE, Contributions, LoggedDecisions, check_target, every_row, mean_contributions
from evaluation.one_step import doubly_robust_parts, importance_weights


@dataclass(frozen=True)
class Embedding:
    """What a decision is like, as one of E values.

    Attributes:
        prob: p(e|a), of every decision; rows sum to 1. Shape [1 + K, E].
        seen: the value of each logged decision. Shape [n], int64.
    """

    prob: np.ndarray
    seen: np.ndarray

    def __post_init__(self) -> None:
        if self.prob.ndim != 2 or not (
            (self.prob >= 0).all() and (np.abs(self.prob.sum(axis=1) - 1) < SUM_TOLERANCE).all()
        ):
            raise CampaignError("evaluation: probabilities of attributes must be >= 0 and sum to 1 for each decision.")
        if len(self.seen) and not 0 <= self.seen.min() <= self.seen.max() < self.prob.shape[1]:
            raise CampaignError(
                f"evaluation: attributes of logged decisions must lie in 0..{self.prob.shape[1] - 1}; got "
                f"{self.seen.min()}..{self.seen.max()}."
            )


def attribute_embedding(attributes: np.ndarray, action: np.ndarray) -> Embedding:
    """An embedding whose values are the combinations of attributes that decisions have.

    Args:
        attributes: codes or texts of every decision, hold included (give it values of its own, or it would share its
            weight with contents). Shape [1 + K] or [1 + K, D].
        action: logged decisions. Shape [n], int64.
    """
    _, value = np.unique(attributes.reshape(len(attributes), -1), axis=0, return_inverse=True)
    value = value.reshape(-1)
    if len(action) and action.max() >= len(value):
        raise CampaignError(f"evaluation: decision {action.max()} is logged, but {len(value)} decisions are described.")
    return Embedding(np.eye(int(value.max()) + 1)[value], value[action])


def drawn_embedding(prob: Sequence[np.ndarray], seen: np.ndarray) -> Embedding:
    """An embedding of D attributes that are drawn independently given the decision, as one value of their product.

    Args:
        prob: p(e_d|a) for each attribute. Shapes [1 + K, E_d].
        seen: the logged decisions' attributes. Shape [n, D], int64.
    """
    if not prob or seen.ndim != 2 or seen.shape[1] != len(prob):
        raise CampaignError(f"evaluation: {len(prob)} attributes have probabilities; those seen have {seen.shape}.")
    joint, value = prob[0], seen[:, 0]
    for part, own in zip(prob[1:], seen.T[1:], strict=True):
        joint = (joint[:, :, None] * part[:, None, :]).reshape(len(joint), -1)
        value = value * part.shape[1] + own
    return Embedding(joint, value)


class MarginalWeights(Protocol):
    """A way to weigh what logged decisions are like."""

    def weights(self, logged: LoggedDecisions, target: np.ndarray) -> np.ndarray:
        """w(x, e). Shape [n]."""
        ...


@dataclass(frozen=True)
class KnownEmbedding:
    """w(x, e) = pi(e|x) / mu(e|x) with p(e|a) given (Saito and Joachims 2022). It serves new contents.

    Attributes:
        embedding: of all decisions, those never logged too.
        logging: the logging policy's probabilities, 0 for new contents. Shape [n, 1 + K].
    """

    embedding: Embedding
    logging: np.ndarray

    def weights(self, logged: LoggedDecisions, target: np.ndarray) -> np.ndarray:
        """See `MarginalWeights.weights`."""
        return importance_weights(*self.by_attribute(logged, target))

    def by_attribute(self, logged: LoggedDecisions, target: np.ndarray) -> tuple[LoggedDecisions, np.ndarray]:
        """The log and the policy as if e were what is decided; made for `diagnose`, which then judges MIPS's weights.

        Returns:
            The log with e as action and mu(e|x) as logged probability; pi(e|x), shape [n, E].
        """
        check_target(target, logged.action, every_row(logged))
        _check_logging(self.logging, target)
        embedding = self.embedding
        if embedding.prob.shape[0] != target.shape[1] or len(embedding.seen) != len(logged):
            raise CampaignError(
                f"evaluation: attributes of {embedding.prob.shape[0]} decisions and {len(embedding.seen)} rows do not "
                f"fit target probabilities of shape {target.shape}."
            )
        logged_prob = np.einsum("nk,kn->n", self.logging, embedding.prob[:, embedding.seen])
        log = LoggedDecisions(logged.customer, embedding.seen, logged.reward, np.minimum(logged_prob, 1.0))
        return log, target @ embedding.prob


@dataclass(frozen=True)
class EstimatedPosterior:
    """w(x, e) = sum_a p(a|x, e) pi(a|x) / mu(a|x) with p(a|x, e) estimated (Saito and Joachims 2022).

    For embeddings whose p(e|a) is unknown. A content that was never logged gets no weight.

    Attributes:
        posterior: p(a|x, e) at each logged e (`counted_posterior`, `logistic_posterior`). Shape [n, 1 + K].
        logging: the logging policy's probabilities. Shape [n, 1 + K].
    """

    posterior: np.ndarray
    logging: np.ndarray

    def weights(self, logged: LoggedDecisions, target: np.ndarray) -> np.ndarray:
        """See `MarginalWeights.weights`."""
        check_target(target, logged.action, every_row(logged))
        _check_logging(self.logging, target)
        if self.posterior.shape != target.shape:
            raise CampaignError(f"evaluation: posterior has shape {self.posterior.shape}; expected {target.shape}.")
        ratio = np.where(self.logging > 0, target / np.where(self.logging > 0, self.logging, 1.0), 0.0)
        weights: np.ndarray = np.einsum("nk,nk->n", ratio, self.posterior)
        return weights


def counted_posterior(seen: np.ndarray, action: np.ndarray, decisions: int) -> np.ndarray:
    """p(a|e) by counting, the same for all states. `seen` and `action` have shape [n]; returns [n, 1 + K]."""
    count = np.zeros((int(seen.max()) + 1, decisions))
    np.add.at(count, (seen, action), 1.0)
    share = count / np.maximum(count.sum(axis=1, keepdims=True), 1.0)
    posterior: np.ndarray = share[seen]
    return posterior


def logistic_posterior(
    features: np.ndarray, seen: np.ndarray, action: np.ndarray, decisions: int, tolerance: float = 1e-6
) -> np.ndarray:
    """p(a|x, e) by a logistic model of the decision on features and embedding.

    Args:
        features: of the states. Shape [n, F].
        seen: embedding of each logged decision: numbers, or categories as one-hot columns. Shape [n, D].
        action: logged decisions. Shape [n], int64.
        decisions: 1 + K.
        tolerance: of the fit.
    Returns:
        Shape [n, 1 + K]; 0 for decisions never logged.
    """
    inputs = np.concatenate([features, seen], axis=1)
    model = LogisticRegression(max_iter=10_000, tol=tolerance).fit(inputs, action)
    posterior = np.zeros((len(action), decisions))
    posterior[:, model.classes_] = model.predict_proba(inputs)
    return posterior


@dataclass(frozen=True)
class MIPS:
    """Marginalised IPS: mean of w(x, e) r (Saito and Joachims 2022).

    Attributes:
        marginal: gives w(x, e).
        self_normalised: divides by the mean weight instead of 1.
        name: in tables.
    """

    marginal: MarginalWeights
    self_normalised: bool = False
    name: str = "MIPS"

    def contributions(
        self, logged: LoggedDecisions, target: np.ndarray, predicted: np.ndarray | None = None
    ) -> Contributions:
        """See `Estimator.contributions`."""
        weights = self.marginal.weights(logged, target)
        if self.self_normalised:
            return Contributions(weights * logged.reward, weights)
        return mean_contributions(weights * logged.reward)


@dataclass(frozen=True)
class OffCEM:
    """Conjunct effect model: mean of v + w(x, e) (r - q(x, a)) (Saito, Ren and Joachims 2023).

    Weights see to the effect of the cluster e, the model to what is left of the content's. Whatever the model says of
    a whole cluster cancels, so that q may be any reward model, cross-fitted by customer (`evaluation.reward_model`);
    for contents never logged it has to rest on their features.

    Attributes:
        marginal: gives w(x, e).
        name: in tables.
    """

    marginal: MarginalWeights
    name: str = "OffCEM"

    def contributions(
        self, logged: LoggedDecisions, target: np.ndarray, predicted: np.ndarray | None = None
    ) -> Contributions:
        """See `Estimator.contributions`."""
        expected, _, residual = doubly_robust_parts(logged, target, predicted, self.name)
        return mean_contributions(expected + self.marginal.weights(logged, target) * residual)


def _check_logging(logging: np.ndarray, target: np.ndarray) -> None:
    if logging.shape != target.shape:
        raise CampaignError(f"evaluation: logging probabilities have shape {logging.shape}; expected {target.shape}.")
    sums = logging.sum(axis=1)
    bad = ~((np.abs(sums - 1) < SUM_TOLERANCE) & (logging >= 0).all(axis=1))
    if bad.any():
        row = int(np.argmax(bad))
        raise CampaignError(
            f"evaluation: logging probabilities must be >= 0 and sum to 1; {int(bad.sum())} of {len(bad)} rows do not, "
            f"first row {row} with {sums[row]}."
        )
