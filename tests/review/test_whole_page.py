"""A page is whole whatever a run holds, loads nothing, gives nobody away, and says what is missing."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from campaigns.errors import CampaignError
from review.evidence import FILES, read_evidence
from review.report import render, write_report
from tests.review.pages import Page, page_of
from tests.review.run_folders import going_on, renamed, sequential, write_run


def test_segments_and_examples_of_fewer_than_ten_customers_are_not_shown(page: Page) -> None:
    assert "age < 3 " not in page.text
    assert "77.0" not in page.text
    assert "too telling" not in page.text


def test_segments_of_fewer_than_ten_customers_are_not_shown(page: Page) -> None:
    assert "lone_platinum" not in page.text
    assert "93.7" not in page.text
    assert "1 segment of fewer than 10 customers is not shown." in page.text


def test_bars_and_arms_of_fewer_than_ten_customers_are_not_shown(page: Page, one_shot_page: Page) -> None:
    assert "Bars of fewer than 10 customers are not shown (marked <10)." in page.text  # 0.002 of 2,000 customers
    assert "0.77" not in one_shot_page.text
    assert "310 0.180" in one_shot_page.text


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Page:
    """The report of a run whose contents, segments and policies have hostile names."""
    parts = renamed(sequential(), "sale", "<script>alert(1)</script>")
    parts = renamed(parts, "news", '"><img src=http://evil.example/x onerror=alert(1)> $x_1^2$ \\frac 促销 🎉')
    parts = renamed(parts, "never", "</svg><b onload='x'>&amp;")
    parts = renamed(parts, "tier = gold", "tier = </td><script>x</script>")
    return page_of(tmp_path_factory.mktemp("hostile"), parts)


def test_hostile_names_are_shown_and_not_run(hostile: Page) -> None:
    assert "<script>alert(1)</script>" in hostile.text
    assert "促销 🎉" in hostile.text
    assert not {tag for tag, _ in hostile.tags} & {
        "script",
        "img",
        "iframe",
        "object",
        "embed",
        "link",
        "foreignobject",
    }
    assert not [key for _, attrs in hostile.tags for key in attrs if key.startswith("on")]


@pytest.mark.parametrize("name", ["page", "one_shot_page", "hostile"])
def test_the_page_is_whole_and_loads_nothing(name: str, request: pytest.FixtureRequest) -> None:
    page: Page = request.getfixturevalue(name)
    assert page.unbalanced == []
    ids = page.attributes("id")
    assert len(ids) == len(set(ids))
    links = [link for key in ("href", "src", "srcset", "action", "data") for link in page.attributes(key)]
    assert links
    assert all(link.startswith("#") and link[1:] in ids for link in links)
    for source in page.figures:
        ElementTree.fromstring(source)
        assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", re.sub(r">[^<]*<", "><", source)))
    assert "default-src 'none'" in " ".join(page.attributes("content"))


def test_the_page_names_no_folder_of_the_machine(tmp_path: Path) -> None:
    parts = sequential()
    parts["data/report.json"]["warnings"] = [f"{tmp_path}/users.csv: as_of is later than the decisions"]
    overrides = f"- data.path={tmp_path}/acme/log\n- data.url=postgresql://me:secret@host/sales\n"
    page = page_of(tmp_path, parts, overrides)
    assert str(tmp_path) not in page.text
    assert "data.path=…/log" in page.text
    assert "…/users.csv: as_of is later than the decisions." in page.text
    assert "secret" not in page.text


def test_the_same_evidence_gives_the_same_bytes(tmp_path: Path) -> None:
    first = write_report(write_run(tmp_path / "a", sequential())).read_bytes()
    second = write_report(write_run(tmp_path / "b", sequential())).read_bytes()
    assert first == second
    assert write_report(tmp_path / "a").read_bytes() == first


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_missing_or_cut_off_file_is_named_and_the_rest_is_shown(tmp_path: Path, name: str) -> None:
    write_run(tmp_path, going_on())
    (tmp_path / FILES[name]).unlink()
    text = Page(render(read_evidence(tmp_path))).text
    if name not in {"best_rule", "policy"}:  # these add details only
        assert f"Not evaluated: the run folder has no {FILES[name]}." in text
    assert ("No verdict: the run is not finished" in text) == (name == "summary")
    whole = going_on()[FILES[name]]
    (tmp_path / FILES[name]).write_text(str(whole)[: len(str(whole)) // 2])
    assert f"{FILES[name]} cannot be read as JSON" in read_evidence(tmp_path).missing[name]
    (tmp_path / FILES[name]).write_text("[1, 2]")
    assert f"{FILES[name]} does not hold what it should" in read_evidence(tmp_path).missing[name]


def test_a_run_that_was_killed_early_says_what_it_has(tmp_path: Path) -> None:
    page = page_of(tmp_path, {"data/report.json": sequential()["data/report.json"]})
    assert "No verdict: the run is not finished, or its summary is lost" in page.text
    assert "decisions 672,000 671,990" in page.text
    assert not [figure for figure in page.figures if "Gain over" in figure]


def test_nan_is_no_number(tmp_path: Path) -> None:
    parts = sequential()
    nan, inf = float("nan"), float("inf")
    parts["summary.json"]["policies"][1]["judged"] = {"value": nan, "difference": {"value": inf, "low": 0, "high": inf}}
    parts["evaluation/behaviour.json"]["policies"]["ppo"] |= {"sends_per_week": nan, "heatmap": [[nan] * 8] * 7}
    text = page_of(tmp_path, parts).text
    assert re.search(r"\b(nan|inf|none)\b", text, flags=re.IGNORECASE) is None
    assert "It was not judged in another market." in text


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CampaignError, match="there is no such folder"):
        write_report(tmp_path / "nowhere")
    with pytest.raises(CampaignError, match="none of a run's files is there"):
        write_report(tmp_path)


def test_long_names_of_checks_are_wrapped_and_not_cut(tmp_path: Path) -> None:
    parts = sequential()
    name = "opens under send again soon, over rest after a send"
    block = {"kind": "tilted policy", "observed": 1.0, "simulated": 1.0, "ratio": 1.0, "low": 0.95, "high": 1.05}
    parts["market/gate.json"]["checks"] += [{**block, "name": name, "passed": True}] * 2
    page = page_of(tmp_path, parts)
    drawn = re.sub(r"<[^>]*>", " ", next(figure for figure in page.figures if name in figure))
    assert "…" not in drawn
    assert " ".join(drawn.split()).count(name) == 2
