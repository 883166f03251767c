"""Figures of the report as inline SVG: one palette, readable type, marks that differ in shape as well as in colour.

Labels stay text, so that any script shows and can be selected; nothing in a figure is loaded from elsewhere.
"""

from __future__ import annotations

import html
import io
import re
import unicodedata
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from review.evidence import Range

MINUS, DASH = "\u2212", "\u2013"
INK, MUTED, GRID, BAND = "#18212b", "#5b6672", "#e4e8ed", "#dff1e9"
BLUE, GREY, GREEN, ORANGE, PURPLE = "#1d5fa8", "#8b96a3", "#00795a", "#b9480e", "#7a4b9d"
PLACES = {  # label, colour, marker
    "market": ("where it learned", GREY, "o"),
    "judged": ("judging market", BLUE, "s"),
    "truth": ("the truth", GREEN, "D"),
    "offline": ("from the log alone", PURPLE, "o"),
}
RESULTS = {True: (GREEN, "o"), False: (ORANGE, "X"), None: (GREY, "D")}
PAIR = (BLUE, GREY)
HEAT = LinearSegmentedColormap.from_list("heat", ["#f5f8fc", "#b9d3ec", "#5f9bd1", "#1d5fa8", "#0b2f5c"], N=9)
WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
WIDTH = 8.4
SHOWN_NAME = 30
STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": "#aab4bf",
    "axes.labelcolor": INK,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": GRID,
    "legend.frameon": False,
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "ytick.major.size": 0,
    "svg.hashsalt": "campaign",
    "svg.fonttype": "none",
}


def forest(rows: Mapping[str, Mapping[str, Range]], title: str, xlabel: str, slug: str) -> str:
    """Differences with their intervals: a row a policy, a mark a place.

    Args:
        rows: policy -> place (a key of PLACES) -> difference, in the unit of `xlabel`.
        title: what a reader who cannot see it is told first.
        xlabel: of the axis.
        slug: tells this figure's ids from those of others.
    """
    places = [place for place in PLACES if any(place in row for row in rows.values())]
    with mpl.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(WIDTH, 1.0 + (0.26 + 0.13 * len(places)) * len(rows)))
        offsets = np.linspace(0.24, -0.24, len(places)) if len(places) > 1 else np.zeros(1)
        for place, offset in zip(places, offsets, strict=True):
            label, colour, marker = PLACES[place]
            found = [(len(rows) - 1 - i + offset, row[place]) for i, row in enumerate(rows.values()) if place in row]
            for y, gain in found:
                if gain.low is not None and gain.high is not None:
                    axes.plot([gain.low, gain.high], [y, y], color=colour, lw=2.2, solid_capstyle="round")
            axes.plot([g.value for _, g in found], [y for y, _ in found], marker, color=colour, ms=5.5, label=label,
                      mec="white", mew=0.6)  # fmt: skip
        for row in range(0, len(rows), 2):
            axes.axhspan(row - 0.5, row + 0.5, color="#f6f8fa", lw=0, zorder=0)
        axes.axvline(0, color=INK, lw=1)
        axes.set_yticks(range(len(rows)), [_label(name) for name in reversed(rows)])
        axes.set_ylim(-0.5, len(rows) - 0.5)
        axes.set_xlabel(xlabel)
        axes.spines["left"].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(7))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:+.10g}".replace("-", MINUS) if x else "0"))
        axes.grid(axis="x")
        if len(places) > 1:
            axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncol=len(places), borderaxespad=0.2, handletextpad=0.3)
        told = "; ".join(
            f"{name}: " + ", ".join(f"{PLACES[p][0]} {row[p].value:+.3g}" for p in places if p in row)
            for name, row in rows.items()
        )
        return _svg(figure, f"{title}. {told}", slug)


