"""What a run found: the choice, summary.json, and what policies do."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd

from agents.panel import AGENT, AGENTS, BEST_RULE, PANEL
from campaigns.audit import hardly_by_chance
from campaigns.plans import PlanMenu
from evaluation.by_channel import by_channel
from evaluation.intervals import Interval, mean_interval
from evaluation.limits import BROKEN, Limit, limits_of, use_of
from evaluation.plans_chosen import plans_by_segment
from evaluation.segments import behaviour_by_segment
from review.brief import HOLDING
from scripts.pipeline.agent_stage import cannot_keep, load_restraints
from scripts.pipeline.context import JUDGE, TRAIN, Study
from scripts.pipeline.judge_stage import INCUMBENT, kind_of
from scripts.pipeline.stage import without_nan

Worlds = dict[str, dict[str, dict[str, np.ndarray]]]
CHOOSING, REPORTING = slice(0, None, 2), slice(1, None, 2)
"""Customers by whom a policy is chosen, and others by whom it is reported: the winner's luck is not counted."""

HEAD_FIGURES = (
    "base_rate", "auc", "pr_auc", "log_loss", "log_loss_gain", "brier", "ece", "accuracy", "accuracy_constant",
    "precision", "recall", "f1", "calibration_slope",
)  # fmt: skip

ASK_CHANCE = (
    "Let chance decide more often first (policy.exploration), or try it on a small randomised share of customers."
)
"""What helps where it decided too little."""

NOT_YET = "not yet evaluated offline beyond the first slots"


def choose(
    study: Study, worlds: Worlds, estimates: dict[str, Any], refused: bool, forbidden: str | None = None
) -> dict[str, Any]:
    """The policy to recommend (`chosen`), whether it is recommended, and the `reason` in words.

    Args:
        study: the run.
        worlds, estimates: what every policy is worth.
        refused: whether the gate forbade training.
        forbidden: what leaves no room for any send.
    """
    if forbidden is not None:
        return _choice(HOLDING, False, f"Nothing may be sent ({forbidden}): holding is all that is left.")
    if study.is_one_shot:  # there is no gate that could refuse
        return _choose_by_log(estimates)
    by_chance = hardly_by_chance(study.log.report["audit"])
    if refused:
        why = "" if by_chance is None else f" Note that {_little(by_chance)} {ASK_CHANCE}"
        return _choice(INCUMBENT, False, f"The market gate refused; no agent was trained.{why}")
    beyond = {name for name in worlds if cannot_keep(load_restraints(study.runner.run_folder / "agents" / name))}
    choice = _choose_by_world(worlds, families_of(study), limits_of(study.objective), beyond)
    return choice if by_chance is None else _hold_back(choice, estimates["policies"].get(choice["chosen"]), by_chance)


def _choose_by_log(estimates: dict[str, Any]) -> dict[str, Any]:
    """On a one-shot log: the highest doubly robust estimate; recommended where its verdict is `better`."""
    values = {name: e["value"] for name, e in estimates["policies"].items() if e["value"] is not None}
    if not values:
        return _choice(INCUMBENT, False, "Every estimate was refused.")
    best = max(values, key=lambda name: values[name])
    entry = estimates["policies"][best]
    if entry["verdict"] != "better":
        said = {
            "worse": f"No policy is better than what was done: even {best}, with the highest estimate, earns less.",
            "cannot tell": f"{best} has the highest estimate, but it cannot be told from what was done.",
        }
        reason = said.get(entry["verdict"], f"{best} has the highest estimate, but it is {entry['verdict']}.")
        return _choice(INCUMBENT, False, reason)
    equals = [name for name, d in entry["against"].items() if d["verdict"] == "cannot tell" and name in values]
    reason = f"{best} has the highest doubly robust estimate and is better than what was done."
    return _choice(best, True, reason + (f" It cannot be told from {', '.join(equals)}." if equals else ""))


