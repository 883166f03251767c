"""What is printed of a new campaign's answer."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from review.campaign_horizon import covered
from scripts.pipeline.table import console_of, interval_text


def print_campaign(answer: dict[str, Any]) -> None:
    """Prints the verdict, the estimates of log and markets, segments, and the plan."""
    console = console_of()
    audience, dates = answer["audience"], answer["dates"]
    console.print(
        f"[bold]{answer['name']}[/bold]: {answer['verdict']}. {answer['sentence']}", soft_wrap=False, highlight=False
    )
    table = Table(title=f"What it would earn: {answer['outcome']} per customer", title_justify="left")
    for name in ("from", "over"):
        table.add_column(name)
    for name in ("campaign", "against what was done"):
        table.add_column(name, justify="right")
    offline = answer["offline"]
    hours = "one decision" if dates["one_shot"] else f"{dates['judged_slots'] * dates['slot_hours']:g} h"
    if offline is not None:
        table.add_row(
            f"the log alone ({offline['estimator']})", hours, interval_text(offline, 3),
            interval_text(offline["difference"], 3),
        )  # fmt: skip
    whole = answer["whole_horizon"]
    if whole is not None and whole["offline"] is not None:
        table.add_row(
            f"the log alone ({whole['offline']['estimator']})", f"{whole['days']:g} days",
            interval_text(whole["offline"], 3), interval_text(whole["offline"]["difference"], 3),
        )  # fmt: skip
    weighed = answer["by_attributes"]
    if weighed is not None:
        table.add_row(
            f"the log, contents weighed by {', '.join(weighed['attributes'])} ({weighed['estimator']})", hours,
            interval_text(weighed, 3), interval_text(weighed["difference"], 3),
        )  # fmt: skip
    if answer["prediction"] is not None:
        table.add_row("the reward model alone, uncorrected", hours, f"{answer['prediction']:.3f}", "-")
    market = answer["market"]
    for place, over in (("judged_slots", hours), ("campaign", f"{dates['days']:g} days")):
        if market is not None:
            worlds = market[place]["range"]
            table.add_row(
                "the markets' own answer (range across worlds)", over, _range(worlds["campaign"]),
                _range(worlds["difference"], signed=True),
            )  # fmt: skip
    console.print(table)
    console.print(
        f"Audience: {audience['customers']:,} of {audience['of']:,} customers, {audience['judged']:,} of whom learning "
        f"never saw; judged on {dates['judged'][0]} to {dates['judged'][1]} ({dates['timezone']}).",
        style="dim", highlight=False,
    )  # fmt: skip
    if whole is not None:
        console.print(
            f"From the log alone, over {covered(whole['days'], whole['of_days'])}: {whole['verdict']}. "
            f"{whole['sentence']}",
            highlight=False,
        )
    _print_unlogged(answer, console)
    _print_segments(answer, console)
    for text in [*answer["plan"]["words"], *answer["notes"]]:
        console.print(f"- {text}", highlight=False)


def _print_unlogged(answer: dict[str, Any], console: Any) -> None:
    unlogged = answer["unlogged"]
    share = unlogged["unlogged"]["share_of_sends"]
    if not share:
        return
    values = f" Attribute values that no send ever had: {'; '.join(unlogged['values'])}." if unlogged["values"] else ""
    console.print(
        f"{share:.0%} of its sends, and {_percent(unlogged['unlogged']['share_of_gain'])} of what the model says "
        "they gain, "
        f"rest on contents or times that were never logged.{values}",
        highlight=False,
    )


def _print_segments(answer: dict[str, Any], console: Any) -> None:
    rows = answer["segments"]["rows"]
    if not rows:
        return
    table = Table(title=f"By segment ({answer['segments']['by']})", title_justify="left")
    table.add_column("segment")
    for name in ("customers", "log alone, difference", "verdict", "market, difference"):
        table.add_column(name, justify="left" if name == "verdict" else "right")
    for row in rows:
        offline = row["offline"] or {}
        market = "-" if row["market"] is None else f"{row['market']['difference']:+.2f}"
        table.add_row(
            row["segment"], f"{row['customers']:,}", interval_text(offline.get("difference"), 3), row["verdict"], market
        )
    console.print(table)


def _range(worlds: dict[str, float], signed: bool = False) -> str:
    sign = "+" if signed else ""
    return f"{worlds['low']:{sign}.2f} .. {worlds['high']:{sign}.2f}"


def _percent(share: float | None) -> str:
    return "an unknown share" if share is None else f"{share:.0%}"
