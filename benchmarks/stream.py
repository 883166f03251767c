"""Evaluates logs larger than memory: time and peak memory by rows: `python benchmarks/stream.py`.

Logs of 1e5, 1e6 and 1e7 rows x 20 contents are written to Parquet in parts and estimated from there, each in a process
of its own, of which the peak resident memory is told; prints one JSON line a log. About 3.5 GB of disk for 1e7 rows.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

CONTENTS = 20
PART = 50_000
"""Rows written at a time, and of a row group."""


def write_log(file: Path, rows: int, seed: int = 0) -> None:
    """Writes a log of ten rows a customer, spread over the file, and a target policy's probabilities."""
    generator = np.random.default_rng(seed)
    names = [f"content_{i:02d}" for i in range(CONTENTS)]
    writer = None
    for begin in range(0, rows, PART):
        size = min(PART, rows - begin)
        logging, target = (generator.dirichlet(np.ones(CONTENTS), size) for _ in range(2))
        logging = 0.5 * logging + 0.5 / CONTENTS  # so that weights stay tame
        action = (generator.random((size, 1)) > logging.cumsum(axis=1)[:, :-1]).sum(axis=1)
        columns = {
            "customer": np.arange(begin, begin + size) % max(1, rows // 10),
            "action": pa.DictionaryArray.from_arrays(action.astype(np.int32), names).cast(pa.string()),
            "reward": (generator.random(size) < 0.02 + 0.002 * action).astype(np.float64),
            "action_prob": logging[np.arange(size), action],
            **{f"target_{name}": target[:, i] for i, name in enumerate(names)},
        }
        table = pa.table(columns)
        writer = writer or pq.ParquetWriter(file, table.schema, compression="none")
        writer.write_table(table, row_group_size=PART)
    if writer is not None:
        writer.close()


def measure(file: Path, rows: int, draws: int) -> None:
    """Estimates one log and prints what it took; called in a process of its own."""
    from evaluation.offline_settings import OfflineSettings
    from scripts.pipeline.log_file import estimate_log_file

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    began = time.perf_counter()
    found = estimate_log_file(str(file), "columns", OfflineSettings(draws=draws, stream_rows=rows), seed=0)
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        json.dumps(
            {
                "benchmark": "stream", "rows": found["rows"], "contents": found["actions"], "draws": draws,
                "stream_rows": rows, "file_mib": round(file.stat().st_size / 2**20),
                "seconds": round(seconds, 1), "rows_per_second": round(found["rows"] / seconds),
                "peak_mib": round(peak), "of_which_imports_mib": round(before),
                "SNIPS": found["estimators"]["SNIPS"]["value"],
                "half_width": (found["estimators"]["SNIPS"]["high"] - found["estimators"]["SNIPS"]["low"]) / 2,
            }
        ),
        flush=True,
    )  # fmt: skip


def main() -> None:
    """Writes and measures every log."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000, 10_000_000])
    parser.add_argument("--stream-rows", type=int, default=100_000)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--folder", type=Path, help="where the logs are written; a temporary folder by default")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure:
        measure(asked.measure, asked.stream_rows, asked.draws)
        return
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        for rows in asked.rows:
            file = Path(folder) / f"{rows}.parquet"
            write_log(file, rows)
            said = ["--measure", str(file), "--stream-rows", str(asked.stream_rows), "--draws", str(asked.draws)]
            subprocess.run([sys.executable, __file__, *said], check=True)
            file.unlink()


if __name__ == "__main__":
    main()
