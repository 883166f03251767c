"""A new campaign over all its days: its true value where the log has everything it sends, and else no figure."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from campaigns.guardrails import NO_GUARDRAILS
from evaluation.campaign_horizon import LEAST_CUSTOMERS, whole_report
from evaluation.new_campaign import CAMPAIGN, Offering, Unknown
from evaluation.offline_settings import OfflineSettings
from evaluation.sequences import Sequences, collect_sequences
from tests.evaluation.test_offline import LOGGER, OBJECTIVE, SLOTS, TARGET, incumbent, log_of, market, worth

SETTINGS = OfflineSettings(draws=400)
NAMES = ("a", "b", "c")


@cache
def sequences(shift: int = 0) -> Sequences:
    """A campaign of the log's own contents in the log's last slots, or of days that begin `shift` slots later."""
    offered = torch.ones(len(market().catalogue), dtype=torch.bool)
    first = log_of().first_slot
    policy = Offering(TARGET, offered, ((first + shift, first + shift + SLOTS),), shift)
    return collect_sequences(
        log_of(), market().pool, market().catalogue, market().clock, NO_GUARDRAILS, OBJECTIVE, {CAMPAIGN: policy},
        market().model, incumbent(), horizon=SLOTS,
    )  # fmt: skip


def unknown(found: Sequences, new: bool = False, silent: bool = False) -> Unknown:
    """Nothing is; or the last content, or all times of the day, never had a send."""
    contents = np.zeros(len(found.contents), dtype=bool)
    strange = contents.copy()
    contents[-1] = new
    return Unknown(contents, strange, np.ones(found.action.shape, dtype=np.int64), np.full(4, silent))


def report(found: Sequences, about: Unknown, contradicted: str | None = None) -> dict:
    return whole_report(found, about, NAMES, (), SETTINGS, 0, contradicted)


@pytest.mark.parametrize("shift", [0, 42], ids=["days of the log", "days after it"])
def test_a_campaign_of_logged_contents_gets_its_true_value_over_all_its_days(shift: int) -> None:
    found = report(sequences(shift), unknown(sequences(shift)))
    truth = worth(TARGET) - worth(LOGGER)
    assert found["offline"]["difference"]["low"] < truth < found["offline"]["difference"]["high"]
    assert found["offline"]["low"] < worth(TARGET) < found["offline"]["high"]
    assert found["offline"]["horizon_slots"] == SLOTS
    assert found["verdict"] == found["offline"]["verdict"] == "better"
    assert "The campaign earns" in found["sentence"]
    assert found["customers"] == len(market().pool)


def test_any_send_of_a_content_never_sent_is_not_identifiable_over_many_decisions() -> None:
    found = report(sequences(), unknown(sequences(), new=True))
    assert found["offline"] is None
    assert found["verdict"] == "not identifiable"
    share = found["unlogged"]["new_contents"]["share_of_sends"]
    assert 0.2 < share < 0.8
    assert found["sentence"].startswith(
        f"{share:.0%} of the campaign's sends rest on contents that were never sent (c)"
    )


def test_contents_that_are_new_but_never_chosen_take_nothing_away() -> None:
    found = sequences()
    chances = found.target[CAMPAIGN].clone()
    chances[..., 0] += chances[..., -1]
    chances[..., -1] = 0.0
    kept = replace(found, target={CAMPAIGN: chances})
    assert report(kept, unknown(kept, new=True))["offline"] is not None


def test_times_at_which_nothing_was_ever_sent_are_not_identifiable() -> None:
    found = report(sequences(), unknown(sequences(), silent=True))
    assert found["verdict"] == "not identifiable"
    assert "times of the day at which nothing was ever sent" in found["sentence"]


def test_few_customers_give_no_estimate() -> None:
    few = sequences().take(torch.arange(LEAST_CUSTOMERS - 1))
    found = report(few, unknown(few))
    assert found["offline"] is None
    assert found["verdict"] == "cannot tell"
    assert f"{LEAST_CUSTOMERS - 1} customers" in found["sentence"]


def test_probabilities_that_the_log_contradicts_take_the_figure_away() -> None:
    found = report(sequences(), unknown(sequences()), "They cannot be true.")
    assert found["offline"]["value"] is None
    assert found["verdict"] == "cannot tell"
    assert found["sentence"] == "They cannot be true."
