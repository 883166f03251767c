"""Figures of the report as inline SVG: one palette, readable type, no script."""

from __future__ import annotations

import io
import re
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, MUTED, GRID = "#1f2933", "#6b7785", "#e3e8ee"
BLUE, ORANGE, GREEN, GREY = "#2b6cb0", "#c05621", "#2f855a", "#a0aec0"
WORLDS = {"market": ("where it learned", GREY), "judged": ("judged by others", BLUE), "truth": ("the truth", GREEN)}
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "campaign",
    "svg.fonttype": "path",
}
WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def forest(rows: list[dict[str, Any]], worlds: list[str], unit: str) -> str:
    """Gain over the incumbent with its interval, a row a policy and a mark a world.

    Args:
        rows: `name`, and by world a dict with value, low, high, or None.
        worlds: keys of WORLDS, or `offline`.
        unit: of the axis.
    """
    with mpl.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(8.2, 0.9 + 0.5 * len(rows)))
        offsets = np.linspace(0.22, -0.22, len(worlds)) if len(worlds) > 1 else [0.0]
        for place, world in enumerate(worlds):
            label, colour = WORLDS.get(world, ("offline estimate", BLUE))
            for row, entry in enumerate(rows):
                figures = entry.get(world)
                if not figures or figures.get("value") is None:
                    continue
                y = len(rows) - 1 - row + offsets[place]
                axes.plot([figures["low"], figures["high"]], [y, y], color=colour, lw=2, solid_capstyle="round")
                axes.plot(figures["value"], y, "o", color=colour, ms=5, label=label if row == len(rows) - 1 else None)
        axes.axvline(0, color=INK, lw=0.8)
        axes.set_yticks(range(len(rows)), [entry["name"] for entry in reversed(rows)])
        axes.set_ylim(-0.6, len(rows) - 0.4)
        axes.set_xlabel(f"gain over the incumbent, {unit}")
        axes.grid(axis="x", color=GRID, lw=0.8)
        axes.set_axisbelow(True)
        handles, labels = axes.get_legend_handles_labels()
        if len(handles) > 1:
            axes.legend(handles, labels, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncol=3, frameon=False)
        return _svg(figure, "Gain of every policy over the incumbent, with 95 % intervals")


def heatmaps(parts: dict[str, list[list[float]]], hours: list[str]) -> str:
    """Share of sends by local weekday and hour, a panel a policy."""
    with mpl.rc_context(STYLE):
        figure, panels = plt.subplots(1, len(parts), figsize=(8.2, 2.9), squeeze=False, layout="constrained")
        most = max(float(np.max(grid)) for grid in parts.values()) or 1.0
        image = None
        for axes, (name, grid) in zip(panels[0], parts.items(), strict=True):
            image = axes.imshow(np.array(grid), cmap="Blues", aspect="auto", vmin=0, vmax=most)
            axes.set_title(name, loc="left", fontsize=10, fontweight="bold")
            axes.set_xticks(range(len(hours)), hours, rotation=45, fontsize=8)
            axes.set_yticks(range(7), WEEKDAYS)
            axes.spines[:].set_visible(False)
        assert image is not None
        bar = figure.colorbar(image, ax=panels[0].tolist(), shrink=0.85)
        bar.set_label("share of sends")
        bar.outline.set_visible(False)  # type: ignore[operator]
        return _svg(figure, "When pushes are sent, by local weekday and hour")


def paired_bars(labels: list[str], parts: dict[str, list[float]], xlabel: str, title: str) -> str:
    """Shares side by side, a colour a policy."""
    with mpl.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(8.2, 2.6), layout="constrained")
        width = 0.8 / len(parts)
        for place, ((name, shares), colour) in enumerate(zip(parts.items(), (BLUE, GREY), strict=False)):
            axes.bar(
                np.arange(len(labels)) + (place - (len(parts) - 1) / 2) * width, shares, width, color=colour, label=name
            )
        axes.set_xticks(range(len(labels)), labels)
        axes.set_xlabel(xlabel)
        axes.yaxis.set_major_formatter(mpl.ticker.PercentFormatter(1.0, decimals=0))
        _finish(axes)
        return _svg(figure, title)


