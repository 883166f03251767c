"""Numbers and sentences: no surer than what was measured."""

from __future__ import annotations

from dataclasses import replace

import pytest

from review import words
from review.evidence import Offline, Range, number, shortened, text_of


@pytest.mark.parametrize(
    ("value", "shown"),
    [(-0.001, "0.00"), (0.0, "0.00"), (1234.5, "+1,234.50"), (-2.0, "\u22122.00"), (None, "not evaluated")],
)
def test_a_figure_has_a_true_sign_and_nothing_has_none(value: float | None, shown: str) -> None:
    assert words.figure(value, 2, signed=True) == shown


@pytest.mark.parametrize(("share", "shown"), [(0.5, "50"), (0.043, "4.3"), (0.0, "0"), (-0.05, "\u22125.0")])
def test_small_shares_keep_a_decimal_and_never_part_from_their_sign(share: float, shown: str) -> None:
    assert words.percent(share) == f"{shown}\u00a0%"


@pytest.mark.parametrize(("half", "digits"), [(0.25, 2), (2.5, 1), (40.0, 0), (0.006, 4)])
def test_decimals_follow_the_width_of_the_intervals(half: float, digits: int) -> None:
    assert words.digits_for([Range(1.0, 1 - half, 1 + half)]) == digits


def test_a_difference_leans_only_where_its_interval_clears_zero() -> None:
    assert words.leaning(Range(1.0, 0.1, 2.0)) == "better"
    assert words.leaning(Range(-1.0, -2.0, -0.1)) == "worse"
    assert words.leaning(Range(1.0, -0.1, 2.0)) == "cannot tell"
    assert words.leaning(Range(1.0)) == ""


def test_only_believable_numbers_are_numbers() -> None:
    assert number(3) == 3.0
    assert [number(v) for v in (None, True, "3", float("nan"), float("inf"), 10**400, [3])] == [None] * 7


def test_only_texts_and_numbers_are_names() -> None:
    assert [text_of(v) for v in ("sale", 12, 1.5, None, {"a": 1}, float("nan"))] == ["sale", "12", "1.5", "", "", ""]


@pytest.mark.parametrize(
    ("override", "shown"),
    [
        ("data.path=/home/acme/log", "data.path=…/log"),
        ("data.path='/home/acme/my log'", "data.path='…/my log'"),
        ("out=C:\\acme\\log", "out=…/log"),
        ("data.url=postgresql://me:secret@host/sales", "data.url=postgresql://…@host/sales"),
        ("data.path=../data", "data.path=../data"),
        ("panel=[ppo,linucb]", "panel=[ppo,linucb]"),
        ("note=and/or", "note=and/or"),
    ],
)
def test_settings_are_shown_without_folders_and_logins(override: str, shown: str) -> None:
    assert shortened([override]) == [shown]


def test_nothing_is_said_of_how_well_a_handful_of_events_is_predicted() -> None:
    head = {"base_rate": 0.01, "rows": 5000, "auc": 0.9, "calibration_slope": 1.0, "log_loss": 0.1,
            "log_loss_constant": 0.2}  # fmt: skip
    assert words.head_words(head) == "ranks well; well calibrated"
    assert "too seldom to tell" in words.head_words(head | {"rows": 1000})
    assert "no better than its mean rate" in words.head_words(head | {"log_loss": 0.3})


def test_an_estimate_of_the_whole_horizon_is_not_called_one_of_the_first_decisions() -> None:
    first = Offline("DR", 6, None, None, "cannot tell", None, None, "", "", None, None, None, {})
    assert words.offline_scope(first) == "the first 6 decisions"
    assert words.offline_scope(replace(first, slots=168, whole=True)) == "over the whole horizon"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ppo", "the PPO agent"),
        ("never", "the rule “never send”"),
        ("mens_email to all", "mens_email to all"),
    ],
)
def test_policies_are_named_so_that_they_fit_into_a_sentence(name: str, said: str) -> None:
    assert words.the_policy(name) == said
