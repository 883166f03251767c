"""Attention over the recent past beside the counters: `python -m benchmarks.attention_ablation [--variants ecommerce]`.

For every variant one log of 8,000 customers x 28 days; the network is fitted to half of the customers as it is
(`counters`), with attention that the moment asks (32 more state features), and with attention that moment and content
ask (32 more candidate features). On the other half: gain in log loss over the constant and calibration slope of every
head, the joint log loss of a row, and its paired difference to `counters` with a bootstrap of customers. Fits are
repeated with `--fits` seeds, and losses averaged over them, since two seeds of one network differ as well. Attention
earns its place where the interval of the difference is below zero and the difference is more than a hundredth of what
`counters` gain over the constant. Two to three minutes a variant and fit on one core.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.policy_path import study_of
from benchmarks.recent_past import LATEST, WIDTH, RecentEncoder, RecentPast, make_recent_past
from campaigns.audience import Catalogue, Population
from campaigns.history import HOLD, start
from campaigns.replay import BINARY_OUTCOMES, DecisionRows
from envs.reference.variants import VARIANTS
from evaluation.estimators import Contributions
from evaluation.intervals import bootstrap
from propensity.fit import ROWS_AT_ONCE, VALUE_WEIGHT, Batches, fit_prepared, prepared
from propensity.fit_settings import FitSettings
from propensity.head_rows import log_rows
from propensity.metrics import predict_rows, propensity_metrics
from propensity.model import CALIBRATED, PropensityModel
from propensity.response import Response
from scripts.pipeline.context import TRAIN, Study
from scripts.pipeline.fit_stage import SEEDS, fitting_rows, judging_rows

COUNTERS, BY_MOMENT, BY_CONTENT = "counters", "attention, asked by the moment", "attention, asked by the content"
VERSIONS = (COUNTERS, BY_MOMENT, BY_CONTENT)
STEP = 4096
"""Customers at once in a market whose cost is measured."""

JOINT = "joint"
"""All heads of a row together."""

MATERIAL = 0.01
"""Share of the gain over the constant that attention must add."""


@dataclass(frozen=True)
class AttentiveBatches(Batches):
    """Batches whose last WIDTH state (or candidate) features are what attention says.

    Attributes:
        encoder: learned with the network, of which it is a part.
        past: of the same rows.
        by_content: whether the content asks beside the moment, and candidate features are filled.
    """

    encoder: RecentEncoder
    past: RecentPast
    by_content: bool

    def features(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Standardised features, and in the last WIDTH columns of one of them what attention says."""
        state, candidate = super().features(rows)
        tokens, there = self.past.tokens(rows)
        if self.by_content:
            asking = torch.cat([state, self.tables.contents[rows]], dim=1)
            return state, torch.cat([candidate[:, :-WIDTH], self.encoder(tokens, there, asking)], dim=1)
        state = state[:, :-WIDTH]
        return torch.cat([state, self.encoder(tokens, there, state)], dim=1), candidate


def widened(rows: DecisionRows, by_content: bool) -> DecisionRows:
    """The rows with empty columns where attention's answer will stand."""
    empty = torch.zeros(len(rows), WIDTH)
    if by_content:
        return replace(rows, candidate=torch.cat([rows.candidate, empty], dim=1))
    return replace(rows, state=torch.cat([rows.state, empty], dim=1))


@dataclass(frozen=True)
class Fitted:
    """A fitted version.

    Attributes:
        model: of the features that it was fitted to.
        batches: with the encoder, where it has attention.
        seconds: of fitting.
    """

    model: PropensityModel
    batches: Batches
    seconds: float

    @torch.no_grad()
    def seen(self, rows: DecisionRows, past: RecentPast, catalogue: Catalogue) -> DecisionRows:
        """Rows, of whichever customers, as the model is asked about them."""
        batches = self.batches
        if not isinstance(batches, AttentiveBatches):
            return rows
        wide = widened(rows, batches.by_content)
        content = (rows.decision - 1).clamp(min=0)
        contents = catalogue.features[content] * (rows.decision > HOLD).unsqueeze(1)
        tables = replace(batches.tables, state=wide.state, candidate=wide.candidate, contents=contents)
        asked = replace(batches, tables=tables, past=past)
        parts = [asked.features(some) for some in torch.arange(len(rows)).split(ROWS_AT_ONCE)]
        # The model takes features as they are: attention's own have mean 0 and scale 1 in the network's eyes.
        if batches.by_content:
            said = torch.cat([candidate[:, -WIDTH:] for _, candidate in parts])
            return replace(wide, candidate=torch.cat([rows.candidate, said], dim=1))
        said = torch.cat([state[:, -WIDTH:] for state, _ in parts])
        return replace(wide, state=torch.cat([rows.state, said], dim=1))


