"""How figures of the report look, and how they become SVG that stands inside an HTML page.

Labels stay text, so that any script shows and can be selected; nothing in a figure is loaded from elsewhere.
"""

from __future__ import annotations

import html
import io
import re
import textwrap
import unicodedata
import warnings
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

MINUS, DASH = "\u2212", "\u2013"
INK, MUTED, GRID, BAND, STRIPE = "#18212b", "#5b6672", "#e4e8ed", "#dff1e9", "#f6f8fa"
BLUE, GREY, GREEN, ORANGE, PURPLE = "#1d5fa8", "#8b96a3", "#00795a", "#b9480e", "#7a4b9d"
HEAT = LinearSegmentedColormap.from_list("heat", ["#f5f8fc", "#b9d3ec", "#5f9bd1", "#1d5fa8", "#0b2f5c"])
WIDE, PANEL = 5.9, 3.7
"""Inches of a figure that stands alone, and of one among several that wrap beside each other; both fit a phone."""
PIXELS_PER_POINT = 1.6
"""Size on the page: type of 9 points becomes 14 pixels, that of the page's small print."""
SHOWN_NAME = 30
"""Characters of a name in one line."""
MOST_LINES = 3
LINE_INCHES = 0.15
STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": "#aab4bf",
    "axes.labelcolor": INK,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.constrained_layout.use": True,
    "grid.color": GRID,
    "legend.frameon": False,
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 8.5,
    "ytick.major.size": 0,
    "svg.hashsalt": "campaign",
    "svg.fonttype": "none",
}


def label(name: str) -> str:
    """A name on one line without control characters, cut where it is long."""
    return _cut(_clean(name))


def wrapped(name: str) -> list[str]:
    """A name without control characters, in lines; only one that fills more than MOST_LINES is cut."""
    lines = textwrap.wrap(_clean(name), SHOWN_NAME, break_on_hyphens=False) or [""]
    return lines if len(lines) <= MOST_LINES else [*lines[: MOST_LINES - 1], _cut(" ".join(lines[MOST_LINES - 1 :]))]


def _clean(name: str) -> str:
    joiner = "\u200d"  # holds composed emoji together
    kept = (c if c == joiner or not unicodedata.category(c).startswith("C") else " " for c in name)
    return " ".join("".join(kept).split())


def _cut(clean: str) -> str:
    return clean if len(clean) <= SHOWN_NAME else clean[: SHOWN_NAME - 1] + "…"


def capital(name: str) -> str:
    """With a capital first letter."""
    return name[:1].upper() + name[1:]


def share_text(share: float, finest: float = 1.0) -> str:
    """A share as a percentage, with as many decimals as shares of the size of `finest` need."""
    decimals = 0 if finest >= 0.05 else 1 if finest >= 0.005 else 2
    return f"{100 * share:.{decimals}f} %"


def share_ticks(finest: float = 1.0) -> FuncFormatter:
    """Axis labels for shares."""
    return FuncFormatter(lambda share, _: share_text(share, finest))


def signed_ticks(axes: Axes) -> None:
    """Labels an x axis of differences: a sign everywhere but at 0, and the same decimals everywhere."""
    ticks = [float(tick) for tick in axes.get_xticks()]
    step = min((b - a for a, b in pairwise(ticks)), default=1.0)
    decimals = next((d for d in range(9) if all(abs(round(t, d) - t) < 1e-3 * step for t in ticks)), 9)
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda x, _: f"{x:+,.{decimals}f}".replace("-", MINUS) if abs(x) > 1e-3 * step else "0")
    )


def stripes(axes: Axes, rows: int) -> None:
    """Shades every second row of a chart whose rows stand at 0, 1, ..."""
    for row in range(0, rows, 2):
        axes.axhspan(row - 0.5, row + 0.5, color=STRIPE, lw=0, zorder=0)


def rows_height(names: Sequence[str], least: float) -> float:
    """Inches that the rows of a chart take, each at least `least`, so that no two neighbours' names touch."""
    lines = [len(wrapped(name)) for name in names]
    touching = max(((a + b) / 2 for a, b in pairwise(lines)), default=max(lines, default=1))
    return len(lines) * max(least, LINE_INCHES * touching + 0.02)


def name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Names the rows of a chart, the first one on top."""
    axes.set_yticks(range(len(names)), ["\n".join(wrapped(name)) for name in reversed(names)])
    axes.set_ylim(-0.5, len(names) - 0.5)
    axes.spines["left"].set_visible(False)


def legend_above(axes: Axes, columns: int) -> None:
    """A legend in one line above a chart."""
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncol=columns, borderaxespad=0.3, handlelength=1.2)


def svg(figure: Figure, alt: str, slug: str) -> str:
    """The figure as SVG text that stands in an HTML page: its own ids, the page's width and type, no namespaces.

    Args:
        figure: drawn, and closed by this.
        alt: what a reader who cannot see it is told.
        slug: tells this figure's ids from those of others on the page.
    """
    buffer = io.StringIO()
    with warnings.catch_warnings():
        # The page's fonts draw the letters; that the measuring font lacks some of them costs a little space only.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        warnings.filterwarnings("ignore", message="Matplotlib currently does not support")
        figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
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
    pixels = round(72 * figure.get_figwidth() * PIXELS_PER_POINT)
    opening = f'<svg role="img" aria-label="{html.escape(clean)}" style="width:{pixels}px"'
    return text.replace("<svg", opening, 1).strip()
