"""The page of a new campaign: one self-contained HTML file, made from `campaign.json` alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from campaigns.errors import CampaignError
from review import campaign_charts, words
from review.blend_curve import blend_section, read_blends
from review.campaign_charts import Row
from review.campaign_horizon import whole_days, whole_gain, whole_name, whole_section, whole_value
from review.campaign_plan import plan_section
from review.estimators import estimators_section
from review.evidence import Range, dig, mappings, number, read_range, text_of, texts
from review.page import render_template, write_page

ANSWER, PAGE = "campaign.json", "campaign.html"
BADGES = {"better": "ok", "worse": "problem", "cannot tell": "caution", "not identifiable": "problem"}
HEADLINES = {
    "better": "would have earned more than what was done",
    "worse": "would have earned less than what was done",
    "cannot tell": "the log cannot tell",
    "not identifiable": "not identifiable from this log",
}
WORLDS = {"train": "market of the learning half", "judge": "market of the judging half"}
PLACES = {"train": "market", "judge": "judged"}
Section = dict[str, Any]


def write_campaign_page(folder: Path) -> Path:
    """Writes `campaign.html` into the folder that holds `campaign.json`.

    Raises:
        CampaignError: where there is none, or it is damaged.
    """
    file = Path(folder) / ANSWER
    try:
        answer = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CampaignError(
            f"{file}: cannot be read ({type(error).__name__}); run scripts/evaluate.py again."
        ) from None
    if not isinstance(answer, Mapping):
        raise CampaignError(f"{file}: is no answer about a campaign; run scripts/evaluate.py again.")
    return write_page(Path(folder) / PAGE, render_campaign(answer))


def render_campaign(answer: Mapping[str, Any]) -> str:
    """The page of an answer; the same answer gives the same page."""
    verdict = text_of(answer.get("verdict"))
    gain = read_range(dig(answer, "offline", "difference"))
    whole = whole_section(answer)
    if whole is not None:
        whole["badge"] = BADGES.get(whole["verdict"], "caution")
    return render_template(
        "campaign.html.j2",
        {
            "name": text_of(answer.get("name")),
            "headline": HEADLINES.get(verdict, verdict) + _scope(answer, verdict),
            "verdict": verdict,
            "badge": BADGES.get(verdict, "caution"),
            "sentence": text_of(answer.get("sentence")),
            "first": _first(answer),
            "unit": words.UNITS.get(text_of(answer.get("outcome")), text_of(answer.get("outcome"))),
            "kicker": _kicker(answer),
            "cards": _cards(answer, gain),
            "worth": _worth(answer, gain),
            "whole": whole,
            "blend": _blend(answer),
            "unlogged": _unlogged(answer),
            "contents": _contents(answer),
            "segments": _segments(answer),
            "plan": plan_section(answer),
            "set_up": _set_up(answer),
            "guardrails": words.guardrail_settings(answer.get("guardrails")),
            "notes": texts(answer.get("notes")),
        },
    )


def _digits(answer: Mapping[str, Any]) -> int:
    """Decimals of figures over the first decisions."""
    estimates = [read_range(dig(answer, part, "difference")) for part in ("offline", "by_attributes")]
    ranges = [*estimates, *(_markets(answer, "judged_slots").values())]
    return words.digits_for([found for found in ranges if found is not None])


def _digits_over_all(answer: Mapping[str, Any]) -> int:
    """Decimals of figures over all days."""
    ranges = [whole_gain(answer), *(_markets(answer, "campaign").values())]
    return words.digits_for([found for found in ranges if found is not None])


def _markets(answer: Mapping[str, Any], stretch: str) -> dict[str, Range]:
    """Each world's gain over the incumbent, without an interval."""
    worlds = dig(answer, "market", stretch, "worlds")
    found = {}
    for half in WORLDS:
        value = number(dig(worlds, half, "difference"))
        if value is not None:
            found[half] = Range(value)
    return found


