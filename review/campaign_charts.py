"""The figure of a new campaign's page: where estimates stand beside the markets' answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib import pyplot as plt
from matplotlib import rc_context
from matplotlib.ticker import MaxNLocator

from review import words
from review.charts import MARKS
from review.drawing import INK, MUTED, STYLE, WIDE, name_rows, signed_ticks, stripes, svg
from review.evidence import Range


@dataclass(frozen=True)
class Row:
    """One line of a forest plot.

    Attributes:
        name: beside the line.
        gain: over the incumbent; None where there is no estimate.
        place: a key of MARKS: where it comes from.
        note: stands in the place of a missing estimate.
    """

    name: str
    gain: Range | None
    place: str
    note: str = ""


def forest(rows: Sequence[Row], xlabel: str, slug: str) -> str:
    """Gains over the incumbent: intervals of estimates, and the markets' answers without any."""
    with rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(WIDE, 0.75 + 0.36 * len(rows)))
        stripes(axes, len(rows))
        axes.axvline(0, color=INK, lw=1)
        for place, row in enumerate(rows):
            y, (colour, marker) = len(rows) - 1 - place, MARKS[row.place]
            if row.gain is None:
                axes.annotate(row.note, (0, y), xytext=(7, 0), textcoords="offset points", va="center", color=MUTED,
                              fontsize=8.5, fontstyle="italic")  # fmt: skip
                continue
            if row.gain.low is not None and row.gain.high is not None:
                axes.plot([row.gain.low, row.gain.high], [y, y], color=colour, lw=2.2, solid_capstyle="round")
            hollow = row.place != "offline"
            axes.plot(row.gain.value, y, marker, color=colour, ms=6, mec=colour if hollow else "white",
                      mfc="white" if hollow else colour, mew=1.5 if hollow else 0.6)  # fmt: skip
        name_rows(axes, [row.name for row in rows])
        _pad(axes.get_xlim(), axes.set_xlim, [row.gain for row in rows])
        axes.set_xlabel(xlabel)
        axes.xaxis.set_major_locator(MaxNLocator(7))
        signed_ticks(axes)
        axes.grid(axis="x")
        told = "; ".join(
            f"{row.name}: {row.note if row.gain is None else words.interval(row.gain, 3, signed=True)}" for row in rows
        )
        return svg(figure, f"Gain over what was done. {told}", slug)


def _pad(limits: tuple[float, float], set_limits: object, gains: Sequence[Range | None]) -> None:
    """Room at both sides of 0, also where nothing was estimated."""
    edges = [
        edge for gain in gains if gain is not None for edge in (gain.value, gain.low, gain.high) if edge is not None
    ]
    reach = max((abs(edge) for edge in edges), default=1.0) or 1.0
    low, high = min([0.0, *edges]), max([0.0, *edges])
    assert callable(set_limits)
    set_limits(low - 0.12 * reach, max(high + 0.12 * reach, 0.55 * reach if None in gains else -1e300))