def heatmaps(parts: Mapping[str, tuple[NDArray[np.float64], str]], hours: Sequence[str]) -> str:
    """Share of sends by local weekday and hour, a panel a policy on one scale.

    Args:
        parts: policy -> (shares [7, H], subtitle).
        hours: labels of the H hour bins.
    """
    with mpl.rc_context(STYLE):
        figure, panels = plt.subplots(1, len(parts), figsize=(WIDTH, 3.0), squeeze=False, layout="constrained")
        most = max(float(grid.max()) for grid, _ in parts.values()) or 1.0
        told, image = [], None
        for axes, (name, (grid, subtitle)) in zip(panels[0], parts.items(), strict=True):
            image = axes.pcolormesh(grid, cmap=HEAT, vmin=0, vmax=most, edgecolors="white", linewidth=1.2)
            axes.invert_yaxis()
            axes.set_title(f"{_label(_capital(name))}\n", pad=4)
            axes.text(0, 1.03, subtitle, transform=axes.transAxes, color=MUTED, fontsize=8.5)
            step = max(1, round(len(hours) / 8))
            shown = range(0, len(hours), step)
            axes.set_xticks([i + 0.5 for i in shown], [hours[i].replace("-", DASH) for i in shown], fontsize=7.5)
            axes.set_yticks(np.arange(7) + 0.5, WEEKDAYS)
            axes.tick_params(length=0)
            axes.spines[:].set_visible(False)
            if grid.sum() > 0:
                day, hour = np.unravel_index(int(grid.argmax()), grid.shape)
                told.append(f"{name}: most on {WEEKDAYS[day]} {hours[hour]} ({grid.max():.1%} of sends)")
            else:
                told.append(f"{name}: nothing is sent")
        assert image is not None
        bar = figure.colorbar(image, ax=panels[0].tolist(), shrink=0.8, aspect=16, pad=0.015)
        bar.ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0 if most > 0.05 else 1))
        bar.ax.tick_params(length=0, labelsize=8)
        bar.ax.set_title("of sends", fontsize=8, fontweight="normal", loc="left")
        bar.outline.set_visible(False)  # type: ignore[operator]
        return _svg(figure, f"Share of sends by weekday and hour, customers' own clocks. {'; '.join(told)}", "when")


def frequency(labels: Sequence[str], parts: Mapping[str, Sequence[float | None]]) -> str:
    """Share of customers by sends a week, policies side by side; a bar that is None is left out."""
    with mpl.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(WIDTH, 2.5), layout="constrained")
        width = 0.82 / len(parts)
        for place, ((name, shares), colour) in enumerate(zip(parts.items(), PAIR, strict=False)):
            x = np.arange(len(labels)) + (place - (len(parts) - 1) / 2) * width
            heights = [share or 0.0 for share in shares]
            bars = axes.bar(x, heights, width * 0.94, color=colour, label=_label(_capital(name)))
            marks = ["<10" if share is None else f"{share:.0%}" if share >= 0.005 else "" for share in shares]
            axes.bar_label(bars, marks, fontsize=7.5, padding=1.5, color=INK)
        axes.set_xticks(range(len(labels)), labels)
        axes.set_xlabel("sends per customer and week")
        axes.set_ylabel("share of customers")
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.tick_params(axis="x", length=0)
        axes.grid(axis="y")
        axes.spines["left"].set_visible(False)
        _legend_above(axes, len(parts))
        return _svg(figure, "How often: share of customers by sends a week. " + _told(labels, parts), "often")


def contents(names: Sequence[str], parts: Mapping[str, Sequence[float]]) -> str:
    """Share of sends by content, policies side by side."""
    with mpl.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(WIDTH, 1.0 + 0.4 * len(names)), layout="constrained")
        height = 0.8 / len(parts)
        for place, ((name, shares), colour) in enumerate(zip(parts.items(), PAIR, strict=False)):
            y = np.arange(len(names))[::-1] - (place - (len(parts) - 1) / 2) * height
            bars = axes.barh(y, shares, height * 0.92, color=colour, label=_label(_capital(name)))
            axes.bar_label(
                bars, [f"{share:.0%}" if share >= 0.005 else "" for share in shares], fontsize=7.5, padding=3
            )
        axes.set_yticks(range(len(names)), [_label(name) for name in reversed(names)])
        axes.set_ylim(-0.6, len(names) - 0.4)
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.set_xlabel("share of sends")
        axes.grid(axis="x")
        axes.spines["left"].set_visible(False)
        _legend_above(axes, len(parts))
        return _svg(figure, "What is sent: share of sends by content. " + _told(names, parts), "what")


