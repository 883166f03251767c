"""The plug-in point for contents that a program writes, such as a language model.

A generator is a function of two arguments that returns rows of a contents table:

    def write(settings: Mapping[str, Any], logged: pandas.DataFrame) -> Iterable[Mapping[str, Any]]

`settings` is what the campaign's file says under `contents.generator.settings`; `logged` is a copy of the log's
contents table, to learn the columns and their values from. Every row needs `content_id` and the columns that the log's
contents have. It is named by an entry point of the group `campaign_optimizer.contents`, or as `module:function` of a
module that Python finds. It is code that the team trusts: unlike templates it runs without a sandbox.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import entry_points
from typing import Any

import pandas as pd

from campaigns.errors import CampaignError

GROUP = "campaign_optimizer.contents"


def generate(name: str, settings: Mapping[str, Any], logged: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of a contents table that a team's own function makes.

    Args:
        name: of an entry point, or `module:function`.
        settings: handed to it.
        logged: the log's contents; a copy is handed to it.
    Raises:
        CampaignError: where it is not found, fails, or returns something else than rows.
    """
    where = f"contents.generator.name={name}"
    function = _find(name, where)
    try:
        made: Iterable[Any] = function(dict(settings), logged.copy())
        rows = made.to_dict("records") if isinstance(made, pd.DataFrame) else list(made)
    except Exception as error:  # whatever a team's code raises is said in one line
        raise CampaignError(f"{where}: failed with {type(error).__name__}: {error}.") from error
    for number, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise CampaignError(
                f"{where}: row {number} is {type(row).__name__}; it must be a mapping from column to value."
            )
    if not rows:
        raise CampaignError(f"{where}: returned no content.")
    return [{str(column): value for column, value in row.items()} for row in rows]


def _find(name: str, where: str) -> Callable[..., Any]:
    found = entry_points(group=GROUP, name=name)
    try:
        if found:
            function = next(iter(found)).load()
        elif ":" in name:
            module, _, attribute = name.partition(":")
            function = getattr(importlib.import_module(module), attribute)
        else:
            there = ", ".join(sorted(point.name for point in entry_points(group=GROUP))) or "none"
            raise CampaignError(
                f"{where}: no such entry point in the group {GROUP} (there are {there}); give one, or module:function."
            )
    except (ImportError, AttributeError, ValueError) as error:
        raise CampaignError(f"{where}: cannot be loaded ({error}); is it where Python finds it?") from None
    if not callable(function):
        raise CampaignError(f"{where}: is no function.")
    return function  # type: ignore[no-any-return]
