"""From a log to a verdict on policies that never ran: one-shot logs, and the first slots of sequential ones.

Everything is estimated on customers that learning never saw, with a reward model fitted without them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import torch

from campaigns.audience import Catalogue, Population
from campaigns.clock import SlotClock
from campaigns.grid import DecisionGrid
from campaigns.guardrails import NO_GUARDRAILS, Guardrails, allowed_decisions
from campaigns.history import ABSENT, HOLD
from campaigns.objective import Objective
from campaigns.observation import Observation
from campaigns.replay import replay
from evaluation.blend import blend_curve
from evaluation.diagnostics import PROBABILITIES, likeliest
from evaluation.estimators import DR, IPS, SNIPS, Contributions, LoggedDecisions, per_decision_dr
from evaluation.intervals import Interval, bootstrap
from evaluation.logged_slots import LoggedSlots
from evaluation.offline_settings import OfflineSettings
from evaluation.one_customer import most_telling_customer
from evaluation.one_step import doubly_robust_parts
from evaluation.probability_check import ProbabilityReport, check_probabilities
from evaluation.sensitivity import SensitivityProblem, sensitivity
from evaluation.slot_context import context_of, join_contexts
from evaluation.verdict import Word, decides_as_logged, diagnose, diagnose_weights, verdict
from policies.following import Decides, following
from propensity.response_model import ResponseModel
from propensity.rewards import expected_rewards

LEAST_PROBABILITY = 1e-4
"""A fitted probability of what was logged is taken for at least this."""

NO_FIGURE: dict[str, Any] = {
    **dict.fromkeys(("value", "low", "high", "difference", "one_customer")), "blend": 0.0
}  # fmt: skip
"""What a refused estimate says."""


class LogsDecisions(Protocol):
    """Anything that says how likely the logging policy was to take each decision."""

    def probabilities(self, observation: Observation) -> torch.Tensor:
        """Shape [N, 1 + K], rows sum to 1."""
        ...


def logged_rewards(grid: DecisionGrid, catalogue: Catalogue, objective: Objective, slots: int) -> np.ndarray:
    """What the first slots really earned, unknown outcomes as 0. Shape [N, slots]."""
    earned = np.nan_to_num(grid.outcomes[objective.outcome][:, :slots].astype(np.float64))
    if not objective.counts_costs:
        return earned
    decision = np.clip(grid.decision[:, :slots], HOLD, len(catalogue))
    cost = np.concatenate([[0.0], catalogue.cost.numpy()])[decision]
    lost = np.zeros_like(earned)
    if "unsubscribed" in grid.outcomes:
        lost = np.nan_to_num(grid.outcomes["unsubscribed"][:, :slots].astype(np.float64))
    result: np.ndarray = earned - cost - objective.unsubscribe_cost * lost
    return result


def collect_slots(
    grid: DecisionGrid,
    population: Population,
    catalogue: Catalogue,
    clock: SlotClock,
    guardrails: Guardrails,
    objective: Objective,
    policies: Mapping[str, Decides],
    model: ResponseModel,
    logging_policy: LogsDecisions,
    slots: int,
    progress: Callable[[int], None] | None = None,
    first: int = 0,
) -> LoggedSlots:
    """Replays a log and asks every policy what it would do in the logged states.

    Args:
        grid, population, catalogue, clock: of the evaluated customers, none of whom `model` has seen.
        guardrails: of the policies.
        objective: what counts.
        policies: by name.
        model: gives the doubly robust baseline.
        logging_policy: stands in where `action_prob` is unknown.
        slots: H, at most what the log has.
        progress: called with slots done.
        first: column of the first evaluated slot; what came before it is history.
    """
    horizon = min(slots, grid.slots - first)
    part = grid.columns(first, horizon)
    action = np.clip(part.decision.astype(np.int64), HOLD, len(catalogue))
    logged_prob = part.action_prob.astype(np.float64)
    known = known_slots(part, len(catalogue), horizon)
    shape = (len(population), horizon, 1 + len(catalogue))
    predicted, target = np.zeros(shape), {name: np.zeros(shape) for name in policies}
    fitted = bool(np.isnan(logged_prob[known]).any())
    everyone, contexts = population.without_holdout(), []
    asking = {name: following(policy) for name, policy in policies.items()}
    for step in replay(grid, everyone, catalogue, clock, guardrails=guardrails):
        column = step.column - first
        if column >= horizon:
            break
        if column < 0:
            continue
        seen = step.observation
        predicted[:, column] = expected_rewards(model, seen, objective).numpy()
        for name, policy in asking.items():
            chances = policy.probabilities_of(seen).double().numpy()
            target[name][:, column] = chances / chances.sum(axis=1, keepdims=True)
        asked = None
        if fitted or horizon == 1:
            asked = logging_policy.probabilities(as_logged(seen, part.eligible[:, column])).double().numpy()
        if fitted and asked is not None:
            own = asked[np.arange(len(action)), action[:, column]]
            missing = np.isnan(logged_prob[:, column])
            logged_prob[missing, column] = np.clip(own[missing], LEAST_PROBABILITY, 1.0)
        contexts.append(context_of(seen, asked))
        if progress is not None:
            progress(column + 1)
    logged_prob[~known] = 1.0
    reward = logged_rewards(part, catalogue, objective, horizon)
    # A field set aside is not a 0: the prediction for what was decided leaves the estimate where it would be.
    taken = np.take_along_axis(predicted, action[..., None], axis=2)[..., 0]
    reward = np.where(outcome_known(part, objective, horizon), reward, taken)
    reward = np.where(known, reward, 0.0)
    group = None if population.group is None else population.group.numpy()
    return LoggedSlots(action, reward, logged_prob, known, predicted, target, fitted, join_contexts(contexts), group)


def known_slots(grid: DecisionGrid, contents: int, slots: int) -> np.ndarray:
    """Slots before the customer's first that is missing, unlabelled or of an unlisted content. Shape [N, slots]."""
    known = (grid.decision[:, :slots] != ABSENT) & grid.labelled[:, :slots] & (grid.decision[:, :slots] <= contents)
    whole: np.ndarray = np.cumprod(known, axis=1).astype(bool)
    return whole


