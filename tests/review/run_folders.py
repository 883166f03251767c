"""Run folders with known numbers, written by hand in the form in which the pipeline writes them."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

Parts = dict[str, Any]


def figure(value: float, half: float) -> dict[str, float]:
    """A figure with a symmetric interval."""
    return {"value": value, "low": value - half, "high": value + half}


def worth(value: float, gain: float, over: float | None, half: float = 0.2) -> dict[str, Any]:
    """A policy's block in one world."""
    block: dict[str, Any] = {**figure(value, half), "difference": figure(gain, half if gain else 0.0)}
    return block if over is None else block | {"over_best_rule": figure(over, half)}


def estimate(value: float | None, gain: float, verdict: str, slots: int, refused: str | None = None) -> dict[str, Any]:
    """What the log alone says."""
    return {
        "estimator": "DR",
        "horizon_slots": slots,
        **(dict.fromkeys(("value", "low", "high")) if value is None else figure(value, 0.01)),
        "difference": None if value is None else figure(gain, 0.01),
        "blend": 0.25,
        "diagnostics": {"rows": 4000, "effective": 60.0, "effective_share": 0.015, "least_effective": 200.0,
                        "mean_weight": 1.1, "refused": refused,
                        "refused_by": None if refused is None else "few effective rows"},
        "verdict": verdict,
    }  # fmt: skip


def does(sends: float, opt_outs: float) -> dict[str, Any]:
    """What a policy does: evenings only, mostly `sale`."""
    heat = [[0.0] * 8 for _ in range(7)]
    for day in heat:
        day[6] = 1 / 7
    return {
        "sends_per_week": sends,
        "opt_out_share": opt_outs,
        "opens_per_send": 0.2,
        "heatmap": heat,
        "hours": [f"{h:02d}-{h + 3:02d}" for h in range(0, 24, 3)],
        "sends_histogram": {"edges": ["0", "1", "2", "3+"], "share": [0.1, 0.002, 0.398, 0.5]},
        "contents": [{"content": "sale", "share": 0.7}, {"content": "news", "share": 0.3}],
        "held_because": {"quiet_hours": 0.375, "cap_day": 0.125},
        "thin_support_share": 0.04,
        "segments": [
            {"segment": "tier = gold", "customers": 900, "sends_per_week": 4.4, "opt_out_share": 0.01,
             "top_content": "sale", "top_share": 0.8},
            {"segment": "tier = new", "customers": 1090, "sends_per_week": 2.2, "opt_out_share": 0.05,
             "top_content": "news", "top_share": 0.6},
            {"segment": "tier = lone_platinum", "customers": 9, "sends_per_week": 93.7, "opt_out_share": 0.5,
             "top_content": "news", "top_share": 0.9},
        ],
    }  # fmt: skip


def head(rate: float) -> dict[str, Any]:
    """One outcome of the network."""
    bins = [
        {"predicted": rate * f, "observed": rate * f * 1.1, "low": rate * f, "high": rate * f * 1.3, "count": 500.0}
        for f in (0.5, 1.0, 1.5)
    ]
    return {
        "base_rate": rate, "rows": 1500, "auc": 0.71, "log_loss": 0.2, "log_loss_constant": 0.25, "ece": 0.01,
        "accuracy": 0.9, "precision": 0.3, "recall": 0.3, "f1": 0.3, "threshold": 0.2, "calibration_slope": 1.0,
        "pr_auc": 0.415, "brier": 0.0625, "accuracy_constant": 0.875, "reliability": bins, "segments": [
            {"segment": "tier = gold", "customers": 900, "rows": 900, "observed": 90.0, "expected": 60.0, "ratio": 1.5,
             "low": 1.2, "high": 1.9, "off": True},
            {"segment": "tier = new", "customers": 590, "rows": 590, "observed": 30.0, "expected": 31.0, "ratio": 0.97,
             "low": 0.7, "high": 1.3, "off": False},
            {"segment": "tier = lone_platinum", "customers": 9, "rows": 10, "observed": 7.0, "expected": 1.0,
             "ratio": 7.0, "low": 3.0, "high": 12.0, "off": True}],
    }  # fmt: skip


