"""Frontiers: which policies none beats for less, and a sweep's runs in one figure."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from campaigns.errors import CampaignError
from review.evidence import Range
from review.frontier import Place, _frontier, write_sweep
from tests.review.pages import Page
from tests.review.run_folders import sequential, write_run


def run_of(folder: Path, pessimism: float, support: float = 0.975, gain: float = 3.25) -> Path:
    parts = sequential()
    parts["summary.json"]["policies"][1]["judged"]["difference"] = {
        "value": gain,
        "low": gain - 0.5,
        "high": gain + 0.5,
    }
    run = write_run(folder, parts)
    settings = f"market:\n  pessimism: {pessimism}\n  support: {support}\n"
    (run / ".hydra" / "config.yaml").write_text(settings, encoding="utf-8")
    return run


def test_the_frontier_holds_what_none_beats_for_as_little() -> None:
    places = [
        Place(n, across, Range(worth))
        for n, across, worth in ((1, 4.0, 9.0), (2, 2.0, 8.0), (3, 3.0, 7.0), (4, 2.0, 6.0))
    ]
    assert [place.number for place in _frontier(places)] == [2, 1]


def test_a_sweep_is_drawn_from_run_folders(tmp_path: Path) -> None:
    runs = [run_of(tmp_path / str(p), p, gain=g) for p, g in ((0.0, 3.25), (1.0, 4.5), (2.0, 2.0))]
    page = Page(write_sweep(runs, tmp_path / "pages" / "sweep.html").read_text(encoding="utf-8"))
    assert page.unbalanced == []
    assert len(page.figures) == 1
    assert "ppo: +3.25 at 0, +4.5 at 1, +2 at 2" in page.figures[0]
    assert "market.pessimism=1, market.support=0.975 PPO agent +4.50 (+4.00 to +5.00)" in page.text


def test_runs_that_differ_in_nothing_or_are_none_are_refused(tmp_path: Path) -> None:
    runs = [run_of(tmp_path / name, 0.0) for name in ("a", "b")]
    with pytest.raises(CampaignError, match=r"differ in none of market\.pessimism, market\.support"):
        write_sweep(runs, tmp_path / "sweep.html")
    with pytest.raises(CampaignError, match="1 run folder"):
        write_sweep(runs[:1], tmp_path / "sweep.html")
    with pytest.raises(CampaignError, match=r"config\.yaml cannot be read"):
        write_sweep([*runs, tmp_path], tmp_path / "sweep.html")


def test_a_sweep_without_agents_is_refused(tmp_path: Path) -> None:
    runs = [run_of(tmp_path / str(pessimism), pessimism) for pessimism in (0.0, 1.0)]
    for run in runs:
        summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
        summary["policies"] = [policy for policy in summary["policies"] if policy["kind"] != "agent"]
        (run / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    with pytest.raises(CampaignError, match="no agent was judged in these runs"):
        write_sweep(runs, tmp_path / "sweep.html")
