"""The two ways in which a run ends early on purpose; `scripts/` turns them into exit codes."""

import difflib
from collections.abc import Iterable


class CampaignError(Exception):
    """Bad input or a bad setting (exit code 2).

    The message names the file, column, row or setting, says what was got and expected, and names a remedy.
    It is shown to the user as it is, without a traceback.
    """


class MarketRefused(Exception):
    """The market gate refused: everything was saved, but no agent is recommended (exit code 3)."""


def nearest(name: str, names: Iterable[str]) -> str:
    """The question whether the nearest of `names` was meant, or a full stop's worth of nothing."""
    near = difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near and near[0] != name else "."
