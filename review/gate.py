"""The market gate in the report: what was checked, by how much the market is off, and what passed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from review import charts, words
from review.evidence import Evidence, Range, dig, mappings, number, passed, read_range, text_of, texts

SHOWN_CHECKS = 30
Section = dict[str, Any]

KINDS = {
    "total": "Totals per customer, running free",
    "sends by content": "Sends of each content per customer, running free",
    "strata": "Rates by stratum, running free: root mean squared deviation from the log's",
    "effect": "Effect of a send, in the states of other customers' log",
    "tilted policy": "Policies tilted away from the logger: one decision's worth, in others' logged states",
    "realism": "Whole trajectories: can a classifier tell market from log? (0.5: it cannot)",
}
"""What checks of a kind are about, in the order in which they are shown."""

STRATA = ("opens by", "purchases by")
"""Families of strata that are drawn."""


def gate_section(evidence: Evidence) -> Section:
    """Verdict, figures of the main ratios, and all checks by kind."""
    gate = evidence.part("gate")
    if not gate:
        return {"why_not": evidence.missing.get("gate", "market/gate.json is empty")}
    margin = number(gate.get("margin"))
    checks = mappings(gate.get("checks"))
    by_kind = {kind: [check for check in checks if _kind(check) == kind] for kind in KINDS}
    main = [*by_kind["total"], *by_kind["sends by content"]]
    chart, left_out = _chart(main, margin, "gate")
    tilted, _ = _chart(by_kind["tilted policy"], margin, "tilts")
    strata = [row for row in mappings(gate.get("strata")) if text_of(row.get("family")).startswith(STRATA)]
    named = [{**row, "name": f"{text_of(row.get('family'))}: {text_of(row.get('name'))}",
              "ratio": row.get("ratio"), "passed": None} for row in strata]  # fmt: skip
    drawn, _ = _chart(named, margin, "strata", told=False)
    return {
        "why_not": "",
        "verdict": text_of(gate.get("verdict")) or words.UNKNOWN,
        "note": words.sentence(text_of(gate.get("note"))),
        "margin": words.percent(margin),
        "chart": chart,
        "left_out": f" {left_out} more stand in the table." if left_out else "",
        "strata": drawn,
        "tilted": tilted,
        "telling": ", ".join(texts(gate.get("telling"))),
        "assumed": words.sentence(text_of(dig(gate, "season", "assumed"))),
        "groups": [
            {"title": title, "rows": [_row(check) for check in by_kind[kind]]}
            for kind, title in KINDS.items()
            if by_kind[kind]
        ],
        "rows": bool(checks),
    }


def _kind(check: Mapping[str, Any]) -> str:
    kind = text_of(check.get("kind"))
    return kind if kind in KINDS else "total"


def _chart(
    checks: Sequence[Mapping[str, Any]], margin: float | None, slug: str, told: bool = True
) -> tuple[Markup | None, int]:
    """A figure of the ratios, those that did not pass first where there are many; and how many are left out."""
    ratios = [(text_of(c.get("name")), ratio, passed(c)) for c in checks if (ratio := _ratio(c)) is not None]
    left_out = max(len(ratios) - SHOWN_CHECKS, 0)
    if left_out and told:
        ratios = sorted(ratios, key=lambda check: check[2] is True)
    ratios = ratios[:SHOWN_CHECKS]
    return (Markup(charts.equivalence(ratios, margin, slug)) if ratios else None), left_out


def _row(check: Mapping[str, Any]) -> dict[str, str]:
    ratio, margin, kind = _ratio(check), number(check.get("margin")), _kind(check)
    simulated = number(check.get("simulated"))
    between = read_range({"value": simulated, "low": check.get("low"), "high": check.get("high")})
    of_itself = kind in {"strata", "realism"} or (kind == "effect" and ratio is None)
    limit = words.DASH
    if margin is not None:
        limit = f"at most {words.figure(margin, 2)}" if kind in {"strata", "realism"} else f"±{words.percent(margin)}"
    result = {True: "pass", False: "fail", None: "cannot tell"}[passed(check)]
    if result == "fail" and check.get("decides") is False:
        result = "off (does not decide)"
    return {
        "name": text_of(check.get("name")),
        "observed": words.DASH if kind == "strata" else words.figure(number(check.get("observed")), 3),
        "simulated": words.figure(simulated, 3),
        "ratio": words.interval(between if of_itself else ratio, 3),
        "limit": limit,
        "result": result,
    }


def _ratio(check: Mapping[str, Any]) -> Range | None:
    return read_range({"value": check.get("ratio"), "low": check.get("low"), "high": check.get("high")})
