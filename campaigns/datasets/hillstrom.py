"""The MineThatData e-mail challenge (Hillstrom 2008): 64,000 customers, two e-mails and none, randomised.

A one-shot campaign: one slot a customer, outcomes within two weeks, each arm with probability 1/3.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from campaigns.datasets.files import find_set, read_set
from campaigns.logs import CampaignLog, LogSettings, make_log

FILE = "hillstrom.csv.gz"
ARMS = {"Mens E-Mail": "mens_email", "Womens E-Mail": "womens_email"}
SENT = "2008-03-20"
COLUMNS = (
    "recency",
    "history",
    "mens",
    "womens",
    "zip_code",
    "newbie",
    "channel",
    "segment",
    "visit",
    "conversion",
    "spend",
)


def read_hillstrom(path: str | Path = "", max_rejected: float = 0.05) -> CampaignLog:
    """Reads the challenge's file as a log.

    Args:
        path: the file or its folder; by default in `data_folder()`.
        max_rejected: see `LogSettings`.
    Returns:
        A log with one slot of 24 h; `value` is the spend.
    Raises:
        CampaignError: where the file is not there or not this data set.
    """
    table = read_set(find_set(path, "hillstrom", FILE), COLUMNS, "Hillstrom")
    ids = [f"h{i:05d}" for i in range(len(table))]
    users = table[["recency", "history", "mens", "womens", "zip_code", "newbie"]].assign(
        user_id=ids, purchase_channel=table["channel"]
    )
    contents = pd.DataFrame(
        {
            "content_id": ["mens_email", "womens_email"],
            "category": ["men", "women"],
            "text": ["An e-mail with men's merchandise", "An e-mail with women's merchandise"],
            "channel": "email",
            "cost": 0.0,  # the challenge states no costs
        }
    )
    decisions = pd.DataFrame(
        {
            "user_id": ids,
            "time": pd.Timestamp(SENT),
            "content_id": table["segment"].map(ARMS),
            "action_prob": 1.0 / 3.0,
            "visited": table["visit"],
            "purchased": table["conversion"],
            "revenue": table["spend"],
            "value": table["spend"],
        }
    )
    settings = LogSettings(path=str(path), slot_hours=24, attribution_hours=14 * 24.0, max_rejected=max_rejected)
    return make_log({"users": users, "contents": contents, "decisions": decisions}, settings)
