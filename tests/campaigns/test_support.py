"""What the log supports: quantiles of what customers had received, counted here by comparing times."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from campaigns.guardrails import Guardrails
from campaigns.history import REPEATS
from campaigns.support import fit_support, narrowed
from tests.worlds import small_world


def sends_behind(days: int, columns: list[str]) -> np.ndarray:
    """Sends to each customer (of each content) in the window up to and including each send of the small log."""
    sends = small_world(days=28).tables["decisions"].dropna(subset="content_id").sort_values("time")
    found = []
    for _, own in sends.groupby(columns):
        times = pd.to_datetime(own["time"]).to_numpy()
        ago = (times[:, None] - times[None, :]) / np.timedelta64(1, "h")
        found.append(((ago >= 0) & (ago <= 24 * days)).sum(axis=1))
    return np.concatenate(found)


@pytest.mark.parametrize("quantile", [0.5, 0.9, 0.975, 1.0])
def test_limits_are_quantiles_of_what_the_log_sent(quantile: float) -> None:
    world = small_world(days=28)
    support = fit_support(world.grid, world.population, world.catalogue, world.log.clock, quantile)
    for limit, days, columns in (
        (support.max_per_day, 1, ["user_id"]),
        (support.max_per_week, 7, ["user_id"]),
        (support.content_max_per_week, 7, ["user_id", "content_id"]),
        (support.content_max_per_month, 28, ["user_id", "content_id"]),
    ):
        wanted = int(np.quantile(sends_behind(days, columns), quantile, method="nearest"))
        assert limit == (wanted if len(columns) == 1 or wanted <= REPEATS else 0)


def test_a_content_sent_oftener_than_is_remembered_has_no_cap_instead_of_a_false_one() -> None:
    world = small_world(days=28)
    assert sends_behind(28, ["user_id", "content_id"]).max() > REPEATS
    support = fit_support(world.grid, world.population, world.catalogue, world.log.clock, 1.0)
    assert support.content_max_per_month == 0
    assert narrowed(Guardrails(content_max_per_month=3), support).content_max_per_month == 3