def effect(average: float, qini: float) -> dict[str, Any]:
    """Predicted effects of sending beside observed ones."""
    return {
        "rows": 5000, "customers": 1500, "predicted": average * 1.1, "observed": figure(average, average / 4),
        "slope": figure(0.9, 0.4), "qini": figure(qini, average / 20), "auuc": figure(average / 2 + qini, average / 10),
        "auuc_of_chance": figure(average / 2, average / 10),
        "deciles": [{"predicted": average * i / 5, "observed": average * i / 6, "low": average * (i / 6 - 1),
                     "high": average * (i / 6 + 1), "share": 0.1, "customers": 400} for i in range(10)],
        "curve": [{"share": i / 20, "gain": average * (i / 20) ** 0.7, "low": average * (i / 20 - 0.2),
                   "high": average * (i / 20 + 0.3)} for i in range(21)],
        "contents": [{"content": c, "customers": n, "predicted": average, "observed": figure(average, average / 2),
                      "slope": figure(1.0, 0.5)} for c, n in (("sale", 800), ("news", 700), ("rarest", 4))],
    }  # fmt: skip


def kind(group: int, rule: str, customers: int, effect: float, opt_outs: float) -> dict[str, Any]:
    """One segment of customers."""
    return {
        "group": group, "rule": rule, "customers": customers, "share": customers / 2000,
        "outcome_rate": {"observed": figure(0.4, 0.05), "predicted": figure(0.41, 0.02)},
        "opt_out_rate": {"observed": figure(opt_outs, opt_outs / 4), "predicted": figure(opt_outs, 0.001)},
        "effect": {"observed": figure(effect, 0.01), "predicted": figure(effect - 0.005, 0.002)},
        "contents": [{"content": "sale", "effect": effect}, {"content": "news", "effect": effect / 2}],
    }  # fmt: skip


def profiles() -> Parts:
    """Three segments, of which one is too small to be shown, and what answers hang on."""
    columns = [{"column": "income", "drop": 0.004, "spread": 0.0004}, {"column": "shoe", "drop": 0.0, "spread": 1e-5}]
    parts = {"outcome": 0.02, "effect": 0.0125, "unsubscribed": -0.001}
    return {
        "propensity/profiles.json": {
            "clusters": 3, "notes": ["Customers differ by degrees."], "outcome": "purchased",
            "per": "customer and week", "fitted_on": 2000, "judged_on": 1990, "fidelity": 0.91,
            "fidelity_constant": 0.6, "effect_observed": True, "suppressed": 1,
            "everyone": kind(0, "everyone", 1990, 0.03, 0.002),
            "segments": [kind(1, "income >= 52,000 and age < 35", 700, 0.06, 0.001),
                         kind(0, "income < 52,000, or age >= 35", 1281, 0.02, 0.003),
                         kind(2, "age < 3", 9, 0.77, 0.5)],
        },
        "propensity/attributions.json": {
            "outcome": "purchased",
            "permutation": {"purchased": {"log_loss": 0.2, "columns": columns}},
            "gradients": {"customers": 120, "baseline": {"outcome": 0.1, "effect": 0.03, "unsubscribed": 0.002}},
            "examples": [
                {"group": 1, "alike": 14, "answer": {"outcome": 0.12, "effect": 0.0425, "unsubscribed": 0.001},
                 "columns": [{"column": "income", "told": "52,000 to 60,000", **parts}]},
                {"group": 0, "alike": 3, "answer": {"outcome": 0.9, "effect": 0.9, "unsubscribed": 0.9},
                 "columns": [{"column": "income", "told": "too telling", **parts}]},
            ],
        },
    }  # fmt: skip


def family(log_loss: float, low: float, high: float) -> dict[str, Any]:
    """One family's figures of an outcome; the market's log loss is 0.2, that of base rates 0.25."""
    return {
        "log_loss": log_loss, "gain": 1 - log_loss / 0.25, "auc": 0.7, "calibration_slope": None,
        "difference": {"value": log_loss - 0.2, "low": low, "high": high},
    }  # fmt: skip


def families() -> dict[str, Any]:
    """All families of models: trees are surely better; visits are of too few customers to be shown."""
    own = {
        "constant": family(0.25, 0.03, 0.07),
        "network": family(0.2, 0.0, 0.0),
        "gbdt": family(0.19, -0.02, -0.004),
    }
    few = {"base_rate": 0.1, "rows": 50, "customers": 9, "families": own}
    return {
        "market": "network", "note": "the market uses the family network because propensity=network is set",
        "heads": {"purchased": {**few, "rows": 900, "customers": 300}, "visited": few},
    }  # fmt: skip


