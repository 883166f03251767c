"""The Open Bandit Dataset (Saito, Aihara, Matsutani and Narita 2021): items shown on a fashion shop's page, and clicks.

Campaigns `all` and `men`, each under two logging policies: `random`, which shows every item with the same probability,
and `bts`, Bernoulli Thompson sampling. Three positions of a page are filled at a time; each is a row here. A file is
one campaign under one policy, FOLDER/NAME.csv.gz with `item_context.csv` beside it.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from campaigns.datasets.files import find_set, read_set
from campaigns.logs import CampaignLog, LogSettings, make_log

FILE = "random/all/all.csv.gz"
"""The file that is read where only the set's folder is known."""

ITEMS = "item_context.csv"
USER_FEATURES = tuple(f"user_feature_{i}" for i in range(4))
ITEM_FEATURES = tuple(f"item_feature_{i}" for i in range(4))
COLUMNS = ("timestamp", "item_id", "position", "click", "propensity_score", *USER_FEATURES)
ITEM_COLUMNS = ("item_id", *ITEM_FEATURES)
SLOT = pd.Timestamp("2019-11-24")
"""The one slot of every row; hour and weekday are features."""

WARNING = (
    "open_bandit: the file has no customer id, so each row counts as a customer of its own. Intervals then do not "
    "allow for rows of one person being alike, and may be too narrow; what a person was shown before is unknown. The "
    "three positions of a page are rows of their own, with the position as a feature: what an item does to the other "
    "positions is not seen."
)


def find_open_bandit(path: str | Path) -> Path:
    """The file of one campaign and policy, there or not: `path` is it, its folder, or the set's folder."""
    folder = Path(path)
    own = folder / f"{folder.name}.csv.gz"
    return own if str(path) and own.is_file() else find_set(path, "open_bandit", FILE)


def read_open_bandit(path: str | Path = "", max_rejected: float = 0.05) -> CampaignLog:
    """Reads one campaign under one logging policy.

    Args:
        path: the file or its folder, such as `open_bandit/bts/men`; by default `random/all` in `data_folder()`.
        max_rejected: see `LogSettings`.
    Returns:
        A log with one slot of 24 h and no holds; `clicked` is the click, `action_prob` the logged propensity of the
        item in its position. Features are the position, hour and weekday (in Tokyo) and the file's own of the user.
        The affinities of users to items are left out: nearly all are 0.
    Raises:
        CampaignError: where a file is not there or not this data set.
    """
    file = find_open_bandit(path)
    table = read_set(file, COLUMNS, "Open Bandit")
    items = read_set(file.parent / ITEMS, ITEM_COLUMNS, "Open Bandit items")
    ids = [f"r{i:07d}" for i in range(len(table))]
    times = pd.to_datetime(table["timestamp"], utc=True, format="ISO8601").dt.tz_convert("Asia/Tokyo")
    users = table[list(USER_FEATURES)].assign(
        user_id=ids,
        position=table["position"].map("position {}".format),
        hour=times.dt.hour,
        weekday=times.dt.day_name(),
    )
    contents = items[list(ITEM_FEATURES)].assign(content_id=items["item_id"].map(_name), channel="page", cost=0.0)
    decisions = pd.DataFrame(
        {
            "user_id": ids,
            "time": SLOT,
            "content_id": table["item_id"].map(_name),
            "action_prob": table["propensity_score"],
            "clicked": table["click"],
        }
    )
    settings = LogSettings(path=str(path), slot_hours=24, max_rejected=max_rejected)
    log = make_log({"users": users, "contents": contents, "decisions": decisions}, settings)
    log.report["warnings"].append(WARNING)
    return log


def _name(item: int) -> str:
    return f"item {item:02d}"
