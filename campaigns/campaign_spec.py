"""A new campaign as its YAML file describes it: what to send, to whom, when, within which rules, and who decides.

`docs/new_campaigns.md` explains every key. Reading checks what can be checked without a log; what the log has to say
to it is checked where the two meet.
"""

from __future__ import annotations

import datetime
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from campaigns.clock import DAYPARTS
from campaigns.content_templates import ContentTemplate
from campaigns.errors import CampaignError, nearest
from campaigns.guardrails import Guardrails
from campaigns.history import RECENT
from campaigns.ranges import check_range

KEYS = ("name", "contents", "audience", "guardrails", "dates", "policy", "segments")
ALL, NONE = "all", "none"
LONGEST_NAME = 60


@dataclass(frozen=True)
class ContentsSpec:
    """What the campaign may send.

    Attributes:
        logged: which of the log's contents: `all`, `none`, or their ids.
        listed: rows of a contents table, each with `content_id`.
        templates: grids of contents.
        generator: entry point or `module:function` that writes contents; None where there is none.
        settings: handed to the generator.
    """

    logged: str | tuple[object, ...] = NONE
    listed: tuple[Mapping[str, Any], ...] = ()
    templates: tuple[ContentTemplate, ...] = ()
    generator: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class AudienceSpec:
    """For whom the campaign is; both conditions hold where both are given.

    Attributes:
        where: expression on columns of the users table (`campaigns.customer_expression`); None = everybody.
        customers: ids that it is for; None = everybody.
    """

    where: str | None = None
    customers: tuple[object, ...] | None = None


@dataclass(frozen=True)
class Window:
    """A stretch of time, naive wall clock in `data.timezone`.

    Attributes:
        start: first moment.
        end: first moment after it.
    """

    start: pd.Timestamp
    end: pd.Timestamp


@dataclass(frozen=True)
class PolicySpec:
    """Who decides: one of three.

    Attributes:
        folder: of a saved policy.
        agent: name of an agent of the run.
        rule: cap, daypart and content of a `CapDaypartContent`.
        exploration: for a rule, share of its decisions drawn from the incumbent.
    """

    folder: str | None = None
    agent: str | None = None
    rule: Mapping[str, Any] | None = None
    exploration: float = 0.0


@dataclass(frozen=True)
class CampaignSpec:
    """A new campaign.

    Attributes:
        name: in reports, and of the folder that holds the answer.
        contents, audience, policy: see there.
        guardrails: settings that differ from the run's.
        windows: when it may send, in order; empty = from the log's first day on.
        segments: column of users by whose groups the answer is split; None = the segments of the customer profiles.
        file: where it was read from, for messages.
    """

    name: str
    contents: ContentsSpec
    audience: AudienceSpec
    guardrails: Mapping[str, Any]
    windows: tuple[Window, ...]
    policy: PolicySpec
    segments: str | None = None
    file: str = ""


