"""The curve of blends: what (1 - a) incumbent + a policy gains by the share a, and the largest share that is safe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup
from matplotlib import pyplot as plt
from matplotlib import rc_context
from matplotlib.ticker import FuncFormatter, MaxNLocator

from review import words
from review.drawing import BLUE, GREEN, GREY, INK, MINUS, STYLE, WIDE, svg
from review.evidence import Range, dig, mappings, number, read_range

Points = Sequence[tuple[float, Range | None]]
Section = dict[str, Any]


def read_blends(rows: object) -> list[tuple[float, Range | None]]:
    """By share the gain and its bounds, which hold for all shares at once where the file has them; None: refused."""
    points = []
    for row in mappings(rows):
        share = number(row.get("share"))
        if share is not None:
            block = dig(row, "band") or dig(row, "difference") or row
            points.append((share, read_range(block)))
    return points


def blend_section(points: Points, safe: float, ylabel: str, policy: str, why_not: str) -> Section:
    """The figure, the largest safe share, or why there is none.

    Args:
        points: of `read_blends`.
        safe: the largest share whose gain is surely above zero; 0 where none is.
        ylabel: of the figure.
        policy: as sentences call it.
        why_not: said where no share has an estimate.
    """
    if not any(gain for _, gain in points):
        return {"why_not": why_not, "policy": policy}
    figure = Markup(blend_figure(points, safe, ylabel, policy))
    return {"why_not": "", "figure": figure, "safe": words.percent(safe) if safe else "", "policy": policy}


def blend_figure(points: Points, safe: float, ylabel: str, policy: str) -> str:
    """Gain of (1 - a) incumbent + a policy by the share a, with its bounds; refused shares are crossed."""
    known = [(share, gain) for share, gain in points if gain is not None]
    refused = [share for share, gain in points if gain is None]
    with rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(WIDE, 2.6))
        axes.axhline(0, color=INK, lw=1)
        shares = [0.0, *(share for share, _ in known)]
        if known:
            values = [0.0, *(gain.value for _, gain in known)]
            low = [0.0, *(gain.value if gain.low is None else gain.low for _, gain in known)]
            high = [0.0, *(gain.value if gain.high is None else gain.high for _, gain in known)]
            axes.fill_between(shares, low, high, color=BLUE, alpha=0.16, lw=0)
            axes.plot(shares, values, "-o", color=BLUE, lw=1.8, ms=4, label="estimate, with its bounds")
        if refused:
            axes.plot(refused, [0.0] * len(refused), "x", color=GREY, ms=6, mew=1.6, label="refused")
        if safe:
            axes.axvline(safe, color=GREEN, lw=1.4, ls=(0, (4, 3)), label=f"largest safe share, {safe:.0%}")
        axes.set(xlim=(0, 1.02), xlabel=f"share of decisions given to {policy}", ylabel=ylabel)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.0f} %"))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:+.3g}".replace("-", MINUS) if y else "0"))
        axes.grid(axis="y")
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncol=3, borderaxespad=0.3, handlelength=1.4)
        told = "; ".join(
            f"{share:.0%}: {'refused' if gain is None else words.interval(gain, 3, signed=True)}"
            for share, gain in points
        )
        return svg(figure, f"Gain by the share of decisions given to {policy}. {told}", "blend")
