"""What can be seen of a log before anything is learned: rates, randomisation, maturity, drift."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.stats import norm

from campaigns.columns import FLAGS
from campaigns.grid import DecisionGrid
from campaigns.history import ABSENT, HOLD
from campaigns.logs import CampaignLog

CLEAR, MATTERS = 4.0, 0.1
"""A rate drifts from this many standard errors on, and from this relative change between first and last week on."""
LEAST_BY_CHANCE = 0.1
"""Share of the sends that chance decided below which a log hardly says what other decisions would have brought."""
FEWEST = 20
"""Customers below which an error between customers means little."""


def audit_log(log: CampaignLog, grid: DecisionGrid) -> dict[str, Any]:
    """Figures that say what the log can tell.

    Returns:
        `customers`, `decisions`, `sends`, `send_share`, `first_day`, `last_day`, `slots`, `rates` by outcome,
        `action_prob_known`, `randomisation`, `unlabelled_share`, `drift` (see `drift_check`), and `weeks` with send
        and outcome rates. JSON-able.
    """
    there = grid.decision != ABSENT
    sent = grid.decision > HOLD
    days = log.clock.times([grid.first_slot, grid.first_slot + grid.slots - 1]).strftime("%Y-%m-%d")
    rates = {name: _mean(values[there]) for name, values in grid.outcomes.items()}
    known = np.isfinite(grid.action_prob) & there
    return {
        "customers": len(log.users),
        "contents": len(log.contents),
        "decisions": int(there.sum()),
        "sends": int(sent.sum()),
        "send_share": _mean(sent[there].astype(np.float64)),
        "sends_per_customer_week": float(
            sent.sum() / max(len(log.users), 1) / max(grid.slots / log.clock.slots_in(7), 1e-9)
        ),
        "slots": grid.slots,
        "first_day": days[0],
        "last_day": days[1],
        "rates": rates,
        "action_prob_known": float(known.sum() / max(there.sum(), 1)),
        "randomisation": randomisation_check(grid),
        "unlabelled_share": float((there & ~grid.labelled).sum() / max(there.sum(), 1)),
        "drift": drift_check(grid, log.clock.slots_in(7)),
        "weeks": _weeks(grid, log.clock.slots_in(7)),
    }


def randomisation_check(grid: DecisionGrid) -> dict[str, Any]:
    """Whether sends are as frequent as the logged probabilities claim.

    A logged probability p of a decision that was taken has E[1/p] = number of decisions with positive probability;
    what can be tested without knowing the other decisions' probabilities is holds: where a hold has probability p,
    a send has 1 - p. So over eligible rows the claimed send probability is 1 - p on holds, and must be estimated on
    sends; among holds sum (1 - p)/p estimates the number of sends (inverse-probability weighting).

    Returns:
        `claimed` and `observed` sends, `z`, and `passed` (|z| < 4), or a `note` where it cannot be tested; and
        `by_chance`, the mean of 1 - p over the sends: the share of them that would have been something else, had
        chance been asked again.
    """
    rows = np.isfinite(grid.action_prob) & (grid.decision != ABSENT) & grid.eligible
    holds = rows & (grid.decision == HOLD)
    sends = rows & (grid.decision > HOLD)
    if not holds.any() or not sends.any():
        return {"note": "no eligible holds and sends with known probabilities; not tested", "passed": None}
    p = grid.action_prob[holds].astype(np.float64)
    odds = (1 - p) / p
    claimed, observed = float(odds.sum()), int(sends.sum())
    # Var of (sum over holds of odds - sends): each row adds (1-p)/p in expectation.
    z = (observed - claimed) / float(np.sqrt(max(np.sum(odds * (1 + odds)), 1e-12)))
    return {
        "claimed": claimed,
        "observed": observed,
        "z": z,
        "p_value": float(2 * norm.sf(abs(z))),
        "passed": abs(z) < 4,
        "by_chance": float(1 - grid.action_prob[sends].astype(np.float64).mean()),
    }


def hardly_by_chance(audit: Mapping[str, Any]) -> float | None:
    """The share of a log's sends that chance decided, where it is too small to learn other decisions from; else None.

    Always None where customers are decided on once: there a small group that was held out at random is a fair
    comparison, and estimates are refused by their own diagnostics where it is too small.

    Args:
        audit: of `audit_log`.
    """
    share = audit["randomisation"].get("by_chance")
    return None if share is None or share >= LEAST_BY_CHANCE or audit.get("slots") == 1 else float(share)


def drift_check(grid: DecisionGrid, week: int) -> dict[str, Any]:
    """Whether rates rise or fall over the log's whole weeks by more than chance between customers explains.

    For sends and each flag, the slope b of the rate on the number of the week by least squares over decisions, with
    a standard error clustered by customer (Liang and Zeger 1986): b = sum (w - mean w) y / S with
    S = sum (w - mean w)^2, and var b = sum over customers of (sum over their decisions of (w - mean w) e)^2 / S^2.
    Whole weeks alone are compared, so that weekends count alike; outcomes of unlabelled decisions are left out. A
    rate drifts where |z| >= 4 and the fitted change from the first to the last week is a tenth of the rate or more.
    Customers share seasons and campaigns, which this error does not hold: drift says that times differ, not why.

    Args:
        grid: the log.
        week: slots in seven days.
    Returns:
        `passed` (nothing drifts; None where it cannot be tested), `note` in plain words, and `rates`: for each its
        `first` and `last` week's fitted rate, `relative` change, `z` and whether it `drifts`.
    """
    weeks = grid.slots // week
    if weeks < 2:
        return {"passed": None, "note": "the log is shorter than two whole weeks; drift was not tested", "rates": {}}
    there = grid.decision != ABSENT
    series = {"sends": (there, (grid.decision > HOLD).astype(np.float64))}
    for name in [name for name in FLAGS if name in grid.outcomes]:
        values = grid.outcomes[name]
        series[name] = (there & grid.labelled & np.isfinite(values), np.nan_to_num(values))
    rates: dict[str, Any] = {}
    for name, (known, values) in series.items():
        counts, sums = _by_week(known, weeks, week), _by_week(np.where(known, values, 0.0), weeks, week)
        trend = _trend(counts, sums)
        if trend is not None:
            rates[name] = trend
    drifting = [
        f"{name} {'rose' if r['last'] > r['first'] else 'fell'} from {r['first']:.2%} to {r['last']:.2%} of decisions"
        for name, r in rates.items()
        if r["drifts"]
    ]
    if not rates:
        return {"passed": None, "note": "no rate could be followed over the weeks; drift was not tested", "rates": {}}
    if drifting:
        note = (
            f"over {weeks} weeks {', '.join(drifting)}: more than chance between customers explains. It may be a "
            "season, a trend, customers who left, or a changed campaign; the log cannot tell which"
        )
    else:
        note = f"no rate rose or fell over {weeks} weeks by a tenth and by more than chance between customers explains"
    return {"passed": not drifting, "note": note, "rates": rates}


def _by_week(values: np.ndarray, weeks: int, week: int) -> np.ndarray:
    """Sums of `values` [N, T] over each customer's whole weeks. Shape [N, W], float64."""
    sums: np.ndarray = values[:, : weeks * week].reshape(len(values), weeks, week).sum(axis=2, dtype=np.float64)
    return sums