def going_on() -> Parts:
    """The same run as one that goes on from an earlier one, whose policy delivered 2 less than it promised."""
    parts = sequential()
    parts["evaluation/served.json"] = {
        "policy": {"name": "best_rule", "fingerprint": "f00d"}, "recommended": True, "gate": "pass", "why_not": None,
        "match": {"sends": 1200, "agreeing": 0.975},
        "delivered": {"days": 28.0, "customers": 1900, "promised": figure(14.5, 0.5), "delivered": figure(12.5, 1.0),
                      "difference": figure(-2.0, 1.25), "verdict": "less than promised"},
    }  # fmt: skip
    days = {"first_day": "2025-03-03", "last_day": "2025-03-30", "customers": 4000, "decisions": 672000}
    parts["evaluation/changes.json"] = {
        "joined": {"first_slot": 1, "earlier": days, "new": {**days, "customers": 1900, "decisions": 319200}},
        "proposed": "ppo", "keeps": False, "customers": 1000, "decisions": 60000, "changed": 0.125,
        "difference": figure(3.25, 0.5),
        "segments": [
            {"segment": "tier = gold", "customers": 450, "changed": 0.25, "sends_before": 4.0, "sends_after": 6.0,
             "difference": figure(4.0, 1.0)},
            {"segment": "tier = lone_platinum", "customers": 9, "changed": 0.9, "sends_before": 93.7,
             "sends_after": 0.0, "difference": figure(-9.0, 1.0)},
        ],
    }  # fmt: skip
    return parts


