"""The market gate: does a free-running replay of the logging policy give back what the log shows?

A check passes where the interval of simulated over observed lies inside the equivalence margin (two one-sided
tests, Schuirmann 1987), fails where it lies wholly outside, and is undecided in between: then the log is too
small to tell.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from campaigns.audience import Catalogue
from campaigns.grid import DecisionGrid
from campaigns.history import ABSENT, HOLD
from evaluation.rollout import Rollout

OUTCOMES = {
    "opens": "opened",
    "clicks": "clicked",
    "purchases": "purchased",
    "opt-outs": "unsubscribed",
    "value": "value",
}


@dataclass(frozen=True)
class GateCheck:
    """One marginal, simulated beside observed.

    Attributes:
        name: what is compared, per customer over the slots that the log shows.
        observed, simulated: the two figures.
        ratio: simulated over observed.
        low, high: interval of the ratio, by customer bootstrap of the log.
        passed: True inside the margin, False wholly outside, None undecided.
    """

    name: str
    observed: float
    simulated: float
    ratio: float
    low: float
    high: float
    passed: bool | None


@dataclass(frozen=True)
class MarketGate:
    """All checks and what follows from them.

    Attributes:
        verdict: `pass` (all inside), `warn` (some undecided, or only single dayparts and contents fail) or `fail`.
        margin: relative equivalence margin.
        checks: one a marginal.
        note: the verdict in words.
    """

    verdict: str
    margin: float
    checks: tuple[GateCheck, ...]
    note: str

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {
            "verdict": self.verdict,
            "margin": self.margin,
            "note": self.note,
            "checks": [asdict(check) for check in self.checks],
        }


def market_gate(
    grid: DecisionGrid,
    simulated: Rollout,
    catalogue: Catalogue,
    margin: float = 0.10,
    level: float = 0.95,
    draws: int = 1000,
    seed: int = 0,
) -> MarketGate:
    """Compares a log with a rollout of its fitted logging policy over the same span.

    The market plays every customer in every slot. Where the log has gaps (customers who came later or left, outcomes
    whose window its end cuts off), what is simulated is taken for as many slots as the log shows.

    Args:
        grid: the log; N customers by T slots.
        simulated: of the fitted logging policy in the market, same customers, same span, cold start.
        catalogue: the K contents.
        margin: equivalence margin, relative.
        level: of the intervals.
        draws: bootstrap draws of customers.
        seed: of the bootstrap.
    Returns:
        The verdict. Sends, opens, clicks, purchases, opt-outs and value decide it; sends by content only warn.
    """
    decided = grid.decision != ABSENT
    labelled = decided & grid.labelled
    customers = max(int(decided.any(axis=1).sum()), 1)
    observed: dict[str, np.ndarray] = {"sends": (grid.decision > HOLD).sum(axis=1).astype(np.float64)}
    simulation = {"sends": float(simulated.sends.mean())}
    for name, column in OUTCOMES.items():
        if column in grid.outcomes:
            values = np.nan_to_num(grid.outcomes[column].astype(np.float64))
            observed[name] = np.where(labelled, values, 0.0).sum(axis=1)
            simulation[name] = simulated.expected[column] / len(simulated.value)
    marginals = list(observed)
    for index in range(len(catalogue)):
        name = f"sends of {catalogue.ids[index]}"
        observed[name] = (grid.decision == 1 + index).sum(axis=1).astype(np.float64)
        simulation[name] = float(simulated.contents[:, index].sum()) / len(simulated.value)

    weights = np.random.default_rng(seed).poisson(1.0, (draws, len(decided))).astype(np.float64)
    noise = _simulation_error(simulated)
    tail = 100 * (1 - level) / 2
    checks = []
    generator = np.random.default_rng(seed + 1)
    for name, values in observed.items():
        mean = float(values.sum() / customers)
        if mean == 0:
            continue
        slots = (labelled if name in OUTCOMES else decided).sum(axis=1).astype(np.float64)
        shown = float(slots.sum() / customers)
        expected = simulation[name] * shown / grid.slots
        boot = shown * (weights @ values) / np.maximum(weights @ slots, 1.0)
        jitter = 1 + noise.get(name, 0.0) * generator.standard_normal(draws)
        ratios = expected * jitter / np.where(boot == 0, np.nan, boot)
        low, high = (float(q) for q in np.nanpercentile(ratios, [tail, 100 - tail]))
        low, high = min(low, high), max(low, high)
        inside, outside = low >= 1 - margin and high <= 1 + margin, high < 1 - margin or low > 1 + margin
        checks.append(
            GateCheck(
                name,
                mean,
                expected,
                expected / mean,
                low,
                high,
                True if inside else False if outside else None,
            )
        )
    return _judge(checks, marginals, margin)


def _judge(checks: list[GateCheck], marginals: list[str], margin: float) -> MarketGate:
    deciding = [c for c in checks if c.name in marginals]
    failed = [c.name for c in deciding if c.passed is False]
    undecided = [c.name for c in checks if c.passed is None]
    minor = [c.name for c in checks if c.passed is False and c.name not in marginals]
    if failed:
        note = f"The market does not give back the log's {', '.join(failed)} within {margin:.0%}."
        return MarketGate("fail", margin, tuple(checks), note)
    if minor or undecided:
        given_back = all(c.passed for c in deciding)
        parts = ["The market gives back the log's totals" if given_back else "No total is clearly off"]
        if minor:
            parts.append(f"outside {margin:.0%}: {', '.join(minor)}")
        if undecided:
            parts.append(f"too uncertain to tell: {', '.join(undecided)}")
        return MarketGate("warn", margin, tuple(checks), "; ".join(parts) + ".")
    return MarketGate(
        "pass", margin, tuple(checks), f"The market gives back every marginal of the log within {margin:.0%}."
    )


def _simulation_error(simulated: Rollout) -> dict[str, float]:
    """Relative standard error of the simulated figures, where drawn counts show it."""
    columns = {"sends": simulated.sends, "opens": simulated.opens, "clicks": simulated.clicks,
               "purchases": simulated.purchases, "opt-outs": simulated.opted_out.astype(np.float64),
               "value": simulated.value}  # fmt: skip
    return {
        name: float(values.std() / np.sqrt(len(values)) / abs(values.mean()))
        for name, values in columns.items()
        if values.mean() != 0
    }
