"""Policies tilted away from the logger: the market's value of each beside its doubly robust estimate from the log.

The value is of one slot under the log's own states: V = E_s sum_a pi(a | s) q(s, a) in the market, and by the log
V + E[pi(a | s) / mu(a | s) (y - q(s, a))] (doubly robust, teacher-forced). Weights over a month of slots would tell
nothing; a market that has no fatigue is off where a policy sends again soon.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from evaluation.gate_checks import OUTCOMES, RARE_MARGIN, GateCheck, customer_weights, within
from evaluation.logged import customer_index
from evaluation.logged_answers import LoggedAnswers

TILTED = ("opens", "clicks", "purchases", "opt-outs", "value")
LEAST_EVENTS = 200
"""Weighted events below which a tilted policy is not asked about an outcome."""


def _sending(answers: LoggedAnswers, factor: np.ndarray | float) -> np.ndarray:
    """The logger with the odds of a send multiplied by `factor` ([R]). Shape [R, 1 + K]."""
    chances = answers.chances.copy()
    chances[:, 1:] *= np.broadcast_to(np.asarray(factor, dtype=np.float64), (len(answers),))[:, None]
    tilted: np.ndarray = chances / chances.sum(axis=1, keepdims=True)
    return tilted


def _one_content(answers: LoggedAnswers) -> np.ndarray:
    """The logger leaning threefold to the content that it sends least. Shape [R, 1 + K]."""
    chances = answers.chances.copy()
    send = chances[:, 1:].sum(axis=1, keepdims=True)
    sends = np.bincount(answers.decision[answers.sent] - 1, minlength=chances.shape[1] - 1)
    chances[:, 1 + int(sends.argmin())] *= 3.0
    chances[:, 1:] *= send / np.maximum(chances[:, 1:].sum(axis=1, keepdims=True), 1e-12)
    return chances


SOON, REST = "send again soon", "rest after a send"
TILTS: dict[str, Callable[[LoggedAnswers], np.ndarray]] = {
    "sending more": lambda answers: _sending(answers, 2.0),
    "evenings": lambda answers: _sending(answers, np.where(answers.evening, 2.0, 0.25)),
    "the rarest content": _one_content,
    REST: lambda answers: _sending(answers, np.where(answers.recent > 0, 0.25, 2.0)),
    SOON: lambda answers: _sending(answers, np.where(answers.recent > 1, 3.0, 0.5)),
}
"""Decision probabilities of each tilted policy at the log's free decisions."""


def check_tilts(answers: LoggedAnswers, margin: float, level: float, draws: int, seed: int) -> list[GateCheck]:
    """Compares the market's value of every tilted policy with the log's.

    Args:
        answers: on customers that the market's network did not see.
        margin: equivalence margin, relative.
        level, draws, seed: of the intervals, by customer bootstrap.
    Returns:
        One check a policy and outcome, with `observed` the doubly robust value per free decision; and one an outcome of
        sending again soon over resting, which a market without fatigue does not know.
    """
    inverse, size = customer_index(answers.unit)
    weights = customer_weights(size, draws, seed)
    rows = np.arange(len(answers))
    own = answers.chances[rows, answers.decision]
    tail = 100 * (1 - level) / 2
    values: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]] = {}
    for policy, tilt in TILTS.items():
        target = tilt(answers)[rows, answers.decision]
        # The market's value by the fitted probabilities, the correction by the logged ones where they are known.
        tilted, importance = target / np.maximum(own, 1e-4), target / np.maximum(answers.logged_prob, 1e-4)
        for name in TILTED:
            column = OUTCOMES[name]
            if column not in answers.observed:
                continue
            known = np.isfinite(answers.observed[column])
            if (np.nan_to_num(answers.observed[column]) != 0).sum() < LEAST_EVENTS:
                continue
            taken = answers.taken[column]
            residual = np.nan_to_num(answers.observed[column]) - taken
            claim, correction, count = (
                weights
                @ np.bincount(inverse, np.where(known, answers.weight * part, 0.0), weights.shape[1]).astype(np.float32)
                for part in (tilted * taken, importance * residual, np.ones(len(rows)))
            )
            market = claim / np.maximum(count, 1e-9)
            values.setdefault(name, {})[policy] = market, market + correction / np.maximum(count, 1e-9)
    checks = []
    for name, by_policy in values.items():
        wide = margin * (RARE_MARGIN if name == "opt-outs" else 1.0)
        pairs = {f"{name} under {policy}": pair for policy, pair in by_policy.items()}
        (soon_market, soon_log), (rest_market, rest_log) = by_policy[SOON], by_policy[REST]
        with np.errstate(divide="ignore", invalid="ignore"):
            pairs[f"{name} under {SOON}, over {REST}"] = soon_market / rest_market, soon_log / rest_log
            for label, (market, log) in pairs.items():
                if not np.isfinite(log[0]) or log[0] == 0:
                    continue
                ratio = market / log
                ends = np.nanpercentile(ratio[1:], [tail, 100 - tail])
                low, high = float(ends[0]), float(ends[1])
                passed = within(low, high, 1 - wide, 1 + wide)
                checks.append(
                    GateCheck(
                        label, float(log[0]), float(market[0]), float(ratio[0]), low, high, passed, "tilted policy",
                        wide,
                    )
                )  # fmt: skip
    return checks
