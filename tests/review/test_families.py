"""The report's table of families: what it shows of a known file, and what it leaves out."""

from __future__ import annotations

from review import words
from review.evidence import Evidence
from review.families import families_section, worlds_words
from tests.review.run_folders import families


def test_every_family_is_shown_against_the_markets_and_small_groups_are_not() -> None:
    section = families_section(Evidence({"families": families()}, {}, None))
    assert [row["family"] for row in section["rows"]] == ["base rates", "network", "gradient boosting (LightGBM)"]
    assert [row["market"] for row in section["rows"]] == [False, True, False]
    assert section["rows"][0]["outcome"] == "Purchase"
    own, trees = (row["cells"][-1] for row in section["rows"][1:])
    assert own == words.DASH
    assert trees.replace(words.MINUS, "-").replace("\u00a0", " ") == "-5.0 % (-10.0 % to -2.0 %)"
    assert section["rows"][2]["cells"][0] == "0.1900"
    assert section["note"] == "The market uses the family network because propensity=network is set."


def test_a_run_without_the_table_says_so() -> None:
    missing = families_section(Evidence({}, {"families": "the run folder has no propensity/families.json"}, None))
    assert missing == {"why_not": "the run folder has no propensity/families.json"}
    damaged = families_section(Evidence({"families": {"heads": {"purchased": 3}}}, {}, None))
    assert "lists no outcomes" in damaged["why_not"]


def test_the_families_of_both_markets_are_named_where_the_run_says_them() -> None:
    def said(training: str, judging: str) -> str:
        return worlds_words({"market": {"families": {"training": training, "judging": judging}}})

    assert said("network", "network") == "Both markets are made of models of one family (network)."
    assert "network where policies learned, logistic regression where they are judged" in said("network", "logistic")
    truth = {"families": {"training": "network", "judging": "network"}, "learned_in": "reference"}
    assert "learned in the truth itself" in worlds_words({"market": truth})
    assert worlds_words({"market": {"gate": "pass"}}) == ""
    assert worlds_words({"market": None}) == ""