def _trend(counts: np.ndarray, sums: np.ndarray) -> dict[str, Any] | None:
    """The clustered slope of a rate; `counts` decisions and `sums` of what happened, both [N, W]."""
    number = np.arange(counts.shape[1], dtype=np.float64)
    total = counts.sum()
    if not total or not sums.any() or (counts.sum(axis=1) > 0).sum() < FEWEST:
        return None
    rate = float(sums.sum() / total)
    away = number - (counts * number).sum() / total
    spread = float((counts * away**2).sum())
    if spread == 0:
        return None
    slope = float((sums * away).sum() / spread)
    scores = ((sums - counts * (rate + slope * away)) * away).sum(axis=1)
    error = float(np.sqrt((scores**2).sum())) / spread
    z = slope / error if error > 0 else 0.0
    first, last = rate + slope * away[0], rate + slope * away[-1]
    relative = (last - first) / rate
    return {
        "first": max(0.0, float(first)),
        "last": max(0.0, float(last)),
        "relative": float(relative),
        "z": z,
        "drifts": bool(abs(z) >= CLEAR and abs(relative) >= MATTERS),
    }


def _weeks(grid: DecisionGrid, slots: int) -> list[dict[str, Any]]:
    weeks = []
    for begin in range(0, grid.slots, slots):
        part = slice(begin, begin + slots)
        there = grid.decision[:, part] != ABSENT
        if there.any():
            weeks.append(
                {
                    "week": begin // slots + 1,
                    "send_share": _mean((grid.decision[:, part] > HOLD)[there].astype(np.float64)),
                    **{name: _mean(values[:, part][there]) for name, values in grid.outcomes.items()},
                }
            )
    return weeks


def _mean(values: np.ndarray) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else None
