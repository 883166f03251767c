"""From a month of logged slots to a verdict: value of the whole horizon, and of blends with what was done.

Every policy is estimated by `evaluation.marginal_ratio` on customers whom neither the policy nor its FQE has seen, and
compared with what these same customers really earned. Blends (1 - a) log + a policy of decisions need no model of the
logging policy: what was logged is a draw from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from campaigns.audit import LEAST_BY_CHANCE
from campaigns.history import HOLD
from evaluation.decision_features import fit_features
from evaluation.diagnostics import LEAST_ESS_SHARE
from evaluation.estimators import Contributions
from evaluation.fqe import LoggedFeatures, LogMoments, feature_support, fit_linear_fqe, log_moments
from evaluation.intervals import (
    Bootstrap,
    Interval,
    bootstrap,
    minimum_detectable_difference,
    simultaneous_factors,
)
from evaluation.marginal_ratio import (
    LEAST_WINDOW_SHARE,
    MEAN_WINDOW_TOLERANCE,
    Windows,
    bellman_errors,
    corrected,
    estimate_windows,
    window_ratios,
)
from evaluation.offline_settings import OfflineSettings
from evaluation.reward_model import customer_folds
from evaluation.sequences import Sequences
from evaluation.verdict import Word

NAME = "truncated DR"
"""Of the recommended estimator of whole horizons."""

SHARES = (0.1, 0.25, 0.5, 0.75, 1.0)
"""Shares of the decisions that a blend gives to the new policy; the last is the policy itself."""

CORRECTION = 0.5
"""Share of the correction that a point estimate takes; measured: docs/offline.md. Intervals are of the whole of it."""

REMEMBERED = "remembered"
"""The estimate with the weights of all that a policy remembers. Short windows trust FQE's path from slot to slot, which
is linear: a rule that counts a week's sends leaves it (measured: docs/offline.md). So the policy's own interval spans
this one too, however noisy it is; a blend, which stays near the log, does without."""

SLOT_WEIGHTS, FQE_SUPPORT, TOO_COARSE = "weights of single slots", "support of FQE", "least detectable difference"
LITTLE_CHANCE = "hardly anything was left to chance"
"""Rules that refuse an estimate, by name."""

SMALL_SHARE = 0.1
"""The largest share of a blend that is told of a log in which chance decided hardly anything (`LEAST_BY_CHANCE`)."""

MOST_DETECTABLE = 0.5
"""An estimate is refused where the least detectable difference exceeds this share of what a customer earns."""

FOLDS = 3
"""Of the customers; a fold is evaluated by an FQE fitted to the others."""


@dataclass(frozen=True)
class PolicyEstimate:
    """What a log says of a policy and of its blends with what was done, over one horizon.

    Attributes:
        shares: of decisions that are the policy's, ascending to 1.
        windows: the estimates of every share.
        fqe: what FQE alone gives, a share. Shape [A].
        fqe_incumbent: what the same FQE gives for the logging policy.
        support: effective share of the rows for FQE. Shape [A].
        remembered: the policy's own estimate with weights multiplied over all slots that it remembers; None where it is
            not known how far that is. Shape [N].
    """

    shares: tuple[float, ...]
    windows: tuple[Windows, ...]
    fqe: np.ndarray
    fqe_incumbent: float
    support: np.ndarray
    remembered: np.ndarray | None = None


def estimate_policy(
    log: LoggedFeatures,
    moments: LogMoments,
    expected: Tensor,
    weights: Tensor,
    shares: tuple[float, ...] = SHARES,
    memory: int = 0,
) -> PolicyEstimate:
    """Estimates a policy and its blends.

    Args:
        log: N sequences, each with its first slot.
        moments: of the log.
        expected: the policy's mean features. Shape [N, T, d].
        weights: pi / mu of what was decided. Shape [N, T].
        shares: ascending; the last is 1.
        memory: slots over which what was decided is remembered; 0 = not known.
    """
    fitted = fit_linear_fqe(log, moments, expected, (0.0, *shares))
    taken_values, own_values = fitted.of(log.taken, log.fold), fitted.of(expected, log.fold)
    values = [(1 - a) * t + a * o for a, t, o in zip((0.0, *shares), taken_values, own_values, strict=True)]
    windows = tuple(
        estimate_windows(log, value, taken, 1 - share + share * weights)
        for share, value, taken in zip(shares, values[1:], taken_values[1:], strict=True)
    )
    means = np.array([float(value[:, 0].double().mean()) for value in values])
    support = feature_support(log, fitted, moments).cpu().numpy()
    remembered = None
    if memory:
        errors, known = bellman_errors(log, values[-1], taken_values[-1])
        remembered = corrected(values[-1][:, 0], errors, known, window_ratios(weights, memory))
    return PolicyEstimate(shares, windows, means[1:], float(means[0]), support[1:], remembered)


def evaluate_sequences(sequences: Sequences, settings: OfflineSettings, seed: int) -> dict[str, dict[str, Any]]:
    """Value over the whole horizon, paired difference to the log, blends, diagnostics and verdict of every policy.

    Returns:
        By policy the fields of `report_of`. Empty where too few customers have a known first slot.
    """
    present = sequences.known[:, 0]
    units = sequences.units
    if len(units[present].unique()) < 2 * FOLDS:
        return {}
    features = fit_features(sequences)
    fold = torch.from_numpy(customer_folds(units.numpy(), FOLDS, seed))
    taken = features.taken(sequences)[present]
    log = LoggedFeatures(
        taken, sequences.reward[present], sequences.known[present], sequences.horizon, fold[present], FOLDS,
        features.prior, None if sequences.group is None else sequences.group[present],
    )  # fmt: skip
    moments = log_moments(log)
    logged = torch.where(log.known, log.reward, 0.0).double().sum(dim=1).numpy()
    by_chance = chance_of_sends(sequences)
    whole = float((log.known.sum(dim=1) >= min(log.horizon, log.known.shape[1])).double().mean())
    report = {}
    for name, target in sequences.target.items():
        expected = features.of(sequences, target)[present]
        estimate = estimate_policy(log, moments, expected, sequences.weights(name)[present], memory=sequences.memory)
        report[name] = report_of(estimate, logged, units[present].numpy(), sequences.horizon, settings, seed, by_chance)
        report[name]["diagnostics"] |= {"whole_sequences": whole, "slots_logged": int(log.known.shape[1])}
    return report


def chance_of_sends(sequences: Sequences) -> float:
    """Mean of 1 - p over the logged sends: the share of them that chance decided; 1 where nothing was sent."""
    sent = sequences.known & (sequences.action > HOLD)
    return float(1 - sequences.logged_prob[sent].double().mean()) if bool(sent.any()) else 1.0


def report_of(
    estimate: PolicyEstimate,
    logged: np.ndarray,
    unit: np.ndarray,
    horizon: int,
    settings: OfflineSettings,
    seed: int,
    by_chance: float = 1.0,
) -> dict[str, Any]:
    """A policy's estimates in figures and words.

    Args:
        estimate: of the policy and its blends.
        logged: what every customer really earned. Shape [N].
        unit: of customers who are drawn together. Shape [N], int64.
        horizon: H.
        settings: draws and level of the intervals.
        seed: of the draws.
        by_chance: share of the log's sends that chance decided.
    Returns:
        estimator, horizon_slots, value, low, high, difference, blend, blends, minimum_detectable, diagnostics, verdict
        and FQE's own figure under `estimators`. A refused estimate has null figures.
    """
    names = {
        (place, window): f"{estimate.shares[place]} {window}"
        for place, windows in enumerate(estimate.windows)
        for window in range(len(windows.windows))
    }
    ones = np.ones(len(logged))
    parts = {name: Contributions(estimate.windows[p].contributions[w], ones) for (p, w), name in names.items()}
    if estimate.remembered is not None:
        parts[REMEMBERED] = Contributions(estimate.remembered, ones)
    result = bootstrap({"log": Contributions(logged, ones), **parts}, unit, settings.draws, settings.level, seed)
    scale = abs(float(logged.mean()))
    most = 1.0 if by_chance >= LEAST_BY_CHANCE else SMALL_SHARE
    blends = blend_curve(estimate, result, names, settings.level, scale, most)
    windows, last = estimate.windows[-1], len(estimate.shares) - 1
    spanned = [names[last, w] for w in range(windows.chosen, windows.last + 1)]
    spanned += [REMEMBERED] if estimate.remembered is not None else []
    gain = _gain(estimate, last, result.points[spanned[0]] - result.points["log"])
    difference = _hull(gain, [result.difference(name, "log") for name in spanned])
    value = _hull(result.points["log"] + gain, [result.interval(name) for name in spanned])
    detectable = minimum_detectable_difference(result.standard_error(spanned[0], "log"), settings.level)
    refused_by, refused = refusal(estimate, detectable, scale, by_chance) or (None, None)
    safe = [b["share"] for b in blends if b["low"] is not None and b["low"] > 0]
    safe = [share for share in safe if share < 1 or difference.low > 0]  # the policy itself spans what it remembers
    report: dict[str, Any] = {
        "estimator": NAME,
        "horizon_slots": horizon,
        "whole_horizon": True,
        **value.to_dict(),
        "difference": difference.to_dict(),
        "blend": max(safe, default=0.0),
        "blends": blends,
        "minimum_detectable": detectable,
        "diagnostics": {
            "window": windows.windows[windows.chosen],
            "effective_share": float(windows.effective_share[windows.chosen]),
            "mean_weight": float(windows.mean_weight[windows.chosen]),
            "fqe_support": float(estimate.support[-1]),
            "bellman_residual": float(windows.contributions[windows.chosen].mean() - estimate.fqe[-1]),
            "refused": refused,
            "refused_by": refused_by,
            "notes": [],
        },
        "verdict": _word(difference),
        "estimators": {
            "FQE": {
                "value": float(estimate.fqe[-1]),
                "difference": float(estimate.fqe[-1] - estimate.fqe_incumbent),
            }
        },
    }
    if refused:
        report |= dict.fromkeys(("value", "low", "high", "difference"))
        report["verdict"] = "cannot tell"
    return report


def blend_curve(
    estimate: PolicyEstimate,
    result: Bootstrap,
    names: dict[tuple[int, int], str],
    level: float,
    scale: float,
    most: float = 1.0,
) -> list[dict[str, Any]]:
    """Differences to the log along the shares, with one-sided bounds that hold for all shares and windows at once.

    The bound at a share is the least over the windows that its interval spans of estimate - c x standard error, with c
    of `simultaneous_factors`.

    Args:
        estimate: of the policy and its blends.
        result: replicates of every share and window, and of the log.
        names: of a share's and window's replicates.
        level: of the bounds.
        scale: what a customer earned, see MOST_DETECTABLE.
        most: larger shares are refused.
    Returns:
        By share: share, fqe (FQE's own difference), value, low and high (the bounds), minimum_detectable. Null figures
        where the share is refused.
    """
    used: dict[int, list[str]] = {}
    errors: dict[str, float] = {}
    for place, windows in enumerate(estimate.windows):
        members = [names[place, w] for w in range(windows.chosen, windows.last + 1)]
        found = {name: result.standard_error(name, "log") for name in members}
        detectable = minimum_detectable_difference(found[members[0]], level)
        supported = float(estimate.support[place]) >= LEAST_ESS_SHARE and estimate.shares[place] <= most
        if windows.usable and supported and detectable <= MOST_DETECTABLE * scale:
            used[place], errors = members, errors | found
    gains = {name: result.points[name] - result.points["log"] for name in errors}
    below, above = simultaneous_factors(result, errors, "log", level)
    curve: list[dict[str, Any]] = []
    for place, share in enumerate(estimate.shares):
        entry: dict[str, Any] = {"share": share, "fqe": float(estimate.fqe[place] - estimate.fqe_incumbent)}
        if place in used:
            members = used[place]
            gain = _gain(estimate, place, gains[members[0]])
            entry |= {
                "value": gain,
                "low": min(gain, *(gains[name] - below * errors[name] for name in members)),
                "high": max(gain, *(gains[name] + above * errors[name] for name in members)),
                "minimum_detectable": minimum_detectable_difference(errors[members[0]], level),
            }
        else:
            entry |= dict.fromkeys(("value", "low", "high", "minimum_detectable"))
        curve.append(entry)
    return curve


def _gain(estimate: PolicyEstimate, place: int, corrected: float) -> float:
    """Point estimate of a share's difference: FQE's, with CORRECTION of the way to the fully corrected one."""
    alone = float(estimate.fqe[place] - estimate.fqe_incumbent)
    return alone + CORRECTION * (corrected - alone)


def refusal(
    estimate: PolicyEstimate, detectable: float, scale: float, by_chance: float = 1.0
) -> tuple[str, str] | None:
    """The rule that refuses a policy's estimate, and why in plain words; None where none does.

    Args:
        estimate: of the policy and its blends.
        detectable: least difference that the log could tell from 0.
        scale: what a customer earned.
        by_chance: share of the log's sends that chance decided.
    """
    if by_chance < LEAST_BY_CHANCE:
        return LITTLE_CHANCE, (
            f"Chance decided only {by_chance:.1%} of the log's sends ({LEAST_BY_CHANCE:.0%} is the least): what would "
            f"have come of other decisions is extrapolated. A blend of up to {SMALL_SHARE:.0%} may still be told. Let "
            "chance decide more often first (policy.exploration), or test on a small randomised share of customers."
        )
    windows, support = estimate.windows[-1], float(estimate.support[-1])
    if not windows.usable:
        effective, mean = float(windows.effective_share[0]), float(windows.mean_weight[0])
        few = (
            f"the log's customers are worth only {effective:.0%} of their number for this policy "
            f"({LEAST_WINDOW_SHARE:.0%} is the least)"
        )
        off = f"the mean weight, {mean:.3g}, is further than {MEAN_WINDOW_TOLERANCE:g} from 1"
        held = [effective >= LEAST_WINDOW_SHARE, abs(mean - 1) <= MEAN_WINDOW_TOLERANCE]
        broken = [text for text, holds in zip((few, off), held, strict=True) if not holds]
        return SLOT_WEIGHTS, (
            f"Even with the weights of single slots {' and '.join(broken)}: it decides too differently from what was "
            "logged. Its blends with what was done may still be told."
        )
    if support < LEAST_ESS_SHARE:
        return FQE_SUPPORT, (
            f"Where this policy leads the log holds {support:.2%} of its rows in effect ({LEAST_ESS_SHARE:.0%} is the "
            "least): what follows would be extrapolated."
        )
    if not detectable <= MOST_DETECTABLE * scale:
        return TOO_COARSE, (
            f"A true difference would have to exceed {detectable:.3g} a customer for this log to tell it, more than "
            f"{MOST_DETECTABLE:.0%} of what a customer earns: log more customers, or decisions nearer to this policy's."
        )
    return None


def _word(difference: Interval) -> Word:
    if not np.isfinite([difference.low, difference.high]).all():
        return "cannot tell"
    return "better" if difference.low > 0 else "worse" if difference.high < 0 else "cannot tell"


def _hull(value: float, intervals: list[Interval]) -> Interval:
    """A figure with an interval that spans all of some, and the figure."""
    low, high = min(value, *(i.low for i in intervals)), max(value, *(i.high for i in intervals))
    return Interval(value, low, high, intervals[0].level)
