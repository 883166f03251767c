"""Finds and reads a public data set by its name."""

from __future__ import annotations

from pathlib import Path

from campaigns.datasets import complete_journey, hillstrom, in_vehicle_coupon, online_shoppers, open_bandit
from campaigns.datasets.files import find_set
from campaigns.errors import CampaignError
from campaigns.logs import CampaignLog


def find_public_set(source: str, path: str | Path) -> Path | None:
    """The file that a set is read from, there or not; None where a package carries it."""
    if source == "open_bandit":
        return open_bandit.find_open_bandit(path)
    files = {
        "hillstrom": hillstrom.FILE,
        "online_shoppers": online_shoppers.FILE,
        "in_vehicle_coupon": in_vehicle_coupon.FILE,
    }
    return find_set(path, source, files[source]) if source in files else None


def read_public_set(source: str, path: str | Path, max_rejected: float, margin_rate: float) -> CampaignLog:
    """Reads one of `PUBLIC_SETS`.

    Args:
        source: its name.
        path: its file or folder; "" for its place in the data folder.
        max_rejected: see `LogSettings`.
        margin_rate: see `read_log`; used where a set has revenue and no value.
    Raises:
        CampaignError: where it is not there, or is something else.
    """
    if source == "complete_journey":
        if str(path):
            raise CampaignError("data.path: complete_journey comes with its package; leave data.path empty.")
        return complete_journey.read_complete_journey(max_rejected, margin_rate)
    readers = {
        "hillstrom": hillstrom.read_hillstrom,
        "online_shoppers": online_shoppers.read_online_shoppers,
        "in_vehicle_coupon": in_vehicle_coupon.read_in_vehicle_coupon,
        "open_bandit": open_bandit.read_open_bandit,
    }
    return readers[source](path, max_rejected)
