"""Stage `propensity/families`: every family of models on the same customers, and which one the market uses."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import torch

from evaluation.families import compare_families
from propensity.fit_model import fit_model
from propensity.split import split_customers
from scripts.pipeline.context import Study, load_model
from scripts.pipeline.fit_stage import SEEDS, fitting_rows, judging_rows, write_coefficients
from scripts.pipeline.progress import StageProgress
from scripts.pipeline.stage import Stage, write_json

BESIDE = ("logistic", "gbdt")
"""Families that are fitted for the table where the market is made of another; a network would take too long."""


def families_stage(study: Study, fitted: Stage, half: str) -> Stage:
    """Fits the other families to the rows of the market's model, and compares all where none has been fitted.

    Args:
        study: the run.
        fitted: the market's model of `half`.
        half: the part of the log that it was fitted to.
    """
    config = study.config

    def work(folder: Path, progress: StageProgress) -> None:
        settings, seed = config.propensity, config.seed * 10 + SEEDS[half]
        train, judge = fitting_rows(study, half), judging_rows(study)
        models = {settings.kind: load_model(fitted.folder)}
        for done, kind in enumerate(BESIDE):
            progress.update(done, len(BESIDE), kind)
            if kind not in models:
                alone = replace(settings, kind=kind, members=1)
                models[kind] = fit_model(train, study.population, study.catalogue, alone, seed)
            write_coefficients(study, models[kind], folder)
        split = split_customers(
            train.customer, study.population, settings.validation_share, 1, torch.Generator().manual_seed(seed)
        )
        report = compare_families(
            models, settings.kind, train, split, judge, study.population, study.catalogue, config.evaluation.draws,
            config.seed,
        )  # fmt: skip
        write_json(folder / "families.json", report)

    parts = asdict(config.propensity)
    settings = {"fit": parts, "seed": config.seed, "half": half, "draws": config.evaluation.draws}
    return study.runner.run("propensity/families", settings, (study.data, fitted), work, show_as="propensity")
