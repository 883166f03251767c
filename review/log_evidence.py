"""What the log can carry: its probabilities, what it never shows, one customer, hidden reasons, and twins of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from review import words
from review.blend_curve import blend_section, read_blends
from review.estimators import estimators_section
from review.evidence import INCUMBENT, LEAST_CUSTOMERS, Candidate, Evidence, dig, mappings, number, text_of, texts

Section = dict[str, Any]

SHOWN_ROWS = 8
"""Most rows of the table of what the log does not show."""

LEAST_SHARE = 0.005
"""Shares below this are not worth a row."""

KINDS = {"contents": "content", "dayparts": "daypart", "segments": "customers with"}


def log_evidence_section(
    evidence: Evidence, candidates: Sequence[Candidate], chosen: Candidate | None, digits: int
) -> Section:
    """Sentences and two small tables; all of it from `evaluation/offline.json` and `evaluation/twins.json`."""
    spoken = spoken_of(candidates, chosen)
    name = "" if spoken is None else words.the_policy(spoken.name)
    key = "" if spoken is None else spoken.name
    entry, whole = entry_of(evidence, key), _whole_entry(evidence, key)
    support = dig(evidence.part("offline"), "support", spoken.name) if spoken is not None else None
    sentences = [
        _probabilities(evidence),
        _one_customer(entry, name, digits),
        sensitivity_sentence(entry, name),
        _support(support, name),
    ]
    sentences = [sentence for sentence in sentences if sentence]
    return {
        "why_not": "" if sentences else evidence.missing.get("offline", "the run wrote nothing of it"),
        "sentences": sentences,
        "rows": _support_rows(support),
        "policy": name,
        "twins": _twins(evidence, digits),
        "behind": estimators_section(whole, dig(evidence.part("offline"), "distributions"), key, digits),
        "blend": _blend(spoken, whole, name) if spoken is not None and whole else None,
    }


def spoken_of(candidates: Sequence[Candidate], chosen: Candidate | None) -> Candidate | None:
    """The policy of which the section speaks: the chosen one, or where nothing is recommended the most promising."""
    if chosen is not None and chosen.name != INCUMBENT:
        return chosen
    known = [c for c in candidates if c.name != INCUMBENT and c.offline is not None and c.offline.worth is not None]
    if known:
        return max(known, key=lambda c: c.offline.worth.value if c.offline and c.offline.worth else 0.0)
    return next((c for c in candidates if c.name != INCUMBENT and c.offline is not None), None)


def contradicted(evidence: Evidence) -> str | None:
    """Why the log contradicts its own probabilities; empty where it does not, None where that was not checked."""
    found = dig(evidence.part("offline"), "probabilities", "contradicted")
    if not isinstance(found, bool):
        return None
    return text_of(dig(evidence.part("offline"), "probabilities", "reason")) or "no reason was given" if found else ""


def sensitivity_sentence(entry: Mapping[str, Any], name: str) -> str:
    """What hidden reasons of past decisions could do to a verdict; empty where probabilities were logged."""
    found = entry.get("sensitivity")
    if not isinstance(found, Mapping):
        return ""
    begin = (
        "The probabilities of past decisions were fitted, so whoever decided may have known what the log does not hold."
    )
    word, turns = text_of(found.get("word")), number(found.get("breakdown"))
    if turns is None:
        return f"{begin} How much of that the verdict stands cannot be said: by weights alone the log does not tell."
    if round(turns, 2) <= 1:
        return f"{begin} The least of it would turn the verdict on {name} into “cannot tell”."
    least = "more than " if turns >= 20 else ""
    return (
        f"{begin} That {name} is {word} stands as long as it changed the odds of a decision by less than {least}"
        f"{turns:.2f} times (Gamma); beyond that the log cannot tell."
    )


def entry_of(evidence: Evidence, name: str) -> Mapping[str, Any]:
    """What stands of a policy; where the whole horizon was estimated, what stands of its first slots."""
    found = _whole_entry(evidence, name)
    first = found.get("first_slots")
    return first if isinstance(first, Mapping) else found


def _whole_entry(evidence: Evidence, name: str) -> Mapping[str, Any]:
    """What stands of a policy, over the whole horizon where that was estimated."""
    found = dig(evidence.part("offline"), "policies", name)
    return found if isinstance(found, Mapping) else {}


def _blend(spoken: Candidate, entry: Mapping[str, Any], name: str) -> Section | None:
    """The curve of blends of the policy of which the section speaks; None where the run did not estimate it."""
    points = read_blends(entry.get("blends"))
    if not points:
        return None
    safe = number(entry.get("blend")) or 0.0
    scope = words.offline_scope(spoken.offline) if spoken.offline is not None else ""
    ylabel = f"gain, {scope}" if scope else "gain over the incumbent"
    why_not = f"the log carries too few decisions like those of {name}, at any share"
    return blend_section(points, safe, ylabel, name, why_not)


def _probabilities(evidence: Evidence) -> str:
    reason = contradicted(evidence)
    if reason is None:
        return ""
    if reason:
        return f"Nothing can be concluded from the log. {words.sentence(reason)}"
    whose = "fitted" if dig(evidence.part("offline"), "probabilities", "fitted") is True else "logged"
    return (
        f"Past decisions were taken as often as their {whose} probabilities say, over all, and among customers and "
        "moments where each was likely or unlikely."
    )


def _one_customer(entry: Mapping[str, Any], name: str, digits: int) -> str:
    gain, left = number(dig(entry, "difference", "value")), number(dig(entry, "one_customer", "difference"))
    if not gain or left is None:  # of exactly 0: the policy decides as was done
        return ""
    said = (
        f"Without the one customer who moves it most, the gain of {name}{_scope(entry)} would be "
        f"{words.figure(left, digits, signed=True)} instead of {words.figure(gain, digits, signed=True)}"
    )
    return words.sentence(said + (": its sign hangs on that customer" if dig(entry, "one_customer", "turns") else ""))


def _scope(entry: Mapping[str, Any]) -> str:
    slots = number(entry.get("horizon_slots"))
    return f" over the first {slots:.0f} decisions" if slots is not None and slots > 1 else ""


def _support(support: object, name: str) -> str:
    share = number(dig(support, "unsupported"))
    if share is None:
        return ""
    if share < LEAST_SHARE:
        some = " Some groups of customers never got it:" if _support_rows(support) else ""
        return f"Every single decision of {name} is of a kind that the log shows.{some}"
    return f"The log (hardly) ever shows {words.percent(share)} of what {name} decides; what that earns is a guess."


def _support_rows(support: object) -> list[Section]:
    """Where the policy's decisions are not shown, most of them first."""
    found = []
    for key, kind in KINDS.items():
        for row in mappings(dig(support, key)):
            share, lost, people = (number(row.get(k)) for k in ("share", "unsupported", "customers"))
            small = key != "contents" and (people is None or people < LEAST_CUSTOMERS)
            if share is None or lost is None or lost < LEAST_SHARE or share * lost < LEAST_SHARE or small:
                continue
            found.append((share * lost, f"{kind} {text_of(row.get('name'))}", share, lost))
    found.sort(key=lambda row: (-row[0], row[1]))
    return [
        {"name": name, "share": words.percent(share), "unsupported": words.percent(lost)}
        for _, name, share, lost in found[:SHOWN_ROWS]
    ]


def _twins(evidence: Evidence, digits: int) -> Section:
    content = evidence.part("twins")
    right = texts(content.get("right"))
    rows = [
        {
            "name": text_of(row.get("name")),
            "right": text_of(row.get("name")) in right,
            "rank": words.figure(number(row.get("rank_correlation")), 2),
            "regret": words.percent(number(row.get("regret_at_1"))),
            "bias": words.figure(number(row.get("bias")), digits),
            "error": words.figure(number(row.get("error")), digits),
            "coverage": words.percent(number(row.get("coverage"))),
            "refused": words.percent(number(row.get("refused"))),
        }
        for row in mappings(content.get("estimators"))
    ]
    return {
        "rows": rows,
        "why_not": text_of(content.get("reason")) or evidence.missing.get("twins", "no estimator was judged on them"),
        "twins": words.count(content.get("twins")),
        "decisions": words.count(content.get("rows")),
        "policies": words.count(content.get("policies")),
    }
