"""Contents from templates: every combination of a grid of values gives an id, attributes and a text.

Templates are Jinja2's, in its sandbox: they see the grid's values and nothing else, and a name that is not there is an
error rather than an empty text.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from jinja2 import StrictUndefined, TemplateSyntaxError, UndefinedError
from jinja2.exceptions import SecurityError, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from campaigns.errors import CampaignError, nearest

MOST_CONTENTS = 500
"""Contents that a grid may give: more cannot be told apart by any log, and the policy is asked about each."""

LONGEST_TEXT = 10_000
"""Characters of a rendered text."""


@dataclass(frozen=True)
class ContentTemplate:
    """A grid of contents.

    Attributes:
        id: template of the content's id; must differ between combinations.
        values: by name, what it may be: a list of values, or a mapping from a short name to a value. In templates
            `{{ tone }}` is the value, and `{{ tone_name }}` the short name (or the value itself in a list).
        attributes: columns of the contents table; texts are templates, anything else stands as it is.
        text: template of the text; None where there is none.
        where: names it in errors.
    """

    id: str
    values: Mapping[str, Any]
    attributes: Mapping[str, Any]
    text: str | None
    where: str


class _Sandbox(ImmutableSandboxedEnvironment):
    """Nothing that can fill the memory: no powers, no repeated texts."""

    intercepted_binops = frozenset({"*", "**"})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "**" or not all(isinstance(side, (int, float)) for side in (left, right)):
            raise SecurityError(f"{operator} of such values is not allowed")
        return super().call_binop(context, operator, left, right)


def expand(template: ContentTemplate) -> list[dict[str, Any]]:
    """One row of a contents table for every combination.

    Raises:
        CampaignError: where the grid is empty or too large, or something does not render; names the template and the
            variable.
    """
    choices = {name: _choices(values, f"{template.where}.values.{name}") for name, values in template.values.items()}
    size = 1
    for entries in choices.values():
        size *= len(entries)
    if size > MOST_CONTENTS:
        counted = " x ".join(f"{len(entries)} {name}" for name, entries in choices.items())
        raise CampaignError(
            f"{template.where}: {counted} are {size:,} contents; at most {MOST_CONTENTS} can be asked about. "
            "Leave some out."
        )
    environment = _Sandbox(undefined=StrictUndefined, keep_trailing_newline=False)
    rows = []
    for combination in itertools.product(*choices.values()):
        seen: dict[str, Any] = {}
        for name, (short, value) in zip(choices, combination, strict=True):
            seen[name], seen[f"{name}_name"] = value, short
        row: dict[str, Any] = {"content_id": _render(environment, template.id, seen, f"{template.where}.id")}
        for name, given in template.attributes.items():
            row[name] = _attribute(environment, given, seen, f"{template.where}.attributes.{name}")
        if template.text is not None:
            row["text"] = _render(environment, template.text, seen, f"{template.where}.text")
        rows.append(row)
    return rows


def _choices(values: Any, where: str) -> list[tuple[str, Any]]:
    """Short name and value of every choice."""
    if isinstance(values, Mapping):
        entries = [(str(short), value) for short, value in values.items()]
    elif isinstance(values, list):
        entries = [(str(value.get("name", number + 1)) if isinstance(value, Mapping) else str(value), value)
                   for number, value in enumerate(values)]  # fmt: skip
    else:
        raise CampaignError(f"{where}: must be a list of values, or short names with values; got {values!r}.")
    if not entries:
        raise CampaignError(f"{where}: is empty; give at least one value.")
    return entries


def _attribute(environment: _Sandbox, given: Any, seen: Mapping[str, Any], where: str) -> Any:
    """A rendered text as YAML would read it, so that "0.1" is a number; all else as it is."""
    if not isinstance(given, str) or "{" not in given:
        return given
    rendered = _render(environment, given, seen, where)
    try:
        value = yaml.safe_load(rendered)
    except yaml.YAMLError:
        return rendered
    return value if isinstance(value, (int, float, bool)) else rendered


def _render(environment: _Sandbox, source: str, seen: Mapping[str, Any], where: str) -> str:
    try:
        text = environment.from_string(source).render(**seen)
    except UndefinedError as error:
        names = [name for name in seen if not name.endswith("_name")]
        missing = re.search(r"'([^']+)' is undefined|no attribute '([^']+)'", str(error))
        hint = nearest(next(filter(None, missing.groups())), names) if missing else "."
        raise CampaignError(
            f"{where}: {source!r} does not render: {error}{hint} It may use {', '.join(names) or 'no names'}."
        ) from None
    except TemplateSyntaxError as error:
        raise CampaignError(f"{where}: {source!r} does not render: {error.message} (line {error.lineno}).") from None
    except (TemplateError, TypeError, ValueError, ArithmeticError, OverflowError, RecursionError) as error:
        told = str(error).strip().split("\n")[0] or type(error).__name__
        raise CampaignError(f"{where}: {source!r} does not render: {told}.") from None
    text = " ".join(text.split()) if where.endswith(".id") else text.strip()
    if len(text) > LONGEST_TEXT:
        raise CampaignError(f"{where}: renders to {len(text):,} characters; at most {LONGEST_TEXT:,} are allowed.")
    return text
