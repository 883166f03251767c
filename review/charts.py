"""Figures of the report: one palette, readable type, marks that differ in shape as well as in colour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import pyplot as plt
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator
from numpy.typing import NDArray

from review import words
from review.drawing import (
    BAND,
    BLUE,
    DASH,
    GREEN,
    GREY,
    HEAT,
    INK,
    MINUS,
    MUTED,
    ORANGE,
    PANEL,
    PURPLE,
    STYLE,
    WIDE,
    capital,
    label,
    legend_above,
    name_rows,
    rows_height,
    share_text,
    share_ticks,
    signed_ticks,
    stripes,
    svg,
)
from review.evidence import Range

MARKS = {"market": (GREY, "o"), "judged": (BLUE, "s"), "truth": (GREEN, "D"), "offline": (PURPLE, "o")}
RESULTS = {True: (GREEN, "o"), False: (ORANGE, "X"), None: (GREY, "D")}
PAIR = (BLUE, GREY)
MOST_NUMBERED_HOURS = 12
"""Cells of a heat map with more columns are too small for a number."""
WIDE_SPREAD = 10.0
"""Predictions that differ by more than this factor are drawn on logarithmic axes."""
SHORT_DAYS = tuple(day[:3] for day in words.WEEKDAYS)


def forest(rows: Mapping[str, Mapping[str, Range]], title: str, xlabel: str, slug: str) -> str:
    """Differences with their intervals: a row a policy, a mark a place.

    Args:
        rows: policy -> place (a key of MARKS) -> difference, in the unit of `xlabel`.
        title: what a reader who cannot see it is told first.
        xlabel: of the axis.
        slug: tells this figure's ids from those of others.
    """
    places = [place for place in MARKS if any(place in row for row in rows.values())]
    with rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(WIDE, 0.9 + rows_height(list(rows), 0.24 + 0.12 * len(places))))
        offsets = np.linspace(0.24, -0.24, len(places)) if len(places) > 1 else np.zeros(1)
        for place, offset in zip(places, offsets, strict=True):
            colour, marker = MARKS[place]
            found = [(len(rows) - 1 - i + offset, row[place]) for i, row in enumerate(rows.values()) if place in row]
            for y, gain in found:
                if gain.low is not None and gain.high is not None:
                    axes.plot([gain.low, gain.high], [y, y], color=colour, lw=2.2, solid_capstyle="round")
            axes.plot([g.value for _, g in found], [y for y, _ in found], marker, color=colour, ms=5.5,
                      label=words.PLACES[place], mec="white", mew=0.6)  # fmt: skip
        stripes(axes, len(rows))
        axes.axvline(0, color=INK, lw=1)
        name_rows(axes, list(rows))
        axes.set_xlabel(xlabel)
        axes.xaxis.set_major_locator(MaxNLocator(7))
        signed_ticks(axes)
        axes.grid(axis="x")
        if len(places) > 1:
            legend_above(axes, len(places))
        told = "; ".join(
            f"{name}: " + ", ".join(f"{words.PLACES[p]} {row[p].value:+.3g}" for p in places if p in row)
            for name, row in rows.items()
        )
        return svg(figure, f"{title}. {told}", slug)


def heatmaps(parts: Mapping[str, tuple[NDArray[np.float64], str]], hours: Sequence[str]) -> list[str]:
    """Share of sends by local weekday and hour, a figure a policy, all on one scale.

    Args:
        parts: policy -> (shares [7, H], subtitle).
        hours: labels of the H hour bins.
    """
    most = max(float(grid.max()) for grid, _ in parts.values()) or 1.0
    return [
        _heatmap(name, grid, subtitle, hours, most, f"when{place}")
        for place, (name, (grid, subtitle)) in enumerate(parts.items())
    ]


def _heatmap(name: str, grid: NDArray[np.float64], subtitle: str, hours: Sequence[str], most: float, slug: str) -> str:
    with rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(PANEL, 2.75))
        axes.pcolormesh(grid, cmap=HEAT, vmin=0, vmax=most, edgecolors="white", linewidth=1.2)
        if grid.shape[1] <= MOST_NUMBERED_HOURS:
            for (day, hour), share in np.ndenumerate(grid):
                if share >= 0.005:
                    colour = "white" if share > 0.5 * most else INK
                    axes.text(hour + 0.5, day + 0.52, f"{100 * share:.0f}", color=colour, fontsize=7.5, ha="center",
                              va="center")  # fmt: skip
        axes.invert_yaxis()
        axes.set_title(f"{label(name)}\n", pad=5)
        axes.text(0, 1.035, subtitle, transform=axes.transAxes, color=MUTED, fontsize=8.5)
        shown = range(0, len(hours), max(1, round(len(hours) / 8)))
        axes.set_xticks([i + 0.5 for i in shown], [hours[i].replace("-", DASH) for i in shown], fontsize=7)
        axes.set_yticks(np.arange(7) + 0.5, SHORT_DAYS, fontsize=8.5)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        told = "nothing is sent"
        if grid.sum() > 0:
            day, hour = (int(i) for i in np.unravel_index(int(grid.argmax()), grid.shape))
            told = f"most on {words.WEEKDAYS[day]}, {hours[hour]} ({share_text(float(grid.max()))} of sends)"
        return svg(figure, f"{name}, share of sends by weekday and hour of the customers' own clocks: {told}", slug)


def frequency(labels: Sequence[str], parts: Mapping[str, Sequence[float | None]]) -> str:
    """Share of customers by sends a week, policies side by side; a bar that is None is left out."""
    with rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(WIDE, 2.5))
        width = 0.82 / len(parts)
        for place, ((name, shares), colour) in enumerate(zip(parts.items(), PAIR, strict=False)):
            x = np.arange(len(labels)) + (place - (len(parts) - 1) / 2) * width
            heights = [share or 0.0 for share in shares]
            bars = axes.bar(x, heights, width * 0.94, color=colour, label=label(name))
            marks = ["<10" if share is None else f"{100 * share:.0f}" if share >= 0.005 else "" for share in shares]
            axes.bar_label(bars, marks, fontsize=7.5, padding=1.5, color=INK)
        axes.set_xticks(range(len(labels)), [text.replace("-", DASH) for text in labels])
        axes.set_xlabel("sends per customer and week")
        axes.set_ylabel("share of customers")
        axes.margins(y=0.12)
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_formatter(share_ticks())
        axes.tick_params(axis="x", length=0)
        axes.grid(axis="y")
        axes.spines["left"].set_visible(False)
        legend_above(axes, len(parts))
        return svg(figure, "How often: share of customers by sends a week. " + _told(labels, parts), "often")


def contents(names: Sequence[str], parts: Mapping[str, Sequence[float]]) -> str:
    """Share of sends by content, policies side by side."""
    with rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(WIDE, 0.9 + rows_height(names, 0.36)))
        height = 0.8 / len(parts)
        for place, ((name, shares), colour) in enumerate(zip(parts.items(), PAIR, strict=False)):
            y = np.arange(len(names))[::-1] - (place - (len(parts) - 1) / 2) * height
            bars = axes.barh(y, shares, height * 0.92, color=colour, label=label(name))
            axes.bar_label(bars, [share_text(s) if s >= 0.005 else "" for s in shares], fontsize=7.5, padding=3)
        name_rows(axes, names)
        axes.margins(x=0.08)
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.xaxis.set_major_formatter(share_ticks())
        axes.set_xlabel("share of sends")
        axes.grid(axis="x")
        legend_above(axes, len(parts))
        return svg(figure, "What is sent: share of sends by content. " + _told(names, parts), "what")


def reliability(heads: Mapping[str, Sequence[Mapping[str, float]]]) -> list[str]:
    """Observed rate against predicted probability, a figure a head.

    Args:
        heads: name -> bins with `predicted`, `observed`, and the limits `low` and `high` of the observed rate.
    """
    return [_reliability(name, bins, f"reliable{place}") for place, (name, bins) in enumerate(heads.items())]


def _reliability(name: str, bins: Sequence[Mapping[str, float]], slug: str) -> str:
    predicted, observed, low, high = (
        np.array([b[key] for b in bins]) for key in ("predicted", "observed", "low", "high")
    )
    most = max(float(predicted.max()), float(observed.max()), float(high.max()), 1e-9)
    positive = predicted[predicted > 0]
    is_log = len(positive) > 1 and positive.max() > WIDE_SPREAD * positive.min() and (observed > 0).mean() > 0.5
    least = 0.0
    if is_log:
        least = 0.6 * min(float(positive.min()), *(observed[observed > 0].tolist() or [most]))
        most *= 1.4
    else:
        most *= 1.06
    with rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(0.72 * PANEL, 2.55))
        if is_log:
            axes.set(xscale="log", yscale="log")
        axes.plot([least, most], [least, most], color=MUTED, lw=1, ls=(0, (4, 3)))
        x, bottom = np.maximum(predicted, least), np.clip(low, least, most)
        axes.vlines(x, bottom, np.maximum(high, bottom), color=BLUE, lw=1.2)
        seen = observed > 0 if is_log else np.ones(len(bins), dtype=bool)
        axes.plot(x[seen], observed[seen], "o", ms=4, color=BLUE)
        axes.plot(x[~seen], np.full((~seen).sum(), least), "v", ms=5, color=BLUE, clip_on=False)
        axes.set(xlim=(least, most), ylim=(least, most), xlabel="predicted", ylabel="observed")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(LogLocator(numticks=5) if is_log else MaxNLocator(4))
            axis.set_major_formatter(FuncFormatter(_percentage) if is_log else share_ticks(most))
            if is_log:
                axis.set_minor_locator(NullLocator())
                axis.set_minor_formatter(NullFormatter())
        axes.set_title(label(name) + (" (log axes)" if is_log else ""))
        axes.tick_params(labelsize=8)
        axes.grid()
        told = ", ".join(f"{p:.3g} {o:.3g}" for p, o in zip(predicted, observed, strict=True))
        return svg(figure, f"Reliability of {name}: pairs of predicted probability and observed rate: {told}", slug)


def _percentage(share: float, _: int) -> str:
    return f"{100 * share:.10g} %"


def segment_effects(rows: Mapping[str, Mapping[str, Range]], verb: str) -> str:
    """Effect of a send by segment: observed (key `offline`) beside predicted (key `judged`), in points."""
    looks = {"offline": (GREEN, "D", "observed in the log"), "judged": (BLUE, "o", "predicted by the model")}
    shown = [place for place in looks if any(place in row for row in rows.values())]
    with rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(WIDE, 0.9 + rows_height(list(rows), 0.4)))
        offsets = (0.14, -0.14) if len(shown) > 1 else (0.0,)
        for place, offset in zip(shown, offsets, strict=True):
            colour, marker, name = looks[place]
            found = [(len(rows) - 1 - i + offset, row[place]) for i, row in enumerate(rows.values()) if place in row]
            for y, effect in found:
                if effect.low is not None and effect.high is not None:
                    axes.plot([effect.low, effect.high], [y, y], color=colour, lw=2.2, solid_capstyle="round")
            axes.plot([e.value for _, e in found], [y for y, _ in found], marker, color=colour, ms=5.5, label=name,
                      mec="white", mew=0.6)  # fmt: skip
        stripes(axes, len(rows))
        axes.axvline(0, color=INK, lw=1)
        name_rows(axes, list(rows))
        axes.set_xlabel(f"effect of a send on the chance to {verb}, in percentage points")
        axes.xaxis.set_major_locator(MaxNLocator(7))
        signed_ticks(axes)
        axes.grid(axis="x")
        legend_above(axes, len(shown))
        told = "; ".join(
            f"{name}: " + ", ".join(f"{looks[p][2]} {row[p].value:+.3g}" for p in shown if p in row)
            for name, row in rows.items()
        )
        return svg(figure, f"Effect of a send by segment, in percentage points. {told}", "segments")


def importance(panels: Mapping[str, Sequence[tuple[str, float, float]]]) -> list[str]:
    """How much worse predictions get without a column, a figure an outcome.

    Args:
        panels: outcome -> (column, growth of the log loss in percent, its spread over repeats), the largest first.
    """
    return [_importance(title, bars, f"columns{place}") for place, (title, bars) in enumerate(panels.items())]


def _importance(title: str, bars: Sequence[tuple[str, float, float]], slug: str) -> str:
    with rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(PANEL, 0.95 + rows_height([name for name, *_ in bars], 0.24)))
        y = np.arange(len(bars))[::-1]
        sizes, spreads = [bar[1] for bar in bars], [bar[2] for bar in bars]
        axes.barh(y, sizes, 0.66, color=BLUE)
        axes.errorbar(sizes, y, xerr=spreads, fmt="none", ecolor=INK, elinewidth=1.1, capsize=2)
        name_rows(axes, [bar[0] for bar in bars])
        axes.axvline(0, color=INK, lw=0.8)
        axes.set_title(label(title))
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.set_xlabel("predictions worse by, %")
        axes.grid(axis="x")
        told = ", ".join(f"{name} {size:+.2g} %" for name, size, _ in bars)
        return svg(figure, f"{title}: how much worse predictions get without a column. {told}", slug)


def equivalence(checks: Sequence[tuple[str, Range, bool | None]], margin: float | None, slug: str = "gate") -> str:
    """Simulated over observed with its interval, beside the equivalence margin: (name, ratio, passed)."""
    edge = min(max([3 * (margin or 0.1), *(abs(ratio.value - 1) * 1.2 for _, ratio, _ in checks)]), 1.0)
    low, high = 1 - edge, 1 + edge
    with rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(WIDE, 0.8 + rows_height([name for name, *_ in checks], 0.24)))
        if margin is not None:
            axes.axvspan(1 - margin, 1 + margin, color=BAND, lw=0, zorder=0)
        axes.axvline(1, color=MUTED, lw=1)
        for row, (_, ratio, passed) in enumerate(checks):
            _ratio_mark(axes, len(checks) - 1 - row, ratio, RESULTS[passed], (low, high))
        name_rows(axes, [name for name, _, _ in checks])
        axes.tick_params(axis="y", pad=8)  # arrows point there
        axes.set_xlim(low, high)
        step = next(step for step in (0.05, 0.1, 0.2, 0.25, 0.5) if edge <= 4 * step)
        most = int(edge / step + 1e-9)
        axes.set_xticks([1 + step * i for i in range(-most, most + 1)])
        axes.xaxis.set_major_formatter(FuncFormatter(_off_by))
        axes.set_xlabel("simulated against observed" + ("" if margin is None else " (band: margin)"))
        told = "; ".join(f"{name} {ratio.value - 1:+.0%}" for name, ratio, _ in checks)
        return svg(figure, f"Market gate: simulated against observed. {told}", slug)


def _ratio_mark(axes: Axes, y: float, ratio: Range, look: tuple[str, str], limits: tuple[float, float]) -> None:
    colour, marker = look
    low, high = limits
    if ratio.low is not None and ratio.high is not None:
        axes.plot(np.clip([ratio.low, ratio.high], low, high), [y, y], color=colour, lw=2.2)
        if ratio.low < low:
            axes.plot(low, y, "<", color=colour, ms=6, clip_on=False)
        if ratio.high > high:
            axes.plot(high, y, ">", color=colour, ms=6, clip_on=False)
    if low <= ratio.value <= high:
        axes.plot(ratio.value, y, marker, color=colour, ms=6, mec="white", mew=0.6)


def _off_by(ratio: float, _: int) -> str:
    return "equal" if abs(ratio - 1) < 1e-9 else f"{100 * (ratio - 1):+.0f} %".replace("-", MINUS)


def weekly(series: Mapping[str, Sequence[float]], weeks: Sequence[str]) -> list[str]:
    """Rates by week of the log, a small figure a rate, each from zero."""
    return [_weekly(name, values, weeks, f"week{place}") for place, (name, values) in enumerate(series.items())]


def _weekly(name: str, values: Sequence[float], weeks: Sequence[str], slug: str) -> str:
    with rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(0.55 * PANEL, 1.5))
        axes.plot(range(len(values)), values, "-o", color=BLUE, lw=1.6, ms=3.5)
        axes.set_ylim(min(0.0, *values) * 1.2, max(*values, 1e-12) * 1.25)
        axes.set_title(label(capital(name)), fontsize=9)
        step = -(-len(weeks) // 6)
        axes.set_xticks(range(0, len(weeks), step), [label(week) for week in weeks[::step]], fontsize=7.5)
        axes.yaxis.set_major_locator(MaxNLocator(3))
        axes.tick_params(axis="y", labelsize=7.5)
        axes.set_xlabel("week", fontsize=8)
        axes.grid(axis="y")
        return svg(figure, f"{name} by week of the log: " + ", ".join(f"{v:.3g}" for v in values), slug)


def _told(labels: Sequence[str], parts: Mapping[str, Sequence[float | None]]) -> str:
    return "; ".join(
        f"{name}: " + ", ".join(f"{text} {share:.0%}" for text, share in zip(labels, shares, strict=True) if share)
        for name, shares in parts.items()
    )