def _choose_by_world(
    worlds: Worlds, families: dict[str, str], limits: tuple[Limit, ...] = (), beyond: Collection[str] = ()
) -> dict[str, Any]:
    """On a sequential log: the best in the judging world among customers kept for choosing, of those that do not
    clearly break a limit there; recommended where its paired gain over the incumbent is above zero among the customers
    kept for reporting. Where the incumbent itself breaks a limit, going on is no choice: holding takes its place.

    Args:
        worlds: what every policy does and earns, by world.
        families: of the models that the worlds are made of.
        limits: that hold.
        beyond: policies that could not be made to keep to a limit even where they learned.
    """
    broken = {
        name
        for name, w in worlds.items()
        if name in beyond or any(use_of(limit, w["judged"], CHOOSING).verdict == BROKEN for limit in limits)
    }
    other, against, note = INCUMBENT, "the incumbent", ""
    if INCUMBENT in broken:
        other, against, note = HOLDING, "sending nothing", " The incumbent breaks a limit, so going on is no choice."
    base = worlds[other]["judged"]["value"]
    kept = [name for name in worlds if name not in broken or name == other]
    gains = {name: float((worlds[name]["judged"]["value"] - base)[CHOOSING].mean()) for name in kept}
    best = max(gains, key=lambda name: gains[name])
    if gains[best] <= 0:
        return _choice(other, False, f"Nothing beat {against} in the judging world.{note}")
    gain = mean_interval((worlds[best]["judged"]["value"] - base)[REPORTING])
    if gain.low <= 0:
        reason = f"{best} earned most in the judging world, but its gain over {against} may be nothing."
        return _choice(best, False, reason + note)
    within = " within the limits" if limits else ""
    made_of = "" if families["judging"] == families["training"] else f", made of another family ({families['judging']})"
    reason = (
        f"{best} earned most{within} in a simulated market of customers that it had never met{made_of}: "
        f"{gain.value:+.2f} a customer over {against} (95 % interval {gain.low:+.2f} to {gain.high:+.2f})."
    )
    return _choice(best, True, reason + note)


def _hold_back(choice: dict[str, Any], estimate: dict[str, Any] | None, by_chance: float) -> dict[str, Any]:
    """The choice where chance decided so little that worlds made from the log are no grounds for a change: a small
    blend at most, where the log alone bears that out.

    Args:
        choice: by worlds.
        estimate: of the chosen policy, from the log alone; None where there is none.
        by_chance: share of the log's sends that chance decided.
    """
    if not choice["recommended"]:
        return choice
    share = 0.0 if estimate is None else estimate["blend"] or 0.0
    begin = (
        f"The log alone bears out a blend of {share:.0%} with what was done: begin with no more"
        if share
        else "Nor does the log alone bear out even a small blend of it with what was done"
    )
    reason = f"{choice['chosen']} earned most in a simulated market, but {_little(by_chance)} {begin}. {ASK_CHANCE}"
    return choice | {"recommended": False, "reason": reason}


def _little(by_chance: float) -> str:
    return (
        f"chance decided only {by_chance:.1%} of the log's sends: what other decisions would have brought, that market "
        "had to guess."
    )


def _choice(name: str, recommended: bool, reason: str) -> dict[str, Any]:
    return {"chosen": name, "recommended": recommended, "reason": reason}


def summarise(
    study: Study,
    worlds: Worlds,
    estimates: dict[str, Any],
    gate: dict[str, Any] | None,
    refused: bool,
    choice: dict[str, Any],
) -> dict[str, Any]:
    """The content of summary.json: no times and no paths, so that two runs of one seed can be compared.

    Args:
        study: the run.
        worlds, estimates: what every policy is worth.
        gate: the market gate's report, None without a market.
        refused: whether the gate forbade training.
        choice: of `choose`.
    """
    import json

    metrics = json.loads((study.runner.run_folder / "propensity" / "metrics.json").read_text(encoding="utf-8"))
    audit = study.log.report["audit"]
    names = list(worlds) or [INCUMBENT, *estimates["policies"]]
    summary = {
        "objective": {"outcome": study.objective.outcome, "terminal": study.objective.terminal}
        | {limit.name: limit.most for limit in limits_of(study.objective)}
        | ({} if study.objective.optout_ceiling is None else {"optout_confidence": study.objective.optout_confidence}),
        "horizon_days": study.objective.horizon_days,
        "data": {
            "source": study.config.data.source,
            "variant": study.config.data.variant if study.config.data.source == "reference" else None,
            "customers": len(study.log.users),
            "decisions": len(study.log.decisions),
            "first_day": audit["first_day"],
            "last_day": audit["last_day"],
            "holds": study.config.data.holds,
            "randomised": bool(audit["action_prob_known"] == 1.0 and audit["randomisation"].get("passed") is not False),
            "action_prob": "fitted" if estimates["fitted"] else "logged",
        },
        "propensity": {outcome: _head(outcome, head, metrics) for outcome, head in metrics["heads"].items()},
        "market": None
        if gate is None
        else {
            "gate": gate["verdict"],
            "refused": refused,
            "learned_in": study.config.market.source,
            "families": families_of(study),
            "replay": _replay(gate),
        },
        "policies": [_policy(study, name, worlds, estimates) for name in names],
        "arms": estimates["arms"],
        **choice,
    }
    rounded: dict[str, Any] = without_nan(_rounded(summary))
    return rounded


def families_of(study: Study) -> dict[str, str]:
    """Families of models of which the training world and the judging world are made."""
    return {"training": study.family(TRAIN), "judging": study.family(JUDGE)}


