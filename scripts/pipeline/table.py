"""The table at the end of a run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from review.families import NAMES
from review.selection import select_policies

WARNINGS_SHOWN = 8
"""Warnings of the log that are printed; the others stand in its report."""


def print_summary(summary: dict[str, Any], run_folder: Path) -> None:
    """Prints every policy's worth, the choice, and where report and policy are."""
    print_values(summary)
    console = console_of()
    console.print(f"Report: {run_folder / 'report.html'}", soft_wrap=True)
    console.print(f"Policy: {run_folder / 'policy'}", soft_wrap=True)


def print_values(summary: dict[str, Any]) -> None:
    """Prints every policy's worth, and the choice."""
    console = console_of()
    sequential = summary["market"] is not None
    span = f"over {summary['horizon_days']} days" if sequential else "from one decision"
    unit = f"{summary['objective']['outcome']} per customer {span}"
    table = Table(title=f"What the policies earn: {unit}, 95 % intervals", title_justify="left")
    columns = ["market", "judged", "truth", "gap"] if sequential else ["offline (DR)", "against what was done"]
    table.add_column("policy")
    table.add_column("kind")
    for column in columns:
        table.add_column(column, justify="right")
    shown = select_policies({p["name"]: _worth(p, sequential) for p in summary["policies"]}, summary["chosen"])
    for policy in summary["policies"]:
        if policy["name"] not in shown.names:
            continue
        style = "bold" if policy["name"] == summary["chosen"] else None
        if sequential:
            gap = policy["exploitation_gap"]
            cells = [interval_text(policy[place]) for place in ("market", "judged", "truth")]
            cells.append("" if gap is None else f"{gap:.0%}")
        else:
            offline = policy["offline"] or {}
            cells = [
                interval_text(offline, 4),
                f"{interval_text(offline.get('difference'), 4)} {offline.get('verdict', '')}",
            ]
        table.add_row(policy["name"], policy["kind"], *cells, style=style)
    console.print(table)
    others = shown.others("policies", "are refused by the log")
    if others:
        console.print(f"{others} summary.json has all.", style="dim", highlight=False)
    if sequential:
        families, in_truth = summary["market"]["families"], summary["market"].get("learned_in") == "reference"
        market = "a world of the training customers" if in_truth else "the world that it learned in"
        gap = (
            "nothing learned in that market, but in the truth itself (market=reference)"
            if in_truth
            else "share of the gain over the incumbent that is lost from market to judged"
        )
        console.print(
            f"market: {market} ({families['training']}); judged: a world of other customers ({families['judging']}); "
            f"truth: the reference market itself, where there is one; gap: {gap}.",
            style="dim",
        )
        console.print(f"Market gate: {summary['market']['gate']}.")
    stance = "recommended" if summary["recommended"] else "not recommended"
    if summary["recommended"] and sequential and summary["market"]["gate"] == "fail":
        stance = "recommended, but not to be trusted yet: the market failed its gate"
    console.print(f"Chosen: {summary['chosen']} ({stance}). {summary['reason']}")


def _worth(policy: Mapping[str, Any], sequential: bool) -> float | None:
    """By which policies are told apart in the table; None where no figure is given."""
    found: float | None = ((policy["judged"] if sequential else policy["offline"]) or {}).get("value")
    return found


def print_fit(run_folder: Path, gate: dict[str, Any] | None) -> None:
    """Prints how good the model of the training half is on the other half's customers, the gate, and what to mind."""
    metrics, families, data = (
        json.loads((run_folder / name).read_text(encoding="utf-8"))
        for name in ("propensity/metrics.json", "propensity/families.json", "data/report.json")
    )
    console = console_of()
    unseen = "later slots" if metrics.get("split") == "time" else "customers"
    family = NAMES[families["market"]]
    table = Table(title=f"Propensity by {family}, on {unseen} that it has not seen", title_justify="left")
    table.add_column("outcome")
    figures = {"base_rate": 4, "auc": 3, "log_loss": 4, "log_loss_constant": 4, "calibration_slope": 2, "ece": 4}
    for name in figures:
        table.add_column(name.replace("_", " "), justify="right")
    for outcome, head in metrics["heads"].items():
        cells = ["-" if head.get(name) is None else f"{head[name]:.{digits}f}" for name, digits in figures.items()]
        table.add_row(outcome, *cells)
    console.print(table)
    if gate is not None:
        console.print(f"Market gate: {gate['verdict']}. {gate['note']}")
    print_warnings(console, data["warnings"])
    console.print(f"Models: {run_folder / 'propensity'}", soft_wrap=True)


