"""Effects of sending on a public randomised campaign (Hillstrom 2008), judged on the half that fitting never saw.

    python -m benchmarks.hillstrom_effects [--seeds 0] [--outcome visited] [overrides of scripts/fit.py ...]

Prints predicted and observed effects by arm, their slope, and Qini with intervals, a line a seed, from the
`propensity/metrics.json` of `scripts/fit.py data=hillstrom guardrails=none objective.outcome=OUTCOME seed=SEED`.
The data set is looked for in the folder CAMPAIGN_DATA.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def main(arguments: Sequence[str] | None = None) -> None:
    """Fits once a seed and prints what the judging half says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--outcome", default="visited")
    options, overrides = parser.parse_known_args(arguments)
    for seed in options.seeds:
        with tempfile.TemporaryDirectory() as folder:
            command = [
                sys.executable, "scripts/fit.py", "data=hillstrom", "guardrails=none",
                f"objective.outcome={options.outcome}", f"seed={seed}", f"hydra.run.dir={folder}/run", *overrides,
            ]  # fmt: skip
            subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
            metrics = json.loads(Path(folder, "run", "propensity", "metrics.json").read_text(encoding="utf-8"))
        print(f"seed {seed}\n" + "\n".join(lines(metrics, options.outcome)))


def lines(metrics: dict[str, Any], outcome: str) -> list[str]:
    """What is printed of one fit: the head, its effects on all, and by arm."""
    head, effect = metrics["heads"][outcome], metrics["effects"]["outcomes"][outcome]
    found = [
        f"  {outcome}: base rate {head['base_rate']:.4f}, AUC {head['auc']:.4f}, gain over the constant "
        f"{head['log_loss_gain']:.2%}, calibration slope {head['calibration_slope']:.2f}, ECE {head['ece']:.4f}",
        f"  effect {effect['predicted']:+.4f} predicted, {_interval(effect['observed'], '+.4f')} observed; slope "
        f"{_interval(effect['slope'], '.2f')}; Qini {_interval(effect['qini'], '.5f')}; AUUC "
        f"{_interval(effect['auuc'], '.5f')}, of a blind order {effect['auuc_of_chance']['value']:.5f}",
    ]
    for arm in effect["contents"]:
        inside = arm["observed"]["low"] <= arm["predicted"] <= arm["observed"]["high"]
        found.append(
            f"  {arm['content']}: {arm['predicted']:+.4f} predicted, {_interval(arm['observed'], '+.4f')} observed, "
            f"{'inside' if inside else 'OUTSIDE'}; slope {_interval(arm['slope'], '.2f')}"
        )
    return found


def _interval(block: dict[str, float | None], form: str) -> str:
    value, low, high = (block[key] for key in ("value", "low", "high"))
    return "not known" if value is None else f"{value:{form}} [{low:{form}}, {high:{form}}]"


if __name__ == "__main__":
    main()
