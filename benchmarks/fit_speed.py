"""Time and memory of fitting each family to the same rows, as ratios in one run.

`python -m benchmarks.fit_speed --customers 8000 --hold-share 1.0` fits network, logistic regression and boosted trees
to the 1.3 M decisions of the reference log (all holds kept), each in a process of its own, and prints JSON lines.
`--hold-share 0.1` gives the rows that a run fits to.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from campaigns.replay import DecisionRows

FAMILIES = ("network", "logistic", "gbdt")


def fit_one(
    family: str, customers: int, days: int, hold_share: float, threads: int, epochs: int | None = None
) -> dict[str, Any]:
    """Fits one family to a simulated log's rows, in this process; memory is the peak above that of the rows."""
    import torch

    from campaigns.audience import make_catalogue, make_population
    from campaigns.encoding import fit_encoder
    from campaigns.grid import make_grid
    from campaigns.logs import LogSettings, make_log
    from campaigns.objective import Objective
    from campaigns.replay import decision_rows
    from envs.reference.simulate import simulate
    from envs.reference.variants import VARIANTS
    from propensity.fit_model import fit_model
    from propensity.fit_settings import FitSettings

    torch.set_num_threads(threads)
    log = make_log(simulate(VARIANTS["ecommerce"], customers, days, 0), LogSettings())
    users, contents = fit_encoder(log.users, "users"), fit_encoder(log.contents, "contents")
    catalogue = make_catalogue(log.contents, contents, Objective())
    population = make_population(log.users, users, catalogue.channels, "UTC", holdout=0.0)
    rows = decision_rows(make_grid(log), population, catalogue, log.clock, hold_share)
    settings = FitSettings(kind=family, members=2 if family == "gbdt" else 4, hold_share=hold_share, epochs=epochs)
    before, began, worked, passes = resident(), time.perf_counter(), time.process_time(), 0

    def progress(done: int, loss: float) -> None:
        nonlocal passes
        passes = done

    model = fit_model(rows, population, catalogue, settings, 1, progress)
    seconds, worked = time.perf_counter() - began, time.process_time() - worked
    features = population.features.shape[1] + rows.state.shape[1] + catalogue.features.shape[1]
    report = {
        "family": family,
        "rows": len(rows),
        "features": features + rows.candidate.shape[1],
        "members": model.members,
        "threads": threads,
        "seconds": round(seconds, 1),
        "processor_seconds": round(worked, 1),  # comparable on a machine that is busy with other work too
        "rows_per_second": round(len(rows) / seconds),
        "rows_mib": round(sum(table.nbytes for table in _tables(rows)) / 2**20),
        "peak_above_rows_mib": round(peak() - before),
    }
    if family == "network":
        shape = {"width": settings.width, "batch_at_most": settings.batch_size, "epochs": passes}
        return report | shape | {"row_passes_per_second": round(passes * len(rows) / seconds)}
    return report


def _tables(rows: DecisionRows) -> list[Tensor]:
    return [rows.customer, rows.slot, rows.decision, rows.state, rows.candidate, rows.weight, *rows.outcomes.values()]


def resident() -> float:
    """Memory in use now, in MiB."""
    with open("/proc/self/statm", encoding="ascii") as stream:
        return int(stream.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def peak() -> float:
    """The most memory that was ever in use, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def main() -> None:
    """Fits every family in a process of its own, and compares them with boosted trees."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--customers", type=int, default=8000)
    parser.add_argument("--days", type=int, default=28)
    parser.add_argument("--hold-share", type=float, default=1.0, help="share of uneventful holds that is kept")
    parser.add_argument("--epochs", type=int, default=None, help="passes of the network over the rows at most")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--families", nargs="*", default=list(FAMILIES), choices=FAMILIES)
    parser.add_argument("--alone", choices=FAMILIES, help="fit this one here, and print its line")
    chosen = parser.parse_args()
    if chosen.alone:
        print(
            json.dumps(
                fit_one(chosen.alone, chosen.customers, chosen.days, chosen.hold_share, chosen.threads, chosen.epochs)
            )
        )
        return
    lines: dict[str, dict[str, Any]] = {}
    for family in chosen.families:
        own = ["--alone", family, "--customers", str(chosen.customers), "--days", str(chosen.days),
               "--hold-share", str(chosen.hold_share), "--threads", str(chosen.threads),
               *(("--epochs", str(chosen.epochs)) if chosen.epochs else ())]  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.fit_speed", *own], capture_output=True, text=True, check=False
        )
        if done.returncode:
            sys.exit(done.stderr)
        lines[family] = json.loads(done.stdout.strip().splitlines()[-1])
        print(json.dumps(lines[family]), flush=True)
    if "gbdt" in lines:
        trees = lines["gbdt"]
        for family, line in lines.items():
            ratio = {"time": line["processor_seconds"] / trees["processor_seconds"],
                     "memory": line["peak_above_rows_mib"] / max(trees["peak_above_rows_mib"], 1)}  # fmt: skip
            print(json.dumps({"family": family, "over_gbdt": {k: round(v, 2) for k, v in ratio.items()}}))


if __name__ == "__main__":
    main()