def print_warnings(console: Console, warnings: list[str]) -> None:
    """Prints what reading the log found doubtful: a run without a report shows it nowhere else."""
    if not warnings:
        return
    console.print("What to mind in this log:")
    for text in warnings[:WARNINGS_SHOWN]:
        console.print(f"- {text}", markup=False, highlight=False)
    if len(warnings) > WARNINGS_SHOWN:
        console.print(f"- and {len(warnings) - WARNINGS_SHOWN} more, in data/report.json")


def print_predictions(frame: pd.DataFrame, caveat: str, rows: int = 20) -> None:
    """Prints the first predictions, the average of each decision where there are more, and what they mean."""
    console = console_of()
    table = Table(title="How likely customers buy", title_justify="left")
    for name in ("customer", "sent", "purchase", "range", "effect of sending", "range"):
        table.add_column(name, justify="left" if name in ("customer", "sent") else "right")

    def add(customer: str, content: object, part: Mapping[str, Any]) -> None:
        known = not pd.isna(part["effect"])
        cells = [f"{part['effect']:+.4f}", f"{part['effect_low']:+.4f} .. {part['effect_high']:+.4f}"] if known else []
        sent = "nothing" if content is None or pd.isna(content) else str(content)
        table.add_row(customer, sent, f"{part['purchase']:.4f}", f"{part['low']:.4f} .. {part['high']:.4f}", *cells)

    for row in frame.head(rows).to_dict("records"):
        add(str(row["user_id"]), row["content_id"], row)
    if len(frame) > rows:
        table.add_section()
        numbers = ["purchase", "low", "high", "effect", "effect_low", "effect_high"]
        for content, part in frame.groupby("content_id", dropna=False, sort=False)[numbers]:
            add("mean of all", content, part.mean().to_dict())
    console.print(table)
    console.print(caveat, style="dim")


def print_estimates(found: dict[str, Any]) -> None:
    """Prints what a policy would have earned on a log file by every estimator, and the verdict."""
    console = console_of()
    name = "the policy" if found["target"] == "columns" else found["target"]
    table = Table(title=f"What {name} would have earned a row, {found['level']:.0%} intervals", title_justify="left")
    for column in ("estimate", "value", "against what was done"):
        table.add_column(column, justify="left" if column == "estimate" else "right")
    table.add_row("what was done", interval_text(found["incumbent"], 5), "")
    for estimator, entry in found["estimators"].items():
        style = "bold" if estimator == found["estimator"] else None
        table.add_row(estimator, interval_text(entry, 5), interval_text(entry["difference"], 5), style=style)
    console.print(table)
    tuned = next((entry["interval"] for entry in found["estimators"].values() if entry["interval"]), None)
    if tuned:
        console.print(f"Intervals of tuned estimators (SLOPE) are those {tuned}.", style="dim")
    weights = found["diagnostics"]
    whose = "customers as named" if found["customers"] == "named" else "each row its own customer"
    console.print(
        f"{found['rows']:,} rows ({whose}) are worth {weights['effective']:,.0f} for {name}; mean weight "
        f"{weights['mean_weight']:.3f}, largest {weights['largest_weight']:.3g}.",
        style="dim",
        highlight=False,
    )
    console.print(f"{found['verdict']}: {found['sentence']}", markup=False)
    for note in weights["notes"]:
        console.print(note, markup=False)


def console_of() -> Console:
    """A console as wide as the terminal, or wide enough for a file."""
    return Console(width=None if Console().is_terminal else 110)


def interval_text(worth: dict[str, Any] | None, digits: int = 2) -> str:
    """A figure with its interval, or a dash where there is none."""
    if not worth or worth.get("value") is None:
        return "-"
    return f"{worth['value']:.{digits}f} [{worth['low']:.{digits}f}, {worth['high']:.{digits}f}]"
