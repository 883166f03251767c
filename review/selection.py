"""Which of very many policies or contents get a row of their own: the best, the worst, and all other kinds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

TO_ALL = " to all"
"""How the name of a rule ends that sends one content to everybody: there are as many as contents."""

MOST = 16
"""Rows up to which all are shown."""

BEST, WORST = 7, 3
"""Of more rules with a figure these are shown."""


@dataclass(frozen=True)
class Entry:
    """One row that might be shown.

    Attributes:
        name: of the policy or content.
        value: by which best and worst are told; None where no figure is given.
        always: whether it is shown whatever its figure.
    """

    name: str
    value: float | None
    always: bool = False


@dataclass(frozen=True)
class Selection:
    """What is shown and what is not.

    Attributes:
        names: that are shown.
        between: left out though they have a figure; it lies between those of the best and the worst.
        without: left out for want of a figure.
    """

    names: frozenset[str]
    between: int
    without: int

    def others(self, what: str, why_without: str) -> str:
        """A sentence on what was left out; empty where nothing was.

        Args:
            what: they are, in the plural.
            why_without: what is said of those without a figure.
        """
        parts = [(self.without, why_without), (self.between, "lie between the best and the worst")]
        parts = [(count, why) for count, why in parts if count]
        if len(parts) < 2:
            return "".join(f"Not shown: {count} {what} that {why}." for count, why in parts)
        told = " and ".join(f"{count} {why}" for count, why in parts)
        return f"Not shown: {self.without + self.between} {what}, of which {told}."


def select_policies(worth: Mapping[str, float | None], chosen: str) -> Selection:
    """Of a panel all but the rules that send one content to everybody, and of those the best and the worst.

    Args:
        worth: by policy, None where it is refused.
        chosen: always shown.
    """
    return select([Entry(n, value, n == chosen or not n.endswith(TO_ALL)) for n, value in worth.items()])


def select(entries: Sequence[Entry]) -> Selection:
    """All of a few; of many those that are always shown, the best and the worst."""
    if len(entries) <= MOST:
        return Selection(frozenset(entry.name for entry in entries), 0, 0)
    always = {entry.name for entry in entries if entry.always}
    known = sorted((e for e in entries if e.value is not None and not e.always), key=lambda e: -(e.value or 0.0))
    ends = known if len(known) <= BEST + WORST else [*known[:BEST], *known[-WORST:]]
    without = sum(entry.value is None and not entry.always for entry in entries)
    return Selection(frozenset(always | {entry.name for entry in ends}), len(known) - len(ends), without)
