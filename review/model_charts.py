"""Figures on the model and the data: effects of sending, observed over expected by segment, shifts of columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import pyplot as plt
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from review.drawing import (
    BLUE,
    GREEN,
    GREY,
    INK,
    MINUS,
    MUTED,
    ORANGE,
    PANEL,
    STYLE,
    WIDE,
    label,
    legend_above,
    name_rows,
    rows_height,
    share_ticks,
    stripes,
    svg,
)
from review.evidence import Range

RATIO_TICKS = (0.33, 0.5, 0.67, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0)
FEW_TICKS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
WIDEST_RATIO = 10.0
SHADE = "#d6e4f3"


def effect_deciles(name: str, bins: Sequence[tuple[float, Range]], scale: float, unit: str, slug: str) -> str:
    """Observed effect of sending against the predicted one: (predicted, observed) by decile of the prediction.

    Args:
        name: of the outcome.
        bins: in units of the outcome.
        scale: what a unit is multiplied by, 100 for points.
        unit: of the axes.
        slug: tells this figure's ids from those of others.
    """
    predicted = scale * np.array([p for p, _ in bins])
    observed = scale * np.array([o.value for _, o in bins])
    limits = [scale * v for _, o in bins for v in (o.low, o.high) if v is not None]
    least, most = min(0.0, *predicted, *observed), max(0.0, *predicted, *observed)
    pad = 0.08 * max(most - least, 1e-12)
    low = max(min([least, *limits]), least - 1.2 * (most - least)) - pad
    high = min(max([most, *limits]), most + 1.2 * (most - least)) + pad
    with rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(PANEL, 3.0))
        axes.axhline(0, color=MUTED, lw=0.8)
        ends = (predicted.min() - pad, predicted.max() + pad)
        axes.plot(ends, ends, color=MUTED, lw=1, ls=(0, (4, 3)))
        for x, (_, effect) in zip(predicted, bins, strict=True):
            if effect.low is not None and effect.high is not None:
                axes.plot([x, x], np.clip([scale * effect.low, scale * effect.high], low, high), color=BLUE, lw=1.3)
        axes.plot(predicted, observed, "o", ms=4.5, color=BLUE, mec="white", mew=0.5)
        axes.set(ylim=(low, high), xlim=ends, xlabel=f"predicted effect, {unit}", ylabel=f"observed, {unit}")
        axes.set_title(f"{label(name)}: by tenth of the prediction")
        _plain_axes(axes)
        told = ", ".join(f"{p:.3g} {o:.3g}" for p, o in zip(predicted, observed, strict=True))
        return svg(figure, f"Effect of sending on {name}, pairs of predicted and observed by decile: {told}", slug)


def qini_curve(name: str, points: Sequence[tuple[float, Range]], scale: float, unit: str, slug: str) -> str:
    """Gain from sending to the share of decisions with the highest predicted effects, beside a blind order's."""
    share = np.array([u for u, _ in points])
    gain = scale * np.array([g.value for _, g in points])
    low = scale * np.array([g.value if g.low is None else g.low for _, g in points])
    high = scale * np.array([g.value if g.high is None else g.high for _, g in points])
    with rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(PANEL, 3.0))
        axes.fill_between(share, low, high, color=SHADE, lw=0)
        axes.axhline(0, color=MUTED, lw=0.8)
        axes.plot([0, 1], [0, gain[-1]], color=MUTED, lw=1, ls=(0, (4, 3)), label="blind order")
        axes.plot(share, gain, color=BLUE, lw=1.8, label="predicted order")
        axes.set(xlim=(0, 1), xlabel="share sent to, highest predicted effect first", ylabel=f"gain, {unit}")
        axes.set_title(f"{label(name)}: Qini curve")
        axes.legend(loc="upper left", fontsize=8)
        _plain_axes(axes)
        axes.xaxis.set_major_formatter(share_ticks())
        half = float(np.interp(0.5, share, gain))
        return svg(
            figure, f"Qini curve of {name}: half of the sends bring {half:.3g}, all of them {gain[-1]:.3g}", slug
        )


def content_effects(rows: Mapping[str, tuple[float, Range]], scale: float, unit: str, slug: str) -> str:
    """Predicted beside observed effect of every content: content -> (predicted, observed)."""
    return _beside(rows, scale, f"effect of sending it, {unit}", "Effect of sending by content", slug)


def content_values(rows: Mapping[str, tuple[float, Range]]) -> str:
    """Predicted beside observed mean value of a decision by what was sent: content -> (predicted, observed)."""
    return _beside(rows, 1.0, "value of one decision", "Value of a decision by what was sent", "value")


