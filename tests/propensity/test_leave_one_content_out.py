"""Contents that no fit saw, on a world whose probabilities are written down."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from campaigns.audience import Catalogue, Population
from campaigns.errors import CampaignError
from campaigns.objective import Objective
from campaigns.replay import DecisionRows
from propensity.fit import fit_network
from propensity.fit_settings import FitSettings
from propensity.leave_one_content_out import FEWEST_SENDS, leave_one_content_out, log_losses, mean_gain
from propensity.model import PropensityModel

CUSTOMERS, ROWS = 1200, 16_000
DISCOUNT = np.array([0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7])
CONTENTS = pd.DataFrame(
    {
        "content_id": [f"c{i}" for i in range(8)],
        "discount": DISCOUNT,
        "text": [f"{int(100 * d)} % off" for d in DISCOUNT],
    }
)
JUDGED = torch.arange(CUSTOMERS) % 2 == 0


def population() -> Population:
    """Customers with two standard normal columns."""
    features = torch.randn(CUSTOMERS, 2, generator=torch.Generator().manual_seed(0))
    some = torch.zeros(CUSTOMERS, dtype=torch.int64)
    return Population(features, some, torch.ones(CUSTOMERS, 1, dtype=torch.bool), some.bool(), ("UTC",))


@pytest.fixture(scope="module")
def rows() -> DecisionRows:
    """Randomised sends, opened the more the larger the discount: from 15 % to 75 %."""
    g = torch.Generator().manual_seed(1)
    customer = torch.randint(CUSTOMERS, (ROWS,), generator=g)
    decision = torch.randint(9, (ROWS,), generator=g)
    chance = (0.15 + 0.86 * torch.tensor([0.0, *DISCOUNT])[decision]) * (decision > 0)
    opened = (torch.rand(ROWS, generator=g) < chance).float()
    return DecisionRows(
        customer, torch.arange(ROWS), decision, torch.randn(ROWS, 2, generator=g), torch.zeros(ROWS, 1),
        {"opened": opened, "purchased": opened * (torch.rand(ROWS, generator=g) < 0.2)}, torch.ones(ROWS),
    )  # fmt: skip


def fit(rows: DecisionRows, people: Population, catalogue: Catalogue) -> PropensityModel:
    """A quick fit."""
    return fit_network(rows, people, catalogue, FitSettings(members=2, width=16, epochs=5), seed=0)


def test_attributes_predict_a_content_that_ids_cannot(rows: DecisionRows) -> None:
    chosen = [6]
    by_attributes = leave_one_content_out(CONTENTS, rows, population(), Objective(), fit, JUDGED, chosen)
    by_id = leave_one_content_out(CONTENTS[["content_id"]], rows, population(), Objective(), fit, JUDGED, chosen)
    for left, blind in zip(by_attributes, by_id, strict=True):
        true = 0.15 + 0.86 * DISCOUNT[left.content]
        assert left.predicted["opened"].mean() == pytest.approx(true, abs=0.1)
        assert abs(blind.predicted["opened"].mean() - true) > 0.15
        assert np.array_equal(left.observed["opened"], blind.observed["opened"])
        assert JUDGED[torch.from_numpy(left.customer)].all()
    customers = [left.customer for left in by_attributes]
    ours, theirs = ([one.losses("opened") for one in found] for found in (by_attributes, by_id))
    mean, low, high = mean_gain(ours, theirs, customers)
    assert 0.03 < low < mean < high
    summary = by_attributes[0].summary()
    assert summary["content"] == "c6"
    assert summary["outcomes"]["opened"]["log_loss"] < summary["outcomes"]["opened"]["log_loss_constant"]


def test_a_fit_never_sees_the_left_out_content_nor_the_judged_customers(rows: DecisionRows) -> None:
    seen: list[DecisionRows] = []
    encodings: list[list[float]] = []

    def spy(known: DecisionRows, people: Population, catalogue: Catalogue) -> PropensityModel:
        seen.append(known)
        encodings.append(catalogue.features[2].tolist())
        return fit_network(known, people, catalogue, FitSettings(members=1, width=4, epochs=1), seed=0)

    contents = CONTENTS[["content_id"]].assign(category=["x", "x", "alone", "y", "y", "z", "z", "z"])
    leave_one_content_out(contents, rows, population(), Objective(), spy, JUDGED, [2])
    assert not (seen[0].decision == 3).any()
    assert not JUDGED[seen[0].customer].any()
    assert encodings == [[0.0, 0.0, 0.0]]  # its category is unknown to the fit


def test_too_few_sends_or_contents_are_not_judged(rows: DecisionRows) -> None:
    rare = torch.nonzero(rows.decision == 1).squeeze(1)[FEWEST_SENDS // 2 :]
    few = rows.take(~torch.isin(torch.arange(ROWS), rare))
    assert leave_one_content_out(CONTENTS, few, population(), Objective(), fit, JUDGED, [0]) == []
    with pytest.raises(CampaignError, match="one content alone"):
        leave_one_content_out(CONTENTS.head(1), rows, population(), Objective(), fit, JUDGED)


def test_the_gain_of_a_better_prediction_is_found_within_its_interval() -> None:
    g = np.random.default_rng(0)
    customers = g.integers(0, 800, 4000)
    observed = (g.random(4000) < 0.3).astype(float)
    right, wrong = (log_losses(np.full(4000, p), observed) for p in (0.3, 0.5))
    mean, low, high = mean_gain([right], [wrong], [customers])
    expected = 0.3 * np.log(0.3 / 0.5) + 0.7 * np.log(0.7 / 0.5)
    assert low < expected < high
    assert mean_gain([right], [right], [customers]) == [0.0, 0.0, 0.0]
    # The same customers seen twice tell nothing more: their sends err together.
    twice = mean_gain([np.tile(right, 2)], [np.tile(wrong, 2)], [np.tile(customers, 2)])
    assert twice[2] - twice[1] == pytest.approx(high - low, rel=1e-9)
    assert mean == pytest.approx(twice[0])
