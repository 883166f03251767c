"""In-vehicle coupon recommendation (Wang et al. 2017, UCI): drivers in a survey who say whether they would accept.

`purchased` is a stated choice in an imagined drive, not a sale. Several rows are one respondent's, who is recognised
by the person columns together (`group_id`): a split by row puts the same person on both sides, and an AUC of about
.76 then looks like .825. Which coupon was shown in which drive follows the survey's unpublished design.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from campaigns.datasets.files import find_set, read_set
from campaigns.logs import CampaignLog, LogSettings, make_log

FILE = "in-vehicle-coupon-recommendation.csv.gz"
CONTEXT = (
    "destination",
    "passanger",
    "weather",
    "temperature",
    "time",
    "toCoupon_GEQ5min",
    "toCoupon_GEQ15min",
    "toCoupon_GEQ25min",
    "direction_same",
    "direction_opp",
)
PERSON = (
    "gender",
    "age",
    "maritalStatus",
    "has_children",
    "education",
    "occupation",
    "income",
    "car",
    "Bar",
    "CoffeeHouse",
    "CarryAway",
    "RestaurantLessThan20",
    "Restaurant20To50",
)
HABITS = ("Bar", "CoffeeHouse", "CarryAway", "RestaurantLessThan20", "Restaurant20To50")
VISITS = {"never": 0.0, "less1": 0.5, "1~3": 2.0, "4~8": 6.0, "gt8": 10.0}
"""Visits a month."""
AGES = {"below21": 19.0, "21": 21.0, "26": 26.0, "31": 31.0, "36": 36.0, "41": 41.0, "46": 46.0, "50plus": 55.0}
HOURS = {"7AM": 7.0, "10AM": 10.0, "2PM": 14.0, "6PM": 18.0, "10PM": 22.0}
VALID = {"2h": 2.0, "1d": 24.0}
"""Hours until a coupon expires."""
SLOT = "2017-01-01"
COLUMNS = (*CONTEXT, *PERSON, "coupon", "expiration", "Y")


def read_in_vehicle_coupon(path: str | Path = "", max_rejected: float = 0.05) -> CampaignLog:
    """Reads the survey as a log of sends.

    Args:
        path: the file or its folder; by default in `data_folder()`.
        max_rejected: see `LogSettings`.
    Returns:
        A log with one slot of 24 h in which each row of the survey is a customer of its own, who is shown one of the
        contents (coupon by time to expiry); `users.group_id` names the respondent. Ordered answers become numbers
        (years, dollars, visits a month, hours).
    Raises:
        CampaignError: where the file is not there or not this data set.
    """
    table = read_set(find_set(path, "in_vehicle_coupon", FILE), COLUMNS, "in-vehicle coupon", ";")
    ids = [f"r{i:05d}" for i in range(len(table))]
    respondent = table.groupby(list(PERSON), dropna=False, sort=False).ngroup()
    users = table[[*CONTEXT, *PERSON]].assign(
        user_id=ids,
        group_id=respondent.map("respondent {}".format),
        time=_scale(table["time"], HOURS),
        age=_scale(table["age"], AGES),
        income=_dollars(table["income"]),
        **{habit: _scale(table[habit], VISITS) for habit in HABITS},
    )
    users = users.rename(columns={"passanger": "passenger", "time": "hour"})
    content = table["coupon"].str.strip() + ", " + table["expiration"].str.strip()
    contents = pd.DataFrame({"coupon": table["coupon"], "valid_hours": _scale(table["expiration"], VALID)})
    contents = contents.assign(content_id=content, category=table["coupon"]).drop_duplicates("content_id")
    contents = contents.drop(columns="coupon").sort_values("content_id", ignore_index=True)
    decisions = pd.DataFrame(
        {"user_id": ids, "time": pd.Timestamp(SLOT), "content_id": content, "purchased": table["Y"].astype(int)}
    )
    settings = LogSettings(path=str(path), holds="absent", slot_hours=24, max_rejected=max_rejected)
    log = make_log({"users": users, "contents": contents, "decisions": decisions}, settings)
    log.report["warnings"].append(
        "decisions.purchased: a choice stated in a survey, not a sale; how often people would really redeem cannot be "
        "learned from it."
    )
    return log


def _scale(answers: pd.Series, values: dict[str, float]) -> pd.Series:
    """Ordered answers as numbers; what is missing or not listed stays missing."""
    return answers.astype("string").str.strip().map(values).astype("float64")


def _dollars(answers: pd.Series) -> pd.Series:
    """The middle of an income bracket such as `$37500 - $49999`, in thousands of dollars; open ones at their bound."""
    bounds = answers.astype("string").str.extract(r"(\d+)(?:\D+(\d+))?").astype("float64")
    return bounds.mean(axis=1) / 1000
