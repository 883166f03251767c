"""FQE with a linear Q beside FQE with a network, on the reference market: `python -m benchmarks.fqe_families`.

Seven rules from near the logging policy to far; the value that each FQE gives the first slots of some customers' log,
less what was logged, against the true difference. Both see the same features, policy probabilities and customers; the
linear one is cross-fitted, the network is not. Seconds are of the processor. About six minutes a variant.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import numpy as np
import torch
from scipy.stats import spearmanr

from benchmarks.sequential_truth import GUARDRAILS, fit_half, make_market, panel_of, play
from envs.reference.variants import VARIANTS
from evaluation.decision_features import fit_features
from evaluation.fqe import LoggedFeatures, fit_linear_fqe, log_moments
from evaluation.fqe_network import NetworkSettings, fit_network_fqe
from evaluation.reward_model import customer_folds
from evaluation.sequences import Sequences, collect_sequences

FOLDS, DAYS, LOGGED = 3, 28, 8000


def of_every_decision(sequences: Sequences, features: object, present: torch.Tensor) -> torch.Tensor:
    """Features of every decision. Shape [N, T, 1 + K, d]."""
    some = next(iter(sequences.target.values()))
    each = []
    for decision in range(some.shape[2]):
        alone = torch.zeros_like(some)
        alone[:, :, decision] = 1.0
        each.append(features.of(sequences, alone)[present])  # type: ignore[attr-defined]
    return torch.stack(each, dim=2)


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints a line a rule, and errors, ranks and seconds of both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variant", default="ecommerce", choices=list(VARIANTS))
    parser.add_argument("--judged", type=int, default=800, help="customers whose sequences are evaluated")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, default=8000, help="minibatches of the network")
    options = parser.parse_args(arguments)
    market = make_market(options.variant, LOGGED, DAYS, options.seed)
    model, panel = fit_half(market, "logistic"), panel_of(market.catalogue)
    rows = np.arange(1, LOGGED, 2)[: options.judged]
    sequences = collect_sequences(
        market.grid.take(rows), market.population.take(torch.from_numpy(rows)), market.catalogue, market.log.clock,
        GUARDRAILS, market.objective, panel, model, market.logging_policy,
    )  # fmt: skip
    present = sequences.known[:, 0]
    features = fit_features(sequences)
    fold = torch.from_numpy(customer_folds(sequences.units.numpy(), FOLDS, options.seed))
    log = LoggedFeatures(
        features.taken(sequences)[present], sequences.reward[present], sequences.known[present], sequences.horizon,
        fold[present], FOLDS, features.prior,
    )  # fmt: skip
    moments, decisions = log_moments(log), of_every_decision(sequences, features, present)
    logged = float(torch.where(log.known, log.reward, 0.0).sum(dim=1).mean())
    base = play(market, None, 0.0, 3000, options.seed)
    truth, linear, network, spent = [], [], [], [0.0, 0.0]
    for name, policy in panel.items():
        truth.append(float((play(market, policy, 1.0, 3000, options.seed) - base).mean()))
        began = time.process_time()
        expected = features.of(sequences, sequences.target[name])[present]
        fitted = fit_linear_fqe(log, moments, expected, (0.0, 1.0))
        linear.append(float(fitted.of(expected, log.fold)[1][:, 0].double().mean()) - logged)
        spent[0] += time.process_time() - began
        began = time.process_time()
        chances = sequences.target[name][present].float()
        found = fit_network_fqe(log, decisions, chances, NetworkSettings(steps=options.steps))
        network.append(float(found.value(decisions[:, 0], chances[:, 0], torch.tensor(log.horizon)).mean()) - logged)
        spent[1] += time.process_time() - began
        print(f"{name:32s} true {truth[-1]:+.2f}  linear {linear[-1]:+.2f}  network {network[-1]:+.2f}", flush=True)
    for label, values, seconds in (("linear", linear, spent[0]), ("network", network, spent[1])):
        error = float(np.mean(np.abs(np.array(values) - truth)))
        rank = spearmanr(values, truth).statistic
        print(f"{label}: mean error {error:.2f}, Spearman {rank:.2f}, {seconds / len(panel):.1f} s a policy")


if __name__ == "__main__":
    main()