def outcome_known(grid: DecisionGrid, objective: Objective, slots: int) -> np.ndarray:
    """Whether each slot's outcome is known: logged, or 0 by its nature. Shape [N, slots], bool."""
    outcome = objective.outcome
    known: np.ndarray = np.isfinite(grid.outcomes[outcome][:, :slots])
    if outcome in {"opened", "clicked"}:
        known |= grid.decision[:, :slots] == HOLD
    if outcome in {"value", "revenue"} and "purchased" in grid.outcomes:
        known |= grid.outcomes["purchased"][:, :slots] == 0
    return known


def as_logged(seen: Observation, eligible: np.ndarray) -> Observation:
    """The observation as the logging policy had it: under consent, opt-outs and its eligibility alone.

    The guardrails of the policies under evaluation did not bind it: with their masks, what it sent at night would
    count as impossible, and every hold at night as forced.
    """
    return as_allowed(seen, NO_GUARDRAILS, eligible)


def as_allowed(seen: Observation, guardrails: Guardrails, eligible: np.ndarray) -> Observation:
    """The observation under other guardrails, consent, opt-outs and eligibility ([N], bool)."""
    allowed = allowed_decisions(
        guardrails,
        seen.history,
        seen.slot,
        seen.minute,
        seen.population,
        seen.catalogue,
        seen.clock,
        torch.from_numpy(eligible.copy()),
    )
    return replace(seen, allowed=allowed)


def evaluate_offline(slots: LoggedSlots, settings: OfflineSettings, seed: int) -> dict[str, dict[str, Any]]:
    """Value, interval, paired difference to the log's own policy, diagnostics and verdict of every policy.

    Returns:
        By policy: estimator, horizon_slots, value, low, high, difference, blend, diagnostics, verdict, and with one
        slot the other estimators' figures under `estimators`. A refused estimate has null figures. Empty where no
        customer has a known first slot. Every entry says how far one customer moves it (`one_customer`), and where
        probabilities were fitted what confounding could do (`sensitivity`). Where the logged probabilities are
        contradicted by the log, every estimate is refused.
    """
    if not slots.known.any():
        return {}
    report = (_one_step if slots.action.shape[1] == 1 else _several_steps)(slots, settings, seed)
    wrong = check_slots(slots).reason
    return report if wrong is None else {name: refused_entry(entry, wrong) for name, entry in report.items()}


