"""Makes a policy keep to a budget or an opt-out ceiling: restrained until it does, and no further, in a market.

Whatever an agent learned, its serving policy (exploration included) is restrained by one number, found by bisection
with common random numbers and frozen when the policy is saved. Of opt-outs, which the few of a log foretell badly, an
upper bound is kept within the ceiling (`objective.optout_confidence`). PPO learns with prices besides
(`agents.dual_ascent`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from campaigns.objective import Prices
from envs.world import World
from evaluation.limits import BUDGET, Limit, limits_of
from evaluation.optout_doubt import optout_doubt
from evaluation.rollout import rollout
from policies.chooser import Chooser
from policies.greedy import PropensityGreedy
from policies.policy import Policy
from policies.restrained import Restrained

CUSTOMERS = 4096
"""On whom a policy is tried, some of them several times where there are fewer: enough to know its use to 1 to 2 %."""
CLOSE = 0.005
"""Share of a limit that may be left unused: bisection ends there."""
DOUBLINGS, HALVINGS = 16, 12
BEGINNING, STRONG = 0.5, 16.0
"""Restraint that is tried first, and one that leaves next to nothing of a chooser's own sends."""
FEWER = 0.05
"""Share by which two policies' use must differ for their values to tell a price."""


@dataclass(frozen=True)
class Restraint:
    """What it took to keep to one limit.

    Attributes:
        limit: `budget` or `optout_ceiling`.
        most: what may be used a customer.
        before, after: what is expected to be used in the market without and with restraint.
        surely: the bound that restraint kept within the limit: for opt-outs what `after` may come to at the
            objective's confidence, else `after` itself.
        strength: of the restraint; 0 where none was needed.
        price: what one more unit of the limit would earn there, in the objective's unit; 0 where there is some left.
        exploration_dropped: whether exploration was given up, since it alone used too much.
    """

    limit: str
    most: float
    before: float
    after: float
    surely: float
    strength: float
    price: float
    exploration_dropped: bool = False


@dataclass(frozen=True)
class Trial:
    """A policy at one strength.

    Attributes:
        strength: of the restraint.
        policy: with it.
        expected: expected use of the limit, with the least noise.
        used: the bound on it that is kept within the limit.
        drawn: the same of the decisions that were drawn, whose luck `value` shares.
        value: what it earns.
    """

    strength: float
    policy: Policy
    expected: float
    used: float
    drawn: float
    value: float


def restrain(
    policy: Policy,
    market: World[Any],
    seed: int,
    customers: int = CUSTOMERS,
    progress: Callable[[int], None] | None = None,
) -> tuple[Policy, list[Restraint]]:
    """Restrains a policy until it keeps to every limit of its objective in a market.

    Args:
        policy: as it would serve; comes back as it is where it keeps to them already.
        market: whose customers it is tried on, with the same noise every time.
        seed: of the noise.
        customers: N, on whom it is tried.
        progress: called with the number of policies tried.
    """
    found: list[Restraint] = []
    tried, cost = 0, market.catalogue.cost.cpu().numpy()

    def attempt(candidate: Policy, strength: float, limit: Limit) -> Trial:
        nonlocal tried
        doubt = None if limit.name == BUDGET else optout_doubt(market)
        result = rollout(market, candidate, candidate.objective, customers, seed, watch=doubt)
        tried += 1
        if progress is not None:
            progress(tried)
        expected = float(getattr(result, limit.figure).mean())
        used = expected if doubt is None else expected * doubt.factor(candidate.objective.optout_confidence)
        drawn = float((result.contents @ cost).mean()) if limit.name == BUDGET else used
        return Trial(strength, candidate, expected, used, drawn, float(result.value.mean()))

    for limit in limits_of(policy.objective):
        first = attempt(policy, 0.0, limit)
        trials, dropped = _tighten(first, limit, attempt), False
        if trials[-1].used > limit.most and policy.exploration:
            policy, dropped = replace(policy, exploration=0.0, incumbent=None), True
            trials = _tighten(attempt(policy, 0.0, limit), limit, attempt)
        last = trials[-1]
        policy = last.policy
        price = _price(trials)
        told = (first.expected, last.expected, last.used, last.strength, price, dropped)
        found.append(Restraint(limit.name, limit.most, *told))
    return policy, found


def _tighten(first: Trial, limit: Limit, attempt: Callable[[Policy, float, Limit], Trial]) -> list[Trial]:
    """Trials from loose to tight; the last keeps to the limit, if any does."""

    def at(strength: float) -> Trial:
        chooser = restrained(first.policy.chooser, limit, strength)
        return attempt(replace(first.policy, chooser=chooser), strength, limit)

    trials, strength = [first], BEGINNING
    while trials[-1].used > limit.most and len(trials) <= DOUBLINGS:
        trials.append(at(strength))
        if strength >= STRONG and trials[-1].used > (1.0 - CLOSE) * trials[-2].used:
            break  # what is left is not the chooser's: exploration
        strength *= 2.0
    if len(trials) == 1 or trials[-1].used > limit.most:
        return trials
    loose, tight = trials[-2:]
    loosest = trials[:-1]
    for _ in range(HALVINGS):
        if tight.used >= (1.0 - CLOSE) * limit.most:
            break
        middle = at((loose.strength + tight.strength) / 2.0)
        if middle.used > limit.most:
            loose = middle
            loosest.append(middle)
        else:
            tight = middle
    return [*loosest, tight]


def restrained(chooser: Chooser, limit: Limit, strength: float) -> Chooser:
    """A chooser that uses less of a limit.

    Rules that weigh gains are charged a price (the knapsack's dual price), so that what earns least for what it uses
    goes first; everything else gets a higher logit of hold.
    """
    if isinstance(chooser, PropensityGreedy):
        more = limit.price(strength)
        prices = Prices(chooser.prices.money + more.money, chooser.prices.optout + more.optout)
        return chooser.at_prices(prices)
    if isinstance(chooser, Restrained):
        return Restrained(chooser.chooser, chooser.restraint + strength)
    return Restrained(chooser, strength)


def _price(trials: list[Trial]) -> float:
    """Value for a unit of what is limited: the slope from the last trial to the nearest that used clearly more."""
    last = trials[-1]
    looser = [trial for trial in trials[:-1] if trial.drawn > (1.0 + FEWER) * last.drawn]
    if last.strength == 0 or not looser:
        return 0.0
    nearest = min(looser, key=lambda trial: trial.drawn)
    return (nearest.value - last.value) / (nearest.drawn - last.drawn)
