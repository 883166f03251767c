"""The page on the data: what was set aside, what columns hold, whether randomisation, time and leaks are in order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from review import charts, model_charts, words
from review.evidence import Evidence, dig, mappings, number, passed, text_of, texts, without_folders

Section = dict[str, Any]
OK, CAUTION, PROBLEM, UNKNOWN = "ok", "caution", "problem", "not evaluated"
SHOWN_SHIFTS, SHOWN_COLUMNS = 14, 40
MATURE = 0.10
"""Share of decisions without known outcomes from which on the page warns."""


def data_section(evidence: Evidence) -> Section:
    """The log: rows, what was set aside and why, warnings, columns, checks, and drift."""
    data = evidence.part("data")
    if not data:
        return {"why_not": evidence.missing.get("data", "data/report.json is empty")}
    kept, rows = data.get("kept"), data.get("rows")
    audit = data.get("audit")
    rejected = [
        (text_of(r.get("table")), text_of(r.get("column")), words.count(r.get("count")), text_of(r.get("reason")))
        for r in sorted(mappings(data.get("rejected")), key=lambda r: -(number(r.get("count")) or 0))
    ]
    return {
        "why_not": "",
        "rows": [
            (str(table), words.count(size), words.count(dig(kept, table)) if isinstance(kept, Mapping) else words.DASH)
            for table, size in (rows.items() if isinstance(rows, Mapping) else ())
        ],
        "rejected": rejected,
        "warnings": [_ended(text) for text in texts(data.get("warnings"))],
        "preparation": [_ended(text) for text in texts(data.get("preparation"))],
        "facts": _audit_facts(audit),
        "checks": _checks(data),
        "columns": _columns(data),
        "weekly": _weekly(audit),
        "shifts": _shifts(data),
    }


def _checks(data: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """One line a check: status, question and answer; what an older run did not check is left out."""
    audit, leaks, stability = data.get("audit"), data.get("leaks"), data.get("stability")
    found = [_randomisation(dig(audit, "randomisation"))]
    cut = number(dig(audit, "unlabelled_share"))
    if cut is not None:
        text = f"The log's end cuts off the outcomes of {words.percent(cut)} of decisions; those are not learned from."
        found.append((OK if cut <= MATURE else CAUTION, "Are outcomes mature?", text if cut else "All are."))
    if isinstance(leaks, Mapping):
        found += _leaks(leaks)
    split = data.get("split")
    if isinstance(split, Mapping):
        sizes = split.get("sizes")
        sides = (
            ", ".join(f"{words.count(n)} in {name}" for name, n in sizes.items()) if isinstance(sizes, Mapping) else ""
        )
        good = passed(split) is True
        text = (
            f"No customer is on both sides ({sides})."
            if good
            else (f"{words.count(split.get('shared'))} customers are on more than one side.")
        )
        found.append((OK if good else PROBLEM, "Are those who judge others than those who teach?", text))
    for check, question in (
        (dig(audit, "drift"), "Are rates steady from week to week?"),
        (stability, "Is the last half of the log like the first?"),
    ):
        if isinstance(check, Mapping):
            status = {True: OK, False: CAUTION, None: UNKNOWN}[passed(check)]
            found.append((status, question, words.sentence(text_of(check.get("note")) or "no reason was given")))
    return found


def _randomisation(check: object) -> tuple[str, str, str]:
    question = "Were past decisions randomised, as logged?"
    result = passed(check)
    if result is None:
        return UNKNOWN, question, words.sentence(text_of(dig(check, "note")) or "not tested")
    z = number(dig(check, "z"))
    counts = f"{words.count(dig(check, 'observed'))} sends, {words.count(dig(check, 'claimed'))} expected"
    text = counts + ("" if z is None else f" (z = {words.figure(z, 1)})") + " from the logged probabilities"
    return (OK if result else PROBLEM), question, words.sentence(text)


def _leaks(leaks: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    best = next(iter(mappings(leaks.get("features"))), None)
    auc = number(dig(best, "auc"))
    found = []
    if auc is None:
        text = "No column could be tested: too few customers with and without each outcome."
        found.append((UNKNOWN, "Does a column know the outcome?", text))
    else:
        column, outcome = text_of(dig(best, "column")), text_of(dig(best, "outcome"))
        good = not any("AUC" in warning for warning in texts(leaks.get("warnings")))
        text = f"The best single column, {column}, tells {outcome} with an AUC of {words.figure(auc, 2)}"
        text += "." if good else ": too good to be honest? See the warnings."
        found.append((OK if good else CAUTION, "Does a column know the outcome?", text))
    late = number(leaks.get("late_snapshots"))
    question = "Were features taken before the decisions?"
    if late is None:
        found.append((UNKNOWN, question, "Not known: users has no column as_of."))
    else:
        text = "Yes, all." if not late else f"Not of {words.count(late)} customers; they may know what came of it."
        found.append((CAUTION if late else OK, question, text))
    suspected = dig(leaks, "copies", "suspected")
    if isinstance(suspected, bool):
        copies = words.count(dig(leaks, "copies", "copies"))
        text = f"{copies} customers are copies of others; see the warnings." if suspected else "No sign of it."
        found.append((PROBLEM if suspected else OK, "Were customers copied (oversampled)?", text))
    return found


def _columns(data: Mapping[str, Any]) -> list[Section]:
    alone = {text_of(row.get("column")): number(row.get("auc")) for row in mappings(dig(data, "leaks", "features"))}
    rows: list[Section] = []
    for row in mappings(data.get("columns"))[:SHOWN_COLUMNS]:
        table, name = text_of(row.get("table")), text_of(row.get("column"))
        far, rare, missing = number(row.get("far")), number(row.get("rare")), number(row.get("missing"))
        remarks = []
        if far:
            remarks.append(f"{words.count(far)} far out, clipped")
        if rare and table == "users":
            remarks.append(f"{words.count(rare)} levels of fewer than ten")
        auc = alone.get(name) if table == "users" else None
        rows.append(
            {
                "name": f"{table}.{name}",
                "kind": text_of(row.get("kind")),
                "missing": words.DASH if missing is None else words.percent(missing),
                "bar": round(100 * min(max(missing or 0.0, 0.0), 1.0)),
                "distinct": words.DASH if number(row.get("distinct")) is None else words.count(row.get("distinct")),
                "typical": _typical(row),
                "remarks": "; ".join(remarks),
                "auc": words.DASH if auc is None else words.figure(auc, 2),
            }
        )
    return rows


def _typical(row: Mapping[str, Any]) -> str:
    median, low, high = (number(row.get(key)) for key in ("median", "low", "high"))
    if median is not None:
        text = _short(median)
        return text if low is None or high is None else f"{text} ({_short(low)} to {_short(high)})"
    top, share = text_of(row.get("top")), number(row.get("top_share"))
    return f"{top} ({words.percent(share)})" if top and share is not None else words.DASH


def _short(value: float) -> str:
    return words.figure(value, 0) if abs(value) >= 100 else f"{value:.3g}".replace("-", words.MINUS)


def _shifts(data: Mapping[str, Any]) -> Markup | None:
    rows = [
        (text_of(row.get("column")), psi, chance, row.get("shifts") is True)
        for row in mappings(dig(data, "stability", "columns"))
        if (psi := number(row.get("psi"))) is not None
        and psi >= 0
        and (chance := number(row.get("by_chance"))) is not None
        and chance >= 0
    ]
    return Markup(model_charts.shifts(rows[:SHOWN_SHIFTS])) if rows else None


def _ended(text: str) -> str:
    """With a full stop; it may begin with a table's name, whose letters stay as they are."""
    return without_folders(text).strip().rstrip(".") + "."


def _audit_facts(audit: object) -> list[tuple[str, str]]:
    facts = []
    for key, label in (
        ("send_share", "Decisions that were sends"),
        ("action_prob_known", "Decisions with a logged probability"),
    ):
        share = number(dig(audit, key))
        if share is not None:
            facts.append((label, words.percent(share)))
    return facts


def _weekly(audit: object) -> list[Markup]:
    weeks = mappings(dig(audit, "weeks"))
    if len(weeks) < 2:
        return []
    series: dict[str, list[float]] = {}
    for key in weeks[0]:
        values = [number(week.get(key)) for week in weeks]
        if key != "week" and all(value is not None for value in values):
            series[key.replace("_", " ")] = [value for value in values if value is not None]
    labels = [text_of(week.get("week")) or str(place + 1) for place, week in enumerate(weeks)]
    return [Markup(figure) for figure in charts.weekly(series, labels)]
