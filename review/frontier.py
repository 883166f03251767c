"""What more value costs: policies by their sends and opt-outs, and runs of a sweep by what was swept.

The report draws the first. `python -m review.frontier RUN_FOLDER RUN_FOLDER ... PAGE.html` draws the second, from the
`summary.json` and settings of finished runs that differ in `market.pessimism` or `market.support`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from markupsafe import Markup
from matplotlib import pyplot as plt
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from agents.panel import AGENT
from campaigns.errors import CampaignError
from review import words
from review.drawing import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PANEL,
    PURPLE,
    STYLE,
    WIDE,
    label,
    legend_above,
    share_ticks,
    svg,
)
from review.evidence import INCUMBENT, Candidate, Range, dig, number, read_evidence
from review.page import render_template, write_page
from review.selection import select_policies

Section = dict[str, Any]
SENDS, OPT_OUTS = "sends a week and customer", "share of customers who opt out"
NOUNS = {SENDS: "sends", OPT_OUTS: "opt-outs"}
NEAR = [
    (dx * far, dy * far)
    for far in (8, 13, 18)
    for dx, dy in ((1, 0), (-1, 0), (0.8, 0.8), (-0.8, 0.8), (0.8, -0.8), (-0.8, -0.8))
]
"""Where a number may stand beside its mark, in points, the best first."""
SWEPT = ("pessimism", "support")
COLOURS, MARKS = (BLUE, ORANGE, GREEN, PURPLE, INK, GREY), "osD"


@dataclass(frozen=True)
class Place:
    """Where one policy stands in a figure.

    Attributes:
        number: by which it is told, or 0 for the incumbent.
        across: its sends or opt-outs.
        worth: per customer.
    """

    number: int
    across: float
    worth: Range


def frontier_section(candidates: list[Candidate], chosen: Candidate | None, unit: str, digits: int) -> Section:
    """Value against sends and against opt-outs, of all policies that were played in a judging market.

    Args:
        candidates: of the run; figures hold those that its tables show.
        chosen: the chosen one.
        unit: of worth.
        digits: decimals of worth.
    Returns:
        `charts` (none where fewer than two policies were played), and `rows` that say what their numbers mean.
    """
    everyone = [c for c in candidates if "judged" in c.worth.keys() & c.sends.keys() & c.opt_outs.keys()]
    shown = select_policies({c.name: c.worth["judged"].value for c in everyone}, chosen.name if chosen else INCUMBENT)
    played = [c for c in everyone if c.name in shown.names]
    if len(played) < 2:
        return {"charts": [], "rows": []}
    order = sorted(played, key=lambda c: (c.name == INCUMBENT, -c.worth["judged"].value))
    numbers = {c.name: 0 if c.name == INCUMBENT else place for place, c in enumerate(order, start=1)}
    costs = {SENDS: {c.name: c.sends for c in order}, OPT_OUTS: {c.name: c.opt_outs for c in order}}
    charts: list[Markup] = []
    best: dict[str, set[int]] = {}
    for axis, across in costs.items():
        judged = [Place(numbers[c.name], across[c.name]["judged"], c.worth["judged"]) for c in order]
        truth = [
            Place(numbers[c.name], across[c.name]["truth"], c.worth["truth"])
            for c in order
            if "truth" in c.worth and "truth" in across[c.name]
        ]
        best[axis] = {place.number for place in _frontier(judged)}
        names = {numbers[c.name]: words.policy_title(c.name) for c in order}
        charts.append(Markup(_scatter(judged, truth, axis, unit, names, f"frontier{len(charts)}")))
    rows = [
        {
            "number": numbers[c.name] or "★",
            "name": words.policy_title(c.name),
            "chosen": chosen is not None and c.name == chosen.name,
            "worth": words.figure(c.worth["judged"].value, digits),
            "span": words.span(c.worth["judged"], digits),
            "sends": words.figure(c.sends["judged"], 1),
            "opt_outs": words.percent(c.opt_outs["judged"]),
            "best": " and ".join(noun for axis, noun in NOUNS.items() if numbers[c.name] in best[axis]),
        }
        for c in order
    ]
    return {"charts": charts, "rows": rows}


def _frontier(places: list[Place]) -> list[Place]:
    """Those that no other one beats in worth for as little or less, from the cheapest on."""
    found: list[Place] = []
    for place in sorted(places, key=lambda p: (p.across, -p.worth.value)):
        if not found or place.worth.value > found[-1].worth.value:
            found.append(place)
    return found


def _scatter(judged: list[Place], truth: list[Place], axis: str, unit: str, names: Mapping[int, str], slug: str) -> str:
    """One panel: filled marks and intervals as judged, hollow ones in the truth, a star for the incumbent."""
    with rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(PANEL, 3.3))
        line = _frontier(judged)
        axes.plot([p.across for p in line], [p.worth.value for p in line], color=BLUE, lw=1, alpha=0.45, zorder=1)
        for place in judged:
            if place.worth.low is not None and place.worth.high is not None:
                axes.plot([place.across] * 2, [place.worth.low, place.worth.high], color=BLUE, lw=1.4, zorder=2)
        for places, colour, face in ((truth, GREEN, "white"), (judged, BLUE, BLUE)):
            for place in places:
                mark, size = ("o", 5.5) if place.number else ("*", 10)
                axes.plot(place.across, place.worth.value, mark, mfc=face, mec=colour, ms=size, zorder=3)
        axes.margins(0.12)
        _number(axes, [(place, BLUE) for place in judged] + [(place, GREEN) for place in truth])
        axes.plot([], [], "o", color=BLUE, ms=5.5, label="judged")
        if truth:
            axes.plot([], [], "o", mfc="white", mec=GREEN, ms=5.5, label="in the truth")
        axes.plot([], [], "*", color=BLUE, ms=9, label=words.policy_name(INCUMBENT))
        axes.legend(
            loc="lower left", bbox_to_anchor=(-0.1, 1), ncol=3, borderaxespad=0.3, handlelength=1, columnspacing=1
        )
        axes.set_xlabel(axis)
        axes.set_ylabel(unit)
        if axis == OPT_OUTS:
            axes.xaxis.set_major_formatter(share_ticks(max((p.across for p in judged), default=1.0) / 5))
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.grid()
        told = "; ".join(f"{names[p.number]}: {p.worth.value:.3g} at {p.across:.3g}" for p in judged)
        return svg(figure, f"Worth against {axis}, judging market. {told}", slug)


def _number(axes: Axes, places: list[tuple[Place, str]]) -> None:
    """Writes each place's number beside its mark, where neither a mark nor another number is."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    wide, high = 72 * PANEL * 0.8, 72 * 2.5  # of the axes, in points, about
    points = [
        ((p.across - left) / (right - left) * wide, (p.worth.value - bottom) / (top - bottom) * high) for p, _ in places
    ]
    taken = list(points)
    for (place, colour), (x, y) in zip(places, points, strict=True):
        if place.number:
            free = [
                (dx, dy)
                for dx, dy in NEAR
                if all(abs(x + dx - a) > 6 or abs(y + dy - b) > 7 for a, b in taken if (a, b) != (x, y))
            ]
            dx, dy = (free or NEAR)[0]
            taken.append((x + dx, y + dy))
            axes.annotate(str(place.number), (place.across, place.worth.value), (dx, dy), textcoords="offset points",
                          color=colour, fontsize=7.5, ha="center", va="center")  # fmt: skip


