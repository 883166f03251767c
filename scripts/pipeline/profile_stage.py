"""Stage `propensity/profiles`: kinds of customers, what the log shows of each, and which columns answers hang on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from campaigns.audience import Population
from campaigns.replay import DecisionRows, decision_rows
from propensity.attributions import attribute, importance_of, permutation_importance
from propensity.examples import examples
from propensity.model import PropensityModel
from propensity.profile_figures import customer_sums, group_figures
from propensity.profiles import Moments, answers, describe, find_segments, typical_moments
from propensity.rules import own_columns, own_table
from scripts.pipeline.context import JUDGE, TRAIN, Study, load_model
from scripts.pipeline.progress import StageProgress
from scripts.pipeline.stage import Stage, write_json

ATTRIBUTED = 120
"""Held-out customers whose attributions are averaged; each costs some thousand answers and their gradients."""


def profile_stage(study: Study, train: Stage) -> Stage:
    """Finds segments among training customers, and measures them on the others; no customer is named in the results."""

    def work(folder: Path, progress: StageProgress) -> None:
        profiles, attributions = _profiles(study, train)
        write_json(folder / "profiles.json", profiles)
        write_json(folder / "attributions.json", attributions)

    settings = {"seed": study.config.seed, "outcome": outcome_of(study)}
    return study.runner.run("propensity/profiles", settings, (train,), work, show_as="propensity")


def outcome_of(study: Study) -> str:
    """What rates and effects are of: visits where they are the objective or nothing else is known, else purchases."""
    if study.objective.outcome == "visited" or "purchased" not in study.grid.outcomes:
        return "visited"
    return "purchased"


def _profiles(study: Study, train: Stage) -> tuple[dict[str, Any], dict[str, Any]]:
    model, outcome, seed = load_model(train.folder), outcome_of(study), study.config.seed
    catalogue, population, encoder = study.catalogue, study.population, study.user_encoder
    mine, others = study.halves[TRAIN], study.halves[JUDGE]
    learned = population.take(torch.from_numpy(mine))
    moments = typical_moments(study.grid.take(mine), learned, catalogue, study.log.clock, seed)
    sends = np.bincount(study.grid.decision[mine][study.grid.decision[mine] > 0] - 1, minlength=len(catalogue))
    sends = sends[: len(catalogue)]
    asked = (moments, catalogue, sends, outcome)
    features = learned.features.numpy()
    learned_says = answers(model, learned.features, *asked)
    segmentation = find_segments(learned_says.values, features, encoder, seed)

    grid, people = study.grid.take(others), population.take(torch.from_numpy(others))
    rows = decision_rows(grid, people, catalogue, study.log.clock, study.hold_share, seed)
    sums = customer_sums(model, rows, grid, people, catalogue, study.log.clock.slot_hours, outcome)
    said = answers(model, people.features, *asked, learned_says.scale)
    table = own_table(people.features.numpy(), encoder, segmentation.tree.columns)
    named, kinds = segmentation.tree.assign(table), segmentation.nearest(said.values)
    contents = tuple(str(catalogue.ids[place]) for place in said.contents)
    figures = group_figures(sums, named, said.effect, contents, seed)
    everyone = group_figures(sums, np.zeros_like(named), said.effect, contents, seed)
    rules = segmentation.tree.rules()
    segments = [{"group": group, "rule": rules[group], **entry} for group, entry in figures.items()]
    segments.sort(key=lambda entry: -(entry["effect"]["predicted"] or {"value": 0.0})["value"])
    profiles = describe(
        segmentation,
        {
            "outcome": outcome,
            "per": "customer and week" if sums.per_week else "customer",
            "fitted_on": len(mine),
            "judged_on": len(people),
            "fidelity": float((named == kinds).mean()),
            "fidelity_constant": float(np.bincount(kinds).max() / len(kinds)),
            "effect_observed": sums.identified,
            "everyone": everyone.get(0),
            "segments": segments,
            "suppressed": len(np.unique(named)) - len(segments),
        },
    )
    return profiles, _attributions(study, model, rows, people, moments, sends, named, outcome)


def _attributions(
    study: Study,
    model: PropensityModel,
    rows: DecisionRows,
    people: Population,
    moments: Moments,
    sends: np.ndarray,
    named: np.ndarray,
    outcome: str,
) -> dict[str, Any]:
    """The global tables, and a few customers of whom nobody can tell who they are."""
    seed, encoder = study.config.seed, study.user_encoder
    report: dict[str, Any] = {
        "outcome": outcome,
        "permutation": permutation_importance(model, rows, people, study.catalogue, encoder, outcome, seed),
        "gradients": None,
        "examples": [],
    }
    order = np.random.default_rng([seed, 37]).permutation(len(people))
    chosen = np.sort(order[:ATTRIBUTED])
    baseline = study.population.features[torch.from_numpy(study.halves[TRAIN])].mean(dim=0)
    found = attribute(
        model, people.features[torch.from_numpy(chosen)], baseline, encoder, moments, study.catalogue, sends, outcome
    )
    if found is None:
        return report
    columns = own_columns(study.population.features.numpy(), encoder)
    table = own_table(people.features.numpy(), encoder, columns)
    return report | {
        "gradients": {
            "customers": len(chosen),
            "baseline": found.baseline,
            "largest_gap": found.gap,
            "columns": importance_of(found),
        },
        "examples": examples(found, chosen, table, columns, named),
    }
