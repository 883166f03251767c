"""How a new campaign is tried: how many customers for how long, with what exploration, and when it is stopped.

Two equal groups of customers, drawn at random: one gets the campaign, one what was done so far. The number of customers
is that at which a t-test at the 5 % level finds the assumed difference in four tests of five (Cohen 1988, section 2.4);
the variance is the log's own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import norm, poisson

from evaluation.intervals import minimum_detectable_difference
from evaluation.thin_support import LEAST

LEVEL, POWER = 0.95, 0.8
DAYS = (1, 2, 3, 7, 14, 21, 28)
"""Lengths of a test that are tried, in days."""

LEAST_EXPLORATION, MOST_EXPLORATION = 0.02, 0.2
LEAST_HOLDOUT = 0.05


@dataclass(frozen=True)
class Spread:
    """How customers' values differ in the log.

    Attributes:
        days: length of the stretch.
        mean, deviation: of a customer's sum over it.
        stretches: customer stretches that were seen whole.
    """

    days: int
    mean: float
    deviation: float
    stretches: int


def spread_of(rewards: np.ndarray, known: np.ndarray, slots: int, days: int) -> Spread | None:
    """How customers' sums over stretches of some slots differ.

    Args:
        rewards: of every slot. Shape [N, T].
        known: whether it is known. Shape [N, T], bool.
        slots: length of a stretch.
        days: the same, in days.
    Returns:
        None where no two stretches are known whole.
    """
    count = rewards.shape[1] // slots
    if not count or slots < 1:
        return None
    shape = (len(rewards), count, slots)
    sums = rewards[:, : count * slots].reshape(shape).sum(axis=2)
    whole = known[:, : count * slots].reshape(shape).all(axis=2)
    values = sums[whole]
    if len(values) < 2:
        return None
    return Spread(days, float(values.mean()), float(values.std(ddof=1)), len(values))


def customers_needed(difference: float, deviation: float, level: float = LEVEL, power: float = POWER) -> int | None:
    """Customers in each of two equal groups that tell a difference from 0; None where there is none to tell.

    n = 2 ((z_{1 - alpha/2} + z_{power}) s / d)^2, and at least 2.
    """
    if not difference or not math.isfinite(difference):
        return None
    one = minimum_detectable_difference(deviation, level, power)
    return max(2, math.ceil(2 * (one / difference) ** 2))


def alpha_spent(share: float, alpha: float = 1 - LEVEL) -> float:
    """Error that may be spent until this share of a test is over: 2 - 2 Phi(z_{1 - alpha/2} / sqrt(share)).

    Source: Lan and DeMets (1983), of the O'Brien-Fleming type.
    """
    return float(2 * norm.sf(norm.ppf(1 - alpha / 2) / math.sqrt(share)))


def stop_rule(customers: int, days: int, looks: int, opt_outs_per_day: float | None) -> list[dict[str, Any]]:
    """When a test is stopped: at each look, how large a difference, and how many opt-outs, are enough.

    At look k the difference is tested at the level newly spent there, so that over all looks the error is at most 5 %
    whatever the dependence between looks (Bonferroni); likewise for opt-outs, one-sided.

    Args:
        customers: in each group.
        days: of the test.
        looks: evenly spread, the last at the end.
        opt_outs_per_day: of a customer, so far; None where it is not logged.
    Returns:
        By look: `day`, `level` (newly spent), `z` (|difference| / standard error beyond which it is stopped) and
        `most_opt_outs` in the campaign's group, beyond which it is stopped (None where it is not known).
    """
    rows, spent = [], 0.0
    for look in range(1, looks + 1):
        day = days * look / looks
        now = alpha_spent(look / looks)
        fresh, spent = max(now - spent, 1e-12), now
        most = None
        if opt_outs_per_day is not None:
            most = int(poisson.isf(fresh, customers * day * opt_outs_per_day))
        rows.append({"day": day, "level": fresh, "z": float(norm.isf(fresh / 2)), "most_opt_outs": most})
    return rows


def exploration_floor(contents: int, sends: float) -> float:
    """Share of the campaign's decisions that are drawn at random, so that the next log can judge each content.

    Enough for LEAST random sends of every content, within 2 to 20 %.

    Args:
        contents: offered.
        sends: that the test is expected to make.
    """
    wanted = LEAST * contents / sends if sends > 0 else LEAST_EXPLORATION
    return float(min(max(wanted, LEAST_EXPLORATION), MOST_EXPLORATION))


def plan_test(
    spreads: Sequence[Spread],
    gain_per_day: float | None,
    source: str,
    audience: int,
    contents: int,
    sends_per_day: float | None,
    holdout: float,
    opt_outs_per_day: float | None,
    safe_share: float,
) -> dict[str, Any]:
    """A roll-out plan.

    Args:
        spreads: of the log, by length.
        gain_per_day: assumed gain of a customer a day over the incumbent; None where nothing says one.
        source: where it comes from, in words.
        audience: customers whom the campaign is for.
        contents: that it offers.
        sends_per_day: that it makes to a customer; None where it is not known.
        holdout: of the guardrails.
        opt_outs_per_day: as for `stop_rule`.
        safe_share: largest blend that the log calls better.
    Returns:
        JSON-able: `holdout`, `exploration_floor`, `options` by length, the `chosen` one (None where none fits the
        audience) with its `stop_rule`, and `words`.
    """
    holdout = max(holdout, LEAST_HOLDOUT)
    reachable = int(audience * (1 - holdout))
    options = [_option(spread, gain_per_day, reachable) for spread in spreads]
    fitting = [option for option in options if option["customers"] and 2 * option["customers"] <= reachable]
    chosen = fitting[0] if fitting and gain_per_day is not None and gain_per_day > 0 else None
    plan: dict[str, Any] = {
        "level": LEVEL,
        "power": POWER,
        "assumed_gain_per_day": gain_per_day,
        "assumed_from": source,
        "holdout": holdout,
        "reachable": reachable,
        "options": options,
        "chosen": chosen,
        "safe_share": safe_share,
    }
    days, group = (
        (chosen["days"], chosen["customers"])
        if chosen
        else (options[-1]["days"], reachable // 2)
        if options
        else (0, 0)
    )
    sends = (sends_per_day or 0.0) * days * group
    plan["exploration_floor"] = exploration_floor(contents, sends)
    looks = 1 if days < 2 else min(max(2, days // 7), 4)
    plan["stop_rule"] = stop_rule(group, days, looks, opt_outs_per_day) if days and group else []
    plan["opt_outs_per_day_so_far"] = opt_outs_per_day
    return plan | {"words": _words(plan)}


def _option(spread: Spread, gain_per_day: float | None, reachable: int) -> dict[str, Any]:
    """One length: how many customers a group it needs, and what the whole audience would tell."""
    gain = None if gain_per_day is None else gain_per_day * spread.days
    half = reachable // 2
    error = spread.deviation * math.sqrt(2 / half) if half else math.nan
    return {
        "days": spread.days,
        "deviation": spread.deviation,
        "difference": gain,
        "customers": None if gain is None else customers_needed(gain, spread.deviation),
        "detectable": minimum_detectable_difference(error, LEVEL, POWER),
    }


def _words(plan: dict[str, Any]) -> list[str]:
    said = []
    chosen, gain = plan["chosen"], plan["assumed_gain_per_day"]
    if chosen:
        said.append(
            f"Test it on {chosen['customers']:,} customers for {chosen['days']} day{'s' * (chosen['days'] > 1)}, "
            f"against as many who get what was done so far, drawn at random: enough to find a gain of "
            f"{chosen['difference']:.3g} a customer ({plan['assumed_from']}) in four tests of five, at the 5 % level. "
            "Should the true gain be half of it, it takes four times as many."
        )
    elif gain is None or gain <= 0:
        said.append(
            f"No gain is expected ({plan['assumed_from']}), so there is none to plan a test for; the table "
            "says what the audience could tell."
        )
    elif plan["options"]:
        least = min((o for o in plan["options"] if o["customers"]), key=lambda o: o["customers"], default=None)
        need = f" {least['days']} days would take {2 * least['customers']:,}." if least else ""
        said.append(
            f"The audience's {plan['reachable']:,} customers outside the holdout are too few to find the expected gain "
            f"within the lengths that the log can tell of.{need}"
        )
    else:
        said.append("The log is too short to say how much customers differ, so no test can be planned from it.")
    said.append(
        f"Hold out {plan['holdout']:.0%} of the customers, by a stable hash of their ids, so that the "
        "programme itself can be measured."
    )
    said.append(
        f"Draw at least {plan['exploration_floor']:.0%} of the campaign's decisions at random among hold and its "
        "contents, and log every probability: then the next log can judge each content."
    )
    if plan["stop_rule"]:
        said.append(
            "Look only on the days listed. Stop when the difference is more than z standard errors from 0, in either "
            "direction, or when the campaign's group has more opt-outs than listed; over all looks each of the "
            "two errs in at most 5 of 100 tests of a campaign that changes nothing."
        )
    return said
