"""The report of a run: one self-contained HTML file, made from the files of the run folder alone.

`python -m review.report RUN_FOLDER` makes it again. A strategist reads it: what does the policy do, to whom, why, and
what is it worth? What the run did not find out is said to be not evaluated, with the reason.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from campaigns.errors import CampaignError
from review import brief, charts, trust, words
from review.changes import changes_section
from review.channels import channels_section
from review.comparison import certain_ranges, gap_section, worth_section
from review.data_quality import data_section
from review.effects import effects_section, segments_section
from review.evidence import (
    INCUMBENT,
    LEAST_CUSTOMERS,
    Behaviour,
    Candidate,
    Evidence,
    dig,
    number,
    read_evidence,
    text_of,
)
from review.families import families_section, families_used, family_used, worlds_words
from review.frontier import frontier_section
from review.gate import gate_section
from review.grounds import again_section, network_section
from review.log_evidence import log_evidence_section
from review.page import render_template, write_page
from review.plans import plans_section
from review.profiles import profiles_section

SHOWN_CONTENTS = 12
ONE_DECISION = "a one-shot campaign has one decision a customer, so there is no timing or frequency to show"
Section = dict[str, Any]


def write_report(run_folder: Path) -> Path:
    """Writes `report.html` into a run folder, from the files that are there.

    Args:
        run_folder: of a run, finished or not (DESIGN 12).
    Returns:
        The report's path.
    Raises:
        CampaignError: where the folder is not there or holds none of a run's files.
    """
    return write_page(Path(run_folder) / "report.html", render(read_evidence(Path(run_folder))))


def render(evidence: Evidence) -> str:
    """The page of a run. The same evidence gives the same page: it holds no times and no random names."""
    page = render_template("report.html.j2", _page(evidence))
    return page.replace("95 % interval", f"95{words.NO_BREAK}% interval")


def _page(evidence: Evidence) -> dict[str, Any]:
    summary = evidence.part("summary")
    candidates = evidence.candidates()
    chosen = next((c for c in candidates if c.name == summary.get("chosen")), None)
    does = evidence.behaviours()
    sequential = isinstance(summary.get("market"), Mapping) or any(c.worth for c in candidates)
    digits = words.digits_for(certain_ranges(candidates))
    checks = trust.checks(evidence, candidates, chosen, does, digits)
    # The word lift is for effects that chance itself assigned, with the probabilities on record.
    randomised = dig(summary, "data", "randomised") is True and dig(summary, "data", "action_prob") == "logged"
    return {
        "why_no_summary": evidence.missing.get("summary", ""),
        "kicker": brief.kicker(summary),
        "headline": brief.headline(summary, candidates, chosen, checks),
        "caveat": brief.caveat(summary, chosen, checks),
        "lead": brief.worth(summary, candidates, chosen, digits, randomised),
        "brief": brief.lines(evidence, chosen, does, checks, digits),
        "cards": brief.cards(summary, chosen, does, digits, sequential),
        "checks": checks,
        "sequential": sequential,
        "unit": words.unit(summary),
        "horizon": words.horizon(summary, not sequential),
        "since": changes_section(evidence, chosen, does, digits),
        "worth": worth_section(evidence, candidates, chosen, digits, sequential),
        "frontier": frontier_section(candidates, chosen, words.unit(summary), digits),
        "plans": plans_section(evidence, candidates, does, digits),
        "carries": log_evidence_section(evidence, candidates, chosen, digits),
        "made_of": worlds_words(summary),
        "behaviour": _behaviour(evidence, chosen, does, sequential),
        "guardrails": _guardrails(evidence, chosen, does),
        "who": profiles_section(evidence),
        "network": network_section(evidence),
        "family": family_used(evidence),
        "families": families_section(evidence),
        "effects": effects_section(evidence),
        "ratios": segments_section(evidence),
        "gate": gate_section(evidence),
        "gap": gap_section(candidates, chosen, digits),
        "gap_limit": words.percent(words.GAP_LIMIT),
        "data": data_section(evidence),
        "assumptions": words.assumptions(summary, sequential, families_used(evidence)) if summary else [],
        "again": again_section(evidence),
        "least": LEAST_CUSTOMERS,
    }


# What it does


def _behaviour(
    evidence: Evidence, chosen: Candidate | None, does: Mapping[str, Behaviour], sequential: bool
) -> Section:
    wanted = dict.fromkeys((chosen.name if chosen else INCUMBENT, INCUMBENT))
    names = [name for name in wanted if name in does]
    if not names:
        missing = evidence.missing.get("behaviour", "no policy was played in a market")
        return {"why_not": missing if sequential or not evidence.part("summary") else ONE_DECISION}
    parts = {words.policy_title(name): does[name] for name in names}
    first = does[names[0]]
    return {
        "why_not": "",
        "sentences": [s for name in names if (s := words.behaviour(name, does[name]))],
        "whom": words.whom(first),
        "no_time": "" if sequential else words.sentence(ONE_DECISION),
        "when": _when(parts),
        "often": _often(parts),
        "suppressed_bars": any(share is None for part in parts.values() for share in part.frequency.values()),
        "what": _what(parts),
        "channels": channels_section(chosen, does, number(evidence.part("summary").get("horizon_days"))),
        "thin": words.percent(first.thin_support_share),
        "thin_known": first.thin_support_share is not None,
        "segments": _segments(first),
        "suppressed": first.suppressed,
    }


def _when(parts: Mapping[str, Behaviour]) -> list[Markup]:
    panels = {
        name: (part.heatmap, "" if part.sends_per_week is None else f"{part.sends_per_week:.1f} sends a week")
        for name, part in parts.items()
        if part.heatmap is not None and part.hours == next(iter(parts.values())).hours
    }
    grids = {name: (grid, subtitle) for name, (grid, subtitle) in panels.items() if grid is not None}
    return [Markup(figure) for figure in charts.heatmaps(grids, next(iter(parts.values())).hours)] if grids else []


def _often(parts: Mapping[str, Behaviour]) -> Markup | None:
    labels = list(next(iter(parts.values())).frequency)
    bars = {name: list(part.frequency.values()) for name, part in parts.items() if list(part.frequency) == labels}
    return Markup(charts.frequency(labels, bars)) if labels else None


def _what(parts: Mapping[str, Behaviour]) -> Markup | None:
    shares = {name: part.contents for name, part in parts.items() if part.contents}
    if not shares:
        return None
    everything = dict.fromkeys(content for contents in shares.values() for content in contents)
    order = sorted(everything, key=lambda content: [-contents.get(content, 0.0) for contents in shares.values()])
    shown, rest = order[:SHOWN_CONTENTS], order[SHOWN_CONTENTS:]
    names = [*shown, f"{len(rest)} other contents"] if rest else shown
    bars = {
        name: [contents.get(c, 0.0) for c in shown] + ([sum(contents.get(c, 0.0) for c in rest)] if rest else [])
        for name, contents in shares.items()
    }
    return Markup(charts.contents(names, bars))


def _segments(does: Behaviour) -> list[Section]:
    """Rows of the table of segments; the column's name stands in the first row of its groups alone."""
    most = max((rate for row in does.segments if (rate := number(row.get("sends_per_week"))) is not None), default=0.0)
    rows, before = [], ""
    for row in does.segments:
        column, _, level = text_of(row.get("segment")).partition(" = ")
        rate = number(row.get("sends_per_week"))
        top_share = number(row.get("top_share"))
        rows.append(
            {
                "column": column if column != before else "",
                "level": level,
                "customers": words.count(row.get("customers")),
                "sends": words.figure(rate, 1),
                "bar": round(100 * rate / most) if rate and most > 0 else 0,
                "opt_outs": words.percent(number(row.get("opt_out_share"))),
                "content": text_of(row.get("top_content")) or words.DASH,
                "share": "" if top_share is None or not row.get("top_content") else words.percent(top_share),
            }
        )
        before = column
    return rows


def _guardrails(evidence: Evidence, chosen: Candidate | None, does: Mapping[str, Behaviour]) -> Section:
    policy = evidence.part("policy")
    mine = does.get(chosen.name) if chosen else None
    base = does.get(INCUMBENT)
    bound = mine.held_because if mine is not None else {}
    before = base.held_because if base is not None else {}
    exploration = number(policy.get("exploration"))
    return {
        "settings": words.guardrail_settings(policy.get("guardrails")),
        "bound": [
            (
                words.guardrail_name(rule),
                words.percent(share),
                words.percent(before[rule]) if rule in before else words.DASH,
            )
            for rule, share in sorted(bound.items(), key=lambda item: -item[1])
        ],
        "why_not": "the run did not count which guardrails held sends back",
        "mode": text_of(policy.get("mode")) or (chosen.mode if chosen else ""),
        "exploration": words.percent(exploration) if exploration else "",
    }


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m review.report RUN_FOLDER")
    try:
        print(write_report(Path(sys.argv[1])))
    except CampaignError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
