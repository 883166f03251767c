"""A small log as a user might have it, in memory and as files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from campaigns.logs import CampaignLog, LogSettings, make_log

Tables = dict[str, pd.DataFrame]


def clean_tables(customers: int = 30, days: int = 3, seed: int = 0) -> Tables:
    """A log without a fault: text ids, four-hour slots from 3 March 2025, a send in a quarter of them."""
    generator = np.random.default_rng(seed)
    times = pd.date_range("2025-03-03", periods=6 * days, freq="4h")
    users = pd.DataFrame(
        {
            "user_id": [f"u{i:03d}" for i in range(customers)],
            "age": generator.integers(18, 80, customers),
            "income": generator.normal(100, 20, customers).round(2),
            "segment": generator.choice(["gold", "silver"], customers),
            "consent_push": True,
        }
    )
    contents = pd.DataFrame({"content_id": ["a", "b", "c"], "category": ["x", "x", "y"], "discount": [0.0, 0.2, 0.1]})
    decisions = pd.MultiIndex.from_product([users["user_id"], times], names=["user_id", "time"]).to_frame(index=False)
    sent = generator.random(len(decisions)) < 0.25
    choice = np.array(["a", "b", "c"], dtype=object)[generator.integers(0, 3, len(decisions))]
    decisions["content_id"] = pd.Series(np.where(sent, choice, None), dtype=object)
    decisions["action_prob"] = np.where(sent, 0.25 / 3, 0.75)
    decisions["opened"] = (sent & (generator.random(len(decisions)) < 0.5)).astype(int)
    decisions["clicked"] = 0
    decisions["purchased"] = (generator.random(len(decisions)) < 0.2).astype(int)
    decisions["value"] = (decisions["purchased"] * generator.normal(12.5, 4, len(decisions))).round(2)
    decisions["unsubscribed"] = 0
    return {"users": users, "contents": contents, "decisions": decisions}


def read_tolerantly(tables: Tables, **settings: object) -> CampaignLog:
    """Reads tables with any share of faults, unless `settings` say otherwise."""
    return make_log(tables, LogSettings(**{"max_rejected": 1.0, **settings}))  # type: ignore[arg-type]


def write_csv(tables: Tables, folder: Path, encoding: str = "utf-8", **how: object) -> Path:
    """Writes each table as CSV; `how` goes to pandas."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        text = table.to_csv(index=False, **how)  # type: ignore[call-overload]
        (folder / f"{name}.csv").write_bytes(text.encode(encoding))
    return folder


def write_parquet(tables: Tables, folder: Path) -> Path:
    """Writes each table as Parquet."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        table.to_parquet(folder / f"{name}.parquet", index=False)
    return folder


def faults(log: CampaignLog) -> dict[tuple[str, str, str], int]:
    """How often each table, column and reason was set aside."""
    groups = log.rejected.groupby(["table", "column", "reason"]).size()
    return {(str(key[0]), str(key[1]), str(key[2])): int(count) for key, count in groups.items()}  # type: ignore[index]
