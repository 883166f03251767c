"""What a policy would have earned, from a log file and the policy's probabilities in it: `scripts/estimate.py`."""

from __future__ import annotations

from typing import Any

from campaigns.errors import CampaignError
from evaluation.estimators import DM, DR, IPS, SNDR, SNIPS, Estimator
from evaluation.intervals import Bootstrap, Interval
from evaluation.log_file import COLUMNS, LogFile, open_log_file
from evaluation.log_sums import INCUMBENT, LogSums
from evaluation.offline_settings import OfflineSettings
from evaluation.tuning import Slope, tuned_estimators, tuned_interval
from evaluation.verdict import judge
from scripts.pipeline.progress import StageProgress

TUNED_INTERVAL = "of the least biased setting, stretched to hold the figure"
"""What the intervals of tuned estimators are."""


def panel(predicts: bool) -> tuple[Estimator, ...]:
    """The estimators, the one whose word counts first: DR where expected rewards are given, else SNIPS."""
    clipped, switch, shrunk = tuned_estimators()
    if predicts:
        return (DR(), SNDR(), SNIPS(), IPS(), DM(), clipped, switch, shrunk)
    return (SNIPS(), IPS(), clipped)


def estimate_log_file(
    path: str, target: str, settings: OfflineSettings, seed: int, progress: StageProgress | None = None
) -> dict[str, Any]:
    """Reads a log file in parts and says what the policy would have earned.

    Args:
        path, target: see `open_log_file`.
        settings: draws, level, and rows held at a time.
        seed: of the draws.
        progress: is told the rows read.
    Returns:
        `rows`, `actions`, `customers` (`named`, or `rows` where each is its own), `target`, `level`; `incumbent`,
        what was done; by estimator its value, low, high, paired `difference` to what was done, and of a tuned one
        `setting` and `interval` (which one it is); `estimator`, whose word counts; diagnostics, verdict and sentence.
        A refused estimate has null figures. JSON-able.
    Raises:
        CampaignError: naming the file, its rows and what cannot be used.
    """
    file = open_log_file(path, target)
    sums = sum_log_file(file, panel(file.predicts), settings.stream_rows, seed, progress)
    result, chosen = sums.bootstrap(settings.draws, settings.level), sums.chosen()
    counts = sums.estimators[0].name
    diagnostics = sums.diagnostics(counts)
    name = "the policy" if target == COLUMNS else target
    said = judge(result.difference(counts, INCUMBENT), diagnostics, name)

    def figures(interval: Interval) -> dict[str, Any]:
        return dict.fromkeys(("value", "low", "high")) if diagnostics.refused else dict(interval.to_dict())

    return {
        "rows": file.rows,
        "actions": len(file.actions) - (not file.holds),
        "customers": "named" if file.customers else "rows",
        "target": target,
        "level": settings.level,
        "incumbent": result.interval(INCUMBENT).to_dict(),
        "estimators": {
            e.name: {
                **figures(_interval(result, e)),
                "difference": figures(_interval(result, e, INCUMBENT)),
                "setting": _setting(e, chosen[e.name]),
                "interval": TUNED_INTERVAL if isinstance(e, Slope) else None,
            }
            for e in sums.estimators
        },
        "estimator": counts,
        "diagnostics": diagnostics.to_dict(),
        "verdict": said.word,
        "sentence": said.sentence,
    }


def _interval(result: Bootstrap, estimator: Estimator, other: str | None = None) -> Interval:
    """Of an estimate, or of its paired difference to another."""
    if isinstance(estimator, Slope):
        return tuned_interval(result, estimator.name, other)
    return result.interval(estimator.name) if other is None else result.difference(estimator.name, other)


def sum_log_file(
    file: LogFile, estimators: tuple[Estimator, ...], rows: int, seed: int, progress: StageProgress | None = None
) -> LogSums:
    """The sums of a log file, read `rows` rows at a time."""
    sums = LogSums(estimators, seed)
    for part in file.parts(rows):
        try:
            sums.add(part.logged, part.target, part.predicted)
        except CampaignError as error:
            raise CampaignError(f"{part.place}: {error}") from None
        if progress is not None:
            progress.update(sums.rows, file.rows, "rows")
    return sums


def _setting(estimator: Estimator, chosen: Estimator) -> dict[str, float] | None:
    """What tuning chose, infinity as null; None for an estimator that is not tuned."""
    if chosen is estimator:
        return None
    return {name: getattr(chosen, name) for name in ("threshold", "shrinkage") if hasattr(chosen, name)}