def reliability(heads: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """Observed rate against predicted probability, a panel a head.

    Args:
        heads: name -> bins with `predicted`, `observed`, and the limits `low` and `high` of the observed rate.
    """
    with mpl.rc_context(STYLE):
        columns = min(len(heads), 3)
        lines = -(-len(heads) // columns)
        size = (WIDTH * max(columns, 2) / 3, 2.75 * lines)
        figure, panels = plt.subplots(lines, columns, figsize=size, squeeze=False, layout="constrained")
        for axes in panels.flat[len(heads) :]:
            axes.set_visible(False)
        for axes, (name, bins) in zip(panels.flat, heads.items(), strict=False):
            predicted = np.array([b["predicted"] for b in bins])
            observed = np.array([b["observed"] for b in bins])
            errors = np.array([[b["observed"] - b["low"] for b in bins], [b["high"] - b["observed"] for b in bins]])
            most = max(predicted.max(), float(observed.max() + errors[1].max()), 1e-9) * 1.05
            axes.plot([0, most], [0, most], color=MUTED, lw=1, ls=(0, (4, 3)))
            axes.errorbar(predicted, observed, yerr=np.maximum(errors, 0), fmt="o", ms=4, color=BLUE, lw=1.2)
            axes.set_title(_label(name))
            axes.set(xlim=(0, most), ylim=(0, most))
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_major_locator(MaxNLocator(4))
                axis.set_major_formatter(PercentFormatter(1.0, decimals=0 if most > 0.06 else 1 if most > 0.006 else 2))
            axes.tick_params(labelsize=8)
            axes.grid()
        figure.supxlabel("predicted probability", fontsize=9)
        figure.supylabel("observed rate", fontsize=9)
        alt = (
            f"Reliability of {', '.join(heads)}: observed rate against predicted probability; right is on the diagonal"
        )
        return _svg(figure, alt, "reliability")


def value_by_content(rows: Sequence[tuple[str, float, float]]) -> str:
    """Predicted beside observed mean value of a decision, a row a content: (content, predicted, observed)."""
    with mpl.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(WIDTH, 0.9 + 0.27 * len(rows)), layout="constrained")
        for row, (_, predicted, observed) in enumerate(rows):
            axes.plot([predicted, observed], [len(rows) - 1 - row] * 2, color=GRID, lw=3, zorder=1)
        y = np.arange(len(rows))[::-1]
        axes.plot([r[2] for r in rows], y, "D", color=GREEN, ms=5.5, label="observed", mec="white", mew=0.5)
        axes.plot([r[1] for r in rows], y, "o", color=BLUE, ms=5.5, label="predicted", mec="white", mew=0.5)
        axes.set_yticks(y, [_label(r[0]) for r in rows])
        axes.set_ylim(-0.6, len(rows) - 0.4)
        axes.set_xlabel("value of one decision")
        axes.grid(axis="x")
        axes.spines["left"].set_visible(False)
        _legend_above(axes, 2)
        told = "; ".join(f"{name}: predicted {p:.3g}, observed {o:.3g}" for name, p, o in rows)
        return _svg(figure, f"Value of a decision by what was sent. {told}", "value")


def equivalence(checks: Sequence[tuple[str, Range, bool | None]], margin: float | None) -> str:
    """Simulated over observed with its interval, beside the equivalence margin: (name, ratio, passed)."""
    edge = min(max([3 * (margin or 0.1), *(abs(ratio.value - 1) * 1.2 for _, ratio, _ in checks)]), 1.0)
    low, high = 1 - edge, 1 + edge
    with mpl.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(WIDTH, 0.8 + 0.25 * len(checks)), layout="constrained")
        if margin is not None:
            axes.axvspan(1 - margin, 1 + margin, color=BAND, lw=0, zorder=0)
        axes.axvline(1, color=MUTED, lw=1)
        for row, (_, ratio, passed) in enumerate(checks):
            y, (colour, marker) = len(checks) - 1 - row, RESULTS[passed]
            if ratio.low is not None and ratio.high is not None:
                axes.plot(np.clip([ratio.low, ratio.high], low, high), [y, y], color=colour, lw=2.2)
                if ratio.low < low:
                    axes.plot(low, y, "<", color=colour, ms=6, clip_on=False)
                if ratio.high > high:
                    axes.plot(high, y, ">", color=colour, ms=6, clip_on=False)
            if low <= ratio.value <= high:
                axes.plot(ratio.value, y, marker, color=colour, ms=6, mec="white", mew=0.6)
        axes.set_yticks(range(len(checks)), [_label(name) for name, _, _ in reversed(checks)])
        axes.set(xlim=(low, high), ylim=(-0.6, len(checks) - 0.4))
        axes.xaxis.set_major_formatter(FuncFormatter(_off_by))
        axes.xaxis.set_major_locator(MaxNLocator(7))
        axes.set_xlabel("simulated against observed" + ("" if margin is None else " (green band: equivalence margin)"))
        axes.spines["left"].set_visible(False)
        told = "; ".join(f"{name} {ratio.value - 1:+.0%}" for name, ratio, _ in checks)
        return _svg(figure, f"Market gate: simulated against observed. {told}", "gate")