# A sweep


@dataclass(frozen=True)
class SweptRun:
    """One run of a sweep: what it was set to, by name in SWEPT, and what its policies gain over the incumbent."""

    settings: dict[str, float]
    candidates: list[Candidate]


def read_sweep(folders: Sequence[Path]) -> list[SweptRun]:
    """Reads finished runs.

    Raises:
        CampaignError: where a folder is no finished run, or fewer than two are given.
    """
    if len(folders) < 2:
        raise CampaignError(f"{len(folders)} run folder(s): a sweep is drawn from two runs at least.")
    runs = []
    for folder in folders:
        try:
            config = yaml.safe_load((folder / ".hydra" / "config.yaml").read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError):
            raise CampaignError(
                f"{folder}: .hydra/config.yaml cannot be read; give the folders of finished runs."
            ) from None
        evidence = read_evidence(folder)
        if "summary" in evidence.missing:
            raise CampaignError(f"{folder}: {evidence.missing['summary']}; give the folders of finished runs.")
        settings = {name: number(dig(config, "market", name)) for name in SWEPT}
        runs.append(SweptRun({n: v for n, v in settings.items() if v is not None}, evidence.candidates()))
    return runs


def sweep_charts(runs: Sequence[SweptRun]) -> list[str]:
    """A figure for each setting in which the runs differ: gain over the incumbent of every agent, run by run.

    Raises:
        CampaignError: where the runs differ in none, or no agent was judged in them.
    """
    swept = [name for name in SWEPT if len({run.settings.get(name) for run in runs}) > 1]
    if not swept:
        raise CampaignError(
            f"the runs differ in none of {', '.join(f'market.{name}' for name in SWEPT)}; sweep one of them."
        )
    agents = list(
        dict.fromkeys(c.name for run in runs for c in run.candidates if c.kind == AGENT and "judged" in c.gain)
    )
    if not agents:
        raise CampaignError("no agent was judged in these runs, so there is nothing to draw; name some by panel=[...].")
    return [_sweep(runs, name, agents, f"sweep{place}") for place, name in enumerate(swept)]


