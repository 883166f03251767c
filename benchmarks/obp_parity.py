"""What the Open Bandit Pipeline (OBP) says of arrays made from a seed; tests/evaluation/test_obp_parity.py reads it.

OBP needs packages older than ours, so it runs in an environment of its own:

    python3.11 -m venv obp && obp/bin/pip install numpy==1.26.4 pandas==2.2.3 scikit-learn==1.3.2 scipy==1.13.1 \
        tqdm pyyaml matplotlib seaborn torch==2.13.0
    obp/bin/pip install --no-deps --ignore-requires-python obp==0.5.7 pyieoe==0.1.1
    obp/bin/python benchmarks/obp_parity.py --out tests/evaluation/fixtures/obp.json
"""

from __future__ import annotations

import argparse
import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

ROWS, DECISIONS, CONTEXTS = 2000, 6, 5
THRESHOLDS = (1.0, 3.0, 10.0)
SHRINKAGES = (1.0, 10.0, 100.0)
MIXINGS = (0.0, 0.3, 1.0)
CODES = (0, 1, 1, 2, 2, 2)
"""The attribute of each decision in the deterministic embedding."""

DELTA = 0.1
COMMAND = "obp/bin/python benchmarks/obp_parity.py --out tests/evaluation/fixtures/obp.json"


def make_arrays(seed: int = 0, tail: float = 2.0) -> dict[str, np.ndarray]:
    """A log whose weights reach beyond 10, rewards with noise, and a poor reward model.

    Only uniform draws are used, which are the same in all versions of numpy.
    """
    generator = np.random.default_rng(seed)
    context = (generator.random(ROWS) * CONTEXTS).astype(np.int64)

    def policy(power: float) -> np.ndarray:
        shares = generator.random((CONTEXTS, DECISIONS)) ** power + 0.01
        return shares / shares.sum(axis=1, keepdims=True)

    logging, target = policy(tail)[context], policy(tail)[context]
    action = (generator.random((ROWS, 1)) > logging.cumsum(axis=1)[:, :-1]).sum(axis=1)
    mean = generator.random((CONTEXTS, DECISIONS))[context]
    reward = mean[np.arange(ROWS), action] + generator.random(ROWS) - 0.5
    predicted = 0.7 * mean + 0.3 * generator.random((ROWS, DECISIONS))
    drawn = generator.random((DECISIONS, 4)) + 0.1
    drawn, coin = drawn / drawn.sum(axis=1, keepdims=True), generator.random((DECISIONS, 2)) + 0.1
    coin /= coin.sum(axis=1, keepdims=True)
    seen = [(generator.random((ROWS, 1)) > p[action].cumsum(axis=1)[:, :-1]).sum(axis=1) for p in (drawn, coin)]
    return {
        "action": action,
        "reward": reward,
        "logging": logging,
        "target": target,
        "predicted": predicted,
        "context": np.eye(CONTEXTS)[context][:, 1:],
        "drawn": drawn,
        "coin": coin,
        "seen": np.stack(seen, axis=1),
    }


def checksum(arrays: dict[str, np.ndarray]) -> dict[str, float]:
    """Tells whether two machines made the same arrays."""
    return {name: float(np.sin(np.arange(a.size)) @ a.ravel()) for name, a in arrays.items()}


