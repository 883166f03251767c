"""Logs that a hand-made market writes: decisions, true probabilities and drawn outcomes, on the product's own grid."""

from __future__ import annotations

import numpy as np
import torch

from campaigns.grid import DecisionGrid
from campaigns.observation import Observation
from envs.market import Market
from policies.chooser import sample
from policies.following import Decides


def write_grid(
    market: Market, policy: Decides, slots: int, seed: int, eligible: float = 1.0, customers: int | None = None
) -> DecisionGrid:
    """The log of a policy that ran in a market.

    Args:
        market: its pool's customers are the log's, in order.
        policy: what decided, where it could.
        slots: length of the log.
        seed: of decisions and outcomes.
        eligible: share of customers and slots in which it could; elsewhere its hold is forced and has probability 1.
        customers: how many of the pool; all by default.
    """
    generator = torch.Generator().manual_seed(seed)
    count = len(market.pool) if customers is None else customers
    state = market.begin(torch.arange(count), generator)
    columns: dict[str, list[np.ndarray]] = {}
    for _ in range(slots):
        noise = torch.rand(count, 2 + market.noise_columns, generator=generator)
        seen, could = market.observe(state), noise[:, 1] < eligible
        chances = policy.probabilities_of(seen)
        decision = torch.where(could, sample(chances, noise[:, 0]), 0)
        prob = torch.where(could, chances.gather(1, decision.unsqueeze(1)).squeeze(1), 1.0)
        state, outcome = market.step(state, decision, noise[:, 2:], seen)
        row = {"decision": decision, "action_prob": prob, "eligible": could, "value": outcome.value}
        row |= {name: getattr(outcome, name) for name in ("opened", "purchased", "unsubscribed")}
        for name, values in row.items():
            columns.setdefault(name, []).append(values.numpy())
    table = {name: np.stack(parts, axis=1) for name, parts in columns.items()}
    decision = table["decision"].astype(np.int32)
    happened = {name: table[name] for name in ("opened", "purchased", "unsubscribed")}
    outcomes = {name: values.astype(np.float32) for name, values in (happened | {"value": table["value"]}).items()}
    credited = {name: np.where(flags, decision, 0).astype(np.int32) for name, flags in happened.items()}
    return DecisionGrid(
        market.first_slot, decision, table["action_prob"].astype(np.float32), table["eligible"],
        np.ones_like(happened["opened"]), outcomes, happened, credited,
    )  # fmt: skip


class Tilted:
    """Decides at random with fixed chances, in the evening with others, over what consent and opt-outs allow."""

    def __init__(self, chances: list[float], evening: list[float] | None = None) -> None:
        self.chances = torch.tensor([chances, chances if evening is None else evening])

    def probabilities_of(self, observation: Observation) -> torch.Tensor:
        """Shape [N, 1 + K]; what may not be sent falls to hold."""
        wanted = self.chances[(observation.daypart == 3).long()] * observation.allowed
        wanted[:, 0] = 1 - wanted[:, 1:].sum(dim=1)
        return wanted
