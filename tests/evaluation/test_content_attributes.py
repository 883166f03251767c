"""MIPS and OffCEM: contents never sent, judged by what they are like."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from campaigns.errors import CampaignError
from evaluation.diagnostics import diagnose
from evaluation.estimators import (
    DM,
    DR,
    IPS,
    MIPS,
    EstimatedPosterior,
    KnownEmbedding,
    LoggedDecisions,
    OffCEM,
    attribute_embedding,
    counted_posterior,
    drawn_embedding,
    importance_weights,
    logistic_posterior,
)
from tests.evaluation.bandit_worlds import z_score

CODES = np.array([0, 1, 1, 1, 2, 2, 2])
"""Hold, three contents of one category, three of another; the last of either is new."""

NEW = (3, 6)


@dataclass(frozen=True)
class NewContentWorld:
    """Four contexts; rewards by category and context, and a little by content."""

    mean: np.ndarray
    logging: np.ndarray
    target: np.ndarray

    @property
    def value(self) -> float:
        return float((self.target * self.mean).sum(axis=1).mean())

    def log(self, rows: int, generator: np.random.Generator) -> tuple[LoggedDecisions, np.ndarray]:
        context = generator.integers(0, len(self.mean), rows)
        action = (generator.random(rows)[:, None] > self.logging[context].cumsum(axis=1)[:, :-1]).sum(axis=1)
        reward = self.mean[context, action] + generator.normal(0, 0.3, rows)
        return LoggedDecisions(np.arange(rows), action, reward, self.logging[context, action]), context


def new_content_world(own_effect: float) -> NewContentWorld:
    """With `own_effect` 0 a content acts through its category alone."""
    generator = np.random.default_rng(0)
    mean = generator.uniform(0, 1, (4, 3))[:, CODES] + own_effect * generator.uniform(-1, 1, (4, 7))
    logging = generator.dirichlet(np.full(7, 3.0), 4)
    logging[:, NEW] = 0
    target = generator.dirichlet(np.full(7, 1.0), 4)
    target[:, NEW] += 0.5
    return NewContentWorld(mean, *(p / p.sum(axis=1, keepdims=True) for p in (logging, target)))


def weighted(world: NewContentWorld, log: LoggedDecisions, context: np.ndarray) -> KnownEmbedding:
    return KnownEmbedding(attribute_embedding(CODES, log.action), world.logging[context])


def test_weights_by_hand() -> None:
    log = LoggedDecisions(np.arange(2), np.array([1, 2]), np.ones(2), np.array([0.5, 0.25]))
    logging = np.tile([0.25, 0.5, 0.25, 0.0], (2, 1))
    target = np.tile([0.0, 0.1, 0.3, 0.6], (2, 1))
    marginal = KnownEmbedding(attribute_embedding(np.array([0, 1, 2, 2]), log.action), logging)
    assert marginal.weights(log, target) == pytest.approx([0.1 / 0.5, 0.9 / 0.25])
    assert MIPS(marginal).contributions(log, target).value == pytest.approx((0.2 + 3.6) / 2)
    assert MIPS(marginal, self_normalised=True).contributions(log, target).value == 1


def test_an_embedding_that_names_each_content_gives_ips() -> None:
    world = new_content_world(0.3)
    log, context = world.log(500, np.random.default_rng(1))
    marginal = KnownEmbedding(attribute_embedding(np.arange(7), log.action), world.logging[context])
    target = world.target[context]
    assert marginal.weights(log, target) == pytest.approx(importance_weights(log, target))


def test_new_contents_are_judged_without_bias_where_ips_misses_them() -> None:
    world, generator = new_content_world(0.0), np.random.default_rng(2)
    found: dict[str, list[float]] = {"MIPS": [], "IPS": []}
    for _ in range(200):
        log, context = world.log(400, generator)
        for estimator in (MIPS(weighted(world, log, context)), IPS()):
            found[estimator.name].append(estimator.contributions(log, world.target[context]).value)
    assert abs(z_score(np.array(found["MIPS"]), world.value)) < 3.5
    assert np.mean(found["IPS"]) < 0.7 * world.value


def test_offcem_needs_only_the_differences_within_a_category() -> None:
    world, generator = new_content_world(0.3), np.random.default_rng(3)
    # right about contents of a category, wrong about the category
    model = world.mean + np.array([0.4, -0.5, 0.9])[CODES]
    found: dict[str, list[float]] = {"OffCEM": [], "MIPS": [], "DM": [], "DR": []}
    for _ in range(200):
        log, context = world.log(2000, generator)
        marginal = weighted(world, log, context)
        for estimator in (OffCEM(marginal), MIPS(marginal), DM(), DR()):
            found[estimator.name].append(estimator.contributions(log, world.target[context], model[context]).value)
    error = {name: float(np.mean(np.square(np.array(values) - world.value))) for name, values in found.items()}
    assert abs(z_score(np.array(found["OffCEM"]), world.value)) < 3.5
    assert abs(z_score(np.array(found["MIPS"]), world.value)) > 7
    assert error["OffCEM"] < 0.5 * min(error["MIPS"], error["DM"], error["DR"])


def test_with_many_contents_the_weights_of_categories_are_calmer() -> None:
    generator = np.random.default_rng(4)
    codes = np.arange(200) % 5
    mean, logging = generator.uniform(0, 1, 5)[codes], generator.dirichlet(np.full(200, 0.5))
    target = generator.dirichlet(np.full(200, 0.5))
    values: dict[str, list[float]] = {"MIPS": [], "IPS": []}
    for _ in range(100):
        action = generator.choice(200, 500, p=logging)
        log = LoggedDecisions(np.arange(500), action, generator.normal(mean[action], 0.3), logging[action])
        everywhere = np.tile(logging, (500, 1)), np.tile(target, (500, 1))
        marginal = KnownEmbedding(attribute_embedding(codes, action), everywhere[0])
        for estimator in (MIPS(marginal), IPS()):
            values[estimator.name].append(estimator.contributions(log, everywhere[1]).value)
    truth = float(target @ mean)
    error = {name: float(np.mean(np.square(np.array(found) - truth))) for name, found in values.items()}
    assert error["MIPS"] < 0.2 * error["IPS"]


def test_the_log_by_attribute_is_diagnosed_as_any_other() -> None:
    world = new_content_world(0.0)
    log, context = world.log(3000, np.random.default_rng(5))
    target = world.target[context]
    own = diagnose(log, target)
    like = diagnose(*weighted(world, log, context).by_attribute(log, target))
    assert own.unsupported > 0.4
    assert own.refused is not None
    assert like.unsupported == 0
    assert like.refused is None
    assert like.mean_weight == pytest.approx(1, abs=4 * like.mean_weight_error)


def test_a_value_of_an_attribute_that_was_never_logged_is_unsupported() -> None:
    world = new_content_world(0.0)
    log, context = world.log(3000, np.random.default_rng(6))
    codes = CODES.copy()
    codes[6] = 3  # the new content is of a new category
    marginal = KnownEmbedding(attribute_embedding(codes, log.action), world.logging[context])
    found = diagnose(*marginal.by_attribute(log, world.target[context]))
    assert found.unsupported == pytest.approx(world.target[context][:, 6].mean())


def test_estimated_posteriors_come_near_the_known_one() -> None:
    world, generator = new_content_world(0.0), np.random.default_rng(7)
    target = world.target.copy()
    target[:, NEW] = 0
    world = replace(world, target=target / target.sum(axis=1, keepdims=True))
    log, context = world.log(20_000, generator)
    known = weighted(world, log, context)
    seen, states = known.embedding.seen, np.eye(4)[context]
    crossed = (states[:, :, None] * np.eye(3)[seen][:, None, :]).reshape(len(log), -1)
    posteriors = {
        "counted": counted_posterior(seen + 3 * context, log.action, 7),
        "logistic": logistic_posterior(states, crossed, log.action, 7),
    }
    right = known.weights(log, world.target[context])
    for name, posterior in posteriors.items():
        assert posterior.sum(axis=1) == pytest.approx(1)
        weights = EstimatedPosterior(posterior, world.logging[context]).weights(log, world.target[context])
        assert weights == pytest.approx(right, abs=0.15), name
        value = MIPS(EstimatedPosterior(posterior, world.logging[context])).contributions(log, world.target[context])
        assert value.value == pytest.approx(world.value, abs=0.03)


def test_several_attributes_make_one_value_of_their_combinations() -> None:
    attributes = np.array([["none", "0"], ["shoes", "10"], ["shoes", "20"], ["shoes", "10"]])
    embedding = attribute_embedding(attributes, np.array([3, 1, 2, 0]))
    assert embedding.prob.shape == (4, 3)
    assert embedding.seen[0] == embedding.seen[1]
    assert len(set(embedding.seen.tolist())) == 3


def test_independent_attributes_are_joined_by_their_product() -> None:
    first, second = np.array([[0.25, 0.75]]), np.array([[0.5, 0.2, 0.3]])
    embedding = drawn_embedding([first, second], np.array([[1, 2], [0, 0]]))
    assert embedding.seen.tolist() == [5, 0]
    assert embedding.prob[0, 5] == pytest.approx(0.75 * 0.3)
    assert embedding.prob.sum() == pytest.approx(1)


def test_bad_input_is_named() -> None:
    log = LoggedDecisions(np.arange(2), np.array([0, 1]), np.ones(2), np.full(2, 0.5))
    half = np.full((2, 2), 0.5)
    embedding = attribute_embedding(np.array([0, 1]), log.action)
    with pytest.raises(CampaignError, match="logging probabilities must be >= 0 and sum to 1; 2 of 2"):
        MIPS(KnownEmbedding(embedding, 0.8 * half)).contributions(log, half)
    with pytest.raises(CampaignError, match="logging probabilities have shape"):
        MIPS(KnownEmbedding(embedding, half[:1])).contributions(log, half)
    with pytest.raises(CampaignError, match="target probabilities"):
        MIPS(KnownEmbedding(embedding, half)).contributions(log, 0.9 * half)
    with pytest.raises(CampaignError, match="attributes of 3 decisions and 2 rows"):
        MIPS(KnownEmbedding(attribute_embedding(np.arange(3), log.action), half)).contributions(log, half)
    with pytest.raises(CampaignError, match="posterior has shape"):
        MIPS(EstimatedPosterior(half[:1], half)).contributions(log, half)
    with pytest.raises(CampaignError, match="decision 1 is logged, but 1 decisions are described"):
        attribute_embedding(np.array([0]), log.action)
    with pytest.raises(CampaignError, match="sum to 1 for each decision"):
        replace(embedding, prob=np.full((2, 2), 0.4))
    with pytest.raises(CampaignError, match=r"must lie in 0\.\.1; got 0\.\.2"):
        replace(embedding, seen=np.array([0, 2]))
    with pytest.raises(CampaignError, match="1 attributes have probabilities"):
        drawn_embedding([half], np.array([[0, 1]]))
    with pytest.raises(CampaignError, match="OffCEM needs a reward model"):
        OffCEM(KnownEmbedding(embedding, half)).contributions(log, half)
    impossible = replace(log, action=np.array([0, 0]))
    with pytest.raises(CampaignError, match="action_prob must lie in"):
        MIPS(KnownEmbedding(replace(embedding, seen=impossible.action), np.tile([0.0, 1.0], (2, 1)))).contributions(
            impossible, half
        )
