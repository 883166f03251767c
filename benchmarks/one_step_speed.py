"""Seven one-step estimators with bootstrap intervals, beside the Open Bandit Pipeline (OBP) on the same arrays.

    python -m benchmarks.one_step_speed [--obp PYTHON] [--rows 1000000] [--draws 1000] [--obp-draws 1000]

Estimators: DM, IPS, SNIPS, DR, SNDR, SWITCH-DR, DRos. `--obp` names the interpreter of an environment that has OBP (see
benchmarks/obp_parity.py); it runs in a process of its own on arrays of the same seed. OBP resamples rows, one
estimator and draw after the other, so that its time is a fixed part and a part linear in the draws: with `--obp-draws`
below `--draws` it is measured at that number and a quarter of it and scaled, which the output says. Time is CPU
seconds on one thread each, so that a busy machine does not move the ratio. Peak memory is the process's resident set,
arrays included.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

THRESHOLD, SHRINKAGE = 10.0, 10.0


def make_arrays(rows: int, contents: int, seed: int = 0) -> dict[str, np.ndarray]:
    """A log with weights up to about 20, a policy and a reward model. [rows, contents] arrays of float64."""
    generator = np.random.default_rng(seed)
    logging = generator.random((rows, contents)) + 0.1
    logging /= logging.sum(axis=1, keepdims=True)
    target = generator.random((rows, contents)) ** 3 + 0.01
    target /= target.sum(axis=1, keepdims=True)
    action = np.minimum((generator.random((rows, 1)) > logging.cumsum(axis=1)).sum(axis=1), contents - 1)
    predicted = generator.random((rows, contents))
    reward = (generator.random(rows) < predicted[np.arange(rows), action]).astype(np.float64)
    logged_prob = logging[np.arange(rows), action]
    return {
        "action": action,
        "reward": reward,
        "logged_prob": logged_prob,
        "target": target,
        "predicted": 0.8 * predicted,
    }


def ours(arrays: dict[str, np.ndarray], draws: list[int]) -> dict[str, Any]:
    """Seconds, and each estimate with its interval."""
    from evaluation.estimators import DM, DR, IPS, SNDR, SNIPS, DRos, LoggedDecisions, SwitchDR
    from evaluation.intervals import bootstrap

    begin = time.process_time()
    customer = np.arange(len(arrays["action"]))
    logged = LoggedDecisions(customer, arrays["action"], arrays["reward"], arrays["logged_prob"])
    estimators = (DM(), IPS(), SNIPS(), DR(), SNDR(), SwitchDR(THRESHOLD), DRos(SHRINKAGE))
    found = {e.name: e.contributions(logged, arrays["target"], arrays["predicted"]) for e in estimators}
    intervals = bootstrap(found, customer, draws[0]).intervals()
    seconds = time.process_time() - begin
    figures = {name: [i.value, i.low, i.high] for name, i in intervals.items()}
    return {"seconds": seconds, "figures": figures, **_memory()}


def theirs(arrays: dict[str, np.ndarray], draws: list[int]) -> dict[str, Any]:
    """The same by OBP through its own interface for many estimators, once for each number of draws."""
    from obp import ope

    estimators = [
        ope.DirectMethod(estimator_name="DM"),
        ope.InverseProbabilityWeighting(estimator_name="IPS"),
        ope.SelfNormalizedInverseProbabilityWeighting(estimator_name="SNIPS"),
        ope.DoublyRobust(estimator_name="DR"),
        ope.SelfNormalizedDoublyRobust(estimator_name="SNDR"),
        ope.SwitchDoublyRobust(lambda_=THRESHOLD, estimator_name="SWITCH-DR"),
        ope.DoublyRobustWithShrinkage(lambda_=SHRINKAGE, estimator_name="DRos"),
    ]
    rows = len(arrays["action"])
    feedback = {
        "n_rounds": rows,
        "n_actions": arrays["target"].shape[1],
        "context": np.zeros((rows, 1)),
        "action": arrays["action"],
        "reward": arrays["reward"],
        "pscore": arrays["logged_prob"],
        "position": np.zeros(rows, dtype=int),
    }
    target, predicted = arrays["target"][:, :, None], arrays["predicted"][:, :, None]
    times = {}
    for number in draws:
        begin = time.process_time()
        evaluation = ope.OffPolicyEvaluation(bandit_feedback=feedback, ope_estimators=estimators)
        intervals = evaluation.estimate_intervals(
            action_dist=target,
            estimated_rewards_by_reg_model=predicted,
            n_bootstrap_samples=number,
            random_state=0,
        )
        times[number] = time.process_time() - begin
    points = evaluation.estimate_policy_values(action_dist=target, estimated_rewards_by_reg_model=predicted)
    figures = {name: [points[name], *list(intervals[name].values())[1:]] for name in points}
    return {"times": times, "figures": {k: [float(x) for x in v] for k, v in figures.items()}, **_memory()}


def _memory() -> dict[str, float]:
    """Peak resident set of this process, in GiB."""
    return {"peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}


def _apart(python: str, side: str, options: argparse.Namespace, draws: list[int]) -> dict[str, Any]:
    """Runs one side in a process of its own."""
    command = [
        python, str(Path(__file__).resolve()), "--side", side, "--rows", str(options.rows),
        "--contents", str(options.contents), "--numbers", *map(str, draws),
    ]  # fmt: skip
    root = str(Path(__file__).resolve().parents[1])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": root}
    output = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    result: dict[str, Any] = json.loads(output.splitlines()[-1])
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--obp", help="interpreter of an environment with the Open Bandit Pipeline")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--contents", type=int, default=20)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--obp-draws", type=int, default=1000)
    parser.add_argument("--numbers", type=int, nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("--side", choices=["ours", "theirs"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        arrays = make_arrays(options.rows, options.contents)
        print(json.dumps((ours if options.side == "ours" else theirs)(arrays, options.numbers)))
        return
    own = _apart(sys.executable, "ours", options, [options.draws])
    print(f"{options.rows:,} rows x {options.contents} contents, {options.draws} draws, one thread")
    print(f"ours: {own['seconds']:.2f} CPU s, peak {own['peak_gib']:.2f} GiB")
    if not options.obp:
        return
    most = min(options.obp_draws, options.draws)
    numbers = [most] if most == options.draws else [max(most // 4, 1), most]
    peer = _apart(options.obp, "theirs", options, numbers)
    times = [peer["times"][str(number)] for number in numbers]
    scaled, note = times[-1], "measured"
    if most < options.draws:
        scaled += (times[1] - times[0]) / (numbers[1] - numbers[0]) * (options.draws - most)
        note = f"scaled from {numbers[0]} and {most} draws ({times[0]:.1f} and {times[1]:.1f} s)"
    print(f"OBP: {scaled:.1f} CPU s, {note}, peak {peer['peak_gib']:.2f} GiB")
    print(f"ratio {scaled / own['seconds']:.0f}")
    for name, (value, low, high) in own["figures"].items():
        other = peer["figures"][name]
        print(
            f"  {name:10} ours {value:.6f} [{low:.5f}, {high:.5f}]  OBP {other[0]:.6f} [{other[1]:.5f}, {other[2]:.5f}]"
        )


if __name__ == "__main__":
    main()