def _head(outcome: str, head: dict[str, Any], metrics: dict[str, Any]) -> dict[str, Any]:
    """Figures of one head, and its effect of sending: predicted mean, observed, slope and Qini with their intervals."""
    effect = metrics.get("effects", {}).get("outcomes", {}).get(outcome)
    kept: dict[str, Any] = {key: head.get(key) for key in HEAD_FIGURES}
    return kept | {"effect": effect and {key: effect[key] for key in ("predicted", "observed", "slope", "qini")}}


def _replay(gate: dict[str, Any]) -> dict[str, Any]:
    return {
        check["name"]: {key: check[key] for key in ("observed", "simulated", "ratio", "low", "high", "passed")}
        for check in gate["checks"]
    }


def _policy(study: Study, name: str, worlds: Worlds, estimates: dict[str, Any]) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "name": name,
        "kind": kind_of(name),
        "mode": study.config.policy.mode if name in AGENTS else "sampled",
        "market": None,
        "judged": None,
        "truth": None,
        "exploitation_gap": None,
        "offline": estimates["policies"].get(name),
    }
    limits, slots = limits_of(study.objective), _slot_agent(name, worlds)
    if worlds:
        if slots is not None:
            entry["slot_agent"] = slots
        for place in ("market", "judged", "truth"):
            if place in worlds[name]:
                entry[place] = _worth(worlds[name][place], worlds[INCUMBENT][place])
                entry[place] |= habits(worlds[name][place], study.objective.horizon_days / 7)
                if slots is not None:
                    gain = worlds[name][place]["value"] - worlds[slots][place]["value"]
                    entry[place]["over_slots"] = mean_interval(gain[REPORTING]).to_dict()
                if limits:
                    entry[place]["limits"] = _uses(limits, worlds[name][place])
                if BEST_RULE in worlds and name != BEST_RULE:
                    gain = worlds[name][place]["value"] - worlds[BEST_RULE][place]["value"]
                    entry[place]["over_best_rule"] = mean_interval(gain[REPORTING]).to_dict()
        if limits:
            entry["restraints"] = load_restraints(study.runner.run_folder / "agents" / name)
        # What learned in the truth itself did not learn in the market whose errors are meant.
        learned_there = study.config.market.source == "learned"
        entry["exploitation_gap"] = _gap(entry["market"], entry["judged"]) if learned_there else None
        entry["across_worlds"] = _across_worlds(entry)
        if "truth" in worlds[name]:
            entry["judged_minus_truth"] = _gap(entry["judged"], entry["truth"])
    if entry["offline"] is None:
        entry["offline_reason"] = "it is what the log shows" if name == INCUMBENT else NOT_YET
    elif entry["offline"]["value"] is None:
        entry["offline_reason"] = entry["offline"]["diagnostics"]["refused"]
    elif not study.is_one_shot and not entry["offline"].get("whole_horizon"):
        entry["offline_reason"] = (
            f"the first {entry['offline']['horizon_slots']} slots only; the rest is not yet evaluated offline"
        )
    return entry


def _worth(mine: dict[str, np.ndarray], base: dict[str, np.ndarray]) -> dict[str, Any]:
    """Value a customer, and paired difference to the incumbent, of the customers kept for reporting."""
    value = mean_interval(mine["value"][REPORTING])
    difference = mean_interval((mine["value"] - base["value"])[REPORTING])
    return {**value.to_dict(), "difference": difference.to_dict()}


def habits(mine: dict[str, np.ndarray], weeks: float) -> dict[str, float]:
    """Sends a week, and share of customers who opted out: of all customers, since nothing is chosen by these."""
    return {
        "sends_per_week": float(mine["sends"].mean() / weeks),
        "opt_out_share": float(mine["opted_out"].mean()),
    }


def _slot_agent(name: str, worlds: Worlds) -> str | None:
    """For an agent of weekly plans: the agent that decides slot by slot and earns most in the judging world, among
    customers kept for choosing; None for all other policies, and where there is no such agent."""
    if name not in PANEL or not PANEL[name].plans:
        return None
    others = [n for n in worlds if n in PANEL and PANEL[n].kind == AGENT and not PANEL[n].plans]
    earned = {n: float(worlds[n]["judged"]["value"][CHOOSING].mean()) for n in others}
    return max(earned, key=lambda n: earned[n], default=None)


def _uses(limits: tuple[Limit, ...], figures: dict[str, np.ndarray]) -> dict[str, Any]:
    """By limit, what is used of it by the customers kept for reporting."""
    return {limit.name: use_of(limit, figures, REPORTING).to_dict() for limit in limits}


