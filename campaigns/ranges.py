"""Ranges of settings, said in one way wherever a setting is refused."""

from __future__ import annotations

import math

from campaigns.errors import CampaignError


def check_range(
    setting: str,
    value: float,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
    unit: str = "",
) -> None:
    """Checks that a setting is a finite number within its bounds.

    Args:
        setting: its full name, as one writes it on the command line.
        value: what was given.
        at_least, above: lower bound, inclusive or exclusive.
        at_most, below: upper bound, inclusive or exclusive.
        unit: of the setting, for the message.
    Raises:
        CampaignError: naming the setting, what was got and what it may be.
    """
    fine = (
        math.isfinite(value)
        and (at_least is None or value >= at_least)
        and (above is None or value > above)
        and (at_most is None or value <= at_most)
        and (below is None or value < below)
    )
    if fine:
        return
    bounds = [
        f"{words} {bound:{',' if bound >= 1e4 else 'g'}}"
        for words, bound in (("at least", at_least), ("more than", above), ("at most", at_most), ("less than", below))
        if bound is not None
    ]
    if not math.isfinite(value):
        bounds = ["a finite number", *bounds]
    raise CampaignError(f"{setting}={value}: must be {' and '.join(bounds)}{' ' + unit if unit else ''}.")