def weekly(series: Mapping[str, Sequence[float]], weeks: Sequence[Any]) -> str:
    """Rates by week of the log, a small panel a rate, each from zero."""
    with mpl.rc_context(STYLE):
        columns = min(len(series), 4)
        lines = -(-len(series) // columns)
        size = (WIDTH * max(columns, 2) / 4, 1.55 * lines)
        figure, panels = plt.subplots(lines, columns, figsize=size, squeeze=False, layout="constrained")
        for axes in panels.flat[len(series) :]:
            axes.set_visible(False)
        for axes, (name, values) in zip(panels.flat, series.items(), strict=False):
            axes.plot(range(len(values)), values, "-o", color=BLUE, lw=1.6, ms=3.5)
            axes.set_ylim(min(0.0, *values) * 1.2, max(*values, 1e-12) * 1.25)
            axes.set_title(_label(name), fontsize=9)
            step = -(-len(weeks) // 6)
            axes.set_xticks(range(0, len(weeks), step), [str(w) for w in weeks[::step]], fontsize=7.5)
            axes.yaxis.set_major_locator(MaxNLocator(3))
            axes.tick_params(axis="y", labelsize=7.5)
            axes.grid(axis="y")
        figure.supxlabel("week of the log", fontsize=8.5)
        told = "; ".join(f"{name} from {values[0]:.3g} to {values[-1]:.3g}" for name, values in series.items())
        return _svg(figure, f"Rates by week of the log. {told}", "weekly")


def _off_by(ratio: float, _: int) -> str:
    return "equal" if abs(ratio - 1) < 1e-9 else f"{ratio - 1:+.0%}".replace("-", MINUS)


def _legend_above(axes: Axes, columns: int) -> None:
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncol=columns, borderaxespad=0.2, handlelength=1.2)


def _told(labels: Sequence[str], parts: Mapping[str, Sequence[float | None]]) -> str:
    return "; ".join(
        f"{name}: " + ", ".join(f"{label} {share:.0%}" for label, share in zip(labels, shares, strict=True) if share)
        for name, shares in parts.items()
    )


def _capital(name: str) -> str:
    return name[:1].upper() + name[1:]


def _label(name: str) -> str:
    """A name on one line without control characters, cut where it is long."""
    joiner = "\u200d"  # holds composed emoji together
    kept = (c if c == joiner or not unicodedata.category(c).startswith("C") else " " for c in name)
    clean = " ".join("".join(kept).split())
    return clean if len(clean) <= SHOWN_NAME else clean[: SHOWN_NAME - 1] + "…"


def _svg(figure: Figure, alt: str, slug: str) -> str:
    """The figure as SVG text that stands in an HTML page: its own ids, the page's width and type, no namespaces."""
    buffer = io.StringIO()
    with warnings.catch_warnings():
        # The page's fonts draw the letters; that the measuring font lacks some of them costs a little space only.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        warnings.filterwarnings("ignore", message="Matplotlib currently does not support")
        figure.savefig(
            buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")), bbox_inches="tight",
            pad_inches=0.04,
        )  # fmt: skip
    plt.close(figure)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    text = re.sub(r'\s(?:xmlns(?::\w+)?|version)="[^"]*"', "", text)
    text = re.sub(r'\bid="([^"]+)"', rf'id="{slug}-\1"', text)
    text = re.sub(r'xlink:href="#', f'href="#{slug}-', text).replace("xlink:href", "href")
    text = re.sub(r"url\(#", f"url(#{slug}-", text)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    clean = "".join(" " if unicodedata.category(c) == "Cc" else c for c in alt)
    return text.replace("<svg", f'<svg role="img" aria-label="{html.escape(clean)}"', 1).strip()