def content_bars(names: list[str], parts: dict[str, list[float]]) -> str:
    """Share of sends by content, a colour a policy."""
    with mpl.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(8.2, 0.8 + 0.38 * len(names)), layout="constrained")
        height = 0.8 / len(parts)
        for place, ((name, shares), colour) in enumerate(zip(parts.items(), (BLUE, GREY), strict=False)):
            y = np.arange(len(names))[::-1] - (place - (len(parts) - 1) / 2) * height
            axes.barh(y, shares, height, color=colour, label=name)
        axes.set_yticks(range(len(names)), names[::-1])
        axes.xaxis.set_major_formatter(mpl.ticker.PercentFormatter(1.0, decimals=0))
        axes.set_xlabel("share of sends")
        axes.grid(axis="x", color=GRID, lw=0.8)
        axes.set_axisbelow(True)
        axes.legend(frameon=False, loc="lower right")
        return _svg(figure, "What is sent")


def reliability(heads: dict[str, list[dict[str, float]]]) -> str:
    """Observed rate against predicted probability, a panel a head."""
    with mpl.rc_context(STYLE):
        columns = min(len(heads), 5)
        figure, panels = plt.subplots(1, columns, figsize=(8.2, 2.3), squeeze=False, layout="constrained")
        for axes, (name, bins) in zip(panels[0], heads.items(), strict=False):
            predicted = [b["predicted"] for b in bins]
            observed = [b["observed"] for b in bins]
            most = max([*predicted, *(b["high"] for b in bins)]) * 1.05
            axes.plot([0, most], [0, most], color=MUTED, lw=0.8, ls="--")
            errors = [[o - b["low"] for o, b in zip(observed, bins, strict=True)],
                      [b["high"] - o for o, b in zip(observed, bins, strict=True)]]  # fmt: skip
            axes.errorbar(predicted, observed, yerr=np.maximum(errors, 0), fmt="o", ms=3.5, color=BLUE, lw=1)
            axes.set_title(name, fontsize=9, fontweight="bold")
            axes.set_xlim(0, most)
            axes.set_ylim(0, most)
            axes.locator_params(nbins=3)
            axes.tick_params(labelsize=7)
        panels[0][0].set_ylabel("observed rate")
        figure.supxlabel("predicted probability", fontsize=9)
        return _svg(figure, "Reliability: observed rate against predicted probability")


def equivalence(checks: list[dict[str, Any]], margin: float) -> str:
    """Simulated over observed with its interval, beside the equivalence margin."""
    with mpl.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(8.2, 0.8 + 0.27 * len(checks)), layout="constrained")
        axes.axvspan(1 - margin, 1 + margin, color="#e6f4ea", zorder=0)
        axes.axvline(1, color=MUTED, lw=0.8)
        colours = {True: GREEN, False: ORANGE, None: GREY}
        for row, check in enumerate(checks):
            y, colour = len(checks) - 1 - row, colours[check["passed"]]
            axes.plot([check["low"], check["high"]], [y, y], color=colour, lw=2, solid_capstyle="round")
            axes.plot(check["ratio"], y, "o", color=colour, ms=4.5)
        axes.set_yticks(range(len(checks)), [check["name"] for check in reversed(checks)])
        axes.set_xlabel("simulated / observed (green band: equivalence margin)")
        return _svg(figure, "The market gate: simulated over observed")


def _finish(axes: Axes) -> None:
    axes.grid(axis="y", color=GRID, lw=0.8)
    axes.set_axisbelow(True)
    axes.legend(frameon=False)


def _svg(figure: Figure, title: str) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, bbox_inches="tight")
    plt.close(figure)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    # Several figures share a page: their ids must not meet, and their size follows the column.
    prefix = re.sub(r"\W+", "-", title.lower())[:24]
    text = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', text)
    text = re.sub(r'(xlink:href="#|url\(#)', rf"\1{prefix}-", text)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    return text.replace("<svg ", f'<svg role="img" aria-label="{title}" ', 1)