def _hours(answer: Mapping[str, Any]) -> str:
    """How long the log judges it."""
    if dig(answer, "dates", "one_shot") is True:
        return "one decision"
    hours = (number(dig(answer, "dates", "judged_slots")) or 0) * (number(dig(answer, "dates", "slot_hours")) or 0)
    return f"{hours:g} hours"


def _first(answer: Mapping[str, Any]) -> str:
    """The same, as a stretch of the campaign."""
    hours = _hours(answer)
    return f"first {hours}" if hours.endswith("hours") else hours


def _scope(answer: Mapping[str, Any], verdict: str) -> str:
    """How long a headline's verdict holds: nothing to add where the log says nothing, or holds one decision each."""
    told = verdict in ("better", "worse") and dig(answer, "dates", "one_shot") is not True
    return f" in its {_first(answer)}" if told else ""


def _days(answer: Mapping[str, Any]) -> str:
    return f"{number(dig(answer, 'dates', 'days')) or 0:g} days"


def _kicker(answer: Mapping[str, Any]) -> str:
    audience = answer.get("audience")
    return (
        f"{words.count(dig(audience, 'customers'))} of {words.count(dig(audience, 'of'))} customers · "
        f"{text_of(dig(answer, 'dates', 'begin'))} to {text_of(dig(answer, 'dates', 'end'))} · "
        f"{text_of(answer.get('decided_by'))}"
    )


def _cards(answer: Mapping[str, Any], gain: Range | None) -> list[Section]:
    digits, long = _digits(answer), _digits_over_all(answer)
    cards: list[Section] = [
        {
            "title": f"From the log alone, {_hours(answer)}",
            "value": words.figure(gain.value, digits, signed=True) if gain else "no estimate",
            "note": f"{words.span(gain, digits, signed=True)}, against what was done"
            if gain
            else "see the reason above",
        }
    ]
    over_all = whole_gain(answer)
    if over_all is not None:
        cards.append(
            {
                "title": f"From the log alone, {whole_days(answer)}",
                "value": words.figure(over_all.value, long, signed=True),
                "note": f"{words.span(over_all, long, signed=True)}, against what was done",
            }
        )
    markets = _markets(answer, "campaign")
    if markets:
        low, high = (pick(found.value for found in markets.values()) for pick in (min, max))
        cards.append(
            {
                "title": f"The markets\u2019 own answer, {_days(answer)}",
                "value": f"{words.figure(low, long, True)} to {words.figure(high, long, True)}",
                "wide": True,
                "note": "range across simulated worlds, no coverage claimed",
            }
        )
    share = number(dig(answer, "unlogged", "unlogged", "share_of_sends"))
    cards.append(
        {
            "title": "Rests on what was never logged",
            "value": words.percent(share) if share is not None else words.DASH,
            "note": "of its sends in the judged stretch",
        }
    )
    chosen = dig(answer, "plan", "chosen")
    cards.append(
        {
            "title": "A live test needs",
            "value": words.count(2 * (number(dig(chosen, "customers")) or 0)) if chosen else words.DASH,
            "note": f"customers for {number(dig(chosen, 'days')):g} days, both groups"
            if chosen
            else "see the plan below",
        }
    )
    return cards


