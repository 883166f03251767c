"""Purchase probabilities beside gradient boosting and logistic regression, on public data with people held out.

    python benchmarks/tabular.py online_shoppers --seeds 5
    python benchmarks/tabular.py in_vehicle_coupon --seeds 5
    python benchmarks/tabular.py in_vehicle_coupon --seeds 1 --by-row      (the leak, for comparison)
    python benchmarks/tabular.py complete_journey --seeds 1

Our network is fitted by the product's own path (encoder, rows, `fit_network`); LightGBM has its default settings and
the same columns, categories as categories; logistic regression has the encoded columns (C = 1). A fifth of the
customers, or of the groups where customers have them, is the test set. Prints a JSON line a seed and model, then paired
differences of ours to the others: a bootstrap over the test rows' customers (or groups), within each seed, of the mean
over seeds. Test sets of different seeds overlap, so that the interval over seeds treats them as more independent than
they are; the intervals of single seeds do not.

Of threshold figures. `natural_` is at the threshold that predicts as many buyers as there are, `half_` at .5, both at
the natural rate; `balanced_` is on as many buyers as others, at the median. "Accuracy 85 %, precision 90 %, recall
80 %, F1 85 %" can only be true together near balance: with a share r of buyers and recall .8 at precision .9, true
positives are .8 r, false positives .8 r (1/.9 - 1) = .0889 r and missed buyers .2 r, so accuracy is 1 - .2889 r: .856
at r = .5, but .955 at r = .155. At 15.5 % buyers, who quotes accuracy .85 and F1 .85 has balanced (or oversampled) the
test set; always saying "no" is right there in 84.5 %.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from lightgbm import LGBMClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss, precision_recall_fscore_support, roc_auc_score

from campaigns.audience import Catalogue, Population, groups_of, make_catalogue, make_population
from campaigns.datasets import PUBLIC_SETS
from campaigns.datasets.public import read_public_set
from campaigns.encoding import fit_encoder
from campaigns.features import STATE_FEATURES, candidate_names
from campaigns.grid import make_grid
from campaigns.history import HOLD
from campaigns.logs import CampaignLog
from campaigns.objective import Objective
from campaigns.replay import DecisionRows, decision_rows
from propensity.fit import fit_network
from propensity.fit_settings import FitSettings
from propensity.metrics import calibration_slope

TEST_SHARE = 0.2
DRAWS = 2000
OURS = "network"


@dataclass(frozen=True)
class Task:
    """One split of a data set.

    Attributes:
        rows: all labelled decisions; `train` and `test` are masks over them.
        unit: what was split, by row: the group or the customer.
        encoded: the encoded columns, for logistic regression. [R, F].
        table: the same information for LightGBM, categories as such.
        bought: 0 or 1. [R].
    """

    rows: DecisionRows
    population: Population
    catalogue: Catalogue
    train: np.ndarray
    test: np.ndarray
    unit: np.ndarray
    encoded: np.ndarray
    table: pd.DataFrame
    bought: np.ndarray


def split(log: CampaignLog, seed: int, by_row: bool) -> Task:
    """Holds a fifth of the customers or groups out; every encoding is fitted to the others."""
    users = log.users.drop(columns="group_id", errors="ignore") if by_row else log.users
    unit = groups_of(users) if "group_id" in users.columns else np.arange(len(users))
    order = np.random.default_rng([seed, 23]).permutation(int(unit.max()) + 1)
    held = np.isin(unit, order[: round(TEST_SHARE * len(order))])
    encoder = fit_encoder(users[~held], "users")
    catalogue = make_catalogue(log.contents, fit_encoder(log.contents, "contents"), Objective(outcome="purchased"))
    people = make_population(users, encoder, catalogue.channels, log.clock.timezone, holdout=0.0)
    # Every hold is kept: the peers learn from unweighted rows.
    rows = decision_rows(make_grid(log), people, catalogue, log.clock, hold_share=1.0)
    customer = rows.customer.numpy()
    sent = (rows.decision > HOLD).numpy()
    content = (rows.decision - 1).clamp(min=0)
    attributes = catalogue.features[content].numpy() * sent[:, None]
    moment = np.concatenate([rows.state.numpy(), rows.candidate.numpy(), sent[:, None]], axis=1)
    encoded = np.concatenate([people.features.numpy()[customer], attributes, moment], axis=1)
    columns = [column.name for column in encoder.columns]
    table = users[columns].iloc[customer].reset_index(drop=True)
    for name in columns:
        if not pd.api.types.is_numeric_dtype(table[name]):
            table[name] = table[name].astype("category")
        elif not isinstance(table[name].dtype, np.dtype):  # nullable booleans and integers
            table[name] = table[name].astype("float64")
    told = candidate_names(catalogue.tells_channels)
    named = pd.DataFrame(moment, columns=[*STATE_FEATURES, *told, "sent"])
    given = log.contents.drop(columns=["content_id", "text"], errors="ignore").iloc[content.numpy()]
    given = given.reset_index(drop=True).where(pd.Series(sent), None).infer_objects()
    for name in given.columns:
        numeric = pd.api.types.is_numeric_dtype(log.contents[name])
        given[name] = given[name].astype("float64" if numeric else "category")
    table = pd.concat([table, given.add_prefix("content "), named], axis=1)
    table = table.loc[:, table.nunique(dropna=False) > 1]
    table.columns = pd.Index([f"f{i}" for i in range(table.shape[1])])  # LightGBM allows no special letters
    test = held[customer]
    bought = rows.outcomes["purchased"].double().numpy()
    return Task(rows, people, catalogue, ~test, test, unit[customer], encoded, table, bought)


def predictions(task: Task, seed: int, settings: FitSettings) -> dict[str, tuple[np.ndarray, float]]:
    """Each model's probabilities of the test rows, and the seconds that it took to fit."""
    found: dict[str, tuple[np.ndarray, float]] = {}
    began = time.perf_counter()
    model = fit_network(task.rows.take(torch.from_numpy(task.train)), task.population, task.catalogue, settings, seed)
    taken = time.perf_counter() - began
    test = task.rows.take(torch.from_numpy(task.test))
    sent = test.decision > HOLD
    attributes = task.catalogue.features[(test.decision - 1).clamp(min=0)] * sent.unsqueeze(1)
    with torch.no_grad():
        parts = [
            model.respond(
                task.population.features[test.customer[part]], test.state[part], attributes[part],
                test.candidate[part], sent[part],
            ).purchase
            for part in torch.arange(len(test)).split(16_384)
        ]  # fmt: skip
    found[OURS] = (torch.cat(parts).double().numpy(), taken)
    began = time.perf_counter()
    trees = LGBMClassifier(verbose=-1, n_jobs=1, random_state=seed).fit(task.table[task.train], task.bought[task.train])
    found["lightgbm"] = (trees.predict_proba(task.table[task.test])[:, 1], time.perf_counter() - began)
    began = time.perf_counter()
    line = LogisticRegression(max_iter=2000).fit(task.encoded[task.train], task.bought[task.train])
    found["logistic"] = (line.predict_proba(task.encoded[task.test])[:, 1], time.perf_counter() - began)
    return found