def check_slots(slots: LoggedSlots, names: tuple[str, ...] | None = None) -> ProbabilityReport:
    """Whether the log contradicts its probabilities, over all known slots; `names` are of hold and the contents."""
    known = slots.known
    unit = np.broadcast_to(slots.units[:, None], known.shape)
    logged = LoggedDecisions(unit[known], slots.action[known], slots.reward[known], slots.logged_prob[known])
    features = None if slots.context is None else slots.context.features[known]
    return check_probabilities(logged, features, slots.predicted.shape[2], slots.fitted, names)


def _several_steps(slots: LoggedSlots, settings: OfflineSettings, seed: int) -> dict[str, dict[str, Any]]:
    # Who was not there in the first slot would count as somebody who earned nothing.
    use = slots.known[:, 0]
    if not use.any():
        return {}
    customer, unit = np.flatnonzero(use), slots.units[use]
    logged = Contributions(np.where(slots.known, slots.reward, 0.0)[use].sum(axis=1), np.ones(len(customer)))
    estimates, weights = {"incumbent": logged}, {}
    for name, target in slots.target.items():
        value, weights[name] = per_decision_dr(
            slots.action[use], slots.reward[use], slots.logged_prob[use], target[use], slots.predicted[use],
            slots.known[use],
        )  # fmt: skip
        estimates[name] = Contributions(value, np.ones(len(customer)))
    result = bootstrap(estimates, unit, settings.draws, settings.level, seed)
    report: dict[str, dict[str, Any]] = {}
    for name in slots.target:
        diagnostics = diagnose_weights(weights[name], unsupported_sequences(slots, name))
        difference = result.difference(name, "incumbent")
        report[name] = {
            "estimator": "per-decision DR",
            "horizon_slots": int(slots.action.shape[1]),
            **result.interval(name).to_dict(),
            "difference": difference.to_dict(),
            "blend": blend_curve(slots, name, settings, seed)[1],
            "diagnostics": diagnostics.to_dict(),
            "verdict": verdict(difference, diagnostics),
            **_one_customer(estimates[name], logged, customer),
        }
        if slots.fitted and not diagnostics.refused:
            taken = np.take_along_axis(slots.target[name][use], slots.action[use][..., None], axis=2)[..., 0]
            chance = np.where(slots.known[use], taken, 1.0)
            nothing, earned = np.zeros(len(customer)), logged.numerator
            problem = SensitivityProblem(nothing, earned, earned, chance, slots.logged_prob[use], unit)
            report[name]["sensitivity"] = sensitivity(problem, level=settings.level).to_dict()
        if diagnostics.refused:  # its blends are policies of their own, which may be told
            report[name] |= NO_FIGURE | {"blend": report[name]["blend"]}
    return report


def unsupported_sequences(slots: LoggedSlots, name: str) -> float:
    """Probability that a policy's sequence, in the logged states, holds a decision that the logging policy (hardly)
    ever takes there: mean over customers of 1 - prod_t (1 - u_t), which is what its mean weight falls short of 1 by.

    u_t is the policy's probability of decisions that the fitted logging policy takes with less than
    `LEAST_PROBABILITY`; where probabilities were logged only that of the decision taken is known, and such are the
    decisions that were never taken with more.
    """
    known, logging = slots.known, None if slots.context is None else slots.context.logging
    if slots.fitted and logging is not None:
        rare = logging < LEAST_PROBABILITY
    else:
        logged = LoggedDecisions(
            np.flatnonzero(known), slots.action[known], slots.reward[known], slots.logged_prob[known]
        )  # fmt: skip
        rare = likeliest(logged, slots.predicted.shape[2]) < LEAST_PROBABILITY
    mass = np.where(known, np.where(rare, slots.target[name], 0.0).sum(axis=2), 0.0)
    return float((1 - np.prod(1 - np.clip(mass, 0.0, 1.0), axis=1))[known[:, 0]].mean())