def obp_figures(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Every estimator, tuning and bound that OBP has for one decision a row and that we have too."""
    from obp import ope
    from obp.ope.helper import estimate_bernstein_lower_bound, estimate_student_t_lower_bound

    target, logging = arrays["target"][:, :, None], arrays["logging"][:, :, None]
    common = {
        "reward": arrays["reward"],
        "action": arrays["action"],
        "pscore": arrays["logging"][np.arange(ROWS), arrays["action"]],
        "action_dist": target,
        "estimated_rewards_by_reg_model": arrays["predicted"][:, :, None],
        "position": np.zeros(ROWS, dtype=int),
    }

    def value(estimator: Any, **more: Any) -> float:
        return float(estimator.estimate_policy_value(**{**common, **more}))

    plain = {
        "DM": value(ope.DirectMethod()),
        "IPS": value(ope.InverseProbabilityWeighting()),
        "SNIPS": value(ope.SelfNormalizedInverseProbabilityWeighting()),
        "DR": value(ope.DoublyRobust()),
        "SNDR": value(ope.SelfNormalizedDoublyRobust()),
    }
    families = {
        "clipped IPS": ("InverseProbabilityWeighting", THRESHOLDS),
        "clipped DR": ("DoublyRobust", THRESHOLDS),
        "SWITCH-DR": ("SwitchDoublyRobust", THRESHOLDS),
        "DRos": ("DoublyRobustWithShrinkage", SHRINKAGES),
        "sub-Gaussian IPS": ("SubGaussianInverseProbabilityWeighting", MIXINGS),
        "sub-Gaussian DR": ("SubGaussianDoublyRobust", MIXINGS),
    }
    shrunk: dict[str, dict[str, float]] = {}
    tuned: dict[str, dict[str, Any]] = {}
    for name, (kind, settings) in families.items():
        shrunk[name] = {str(setting): value(getattr(ope, kind)(lambda_=setting)) for setting in settings}
        for rule, options in {
            "slope": {"tuning_method": "slope"},
            "bound": {"tuning_method": "mse", "use_bias_upper_bound": True},
            "bias": {"tuning_method": "mse", "use_bias_upper_bound": False},
        }.items():
            tuner = getattr(ope, f"{kind}Tuning")(lambdas=list(settings), delta=DELTA, **options)
            found = float(tuner.estimate_policy_value_with_tuning(**common))
            tuned.setdefault(name, {})[rule] = {"setting": tuner.best_hyperparam, "value": found}
    # the range; OBP's own choice, the largest value, is one only where the least is 0
    contributions = ope.InverseProbabilityWeighting()._estimate_round_rewards(**common)
    span = float(contributions.max() - contributions.min())
    return {
        "plain": plain,
        "shrunk": shrunk,
        "tuned": tuned,
        "embedded": embedded_figures(arrays, common, logging),
        "bounds": {
            "student": float(estimate_student_t_lower_bound(contributions, delta=0.05)),
            "bernstein": float(estimate_bernstein_lower_bound(contributions, x_max=span, delta=0.05)),
        },
    }


def embedded_figures(arrays: dict[str, np.ndarray], common: dict[str, Any], logging: np.ndarray) -> dict[str, float]:
    """OBP's MIPS with p(e|a) given for one and for two attributes, self-normalised, and with a logistic posterior."""
    from obp.ope import MarginalizedInverseProbabilityWeighting as Marginalized
    from obp.ope import SelfNormalizedMarginalizedInverseProbabilityWeighting as SelfNormalized
    from sklearn.linear_model import LogisticRegression

    both = np.zeros((DECISIONS, 4, 2))  # categories, then attributes; the second has two categories
    both[:, :, 0], both[:, :2, 1] = arrays["drawn"], arrays["coin"]
    given = {**common, "pi_b": logging}
    codes = np.eye(3)[np.array(CODES)][:, :, None]
    logistic = LogisticRegression(solver="newton-cg", max_iter=10_000, tol=1e-10)  # lbfgs stopped early there
    return {
        "one attribute": float(
            Marginalized(n_actions=DECISIONS).estimate_policy_value(
                **given, p_e_a=codes, action_embed=np.array(CODES)[arrays["action"]][:, None]
            )
        ),
        "two drawn attributes": float(
            Marginalized(n_actions=DECISIONS).estimate_policy_value(**given, p_e_a=both, action_embed=arrays["seen"])
        ),
        "self-normalised": float(
            SelfNormalized(n_actions=DECISIONS).estimate_policy_value(
                **given, p_e_a=both[:, :, :1], action_embed=arrays["seen"][:, :1]
            )
        ),
        "logistic posterior": float(
            Marginalized(n_actions=DECISIONS, pi_a_x_e_estimator=logistic).estimate_policy_value(
                **given, context=arrays["context"], action_embed=arrays["seen"]
            )
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out
    packages = ("obp", "numpy", "scipy", "scikit-learn", "pandas", "torch")
    logs = {}
    for name, (seed, tail) in {"mild weights": (0, 1.0), "heavy weights": (1, 3.0)}.items():
        arrays = make_arrays(seed, tail)
        logs[name] = {"seed": seed, "tail": tail, "checksum": checksum(arrays), **obp_figures(arrays)}
    versions = {"python": platform.python_version(), **{package: version(package) for package in packages}}
    out.write_text(json.dumps({"command": COMMAND, "versions": versions, "logs": logs}, indent=1) + "\n")


if __name__ == "__main__":
    main()
