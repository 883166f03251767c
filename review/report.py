"""The report of a run: one self-contained HTML file, made from the run folder's files alone.

`python -m review.report RUN_FOLDER` makes it again.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, select_autoescape
from markupsafe import Markup

from campaigns.errors import CampaignError
from review import charts, words

TEMPLATES = Path(__file__).parent / "templates"
SHOWN_CONTENTS = 15


def write_report(run_folder: Path) -> Path:
    """Writes `report.html` into a run folder. What the folder lacks is named as not evaluated.

    Raises:
        CampaignError: where the folder holds no summary.json.
    """
    summary = _read(run_folder, "summary.json")
    if summary is None:
        raise CampaignError(f"{run_folder}: no summary.json there; give the folder of a finished run.")
    parts = {
        "data": _read(run_folder, "data/report.json"),
        "metrics": _read(run_folder, "propensity/metrics.json"),
        "gate": _read(run_folder, "market/gate.json"),
        "behaviour": _read(run_folder, "evaluation/behaviour.json"),
        "manifest": _read(run_folder, "manifest.json"),
    }
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=select_autoescape(["html", "j2"]))
    page = environment.get_template("report.html.j2").render(**_content(summary, parts))
    target = run_folder / "report.html"
    part = target.with_name(".report.html.part")
    part.write_text(page, encoding="utf-8")
    part.replace(target)
    return target


def _content(summary: dict[str, Any], parts: dict[str, Any]) -> dict[str, Any]:
    sequential = summary["market"] is not None
    digits = words.digits_for(_all_values(summary))
    unit = f"{words.OUTCOMES[summary['objective']['outcome']]} per customer"
    rows = [_row(policy, summary, digits) for policy in summary["policies"]]
    worlds = [w for w in ("market", "judged", "truth") if any(p[w] for p in summary["policies"])] or ["offline"]
    gains = [
        {"name": words.policy_name(p["name"]), **{w: (p[w] or {}).get("difference") for w in worlds}}
        for p in summary["policies"]
        if p["name"] != "incumbent"
    ]
    known = [g for g in gains if any(g[w] for w in worlds)]
    chosen = next((p for p in summary["policies"] if p["name"] == summary["chosen"]), summary["policies"][0])
    return {
        "summary": summary,
        "sequential": sequential,
        "headline": words.headline(summary),
        "worth": words.worth_sentence(summary, digits),
        "unit": unit,
        "worlds": worlds,
        "rows": rows,
        "forest": Markup(charts.forest(known, worlds, unit)) if known else None,
        "behaviour": _behaviour(summary, parts["behaviour"]),
        "heads": _heads(parts["metrics"]),
        "reliability": _reliability(parts["metrics"]),
        "value": (parts["metrics"] or {}).get("value"),
        "gate": parts["gate"],
        "gate_chart": Markup(charts.equivalence(parts["gate"]["checks"], parts["gate"]["margin"]))
        if parts["gate"] and parts["gate"]["checks"]
        else None,
        "chosen": chosen,
        "chosen_name": words.policy_name(summary["chosen"]),
        "data": parts["data"],
        "assumptions": words.assumptions(summary),
        "manifest": parts["manifest"],
        "figure": words.figure,
        "percent": lambda share: words.UNKNOWN if share is None else f"{share:.0%}".replace("-", "−"),
    }


def _row(policy: dict[str, Any], summary: dict[str, Any], digits: int) -> dict[str, Any]:
    offline = policy["offline"]
    return {
        "name": words.policy_name(policy["name"]),
        "kind": policy["kind"],
        "chosen": policy["name"] == summary["chosen"],
        **{
            world: None if not policy[world] else words.interval(policy[world], digits)
            for world in ("market", "judged", "truth")
        },
        "gap": policy["exploitation_gap"],
        "offline": words.interval(offline, digits) if offline else words.UNKNOWN,
        "difference": words.interval(offline["difference"], digits, signed=True) if offline else words.UNKNOWN,
        "verdict": offline["verdict"] if offline else "",
        "blend": offline["blend"] if offline else None,
        "ess": offline["diagnostics"]["effective_share"] if offline else None,
        "reason": policy.get("offline_reason", ""),
    }


def _behaviour(summary: dict[str, Any], behaviour: dict[str, Any] | None) -> dict[str, Any] | None:
    policies = (behaviour or {}).get("policies") or {}
    names = [n for n in dict.fromkeys((summary["chosen"], "incumbent")) if n in policies]
    if not names:
        return None
    parts = {words.policy_name(n): policies[n] for n in names}
    first = policies[names[0]]
    busiest = sorted(first["contents"], key=lambda c: -c["share"])[:SHOWN_CONTENTS]
    shown = [c["content"] for c in busiest]
    shares = {
        name: [next((c["share"] for c in p["contents"] if c["content"] == s), 0.0) for s in shown]
        for name, p in parts.items()
    }
    return {
        "parts": parts,
        "heatmap": Markup(charts.heatmaps({n: p["heatmap"] for n, p in parts.items()}, first["hours"])),
        "frequency": Markup(
            charts.paired_bars(
                first["sends_histogram"]["edges"],
                {n: p["sends_histogram"]["share"] for n, p in parts.items()},
                "sends per customer and week",
                "How often customers are sent something",
            )
        ),
        "contents": Markup(charts.content_bars([_short(s) for s in shown], shares)),
    }


def _heads(metrics: dict[str, Any] | None) -> list[dict[str, Any]]:
    return [{"name": name, **head} for name, head in ((metrics or {}).get("heads") or {}).items()]


def _reliability(metrics: dict[str, Any] | None) -> Markup | None:
    heads = {h["name"]: h["reliability"] for h in _heads(metrics) if h.get("reliability")}
    return Markup(charts.reliability(heads)) if heads else None


def _all_values(summary: dict[str, Any]) -> list[float]:
    blocks = [p[w] for p in summary["policies"] for w in ("market", "judged", "offline") if p[w]]
    return [b["value"] for b in blocks if b.get("value") is not None]


def _short(text: str, most: int = 28) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _read(folder: Path, name: str) -> Any:
    file = folder / name
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m review.report RUN_FOLDER")
    try:
        print(write_report(Path(sys.argv[1])))
    except CampaignError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