def _one_customer(estimate: Contributions, logged: Contributions, customer: np.ndarray) -> dict[str, Any]:
    found = most_telling_customer(estimate, logged, customer)
    return {"one_customer": None if found is None else found.to_dict()}


def refused_entry(entry: dict[str, Any], reason: str) -> dict[str, Any]:
    """A report's entry whose estimate, and all comparisons and blends, are refused for wrong probabilities."""
    against = {name: {**found, "verdict": "cannot tell"} for name, found in entry.get("against", {}).items()}
    diagnostics = {**entry["diagnostics"], "refused": reason, "refused_by": PROBABILITIES}
    word = entry["verdict"] if entry["verdict"] == "not identifiable" else "cannot tell"
    found = {**entry, **NO_FIGURE, "diagnostics": diagnostics, "verdict": word}
    nothing: dict[str, Any] = {"sensitivity": None, "blends": []}
    if not entry.get("whole_horizon"):
        nothing["estimators"] = {}  # all of one decision lean on the probabilities
    empty = {key: made for key, made in nothing.items() if key in entry}
    return found | ({"against": against} if against else {}) | empty


def _one_step(slots: LoggedSlots, settings: OfflineSettings, seed: int) -> dict[str, dict[str, Any]]:
    use = slots.known[:, 0]
    customer, unit = np.flatnonzero(use), slots.units[use]
    logged = LoggedDecisions(unit, slots.action[use, 0], slots.reward[use, 0], slots.logged_prob[use, 0])
    predicted = slots.predicted[use, 0]
    own = Contributions(logged.reward, np.ones(len(logged)))
    estimates, estimators = {"incumbent": own}, (DR(), SNIPS(), IPS())
    for name, target in slots.target.items():
        for estimator in estimators:
            estimates[f"{estimator.name} {name}"] = estimator.contributions(logged, target[use, 0], predicted)
    result = bootstrap(estimates, unit, settings.draws, settings.level, seed)
    logging = slots.logging[use] if slots.fitted and slots.logging is not None else None
    diagnosed = {name: diagnose(logged, target[use, 0], logging) for name, target in slots.target.items()}
    report: dict[str, dict[str, Any]] = {}
    for name, target in slots.target.items():
        chosen, diagnostics = f"DR {name}", diagnosed[name]
        difference = result.difference(chosen, "incumbent")
        if decides_as_logged(diagnostics):  # what is left is rounding, of which no interval should be made
            difference = Interval(0.0, 0.0, 0.0, settings.level)
        report[name] = {
            "estimator": "DR",
            "horizon_slots": 1,
            **result.interval(chosen).to_dict(),
            "difference": difference.to_dict(),
            "blend": blend_curve(slots, name, settings, seed)[1],
            "diagnostics": diagnostics.to_dict(),
            "verdict": verdict(difference, diagnostics),
            "estimators": {e.name: result.interval(f"{e.name} {name}").to_dict() for e in estimators},
            **_one_customer(estimates[chosen], own, customer),
        }
        report[name]["against"] = {}
        for other in slots.target:
            if other != name:
                between = result.difference(chosen, f"DR {other}")
                word = _between(verdict(between, diagnostics), verdict(between, diagnosed[other]))
                report[name]["against"][other] = {**between.to_dict(), "verdict": word}
        if slots.fitted and not diagnostics.refused:
            ahead, _, residual = doubly_robust_parts(logged, target[use, 0], predicted, "DR")
            chance = target[use, 0][np.arange(len(logged)), logged.action]
            problem = SensitivityProblem(ahead, residual, logged.reward, chance, logged.logged_prob, unit)
            report[name]["sensitivity"] = sensitivity(problem, level=settings.level).to_dict()
        if diagnostics.refused:
            report[name] |= NO_FIGURE | {"estimators": {}}
    return report


def _between(mine: Word, others: Word) -> Word:
    """The word on two policies: a difference says no more than the weaker of its two estimates."""
    return mine if mine == others else "not identifiable" if mine == "not identifiable" else "cannot tell"