def fit_version(
    version: str,
    rows: DecisionRows,
    past: RecentPast,
    population: Population,
    catalogue: Catalogue,
    settings: FitSettings,
    seed: int,
) -> Fitted:
    """Fits one of VERSIONS as `propensity.fit.fit_network` does, its encoder learned with the network.

    Args:
        version: which.
        rows: labelled decisions of the training customers.
        past: of these rows.
        population, catalogue: of the same log.
        settings, seed: of the fit.
    """
    begun = time.perf_counter()
    chosen = settings.for_log(one_shot=False)
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    by_content = version == BY_CONTENT
    wide = rows if version == COUNTERS else widened(rows, by_content)
    network, batches = prepared(wide, population, catalogue, chosen, "cpu")
    if version != COUNTERS:
        asking = rows.state.shape[1] + by_content * catalogue.features.shape[1]
        network.encoder = RecentEncoder(past.width, asking)
        plain = {f.name: getattr(batches, f.name) for f in fields(Batches)}
        batches = AttentiveBatches(**plain, encoder=network.encoder, past=past, by_content=by_content)
    model = fit_prepared(network, batches, chosen, generator)
    return Fitted(model, batches, time.perf_counter() - begun)


def head_losses(
    response: Response | None, rows: DecisionRows, population: Population, catalogue: Catalogue
) -> dict[str, np.ndarray]:
    """Each head's part of the joint negative log-likelihood of every row (see `propensity.fit`).

    Args:
        response: of the rows; None for constants, which know nothing but each head's own mean.
        rows, population, catalogue: of one log.
    Returns:
        By head, with 0 where a row tells nothing of it. Shape [R] each.
    """
    log = log_rows(rows, population, catalogue)
    losses = {}
    for head in (*CALIBRATED, "value"):
        told = log.head(head, torch.arange(len(rows)))
        if told is None:
            continue
        outcome, weight = told.outcome.double(), told.weight.double()
        expected = torch.full_like(outcome, float((weight * outcome).sum() / weight.sum()))
        if response is not None:
            alone, beside = _conditional(response, head)
            expected = torch.where(told.beside > 0, beside[told.rows], alone[told.rows]).double()
            expected = expected / log.tables.value_unit if head == "value" else expected
        if head == "value":
            each = VALUE_WEIGHT * (expected - outcome).square()
        else:
            each = torch.nn.functional.binary_cross_entropy(expected.clamp(1e-7, 1 - 1e-7), outcome, reduction="none")
        losses[head] = np.zeros(len(rows))
        losses[head][told.rows.numpy()] = each.numpy()
    return losses


def _conditional(response: Response, head: str) -> tuple[Tensor, Tensor]:
    """What is expected of a head without, and with, what accompanies it."""
    if head in {"purchase", "unsubscribe"}:
        return getattr(response, head), getattr(response, head)
    if head == "value":
        return response.value_unclicked, response.value_clicked
    return getattr(response, f"{head}_if_not"), getattr(response, f"{head}_if_bought")


def compare(study: Study, label: str, fits: int) -> None:
    """Fits every version `fits` times and prints what it is worth on the customers that none has seen."""
    train, judge = fitting_rows(study, TRAIN), judging_rows(study)
    log = (study.population, study.catalogue)
    known, asked = (make_recent_past(study.grid, *log, study.log.clock, rows) for rows in (train, judge))
    losses: dict[str, list[dict[str, np.ndarray]]] = {version: [] for version in VERSIONS}
    for version in VERSIONS:
        reports, seconds = [], []
        for fit in range(fits):
            seed = study.config.seed * 10 + SEEDS[TRAIN] + 100 * fit
            fitted = fit_version(version, train, known, *log, study.config.propensity, seed)
            rows = fitted.seen(judge, asked, study.catalogue)
            reports.append(propensity_metrics(fitted.model, rows, *log)["heads"])
            losses[version].append(head_losses(predict_rows(fitted.model, rows, *log), rows, *log))
            seconds.append(fitted.seconds)
        heads = [
            f"{name} gain {np.mean([r[name]['log_loss_gain'] for r in reports]):.4f}, slope "
            + "/".join(f"{r[name]['calibration_slope']:.2f}" for r in reports)
            for name in reports[0]
        ]
        print(f"{label}, {version}: " + "; ".join(heads) + f"; {np.mean(seconds):.0f} s a fit", flush=True)
    customer, weight = study.population.units[judge.customer].numpy(), judge.weight.double().numpy()
    show_differences(losses, head_losses(None, judge, *log), weight, customer)