def sequential() -> Parts:
    """A finished run on a log of many slots: `ppo` is chosen and gains 3.25 a customer in the judging market."""
    refused = "The 4,000 logged rows are worth only 60 for this policy."
    policies = [
        {"name": "incumbent", "kind": "incumbent", "mode": "sampled", "market": worth(13.5, 0.0, -2.0),
         "judged": worth(12.75, 0.0, -2.0), "truth": None, "exploitation_gap": None, "offline": None,
         "offline_reason": "it is what the log shows"},
        {"name": "ppo", "kind": "agent", "mode": "sampled", "market": worth(17.5, 4.0, 2.0),
         "judged": worth(16.0, 3.25, 1.25), "truth": None, "exploitation_gap": 0.1875,
         "offline": estimate(None, 0.0, "cannot tell", 6, refused), "offline_reason": refused},
        {"name": "never", "kind": "rule", "mode": "sampled", "market": worth(9.5, -4.0, -6.0),
         "judged": worth(9.0, -3.75, -5.75), "truth": None, "exploitation_gap": None,
         "offline": estimate(0.27, -0.17, "worse", 6), "offline_reason": "the first 6 slots only"},
        {"name": "best_rule", "kind": "rule", "mode": "sampled", "market": worth(15.5, 2.0, None),
         "judged": worth(14.75, 2.0, None), "truth": None, "exploitation_gap": 0.0, "offline": None,
         "offline_reason": "not yet evaluated offline"},
    ]  # fmt: skip
    checks = [
        {"name": "sends", "observed": 14.0, "simulated": 14.1, "ratio": 1.007, "low": 0.99, "high": 1.02,
         "passed": True},
        {"name": "opt-outs", "observed": 0.05, "simulated": 0.06, "ratio": 1.2, "low": 0.8, "high": 1.6,
         "passed": None},
    ]  # fmt: skip
    return {
        "summary.json": {
            "objective": {"outcome": "value", "terminal": "zero"},
            "horizon_days": 28,
            "data": {"source": "log", "variant": None, "customers": 4000, "decisions": 672000,
                     "first_day": "2025-03-03", "last_day": "2025-03-30", "holds": "logged", "randomised": True,
                     "action_prob": "logged"},
            "propensity": {},
            "market": {"gate": "warn", "families": {"training": "network", "judging": "gbdt"}, "replay": {}},
            "policies": policies,
            "arms": [],
            "chosen": "ppo",
            "recommended": True,
            "reason": "ppo earned most in a simulated market of customers that it had never met: +3.25 a customer.",
        },
        "data/report.json": {
            "rows": {"users": 4000, "contents": 2, "decisions": 672000},
            "kept": {"users": 4000, "contents": 2, "decisions": 671990},
            "warnings": ["users: no consent_push column; consent is taken as given"],
            "rejected": [{"table": "decisions", "column": "value", "count": 10, "reason": "not a number"}],
            "preparation": ["contents.channel: constant or empty, left out"],
            "audit": {
                "send_share": 0.085, "action_prob_known": 1.0, "unlabelled_share": 0.0,
                "randomisation": {"claimed": 57100.0, "observed": 57000, "z": -0.4, "p_value": 0.69, "passed": True},
                "weeks": [{"week": w, "send_share": 0.08, "opened": 0.015} for w in (1, 2, 3)],
                "drift": {"passed": True, "note": "no rate rose or fell over 3 weeks", "rates": {}},
            },
            "columns": [
                {"table": "users", "column": "income", "kind": "number", "missing": 0.125, "distinct": 950,
                 "low": 12000.0, "median": 39150.0, "high": 91000.0, "far": 3},
                {"table": "users", "column": "tier", "kind": "category", "missing": 0.0, "distinct": 3, "top": "new",
                 "top_share": 0.5, "rare": 1},
            ],
            "leaks": {"passed": True, "warnings": [], "late_snapshots": 0,
                      "features": [{"column": "income", "outcome": "purchased", "auc": 0.615}],
                      "copies": {"copies": 0, "agreement": None, "by_chance": None, "suspected": False}},
            "split": {"sizes": {"train": 2000, "judge": 2000}, "shared": 0, "passed": True},
            "stability": {"passed": False, "note": "between the first and the last half of the log the distribution "
                          "shifts of users.income (index 0.31)", "adversarial": figure(0.57, 0.02), "columns": [
                {"column": "users.income", "psi": 0.31, "by_chance": 0.02, "shifts": True},
                {"column": "decisions.sends", "psi": 0.01, "by_chance": 0.02, "shifts": False}]},
        },
        "propensity/metrics.json": {
            "heads": {"purchased": head(0.01), "opened": {**head(0.2), "segments": []}},
            "effects": {"trials": 9000, "customers": 1500, "weight_ratio": 1.01,
                        "outcomes": {"purchased": {**effect(0.02, 0.003), "deciles": [], "curve": []},
                                     "value": effect(0.8, 0.0)}},
            "value": {"mean_predicted": 44.5, "mean_observed": 45.25, "rmse": 20.0, "by_content": [
                {"content": "hold", "customers": 900, "predicted": 0.1, "observed": 0.12, "low": 0.09, "high": 0.15,
                 "count": 1000.0},
                {"content": "sale", "customers": 300, "predicted": 0.3, "observed": 0.25, "low": 0.2, "high": 0.29,
                 "count": 400.0},
                {"content": "rarest", "customers": 9, "predicted": 0.3, "observed": 0.25, "low": 0.2, "high": 0.3,
                 "count": 90.0}]},
        },
        "propensity/families.json": families(),
        "market/gate.json": {"verdict": "warn", "margin": 0.1, "note": "Too uncertain to tell: opt-outs.",
                             "checks": checks},
        "evaluation/offline.json": {
            "policies": {}, "support": None,
            "probabilities": {"fitted": False, "contradicted": False, "reason": None, "checks": []}},
        "evaluation/twins.json": {"estimators": [], "right": [], "reason": "the log has several decisions a customer"},
        "evaluation/behaviour.json": {"customers": 2000, "where": "the judging world (gbdt)",
                                      "policies": {"incumbent": does(3.5, 0.06), "ppo": does(4.25, 0.04)}},
        **profiles(),
        "manifest.json": {"config": "c0ffee", "code": "beef", "versions": {"numpy": "2.0"},
                          "stages": [{"name": "data", "key": "abc"}]},
        "policy/policy.json": {"name": "ppo", "mode": "sampled", "exploration": 0.02, "guardrails": {
            "quiet_from": 21, "quiet_until": 8, "max_per_day": 1, "max_per_week": 5, "holdout": 0.05}},
        "agents/best_rule/policy/policy.json": {"chooser": {"settings": {
            "cap": 4, "daypart": "evening", "content": "favourite"}}},
    }  # fmt: skip