def _beside(rows: Mapping[str, tuple[float, Range]], scale: float, xlabel: str, title: str, slug: str) -> str:
    """Predictions beside observations with their intervals, a row a name."""
    with rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(WIDE, 0.9 + rows_height(list(rows), 0.3)))
        stripes(axes, len(rows))
        axes.axvline(0, color=INK, lw=1)
        y = np.arange(len(rows))[::-1]
        for height, (_, effect) in zip(y, rows.values(), strict=True):
            if effect.low is not None and effect.high is not None:
                axes.plot([scale * effect.low, scale * effect.high], [height, height], color=GREEN, lw=2.2)
        axes.plot([scale * o.value for _, o in rows.values()], y, "D", color=GREEN, ms=5.5, label="observed",
                  mec="white", mew=0.5)  # fmt: skip
        axes.plot([scale * p for p, _ in rows.values()], y, "o", color=BLUE, ms=5.5, label="predicted", mec="white",
                  mew=0.5)  # fmt: skip
        name_rows(axes, list(rows))
        axes.set_xlabel(xlabel)
        axes.xaxis.set_major_locator(MaxNLocator(7))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:.10g}".replace("-", MINUS)))
        axes.grid(axis="x")
        legend_above(axes, 2)
        told = "; ".join(f"{n}: predicted {p:.3g}, observed {o.value:.3g}" for n, (p, o) in rows.items())
        return svg(figure, f"{title}. {told}", slug)


def segment_ratios(rows: Sequence[tuple[str, Range, bool]], outcome: str, slug: str) -> str:
    """Observed over expected by segment with intervals, on a logarithmic axis: (segment, ratio, whether it is off)."""
    reach = max(
        (max(v, 1 / max(v, 1e-9)) for _, r, _ in rows for v in (r.value, r.low, r.high) if v is not None), default=1.0
    )
    edge = min(max(1.25 * max(reach, 1.0) ** 0.8, 1.6), WIDEST_RATIO)
    with rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(WIDE, 0.8 + rows_height([name for name, _, _ in rows], 0.24)))
        axes.set_xscale("log")
        stripes(axes, len(rows))
        axes.axvline(1, color=INK, lw=1)
        for place, (_, ratio, off) in enumerate(rows):
            y, colour, marker = len(rows) - 1 - place, ORANGE if off else BLUE, "X" if off else "o"
            if ratio.low is not None and ratio.high is not None:
                ends = np.clip([max(ratio.low, 1e-9), ratio.high], 1 / edge, edge)
                axes.plot(ends, [y, y], color=colour, lw=2.2)
            inside = 1 / edge <= ratio.value <= edge
            axes.plot(np.clip(max(ratio.value, 1e-9), 1 / edge, edge), y,
                      marker if inside else ("<" if ratio.value < 1 else ">"), color=colour, ms=6, mec="white",
                      mew=0.6, clip_on=False)  # fmt: skip
        name_rows(axes, [name for name, _, _ in rows])
        axes.set_xlim(1 / edge, edge)
        ticks = FEW_TICKS if edge > 3 else RATIO_TICKS
        axes.xaxis.set_major_locator(FixedLocator([t for t in ticks if 1 / edge <= t <= edge]))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        axes.set_xlabel("observed / expected")
        axes.grid(axis="x")
        told = "; ".join(f"{name} {ratio.value:.2f}" for name, ratio, _ in rows)
        return svg(figure, f"Observed over expected events of {outcome} by segment. {told}", slug)


def shifts(rows: Sequence[tuple[str, float, float, bool]]) -> str:
    """Population stability index of columns: (column, index, what chance stays below, whether it shifts)."""
    with rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(WIDE, 0.9 + rows_height([name for name, *_ in rows], 0.24)))
        y = np.arange(len(rows))[::-1]
        colours = [ORANGE if shifted else BLUE for *_, shifted in rows]
        axes.barh(y, [index for _, index, _, _ in rows], 0.6, color=colours)
        axes.plot([chance for _, _, chance, _ in rows], y, "|", color=INK, ms=9, mew=1.4, label="chance stays below")
        for limit in (0.1, 0.25):
            axes.axvline(limit, color=GREY, lw=1, ls=(0, (4, 3)))
        name_rows(axes, [name for name, *_ in rows])
        axes.set_xlim(0, max(0.3, *(1.15 * max(index, chance) for _, index, chance, _ in rows)))
        axes.set_xlabel("population stability index, first against last half of the log")
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.grid(axis="x")
        legend_above(axes, 1)
        told = "; ".join(f"{name} {index:.3f}" for name, index, _, _ in rows)
        return svg(figure, f"Population stability index by column. {told}", "shifts")


def _plain_axes(axes: Axes) -> None:
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5))
        axis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:.10g}".replace("-", MINUS)))
    axes.tick_params(labelsize=8)
    axes.grid()
