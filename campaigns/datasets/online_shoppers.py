"""Online Shoppers Purchasing Intention (Sakar et al. 2019, UCI): 12,330 web sessions, of which 15.5 % ended in a sale.

Nothing was sent to anybody: each session is one customer with one hold, so the set can fit and judge purchase
probabilities, and cannot say what a send does. The file says that each session is of another visitor, so a random
split by session leaks nothing.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from campaigns.datasets.files import find_set, read_set
from campaigns.logs import CampaignLog, LogSettings, make_log

FILE = "online_shoppers_intention.csv.gz"
CODES = ("OperatingSystems", "Browser", "Region", "TrafficType")
"""Numbers that only name something."""
NUMBERS = (
    "Administrative",
    "Administrative_Duration",
    "Informational",
    "Informational_Duration",
    "ProductRelated",
    "ProductRelated_Duration",
    "BounceRates",
    "ExitRates",
    "PageValues",
    "SpecialDay",
)
COLUMNS = (*NUMBERS, *CODES, "Month", "VisitorType", "Weekend", "Revenue")
SLOT = "2017-01-01"
"""The one slot of every session; the file gives months alone, which are a feature."""


def read_online_shoppers(path: str | Path = "", max_rejected: float = 0.05) -> CampaignLog:
    """Reads the sessions as a log of holds.

    Args:
        path: the file or its folder; by default in `data_folder()`.
        max_rejected: see `LogSettings`.
    Returns:
        A log with one slot of 24 h; `purchased` is Revenue, every other column a feature of its session. Its one
        content was never sent: a log has to list one.
    Raises:
        CampaignError: where the file is not there or not this data set.
    """
    table = read_set(find_set(path, "online_shoppers", FILE), COLUMNS, "Online Shoppers")
    ids = [f"s{i:05d}" for i in range(len(table))]
    users = table[[*NUMBERS, "Month", "VisitorType", "Weekend"]].assign(
        user_id=ids, **{code: table[code].map("type {}".format) for code in CODES}
    )
    contents = pd.DataFrame({"content_id": ["none was sent"]})
    decisions = pd.DataFrame(
        {"user_id": ids, "time": pd.Timestamp(SLOT), "content_id": None, "purchased": table["Revenue"].astype(int)}
    )
    settings = LogSettings(path=str(path), slot_hours=24, max_rejected=max_rejected)
    return make_log({"users": users, "contents": contents, "decisions": decisions}, settings)