def _worth(answer: Mapping[str, Any], gain: Range | None) -> Section:
    digits, long = _digits(answer), _digits_over_all(answer)
    offline = answer.get("offline")
    name = text_of(dig(offline, "estimator")) or "estimate"
    refused = "no estimate"
    rows = [Row(f"log alone, {name}", gain, "offline", refused)]
    if isinstance(answer.get("by_attributes"), Mapping):
        rows.append(
            Row("log, by attributes", read_range(dig(answer, "by_attributes", "difference")), "offline", refused)
        )
    short = _markets(answer, "judged_slots")
    rows += [Row(WORLDS[half], found, PLACES[half]) for half, found in short.items()]
    whole = [Row(WORLDS[half], found, PLACES[half]) for half, found in _markets(answer, "campaign").items()]
    if isinstance(answer.get("whole_horizon"), Mapping):
        days = whole_days(answer)
        part = "" if days.startswith("all") else f", {days}"
        whole.insert(0, Row(f"log alone, {whole_name(answer)}{part}", whole_gain(answer), "offline", refused))
    table = [_worth_row(f"the log alone ({name})", _hours(answer), read_range(offline), gain, digits)]
    if isinstance(answer.get("whole_horizon"), Mapping):
        name = f"the log alone ({whole_name(answer)})"
        table.append(_worth_row(name, whole_days(answer), whole_value(answer), whole_gain(answer), long))
    prediction = number(answer.get("prediction"))
    if prediction is not None:
        table.append(_worth_row("the reward model alone, uncorrected", _hours(answer), Range(prediction), None, digits))
    weighed = answer.get("by_attributes")
    if isinstance(weighed, Mapping):
        names = f"the log alone, contents weighed by {', '.join(texts(weighed.get('attributes')))}"
        table.append(
            _worth_row(
                f"{names} ({text_of(weighed.get('estimator'))})", _hours(answer), read_range(weighed),
                read_range(weighed.get("difference")), digits,
            )
        )  # fmt: skip
    for stretch, over, shown in (("judged_slots", _hours(answer), digits), ("campaign", _days(answer), long)):
        for half, label in WORLDS.items():
            world = dig(answer, "market", stretch, "worlds", half)
            value = number(dig(world, "campaign"))
            if value is not None:
                difference = number(dig(world, "difference")) or 0.0
                table.append(_worth_row(label, over, Range(value), Range(difference), shown))
    diagnostics = dig(offline, "diagnostics")
    return {
        "forest": Markup(campaign_charts.forest(rows, f"gain over what was done, {_first(answer)}", "short")),
        "long": Markup(campaign_charts.forest(whole, f"gain over what was done, {_days(answer)}", "long"))
        if whole
        else None,
        "rows": table,
        "markets": bool(short),
        "label": text_of(dig(answer, "market", "label")),
        "by_attributes": texts(dig(answer, "by_attributes", "attributes")),
        "by_attributes_says": text_of(dig(answer, "by_attributes", "sentence")),
        "behind": estimators_section(
            offline if isinstance(offline, Mapping) and gain is not None else {},
            answer.get("distributions"),
            "campaign",
            digits,
        ),
        "diagnostics": _diagnostics(diagnostics),
        "notes": texts(dig(diagnostics, "notes")),
        "thin": _share(dig(answer, "market", "thin_send_share")),
        "sends": words.figure(number(dig(answer, "market", "sends_per_customer_day")), 2),
    }


def _worth_row(label: str, over: str, worth: Range | None, gain: Range | None, digits: int) -> Section:
    return {"name": label, "over": over, "worth": _cell(worth, digits), "gain": _cell(gain, digits, signed=True)}


def _cell(found: Range | None, digits: int, signed: bool = False) -> Section:
    if found is None:
        return {"value": words.DASH, "span": "", "leaning": "", "key": False}
    known = found.low is not None and found.high is not None
    return {
        "value": words.figure(found.value, digits, signed),
        "span": words.span(found, digits, signed) if known else "",
        "leaning": words.leaning(found).replace(" ", "-") if signed and known else "",
        "key": False,
    }


def _diagnostics(block: object) -> list[tuple[str, str]]:
    names = {
        "rows": "customers",
        "effective": "worth, in effective rows",
        "mean_weight": "mean weight (should be 1)",
        "largest_weight": "largest weight",
    }
    found = [(label, number(dig(block, key))) for key, label in names.items()]
    return [
        (label, f"{value:,.3g}" if value < 1000 else f"{value:,.0f}") for label, value in found if value is not None
    ]


def _blend(answer: Mapping[str, Any]) -> Section:
    why_not = (
        text_of(answer.get("blend_reason"))
        or "the log carries too few decisions like the campaign\u2019s, at any share"
    )
    safe = number(answer.get("safe_share")) or 0.0
    points = read_blends(answer.get("blend"))
    return blend_section(points, safe, f"gain, {_first(answer)}", "the campaign", why_not)