def _across_worlds(entry: dict[str, Any]) -> dict[str, Any]:
    """The markets' own estimate: from the least to the most of the fitted worlds. Worlds may share their faults, so no
    coverage is claimed."""
    gains = [entry[place]["difference"]["value"] for place in ("market", "judged")]
    return {"label": "range across worlds", "covers": None, "low": min(gains), "high": max(gains)}


def _gap(claimed: dict[str, Any], found: dict[str, Any]) -> float | None:
    """(claimed - found) gain over the incumbent, as a share of the claimed gain; null where nothing was gained."""
    gain = claimed["difference"]["value"]
    if claimed["difference"]["low"] <= 0:
        return None
    return float((gain - found["difference"]["value"]) / gain)


def one_shot_behaviour(study: Study, decides: dict[str, list[float]]) -> dict[str, Any]:
    """What every policy sends in a one-shot campaign, from its mean probabilities of hold and each content."""
    policies = {
        name: {
            "send_share": float(sum(chances[1:])),
            "contents": [
                {"content": str(i), "share": float(c / max(sum(chances[1:]), 1e-9))}
                for i, c in zip(study.catalogue.ids, chances[1:], strict=True)
            ],
        }
        for name, chances in decides.items()
        if sum(chances[1:]) > 0
    }
    return {"policies": policies, "where": "the judging half of the log", "customers": len(study.halves[JUDGE])}


def behaviour_of(
    study: Study,
    worlds: Worlds,
    held: dict[str, dict[str, float]],
    thin: dict[str, dict[str, float | None]],
    menus: dict[str, PlanMenu | None],
) -> dict[str, Any]:
    """When, how often, what and to whom every policy sends in the judging world.

    Args:
        study: the run.
        worlds: rollouts of every policy.
        held: by policy, the share of customers' slots that each guardrail kept from any send.
        thin: by policy, the shares of its decisions and sends that lie where the log is thin.
        menus: by policy, of the weekly plans that it chooses from; None where it decides slot by slot.
    """
    weeks = study.objective.horizon_days / 7
    customers = study.config.market.judge_customers
    players = study.players(JUDGE)
    judged = players[np.arange(customers) % len(players)]
    users = study.log.users.iloc[judged].reset_index(drop=True)
    policies = {}
    for name, places in worlds.items():
        part = places["judged"]
        heat = part["heatmap"].reshape(7, 8, 3).sum(axis=2)
        per_week = part["sends"] / weeks
        edges = [0, 0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 7.5, 99]
        share, _ = np.histogram(per_week, bins=edges)
        by_content = part["contents"].sum(axis=0)
        policies[name] = {
            **habits(part, weeks),
            "opens_per_send": float(part["opens"].sum() / max(part["sends"].sum(), 1)),
            "heatmap": (heat / max(heat.sum(), 1e-9)).tolist(),
            "hours": [f"{h:02d}-{h + 3:02d}" for h in range(0, 24, 3)],
            "sends_histogram": {
                "edges": ["0", "1", "2", "3", "4", "5", "6-7", "8+"],
                "share": (share / max(share.sum(), 1)).tolist(),
            },
            "contents": [
                {"content": str(i), "share": float(c / max(by_content.sum(), 1e-9))}
                for i, c in zip(study.catalogue.ids, by_content, strict=True)
            ],
            **_channels(study, part),
            **_plans(users, part, menus[name], study),
            "held_because": held[name],
            **thin[name],
            "segments": behaviour_by_segment(
                users, part["sends"], part["opted_out"], part["contents"], study.catalogue.ids, weeks
            ),
        }
    return {"policies": policies, "where": f"the judging world ({study.family(JUDGE)})", "customers": customers}


def _plans(users: pd.DataFrame, part: dict[str, np.ndarray], menu: PlanMenu | None, study: Study) -> dict[str, Any]:
    """Which weekly plans a policy makes; nothing where it decides slot by slot."""
    return {} if menu is None else {"plans": plans_by_segment(users, part["plans"], menu, study.catalogue.ids)}


def _channels(study: Study, part: dict[str, np.ndarray]) -> dict[str, Any]:
    """What a policy does by channel; nothing where all contents go by one."""
    catalogue = study.catalogue
    if len(catalogue.channels) == 1:
        return {}
    return {"channels": by_channel(part["by_channel"], part["contents"], catalogue.channel.numpy(), catalogue.channels)}


def _rounded(content: Any) -> Any:
    """Numbers to nine significant digits, so that summaries compare across library builds."""
    if isinstance(content, dict):
        return {key: _rounded(value) for key, value in content.items()}
    if isinstance(content, list):
        return [_rounded(value) for value in content]
    if isinstance(content, Interval):
        return _rounded(content.to_dict())
    if isinstance(content, float):
        return float(f"{content:.9g}")
    return content
