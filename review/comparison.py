"""What policies are worth beside each other: in the markets, in the truth where it is known, and from the log alone."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from evaluation.diagnostics import FEW_ROWS, MEAN_WEIGHT
from evaluation.sequential import TOO_COARSE
from review import charts, words
from review.evidence import (
    INCUMBENT,
    LEAST_CUSTOMERS,
    Candidate,
    Evidence,
    Offline,
    Range,
    dig,
    mappings,
    number,
    read_range,
    text_of,
)
from review.selection import Entry, Selection, select, select_policies

Section = dict[str, Any]

UNRANKED = -1e300
"""Stands for the gain of a policy of which none is known."""


def certain_ranges(candidates: list[Candidate]) -> list[Range]:
    """The differences whose intervals decide with how many decimals figures of worth are shown."""
    gains = [gain for c in candidates for gain in c.gain.values()]
    gains = gains or [c.offline.gain for c in candidates if c.offline is not None and c.offline.gain is not None]
    worth = [found for c in candidates for found in c.worth.values()]
    logged = [c.offline.worth for c in candidates if c.offline is not None and c.offline.worth is not None]
    return [g for g in gains if g.value] or worth or logged


def worth_section(
    evidence: Evidence, candidates: list[Candidate], chosen: Candidate | None, digits: int, sequential: bool
) -> Section:
    """Worth of every policy, beside the incumbent and the best rule, best first."""
    if not candidates:
        return {"why_not": evidence.missing.get("summary", "summary.json lists no policies")}
    everyone = sorted(candidates, key=lambda c: -_leading(c))
    shown = _shown(everyone, chosen)
    order = [c for c in everyone if c.name in shown.names]
    unit = words.unit(evidence.part("summary"))
    gains = {words.policy_title(c.name): dict(c.gain) for c in order if c.name != INCUMBENT and c.gain}
    # a gain of exactly 0 is that of a policy that decides as was done: nothing to draw
    logged = [(c, c.offline.gain) for c in order if c.offline and c.offline.gain and c.offline.gain.value]
    rows = {words.policy_title(c.name): {"offline": gain} for c, gain in logged}
    over = {words.policy_title(c.name): dict(c.over_rule) for c in order if c.over_rule}
    places = [p for p in ("market", "judged", "truth") if any(p in c.worth or p in c.gain for c in candidates)]
    axis = f"gain over the incumbent, {unit}"
    scopes = list(dict.fromkeys(words.offline_scope(c.offline) for c, _ in logged if c.offline is not None))
    scope = scopes[0] if len(scopes) == 1 else ""
    compared = [c for c in order if c.name != INCUMBENT or c.offline]
    notes = list(dict.fromkeys(note for c in compared if (note := _note(c))))
    return {
        "why_not": "",
        "forest": Markup(charts.forest(gains, "Gain over the incumbent", axis, "worth")) if gains else None,
        "over": Markup(charts.forest(over, "Gain over the best simple rule", f"gain over the best simple rule, {unit}",
                                     "over")) if over else None,
        "log_forest": Markup(charts.forest(rows, "Gain over the incumbent from the log alone",
                                           axis + (f", {scope}" if scope else ""), "log")) if rows else None,
        "places": [(p, words.PLACES[p]) for p in places],
        "rows": [_worth_row(c, places, chosen, digits, evidence) for c in order],
        "offline": [_offline_row(c, chosen, digits, notes) for c in compared],
        "notes": [(_mark(place), note) for place, note in enumerate(notes)],
        "others": shown.others("policies", "are refused by the log"),
        "against": _against(chosen, digits, shown),
        **_arms(evidence, digits),
        "has_truth": "truth" in places,
    }  # fmt: skip


def _shown(candidates: list[Candidate], chosen: Candidate | None) -> Selection:
    worth = {c.name: value if (value := _leading(c)) > UNRANKED else None for c in candidates}
    return select_policies(worth, chosen.name if chosen else INCUMBENT)


def _leading(candidate: Candidate) -> float:
    if candidate.name == INCUMBENT:
        return 0.0
    gain = candidate.gain.get("judged") or candidate.gain.get("market")
    if gain is None and candidate.offline is not None:
        gain = candidate.offline.gain
    return UNRANKED if gain is None else gain.value


def worth_cell(worth: Range | None, digits: int, signed: bool = False) -> Section:
    """A figure of worth in a table, with its interval; a dash where there is none."""
    if worth is None:
        return {"value": words.DASH, "span": "", "leaning": "", "key": False}
    leaning = words.leaning(worth) if signed else ""
    return {
        "value": words.figure(worth.value, digits, signed),
        "span": words.span(worth, digits, signed),
        "leaning": leaning.replace(" ", "-"),
        "key": False,
    }


def _worth_row(
    candidate: Candidate, places: list[str], chosen: Candidate | None, digits: int, evidence: Evidence
) -> Section:
    is_base = candidate.name == INCUMBENT
    detail = dig(evidence.part("best_rule"), "chooser", "settings") if candidate.name == "best_rule" else None
    return {
        "name": words.policy_title(candidate.name),
        "note": words.rule(detail),
        "code": candidate.name,
        "kind": candidate.kind,
        "chosen": chosen is not None and candidate.name == chosen.name,
        "worth": [worth_cell(candidate.worth.get(p), digits) | {"key": p == "judged"} for p in places],
        "gain": [
            worth_cell(None if is_base else candidate.gain.get(p), digits, signed=True) | {"key": p == "judged"}
            for p in places
        ],
    }


def _note(candidate: Candidate) -> str:
    """Why a policy has no estimate, or how far it reaches, in words that are the same for all to whom it applies."""
    offline = candidate.offline
    if offline is not None and offline.refused_by == FEW_ROWS:
        least = "" if offline.least_effective is None else f" ({offline.least_effective:,.0f} are the least)"
        return (
            f"Refused: too few of the logged rows speak for the policy{least}. It decides too differently from what "
            "was logged, so that single rows would make the figure."
        )
    if offline is not None and offline.refused_by == MEAN_WEIGHT:
        return (
            "Refused: the mean weight of the rows is not near 1, as it should be. The policy favours decisions that "
            "were hardly ever logged, or the logged probabilities are wrong."
        )
    if offline is not None and offline.refused_by == TOO_COARSE:
        return (
            "Refused: the difference that the log could just tell from none (in the column of gains) is more than half "
            "of what a customer earns. Log more customers, or decisions nearer to this policy's."
        )
    return words.sentence((offline.refused if offline else "") or candidate.offline_reason)


def _untold(offline: Offline | None, digits: int) -> Section:
    """In place of a refused gain: how large it would have to be for the log to tell it."""
    untold = worth_cell(None, digits)
    if offline is not None and offline.detectable is not None and offline.refused_by == TOO_COARSE:
        untold["span"] = f"could tell ±{words.figure(offline.detectable, digits)}"
    return untold


def _mark(place: int) -> str:
    """a, b, ... of a note."""
    return chr(ord("a") + place) if place < 26 else str(place + 1)


def _speaking(offline: Offline | None) -> Section:
    """How many rows speak for a policy, as a share and as a number; or the mean weight, where that refused it."""
    if offline is None or offline.effective_share is None:
        return {"value": words.DASH, "span": "", "leaning": "", "key": False}
    small = "" if offline.effective is None else f"{offline.effective:,.0f} rows"
    if offline.refused_by == MEAN_WEIGHT and offline.mean_weight is not None:
        small = f"mean weight {words.figure(offline.mean_weight, 2)}"
    return {"value": words.percent(offline.effective_share), "span": small, "leaning": "", "key": False}


def _offline_row(candidate: Candidate, chosen: Candidate | None, digits: int, notes: list[str]) -> Section:
    offline, note = candidate.offline, _note(candidate)
    # over whole horizons a blend can be told where the policy itself cannot
    no_blend = offline is None or offline.blend is None or (offline.gain is None and not offline.whole)
    return {
        "name": words.policy_title(candidate.name),
        "chosen": chosen is not None and candidate.name == chosen.name,
        "worth": worth_cell(None if offline is None else offline.worth, digits),
        "gain": _untold(offline, digits)
        if offline is None or offline.gain is None
        else worth_cell(offline.gain, digits, signed=True),
        "verdict": words.UNKNOWN if offline is None else offline.verdict or words.UNKNOWN,
        "blend": words.DASH if offline is None or no_blend else words.percent(offline.blend or 0.0),
        "share": _speaking(offline),
        "mark": _mark(notes.index(note)) if note else "",
        "estimator": offline.estimator if offline else "",
    }


def _against(chosen: Candidate | None, digits: int, shown: Selection) -> list[Section]:
    if chosen is None or chosen.offline is None:
        return []
    return [
        {"name": words.policy_name(name), "gain": worth_cell(gain, digits, signed=True), "verdict": verdict}
        for name, (gain, verdict) in chosen.offline.against.items()
        if name in shown.names
    ]


def _arms(evidence: Evidence, digits: int) -> Section:
    """What each logged decision brought; of very many the best and the worst."""
    arms: list[Section] = [
        {
            "content": "nothing (hold)" if arm.get("content") == "hold" else text_of(arm.get("content")),
            "customers": words.count(arm.get("customers")),
            "worth": worth_cell(read_range(arm), digits),
            "value": number(arm.get("value")),
        }
        for arm in mappings(evidence.part("summary").get("arms"))
        if (number(arm.get("customers")) or 0) >= LEAST_CUSTOMERS
    ]
    shown = select([Entry(arm["content"], arm["value"]) for arm in arms])
    kept = [arm for arm in arms if arm["content"] in shown.names]
    if len(kept) < len(arms):
        kept.sort(key=lambda arm: -(arm["value"] or 0.0))
    return {"arms": kept, "other_arms": shown.others("contents", "have no figure")}


def gap_section(candidates: list[Candidate], chosen: Candidate | None, digits: int) -> Section:
    """How much of each gain is lost in the judging market, and in the truth where it is known."""
    rows = [
        {
            "name": words.policy_title(c.name),
            "chosen": chosen is not None and c.name == chosen.name,
            "market": worth_cell(c.gain.get("market"), digits, signed=True),
            "judged": worth_cell(c.gain.get("judged"), digits, signed=True),
            "gap": words.DASH if c.gap is None else words.percent(c.gap),
            "truth": worth_cell(c.gain.get("truth"), digits, signed=True),
            "claim": words.DASH if c.claim_gap is None else words.percent(c.claim_gap),
        }
        for c in sorted(candidates, key=lambda c: -_leading(c))
        if c.name != INCUMBENT and "market" in c.gain and "judged" in c.gain
    ]
    return {
        "rows": rows,
        "has_truth": any("truth" in c.gain for c in candidates),
        "why_not": "no policy was played both where it learned and in a judging market",
    }