def _unlogged(answer: Mapping[str, Any]) -> Section:
    parts = {
        "new_contents": "contents that were never sent",
        "unseen_values": "attribute values that no send ever had",
        "silent_dayparts": "times of the day at which nothing was ever sent",
        "unlogged": "any of these",
    }
    rows = []
    for key, label in parts.items():
        block = dig(answer, "unlogged", key)
        rows.append((label, _share(dig(block, "share_of_sends")), _share(dig(block, "share_of_gain"))))
    return {
        "rows": rows,
        "values": texts(dig(answer, "unlogged", "values")),
        "dayparts": texts(dig(answer, "unlogged", "dayparts")),
    }


def _share(value: object) -> str:
    found = number(value)
    return words.DASH if found is None else words.percent(found)


def _contents(answer: Mapping[str, Any]) -> list[Section]:
    rows = []
    for content in mappings(answer.get("contents")):
        attributes = content.get("attributes")
        attributes = dict(attributes) if isinstance(attributes, Mapping) else {}
        text = text_of(attributes.pop("text", ""))
        rows.append(
            {
                "id": text_of(content.get("content_id")),
                "text": text,
                "attributes": ", ".join(f"{name} {text_of(value) or value}" for name, value in attributes.items()),
                "new": content.get("new") is True,
                "unseen": "; ".join(texts(content.get("unseen"))),
                "share": _share(content.get("share_of_sends")),
            }
        )
    return rows


def _segments(answer: Mapping[str, Any]) -> Section:
    digits, long = _digits(answer), _digits_over_all(answer)
    block = answer.get("segments")
    rows, lines = [], []
    for row in mappings(dig(block, "rows")):
        name = text_of(row.get("segment"))
        gain = read_range(dig(row, "offline", "difference"))
        market = number(dig(row, "market", "difference"))
        rows.append(
            {
                "name": name,
                "customers": words.count(row.get("customers")),
                "gain": _cell(gain, digits, signed=True),
                "verdict": text_of(row.get("verdict")),
                "why": text_of(row.get("sentence")),
                "market": words.figure(market, long, True) if market is not None else words.DASH,
                "unlogged": _share(dig(row, "unlogged", "unlogged", "share_of_sends")),
            }
        )
        lines.append(Row(name, gain, "offline", text_of(row.get("verdict"))))
    figure = campaign_charts.forest(lines, f"gain over what was done, {_first(answer)}", "segments")
    return {
        "by": text_of(dig(block, "by")),
        "rows": rows,
        "figure": Markup(figure) if any(line.gain for line in lines) else None,
        "suppressed": int(number(dig(block, "suppressed")) or 0),
        "least": int(number(dig(block, "least")) or 0),
        "days": _days(answer),
        "hours": _hours(answer),
    }


def _set_up(answer: Mapping[str, Any]) -> list[tuple[str, str]]:
    audience, dates = answer.get("audience"), answer.get("dates")
    where = text_of(dig(audience, "where")) or ("the customers named" if dig(audience, "named") else "everybody")
    judged = dig(dates, "judged") or ["", ""]
    return [
        ("To whom", f"{where}: {words.count(dig(audience, 'customers'))} customers"),
        ("Judged on", f"{words.count(dig(audience, 'judged'))} of them, whom learning never saw, from {judged[0]} to "
                      f"{judged[1]} of the log ({text_of(dig(dates, 'timezone'))})"),
        ("When", "; ".join(f"{begin} to {end}" for begin, end in (dig(dates, "windows") or []))
         or f"any time, {_days(answer)} from {text_of(dig(dates, 'begin'))}"),
        ("Who decides", f"{text_of(answer.get('decided_by'))}; mode {text_of(answer.get('mode'))}, exploration "
                        f"{words.percent(number(answer.get('exploration')))}"),
        ("Probabilities", "logged" if answer.get("probabilities") == "logged" else "fitted, for the log has none"),
    ]  # fmt: skip