def figures(chance: np.ndarray, bought: np.ndarray, seed: int) -> dict[str, float]:
    """AUC, log loss, calibration slope, and threshold figures at the natural rate and on a balanced test set."""
    chance = np.clip(chance, 1e-7, 1 - 1e-7)
    natural = float(np.quantile(chance, 1 - bought.mean()))
    generator = np.random.default_rng([seed, 29])
    fewer = min(int(bought.sum()), int((1 - bought).sum()))
    balanced = np.concatenate(
        [generator.choice(np.flatnonzero(bought == side), fewer, replace=False) for side in (0, 1)]
    )
    middle = float(np.median(chance[balanced]))
    return {
        "auc": float(roc_auc_score(bought, chance)),
        "log_loss": float(log_loss(bought, chance)),
        "slope": calibration_slope(chance, bought, np.ones(len(bought))),
        **threshold_figures(chance, bought, natural, "natural"),
        **threshold_figures(chance, bought, 0.5, "half"),
        **threshold_figures(chance[balanced], bought[balanced], middle, "balanced"),
    }


def threshold_figures(chance: np.ndarray, bought: np.ndarray, threshold: float, name: str) -> dict[str, float]:
    """What is right among the rows above a threshold, and below."""
    decided = chance >= threshold
    precision, recall, f1, _ = precision_recall_fscore_support(bought, decided, average="binary", zero_division=0)
    return {
        f"{name}_rate": float(bought.mean()),
        f"{name}_threshold": threshold,
        f"{name}_accuracy": float(accuracy_score(bought, decided)),
        f"{name}_precision": float(precision),
        f"{name}_recall": float(recall),
        f"{name}_f1": float(f1),
    }


