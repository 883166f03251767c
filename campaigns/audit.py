"""What can be seen of a log before anything is learned: rates, randomisation, maturity, drift."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import norm

from campaigns.grid import DecisionGrid
from campaigns.history import ABSENT, HOLD
from campaigns.logs import CampaignLog


def audit_log(log: CampaignLog, grid: DecisionGrid) -> dict[str, Any]:
    """Figures that say what the log can tell.

    Returns:
        `customers`, `decisions`, `sends`, `send_share`, `first_day`, `last_day`, `slots`, `rates` by outcome,
        `action_prob_known`, `randomisation`, `unlabelled_share`, and `weeks` with send and outcome rates. JSON-able.
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
            sent.sum() / max(len(log.users), 1) / max(grid.slots / (7 * log.clock.slots_per_day), 1e-9)
        ),
        "slots": grid.slots,
        "first_day": days[0],
        "last_day": days[1],
        "rates": rates,
        "action_prob_known": float(known.sum() / max(there.sum(), 1)),
        "randomisation": randomisation_check(grid),
        "unlabelled_share": float((there & ~grid.labelled).sum() / max(there.sum(), 1)),
        "weeks": _weeks(grid, 7 * log.clock.slots_per_day),
    }


def randomisation_check(grid: DecisionGrid) -> dict[str, Any]:
    """Whether sends are as frequent as the logged probabilities claim.

    A logged probability p of a decision that was taken has E[1/p] = number of decisions with positive probability;
    what can be tested without knowing the other decisions' probabilities is holds: where a hold has probability p,
    a send has 1 - p. So over eligible rows the claimed send probability is 1 - p on holds, and must be estimated on
    sends; among holds sum (1 - p)/p estimates the number of sends (inverse-probability weighting).

    Returns:
        `claimed` and `observed` sends, `z`, and `passed` (|z| < 4), or a `note` where it cannot be tested.
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
