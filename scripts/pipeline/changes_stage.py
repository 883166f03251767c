"""Stages `evaluation/served` and `evaluation/changes`: what came of a previous run's policy, and what this one changes.

Both are there only where `previous=FOLDER` says what served.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from campaigns.errors import CampaignError
from evaluation.changes import Changes, changes_by_segment, decision_changes
from evaluation.delivered import delivered, policy_match
from evaluation.intervals import Interval, mean_interval
from policies.policy import Policy
from scripts.pipeline.context import JUDGE, Study
from scripts.pipeline.fit_stage import incumbent_policy
from scripts.pipeline.judge_stage import INCUMBENT
from scripts.pipeline.previous_run import PreviousRun
from scripts.pipeline.progress import StageProgress
from scripts.pipeline.stage import Stage, write_json
from scripts.pipeline.summary import REPORTING, Worlds

MOST_ASKED = 1000
"""Customers whose logged states both policies are asked about."""


def served_stage(study: Study) -> Stage | None:
    """Checks that the new log is the previous policy's, and holds what came of it against the promise.

    Raises:
        CampaignError: where another policy wrote the log.
    """
    previous = study.previous
    if previous is None:
        return None

    def work(folder: Path, progress: StageProgress) -> None:
        write_json(folder / "served.json", _served(study, previous))

    return study.runner.run("evaluation/served", {"seed": study.config.seed}, (study.data,), work, show_as="evaluation")


def _served(study: Study, previous: PreviousRun) -> dict[str, Any]:
    summary, first = previous.summary, study.start_column
    rows = study.players("all")
    if not len(rows):
        raise CampaignError("decisions: everybody in the new log was held out by the previous run's policy.")
    found: dict[str, Any] = {
        "policy": {"name": previous.policy.name, "fingerprint": previous.policy.fingerprint},
        "recommended": bool(summary.get("recommended")),
        "gate": previous.gate.get("verdict"),
        "match": None,
        "delivered": None,
        "why_not": None,
    }
    if not previous.served:
        found["why_not"] = "the previous run proposed no policy of its own, so nothing was promised"
        return found
    some = _some(study, rows)
    match = policy_match(
        study.grid.take(some), study.population.take(torch.from_numpy(some)), study.catalogue, study.log.clock,
        previous.policy, previous.policy.guardrails, first,
    )  # fmt: skip
    if not match.matches:
        raise CampaignError(
            f"previous={study.config.previous}: another policy wrote the new log: of {match.sends:,} sends only "
            f"{match.agreeing:.0%} have the action_prob that its policy ({previous.policy.name}) gives them. Name the "
            "run whose policy served, and give the log whole, as decide.py wrote it."
        )
    found["match"] = {"sends": match.sends, "agreeing": match.agreeing}
    promised = _promised(summary)
    if promised is None:
        found["why_not"] = "the previous run's summary.json says nothing of what its policy is worth"
        return found
    grid = study.grid.take(rows).columns(first, study.grid.slots - first)
    found["delivered"] = delivered(grid, study.catalogue, study.log.clock, study.objective, promised)
    return found


def _promised(summary: dict[str, Any]) -> Interval | None:
    """What the chosen policy was worth in the judging market."""
    for entry in summary.get("policies", []):
        if entry.get("name") == summary.get("chosen") and entry.get("judged"):
            judged = entry["judged"]
            return Interval(judged["value"], judged["low"], judged["high"])
    return None


def _some(study: Study, rows: np.ndarray) -> np.ndarray:
    """At most `MOST_ASKED` of the customers."""
    if len(rows) <= MOST_ASKED:
        return rows
    return np.sort(np.random.default_rng([study.config.seed, 43]).choice(rows, MOST_ASKED, replace=False))


def changes_stage(
    study: Study, choice: dict[str, Any], worlds: Worlds, proposed: Policy, incumbent: Stage, after: tuple[Stage, ...]
) -> Stage | None:
    """What the proposed policy does otherwise than what is done now, and for whom.

    Args:
        study: the run.
        choice: what was chosen.
        worlds: rollouts by policy.
        proposed: the policy that the run leaves.
        incumbent: the fitted logging policy.
        after: stages from which all of this follows.
    """
    if study.previous is None:
        return None

    def work(folder: Path, progress: StageProgress) -> None:
        write_json(folder / "changes.json", _changes(study, choice["chosen"], worlds, proposed, incumbent))

    settings = {"proposed": proposed.fingerprint, "chosen": choice["chosen"], "seed": study.config.seed}
    return study.runner.run("evaluation/changes", settings, after, work, show_as="evaluation")


def _changes(study: Study, chosen: str, worlds: Worlds, proposed: Policy, incumbent: Stage) -> dict[str, Any]:
    rows, before = _some(study, study.players(JUDGE)), incumbent_policy(study, incumbent)
    found = decision_changes(
        study.grid.take(rows), study.population.take(torch.from_numpy(rows)), study.catalogue, study.log.clock, before,
        proposed, study.start_column,
    )  # fmt: skip
    return {
        "joined": study.log.report["joined"],
        "proposed": chosen,
        "keeps": chosen == INCUMBENT,
        "customers": len(rows),
        "decisions": int(found.free.sum()),
        "changed": found.share,
        "difference": _gain(worlds, chosen),
        "segments": _segments(study, chosen, worlds, rows, found),
    }


def _gain(worlds: Worlds, chosen: str) -> dict[str, float] | None:
    """Value after less value before, in the judging world, of the customers kept for reporting."""
    if chosen == INCUMBENT or chosen not in worlds:
        return None
    paired = worlds[chosen]["judged"]["value"] - worlds[INCUMBENT]["judged"]["value"]
    return mean_interval(paired[REPORTING]).to_dict()


def _segments(study: Study, chosen: str, worlds: Worlds, rows: np.ndarray, found: Changes) -> list[dict[str, Any]]:
    """For whom it changes; among the judged customers kept for reporting."""
    if chosen == INCUMBENT or chosen not in worlds:
        return []
    mine, base = (worlds[name]["judged"] for name in (chosen, INCUMBENT))
    players = study.players(JUDGE)
    judged = players[np.arange(len(mine["value"])) % len(players)][REPORTING]
    share = np.full(len(study.log.users), np.nan)
    with np.errstate(invalid="ignore"):
        share[rows] = found.changed / found.free
    return changes_by_segment(
        study.log.users.iloc[judged].reset_index(drop=True), judged, (mine["value"] - base["value"])[REPORTING],
        base["sends"][REPORTING], mine["sends"][REPORTING], share[judged], study.objective.horizon_days / 7,
    )  # fmt: skip