def show_differences(
    losses: dict[str, list[dict[str, np.ndarray]]],
    constant: dict[str, np.ndarray],
    weight: np.ndarray,
    customer: np.ndarray,
) -> None:
    """Prints what attention changes in the loss of a row of the log, whole and by head, and whether that is enough.

    Args:
        losses: by version, of each fit, by head. Shape [R].
        constant: of constants.
        weight, customer: of each row. Shape [R].
    """

    def mean_loss(heads: dict[str, np.ndarray]) -> Contributions:
        return Contributions(weight * np.sum(list(heads.values()), axis=0), weight)

    mean = {v: {h: np.mean([fit[h] for fit in fits], axis=0) for h in constant} for v, fits in losses.items()}
    estimates = {f"{v}, {JOINT}": mean_loss(heads) for v, heads in mean.items()}
    estimates |= {f"{v}, {head}": mean_loss({head: each}) for v, heads in mean.items() for head, each in heads.items()}
    found = bootstrap(estimates, customer)
    nothing, counters = mean_loss(constant).value, found.points[f"{COUNTERS}, {JOINT}"]
    gain = nothing - counters
    print(f"  loss of a row: constants {nothing:.6f}, {COUNTERS} {counters:.6f}")
    for version in VERSIONS[1:]:
        for part in (JOINT, *constant):
            d = found.difference(f"{version}, {part}", f"{COUNTERS}, {part}")
            print(f"  {version}, {part}: difference {d.value:+.6f} [{d.low:+.6f}, {d.high:+.6f}]", flush=True)
            if part == JOINT:
                pairs = zip(losses[version], losses[COUNTERS], strict=True)
                single = [mean_loss(one).value - mean_loss(other).value for one, other in pairs]
                earned = d.high < 0 and -d.value > MATERIAL * gain
                print(
                    f"    by fit {' '.join(f'{s:+.6f}' for s in single)}; {-d.value / gain:+.1%} of the gain over "
                    f"constants: {'earns its place' if earned else 'does not earn its place'}"
                )


@torch.no_grad()
def cost(study: Study, label: str) -> None:
    """Prints what a market would carry and pay for attention that the moment asks: weights do not matter for that."""
    train = fitting_rows(study, TRAIN)
    train = train.take(torch.arange(min(len(train), STEP)))
    past = make_recent_past(study.grid, study.population, study.catalogue, study.log.clock, train)
    chosen = study.config.propensity.for_log(one_shot=False)
    network, _ = prepared(train, study.population, study.catalogue, chosen, "cpu")
    encoder = RecentEncoder(past.width, train.state.shape[1])
    projected = network.project_customers(study.population.features[train.customer])
    candidates = train.candidate.unsqueeze(1).expand(-1, len(study.catalogue), -1)
    every = torch.arange(len(train))
    bare = _seconds(lambda: network.forward_all(projected, train.state, study.catalogue.features, candidates))
    more = _seconds(lambda: encoder(*past.tokens(every), train.state))
    carried = sum(table.nbytes for table in start(1, study.catalogue).tensors().values())
    remembered = LATEST * (4 + 4 + 1 + len(BINARY_OUTCOMES))
    print(
        f"{label}, in a market: {remembered} bytes a customer for {LATEST} slots (slot and content as int32, sent and "
        f"events as bool) beside the {carried} of the history; {1e3 * more:.1f} ms for {len(train)} customers beside "
        f"{1e3 * bare:.1f} ms of the bare forward over {len(study.catalogue)} contents",
        flush=True,
    )


def _seconds(work: Callable[[], object], times: int = 20) -> float:
    """The median of some calls."""
    taken = []
    for _ in range(times):
        begun = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begun)
    return float(np.median(taken))


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", nargs="+", default=["ecommerce", "banking"], choices=list(VARIANTS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fits", type=int, default=2)
    parser.add_argument("--cache", type=Path, default=Path(".cache"))
    options, overrides = parser.parse_known_args(arguments)
    for variant in options.variants:
        with tempfile.TemporaryDirectory() as folder:
            study = study_of(variant, options.seed, Path(folder), options.cache, overrides)
            compare(study, variant, options.fits)
            cost(study, variant)


if __name__ == "__main__":
    main()