def wide() -> Parts:
    """The same run with an agent of weekly plans, contents by two channels, and what policies do in every world."""
    parts = sequential()
    policies = parts["summary.json"]["policies"]
    planner = copy.deepcopy(policies[1]) | {"name": "plan_ppo", "slot_agent": "ppo", "judged": worth(15.5, 2.75, 0.75)}
    planner["judged"]["over_slots"] = figure(-0.5, 0.25)
    policies.append(planner)
    habits = {"incumbent": (3.5, 0.06), "ppo": (4.25, 0.04), "never": (0.0, 0.0), "best_rule": (3.75, 0.05),
              "plan_ppo": (2.25, 0.02)}  # fmt: skip
    for policy in policies:
        sends, opt_outs = habits[policy["name"]]
        policy["judged"] |= {"sends_per_week": sends, "opt_out_share": opt_outs}
        policy["truth"] = {**figure(10.0, 0.5), "difference": figure(1.0, 0.5), "sends_per_week": sends,
                           "opt_out_share": opt_outs}  # fmt: skip
    planner["truth"]["over_slots"] = figure(0.125, 0.5)
    plan = {"frequency": 2, "daypart": "evening", "content": "sale", "share": 0.625}
    told = parts["evaluation/behaviour.json"]["policies"]
    told["plan_ppo"] = does(2.25, 0.02) | {
        "plans": [
            {"segment": "everyone", "customers": 1990, "sends": 2.25, "plans": [
                plan | {"content": "rotate"}, {"frequency": 0, "daypart": "", "content": "", "share": 0.125}]},
            {"segment": "tier = gold", "customers": 900, "sends": 3.0, "plans": [plan | {"daypart": "any"}]},
            {"segment": "tier = lone_platinum", "customers": 9, "sends": 93.7, "plans": [plan]}]}  # fmt: skip
    row = {"suppressed": False, "customers": 1200, "sends": 8.0, "cost": 0.048, "opens": 2.0, "purchases": 0.4,
           "opt_outs": 0.01, "value_per_send": 1.375}  # fmt: skip
    lone = dict.fromkeys(row) | {"channel": "sms", "suppressed": True}
    told["ppo"]["channels"] = [{"channel": "email", **row}, {**lone, "sends": 93.7, "customers": 9}]
    told["incumbent"]["channels"] = [{"channel": "email", **row, "sends": 4.0}, {"channel": "sms", **row}]
    return parts


def one_shot() -> Parts:
    """A finished run on a randomised campaign of one decision a customer; `linucb` cannot be told from a rule."""
    parts = sequential()
    chosen = estimate(0.186, 0.04, "better", 1)
    chosen["against"] = {"mail to all": {**figure(0.002, 0.005), "verdict": "cannot tell"}}
    base = {"market": None, "judged": None, "truth": None, "exploitation_gap": None, "mode": "sampled"}
    parts["summary.json"] |= {
        "objective": {"outcome": "visited", "terminal": "zero"}, "horizon_days": 1, "market": None,
        "policies": [
            {**base, "name": "incumbent", "kind": "incumbent", "offline": None, "offline_reason": "the log shows it"},
            {**base, "name": "linucb", "kind": "agent", "offline": chosen},
            {**base, "name": "mail to all", "kind": "rule", "offline": estimate(0.1845, 0.0385, "better", 1)},
        ],
        "arms": [{"content": "hold", "customers": 300, **figure(0.1, 0.01)},
                 {"content": "mail", "customers": 310, **figure(0.18, 0.01)},
                 {"content": "rare", "customers": 7, **figure(0.77, 0.4)}],
        "chosen": "linucb", "reason": "linucb has the highest doubly robust estimate.",
    }  # fmt: skip
    parts["evaluation/behaviour.json"] = {"policies": {}, "customers": 2000}
    del parts["market/gate.json"], parts["agents/best_rule/policy/policy.json"]
    return parts


def write_run(folder: Path, parts: Parts, overrides: str = "- debug=fast\n") -> Path:
    """Writes a run folder; NaN and infinity are written as Python writes them."""
    for name, content in parts.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content), encoding="utf-8")
    (folder / ".hydra").mkdir(parents=True, exist_ok=True)
    (folder / ".hydra" / "overrides.yaml").write_text(overrides, encoding="utf-8")
    return folder


def renamed(content: Any, old: str, new: str) -> Any:
    """The same content with a name changed wherever it stands alone, as a key or a value."""
    if isinstance(content, dict):
        return {new if key == old else key: renamed(value, old, new) for key, value in content.items()}
    if isinstance(content, list):
        return [renamed(value, old, new) for value in content]
    return new if content == old else copy.deepcopy(content)
