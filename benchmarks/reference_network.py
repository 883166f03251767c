"""The network against the reference truth: `python -m benchmarks.reference_network [--variants banking ...]`.

For every variant one log of 8,000 customers x 28 days; the network is fitted to half of the customers, and again, as it
serves, to all. A line for the first: gain in log loss over the constant and calibration slope on the other half, by
head. Then for both the effect of sending on expected value and on purchases: the fitted logging policy acts in the
truth among customers drawn anew, and at every state the truth and the network say what one content, drawn evenly, would
change. Beside the correlation of the two stands the one that a regression (LightGBM) reaches that was given true
effects of other customers on the same observables: what the observables could tell at all. About three minutes a
variant on one core. `--ablations` prints the same for versions of the fit: members, embeddings, tastes, thinning of
holds, calibration, and trees, which have no term of their own for the effect of sending.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightgbm import LGBMRegressor

from benchmarks.policy_path import study_of
from campaigns.guardrails import NO_GUARDRAILS
from campaigns.history import HOLD
from envs.reference.variants import VARIANTS
from policies.chooser import sample
from policies.incumbent import Incumbent
from propensity.fit_model import fit_model
from propensity.metrics import propensity_metrics
from propensity.model import PropensityModel
from scripts.pipeline.context import TRAIN, Study, load_logging_policy, load_model
from scripts.pipeline.fit_stage import fitting_rows, incumbent_stage, judging_rows, network_stage
from scripts.pipeline.worlds import truth

CUSTOMERS = 4000
EVERY = 7
"""Slots between two questions, so that every hour of the day is asked."""


ABLATIONS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "one member": {"members": 1},
    "eight members": {"members": 8},
    "embedded numbers": {"bins": 32},
    "no tastes": {"tastes": 0},
    "all holds": {"hold_share": 1.0},
    "a fiftieth of the holds": {"hold_share": 0.02},
    "not calibrated": {},
    "trees": {"kind": "gbdt", "members": 2},
    "logistic regression": {"kind": "logistic"},
}


def ablated(study: Study, label: str) -> PropensityModel:
    """The model of one version, fitted to the training half."""
    settings = replace(study.config.propensity, **ABLATIONS[label])
    changed = replace(study, config=replace(study.config, propensity=settings))
    model = fit_model(fitting_rows(changed, TRAIN), study.population, study.catalogue, settings, seed=1)
    if label == "not calibrated":
        c = model.calibration
        plain = replace(c, slope=torch.ones_like(c.slope), offset=torch.zeros_like(c.offset))
        model = replace(model, calibration=plain)
    return model


def effects(study: Study, model: PropensityModel, incumbent: Path) -> tuple[np.ndarray, ...]:
    """Customers, observables, true and predicted effects (value, purchase). Shapes [R], [R, F], [R, 2] twice."""
    world = truth(study, NO_GUARDRAILS, CUSTOMERS)
    policy = study.make_policy("i", Incumbent(load_logging_policy(incumbent)), None, NO_GUARDRAILS, plain=True)
    generator = torch.Generator().manual_seed(study.config.seed + 9)
    state = world.begin(torch.arange(CUSTOMERS), generator)
    people, contents = world.population.features, len(world.catalogue)
    who, seen_by, true, predicted = [], [], [], []
    for slot in range(study.objective.slots(study.log.clock)):
        noise = torch.rand(CUSTOMERS, 1 + world.noise_columns, generator=generator)
        seen = world.observe(state)
        if slot % EVERY == EVERY - 1:
            content = torch.randint(contents, (CUSTOMERS,), generator=generator)
            candidate, attributes = seen.candidate(content), world.catalogue.features[content]
            answers = [
                world.step(state, d, noise[:, 1:], seen)[1] for d in (content + 1, torch.full_like(content, HOLD))
            ]
            said = [
                model.respond(people, seen.state, attributes, candidate, torch.full((CUSTOMERS,), sent))
                for sent in (True, False)
            ]
            reachable = seen.allowed.gather(1, content.unsqueeze(1) + 1).squeeze(1)
            own = (attributes.unsqueeze(2) * people.unsqueeze(1)).flatten(1)
            who.append(torch.nonzero(reachable).squeeze(1))
            seen_by.append(torch.cat([people, seen.state, attributes, candidate, own], dim=1)[reachable])
            true.append(
                torch.stack([_change(answers, "expected_value"), _change(answers, "expected_purchased")], 1)[reachable]
            )
            predicted.append(torch.stack([_change(said, "expected_value"), _change(said, "purchase")], 1)[reachable])
        decision = sample(policy.probabilities_of(seen), noise[:, 0])
        state, _ = world.step(state, decision, noise[:, 1:], seen)
    return tuple(torch.cat(parts).numpy() for parts in (who, seen_by, true, predicted))


def _change(answers: Sequence[object], name: str) -> torch.Tensor:
    changed: torch.Tensor = getattr(answers[0], name) - getattr(answers[1], name)
    return changed


def judge(study: Study, label: str, model: PropensityModel, incumbent: Path, everybody: bool = False) -> None:
    """Prints what a model is worth; one fitted to everybody has no customers left to judge its heads on."""
    heads = []
    if not everybody:
        found = propensity_metrics(model, judging_rows(study), study.population, study.catalogue)["heads"]
        heads = [
            f"{name} gain {head['log_loss_gain']:.3f}, slope {head['calibration_slope']:.2f}"
            for name, head in found.items()
            if "calibration_slope" in head
        ]
    print(f"{label}: " + "; ".join(heads), flush=True)
    who, observed, true, predicted = effects(study, model, incumbent)
    half = who % 2 == 0  # customers teach the regression, or judge
    for column, name in enumerate(("value", "purchase")):
        oracle = LGBMRegressor(n_estimators=300, learning_rate=0.05, verbose=-1, n_jobs=1, random_state=0)
        oracle.fit(observed[half], true[half, column])
        best = np.corrcoef(oracle.predict(observed[~half]), true[~half, column])[0, 1]
        ours = np.corrcoef(predicted[~half, column], true[~half, column])[0, 1]
        mean = predicted[~half, column].mean() / true[~half, column].mean()
        print(
            f"  effect of sending on {name}: correlation {ours:.3f}, {ours / best:.2f} of the {best:.3f} of a "
            f"regression on true effects; mean predicted over true {mean:.2f}", flush=True,
        )  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ablations", action="store_true")
    parser.add_argument("--cache", type=Path, default=Path(".cache"))
    options, overrides = parser.parse_known_args(arguments)
    for variant in options.variants:
        with tempfile.TemporaryDirectory() as folder:
            study = study_of(variant, options.seed, Path(folder), options.cache, overrides)
            incumbent = incumbent_stage(study).folder
            if not options.ablations:
                judge(study, variant, load_model(network_stage(study, TRAIN).folder), incumbent)
                everybody = load_model(network_stage(study, "all").folder)
                judge(study, f"{variant}, fitted to all customers", everybody, incumbent, everybody=True)
                continue
            for label in ABLATIONS:
                judge(study, f"{variant}, {label}", ablated(study, label), incumbent)


if __name__ == "__main__":
    main()