def _sweep(runs: Sequence[SweptRun], setting: str, agents: Sequence[str], slug: str) -> str:
    with rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(WIDE, 3.4))
        told = []
        swept = [run.settings[setting] for run in runs if setting in run.settings]
        apart = 0.01 * (max(swept) - min(swept))  # so that intervals of several agents do not hide each other
        for place_in_line, agent in enumerate(agents):
            colour = COLOURS[place_in_line % len(COLOURS)]
            mark = MARKS[place_in_line // len(COLOURS) % len(MARKS)]
            aside = apart * (place_in_line - (len(agents) - 1) / 2)
            found = _by_setting(runs, setting, agent)
            for place in ("judged", "truth"):
                points = [(x, c.gain[place]) for x, c in found if place in c.gain]
                hollow = place == "truth"
                axes.plot([x + aside for x, _ in points], [g.value for _, g in points], marker=mark,
                          ls="--" if hollow else "-", color=colour, mfc="white" if hollow else colour, ms=6, lw=1.2,
                          label=None if hollow else label(words.policy_title(agent)))  # fmt: skip
                for x, gain in points:
                    if not hollow and gain.low is not None and gain.high is not None:
                        axes.plot([x + aside] * 2, [gain.low, gain.high], color=colour, lw=1.6)
            told.append(
                f"{agent}: "
                + ", ".join(f"{c.gain['judged'].value:+.3g} at {x:g}" for x, c in found if "judged" in c.gain)
            )
        axes.axhline(0, color=INK, lw=1)
        axes.set_xlabel(f"market.{setting}")
        axes.set_ylabel("gain over the incumbent, per customer")
        axes.grid()
        legend_above(axes, 3)
        return svg(figure, f"Gain over the incumbent by market.{setting}. {'; '.join(told)}", slug)


def _by_setting(runs: Sequence[SweptRun], setting: str, agent: str) -> list[tuple[float, Candidate]]:
    """An agent in all runs, in the order of what they were set to."""
    found = [(r.settings[setting], c) for r in runs if setting in r.settings for c in r.candidates if c.name == agent]
    return sorted(found, key=lambda entry: entry[0])


def write_sweep(folders: Sequence[Path], target: Path) -> Path:
    """Writes a page with the figures of a sweep. Raises as `read_sweep` and `sweep_charts` do."""
    runs = read_sweep(folders)
    rows = [
        {
            "settings": ", ".join(f"market.{n}={v:g}" for n, v in run.settings.items()),
            "gains": [
                (
                    words.policy_title(c.name),
                    *(words.interval(c.gain.get(p), 2, signed=True) for p in ("judged", "truth")),
                )
                for c in run.candidates
                if c.kind == AGENT and "judged" in c.gain
            ],
        }
        for run in runs
    ]
    charts = [Markup(chart) for chart in sweep_charts(runs)]
    return write_page(target, render_template("frontier.html.j2", {"charts": charts, "rows": rows, "runs": len(runs)}))


if __name__ == "__main__":
    if len(sys.argv) < 4 or not sys.argv[-1].endswith(".html"):
        print("usage: python -m review.frontier RUN_FOLDER RUN_FOLDER ... PAGE.html", file=sys.stderr)
        sys.exit(2)
    try:
        print(write_sweep([Path(folder) for folder in sys.argv[1:-1]], Path(sys.argv[-1])))
    except CampaignError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