def read_spec(path: str | Path) -> CampaignSpec:
    """Reads a campaign's YAML file.

    Raises:
        CampaignError: where it is not there, no YAML, or has a key or value that means nothing.
    """
    file = Path(path)
    if not file.is_file():
        raise CampaignError(f"campaign={path}: there is no such file; give a campaign's YAML file.")
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        told = " ".join(str(error).split())
        raise CampaignError(f"{file.name}: is no YAML: {told}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise CampaignError(f"{file.name}: cannot be read ({type(error).__name__}: {error}).") from None
    try:
        return make_spec(content, file.name)
    except CampaignError as error:
        raise CampaignError(f"{file.name}: {error}") from None


def make_spec(content: Any, file: str = "") -> CampaignSpec:
    """The campaign that a YAML file's content describes; raises as `read_spec`."""
    top = _section(content, KEYS, "campaign")
    name = _text(top.get("name"), "name")
    if len(name) > LONGEST_NAME or not name.replace("_", "").replace("-", "").replace(" ", "").isalnum():
        raise CampaignError(
            f"name={name!r}: must be letters, digits, spaces, - and _, at most {LONGEST_NAME} of them: a folder is "
            "called so."
        )
    if "contents" not in top:
        raise CampaignError(
            "contents is missing; say what may be sent (contents.list, .templates, .generator, .logged)."
        )
    segments = top.get("segments")
    return CampaignSpec(
        name=name,
        contents=_contents(top["contents"]),
        audience=_audience(top.get("audience")),
        guardrails=_guardrails(top.get("guardrails")),
        windows=_windows(top.get("dates")),
        policy=_policy(top.get("policy")),
        segments=None if segments is None else _text(segments, "segments"),
        file=file,
    )


def _contents(given: Any) -> ContentsSpec:
    if isinstance(given, list):
        given = {"list": given}
    part = _section(given, ("logged", "list", "templates", "generator"), "contents")
    logged = part.get("logged", NONE)
    if isinstance(logged, list):
        logged = tuple(logged)
    elif logged is None or logged is False:
        logged = NONE
    elif logged not in (ALL, NONE):
        raise CampaignError(f"contents.logged={logged!r}: must be all, none or a list of the log's content ids.")
    listed = []
    for number, row in enumerate(_list(part.get("list"), "contents.list")):
        where = f"contents.list[{number}]"
        if not isinstance(row, Mapping):
            raise CampaignError(f"{where}: must be a mapping with id and attributes; got {row!r}.")
        listed.append(_with_id(row, where))
    templates = tuple(
        _template(entry, f"contents.templates[{number}]")
        for number, entry in enumerate(_list(part.get("templates"), "contents.templates"))
    )
    generator, settings = part.get("generator"), {}
    if isinstance(generator, Mapping):
        inner = _section(generator, ("name", "settings"), "contents.generator")
        settings = dict(_section(inner.get("settings") or {}, None, "contents.generator.settings"))
        generator = inner.get("name")
        if generator is None:
            raise CampaignError("contents.generator.name is missing; give an entry point or module:function.")
    if generator is not None:
        generator = _text(generator, "contents.generator")
    if logged == NONE and not listed and not templates and generator is None:
        raise CampaignError("contents: there is nothing to send; give list, templates, generator or logged.")
    return ContentsSpec(logged, tuple(listed), templates, generator, settings)


def _with_id(row: Mapping[Any, Any], where: str) -> dict[str, Any]:
    """A content with its id under `content_id`."""
    found = {str(key): value for key, value in row.items()}
    if "id" in found and "content_id" not in found:
        found["content_id"] = found.pop("id")
    if found.get("content_id") is None:
        raise CampaignError(f"{where}: id is missing; every content needs one.")
    return found


def _template(given: Any, where: str) -> ContentTemplate:
    part = _section(given, ("id", "values", "attributes", "text"), where)
    values = _section(part.get("values"), None, f"{where}.values")
    if not values:
        raise CampaignError(f"{where}.values: is empty; name what differs between the contents.")
    attributes = _section(part.get("attributes") or {}, None, f"{where}.attributes")
    text = part.get("text")
    return ContentTemplate(
        id=_text(part.get("id"), f"{where}.id"),
        values=values,
        attributes=attributes,
        text=None if text is None else _text(text, f"{where}.text"),
        where=where,
    )


def _audience(given: Any) -> AudienceSpec:
    if given is None:
        return AudienceSpec()
    if isinstance(given, str):
        given = {"where": given}
    part = _section(given, ("where", "customers"), "audience")
    where, customers = part.get("where"), part.get("customers")
    if customers is not None:
        customers = tuple(_list(customers, "audience.customers"))
        if not customers:
            raise CampaignError("audience.customers: is empty; name customers, or leave it out for everybody.")
    return AudienceSpec(None if where is None else _text(where, "audience.where"), customers)


def _guardrails(given: Any) -> dict[str, Any]:
    known: dict[str, Any] = {f.name: f.default for f in fields(Guardrails)}
    part = dict(_section(given or {}, tuple(known), "guardrails"))
    for key, value in part.items():
        if key == "channel_max_per_week":
            part[key] = _channel_caps(value)
            continue
        wanted = type(known[key])
        fine = isinstance(value, str) if wanted is str else _is_number(value)
        if not fine or (wanted is int and value != int(value)):
            kind = {str: "a text", int: "a whole number", float: "a number"}[wanted]
            raise CampaignError(f"guardrails.{key}={value!r}: must be {kind}.")
        part[key] = wanted(value)
    Guardrails(**part)  # says what is out of range
    return part


def _channel_caps(given: Any) -> dict[str, int]:
    if not isinstance(given, Mapping):
        raise CampaignError(
            f"guardrails.channel_max_per_week={given!r}: must be sends by channel, such as {{sms: 1, email: 2}}."
        )
    for channel, cap in given.items():
        if not _is_number(cap) or cap != int(cap):
            raise CampaignError(f"guardrails.channel_max_per_week.{channel}={cap!r}: must be a whole number.")
    return {str(channel): int(cap) for channel, cap in given.items()}


def _windows(given: Any) -> tuple[Window, ...]:
    if given is None:
        return ()
    several = isinstance(given, list)
    windows: list[Window] = []
    for number, entry in enumerate(given if several else [given]):
        where = f"dates[{number}]" if several else "dates"
        part = _section(entry, ("start", "end"), where)
        start, end = _moment(part.get("start"), f"{where}.start"), _moment(part.get("end"), f"{where}.end", last=True)
        if end <= start:
            raise CampaignError(f"{where}: ends ({part['end']}) before it starts ({part['start']}); exchange them.")
        windows.append(Window(start, end))
    windows.sort(key=lambda window: window.start)
    for before, after in pairwise(windows):
        if after.start < before.end:
            one, other = (f"from {w.start:%Y-%m-%d %H:%M} to {w.end:%Y-%m-%d %H:%M}" for w in (before, after))
            raise CampaignError(f"dates: the stretch {one} overlaps the one {other}; make one of them, or part them.")
    return tuple(windows)


def _moment(value: Any, where: str, last: bool = False) -> pd.Timestamp:
    """A time; an end that is a plain day includes that day."""
    if value is None:
        raise CampaignError(f"{where} is missing; give a day or a time, such as 2025-04-01.")
    plain = isinstance(value, datetime.date) and not isinstance(value, datetime.datetime)
    plain = plain or (isinstance(value, str) and len(value.strip()) <= 10)
    try:
        if isinstance(value, (bool, int, float)):
            raise ValueError("not a date")
        stamp = pd.Timestamp(value)
    except (TypeError, ValueError):
        raise CampaignError(
            f"{where}={value!r}: is no day or time; write it as 2025-04-01 or 2025-04-01T16:00."
        ) from None
    if pd.isna(stamp):
        raise CampaignError(f"{where}={value!r}: is no day or time; write it as 2025-04-01 or 2025-04-01T16:00.")
    if stamp.tz is not None:
        raise CampaignError(f"{where}={value}: has a time zone; write wall clock in data.timezone, without one.")
    return stamp + pd.Timedelta(days=1) if last and plain else stamp


def _policy(given: Any) -> PolicySpec:
    if given is None:
        return PolicySpec()
    part = _section(given, ("folder", "agent", "rule", "exploration"), "policy")
    named = [key for key in ("folder", "agent", "rule") if part.get(key) is not None]
    if len(named) != 1:
        raise CampaignError(
            f"policy: has {' and '.join(named) or 'none of them'}; give exactly one of folder, agent and rule."
        )
    exploration = part.get("exploration", 0.0)
    if not _is_number(exploration):
        raise CampaignError(f"policy.exploration={exploration!r}: must be a share from 0 to below 1.")
    check_range("policy.exploration", exploration, at_least=0, below=1)
    if named[0] != "rule" and exploration:
        raise CampaignError("policy.exploration: is for rules; a saved policy has its own.")
    if named[0] == "rule":
        return PolicySpec(rule=_rule(part["rule"]), exploration=float(exploration))
    place = _text(part[named[0]], f"policy.{named[0]}")
    return PolicySpec(folder=place) if named[0] == "folder" else PolicySpec(agent=place)


def _rule(given: Any) -> dict[str, Any]:
    rule = dict(_section(given, ("cap", "daypart", "content"), "policy.rule"))
    cap = rule.setdefault("cap", 1)
    if not isinstance(cap, int) or isinstance(cap, bool):
        raise CampaignError(f"policy.rule.cap={cap!r}: must be a whole number of sends in 7 x 24 h.")
    check_range("policy.rule.cap", cap, at_least=1, at_most=RECENT, unit="sends in 7 x 24 h")
    daypart = rule.setdefault("daypart", "any")
    if daypart not in (*DAYPARTS, "any"):
        raise CampaignError(
            f"policy.rule.daypart={daypart!r}: must be one of {', '.join((*DAYPARTS, 'any'))}"
            f"{nearest(str(daypart), DAYPARTS)}"
        )
    rule["content"] = _text(str(rule.get("content", "rotate")), "policy.rule.content")
    return rule


def _section(given: Any, keys: Collection[str] | None, where: str) -> Mapping[str, Any]:
    """A mapping whose keys are known; all are where `keys` is None."""
    if not isinstance(given, Mapping):
        raise CampaignError(f"{where}: must be a mapping of keys to values; got {given!r}.")
    for key in given:
        if not isinstance(key, str):
            raise CampaignError(f"{where}: key {key!r} is no text; write it in quotes.")
        if keys is not None and key not in keys:
            raise CampaignError(
                f"{where}: {key} is no known key{nearest(key, list(keys))} It may have {', '.join(keys)}."
            )
    return given


def _list(given: Any, where: str) -> list[Any]:
    if given is None:
        return []
    if not isinstance(given, list):
        raise CampaignError(f"{where}: must be a list; got {given!r}.")
    return given


def _text(value: Any, where: str) -> str:
    if value is None:
        raise CampaignError(f"{where} is missing.")
    if not isinstance(value, str) or not value.strip():
        raise CampaignError(f"{where}={value!r}: must be a text.")
    return value.strip()


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
