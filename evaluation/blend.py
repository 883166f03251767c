"""What (1 - a) incumbent + a campaign would have earned in the first slots of a log, for shares a of the decisions.

Per-decision doubly robust (Jiang and Li 2016, eq. 10) with the weights u_t = 1 - a + a w_t of the blend. What the
incumbent's part of a decision is worth is read off the decision that it took: q(x_t, a_t) has the mean of q under the
logging policy, whatever that policy was. So a = 0 gives what was logged, a = 1 the campaign's own estimate, and no
fitted logging policy is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from evaluation.diagnostics import diagnose_weights
from evaluation.estimators import Contributions
from evaluation.intervals import bootstrap, simultaneous_factors
from evaluation.logged_slots import LoggedSlots
from evaluation.offline_settings import OfflineSettings
from evaluation.verdict import decides_as_logged

SHARES = tuple(a / 10 for a in range(1, 11))
"""Shares of decisions that a blend may give to the new policy."""

NOTHING = "0.0"
"""The blend that is what was logged."""

BAND_LEVEL = 0.95
"""Of the one-sided bounds that hold for all shares at once."""


def blend_contributions(slots: LoggedSlots, name: str, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Value of each customer's sequence under a blend, and its cumulated weight.

    Args:
        slots: of N customers; the first slot of each is known.
        name: of the policy among theirs that is blended in.
        share: a, in [0, 1].
    Returns:
        Shapes [N].
    """
    taken = slots.action[..., None]
    target, predicted = slots.target[name], slots.predicted
    own = np.take_along_axis(predicted, taken, axis=2)[..., 0]
    weight = np.take_along_axis(target, taken, axis=2)[..., 0] / slots.logged_prob
    blended = np.where(slots.known, 1.0 - share + share * weight, 1.0)
    after = np.cumprod(blended, axis=1)
    before = np.concatenate([np.ones((len(after), 1)), after[:, :-1]], axis=1)
    expected = (1.0 - share) * own + share * (target * predicted).sum(axis=2)
    parts = before * expected + after * (slots.reward - own)
    return np.where(slots.known, parts, 0.0).sum(axis=1), after[:, -1]


def blend_curve(
    slots: LoggedSlots, name: str, settings: OfflineSettings, seed: int, shares: Sequence[float] = SHARES
) -> tuple[list[dict[str, Any]], float]:
    """Value and gain of every blend, and the largest that is safe.

    Args:
        slots: of N customers.
        name: of the policy that is blended in.
        settings, seed: of the bootstrap of customers.
        shares: in (0, 1].
    Returns:
        By share: `share`, `value`, `low`, `high`, `difference` to what was logged, `band` (the difference with
        one-sided bounds of 95 % that hold for all shares at once), and why it is `refused` (None where it is not); and
        the largest share whose lower bound is above zero, 0 where none is. A blend is refused by its departure from
        the incumbent at full scale, 1 + (weight - 1) / a: for one slot the policy's own weight whatever a is, so that
        a small share cannot hide a bad one. A policy that decides as was logged has nothing to gain, and no safe share.
    """
    use = np.flatnonzero(slots.known[:, 0])
    if not len(use):
        return [], 0.0
    here = slots.take(use)
    found = {share: blend_contributions(here, name, share) for share in (0.0, *shares)}
    estimates = {str(share): Contributions(value, np.ones(len(use))) for share, (value, _) in found.items()}
    result = bootstrap(estimates, here.units, settings.draws, settings.level, seed)
    why = {share: diagnose_weights(1 + (found[share][1] - 1) / share).refused for share in shares}
    errors = {str(share): result.standard_error(str(share), NOTHING) for share in shares if why[share] is None}
    below, above = simultaneous_factors(result, errors, NOTHING, BAND_LEVEL)
    same = decides_as_logged(diagnose_weights(blend_contributions(here, name, 1.0)[1]))
    curve, safe = [], 0.0
    for share in shares:
        point: dict[str, Any] = dict.fromkeys(("value", "low", "high", "difference", "band"))
        if why[share] is None:
            difference, error = result.difference(str(share), NOTHING), errors[str(share)]
            low, high = difference.value - below * error, difference.value + above * error
            point = {
                **result.interval(str(share)).to_dict(),
                "difference": difference.to_dict(),
                "band": {"value": difference.value, "low": low, "high": high},
            }
            if low > 0 and not same:  # what is left of a gain is rounding
                safe = max(safe, share)
        curve.append({"share": share, **point, "refused": why[share]})
    return curve, safe