def paired(ours: np.ndarray, theirs: np.ndarray, bought: np.ndarray, unit: np.ndarray, seed: int) -> np.ndarray:
    """Bootstrap draws over units of (AUC, log loss) of ours less theirs. Shape [DRAWS, 2]."""
    _, code = np.unique(unit, return_inverse=True)
    generator = np.random.default_rng([seed, 31])
    orders = [np.argsort(p, kind="stable") for p in (ours, theirs)]
    losses = [-(bought * np.log(p) + (1 - bought) * np.log1p(-p)) for p in (ours, theirs)]
    draws = np.empty((DRAWS, 2))
    for draw in range(DRAWS):
        weight = np.bincount(generator.integers(0, code.max() + 1, code.max() + 1), minlength=code.max() + 1)[code]
        aucs = [weighted_auc(p, bought, weight, order) for p, order in zip((ours, theirs), orders, strict=True)]
        draws[draw] = aucs[0] - aucs[1], np.average(losses[0] - losses[1], weights=weight)
    return draws


def weighted_auc(chance: np.ndarray, bought: np.ndarray, weight: np.ndarray, order: np.ndarray) -> float:
    """Area under the ROC curve of weighted rows, ties counted half; `order` sorts `chance`."""
    chance, buyers, others = chance[order], (weight * bought)[order], (weight * (1 - bought))[order]
    first = np.flatnonzero(np.r_[True, np.diff(chance) > 0])
    buyers, others = np.add.reduceat(buyers, first), np.add.reduceat(others, first)
    below = np.cumsum(others) - others
    return float((buyers * (below + others / 2)).sum() / (buyers.sum() * others.sum()))


def say(**said: object) -> None:
    """Prints one line."""
    shown = {key: float(f"{value:.4g}") if isinstance(value, float) else value for key, value in said.items()}
    print(json.dumps(shown), flush=True)


def compare(log: CampaignLog, name: str, seeds: int, settings: FitSettings, by_row: bool) -> None:
    """All seeds of one data set, and the paired differences over them."""
    every: dict[str, list[Mapping[str, Any]]] = {}
    draws: dict[str, list[np.ndarray]] = {}
    for seed in range(seeds):
        task = split(log, seed, by_row)
        bought, unit = task.bought[task.test], task.unit[task.test]
        found = {m: (np.clip(p, 1e-7, 1 - 1e-7), s) for m, (p, s) in predictions(task, seed, settings).items()}
        for model, (chance, seconds) in found.items():
            every.setdefault(model, []).append(figures(chance, bought, seed) | {"seconds": seconds})
            say(data=name, seed=seed, model=model, test_rows=len(bought), **every[model][-1])
            if model != OURS:
                draws.setdefault(model, []).append(paired(found[OURS][0], chance, bought, unit, seed))
                for column, figure in enumerate(("auc", "log_loss")):
                    low, high = np.quantile(draws[model][-1][:, column], [0.025, 0.975])
                    difference = every[OURS][-1][figure] - every[model][-1][figure]
                    say(data=name, seed=seed, ours_less=model, figure=figure, difference=difference,
                        low=float(low), high=float(high))  # fmt: skip
    for model, runs in every.items():
        say(data=name, seeds=seeds, model=model, **{k: float(np.mean([r[k] for r in runs])) for k in runs[0]})
    for model, parts in draws.items():
        mean = np.mean(parts, axis=0)
        for column, figure in enumerate(("auc", "log_loss")):
            low, high = np.quantile(mean[:, column], [0.025, 0.975])
            difference = float(np.mean([a[figure] - b[figure] for a, b in zip(every[OURS], every[model], strict=True)]))
            say(data=name, seeds=seeds, ours_less=model, figure=figure, difference=difference,
                low=float(low), high=float(high))  # fmt: skip


def main() -> None:
    """One data set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", choices=[name for name in PUBLIC_SETS if name != "hillstrom"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--by-row", action="store_true", help="split rows, not groups: shows what that leaks")
    parser.add_argument("--threads", type=int, default=1, help="torch threads")
    parser.add_argument("--set", nargs="*", default=[], help="fit settings to change, such as members=8 epochs=30")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    changes = dict(part.split("=", 1) for part in chosen.set)
    settings = replace(FitSettings(), **{key: json.loads(value) for key, value in changes.items()})
    say(data=chosen.data, split="row" if chosen.by_row else "customer or group", settings=str(settings))
    compare(read_public_set(chosen.data, "", 0.05, 0.3), chosen.data, chosen.seeds, settings, chosen.by_row)


if __name__ == "__main__":
    main()
