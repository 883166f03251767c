"""Prices that rise while a limit is broken and fall while it is kept: the slow half of a Lagrangian, beside PPO's fast.

Source: Altman (1999), Constrained Markov decision processes; Tessler, Mankowitz and Mannor (2019), Reward constrained
policy optimization; the damping is of Stooke, Achiam and Abbeel (2020), Responsive safety in reinforcement learning by
PID Lagrangian methods.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from campaigns.audience import Catalogue, decision_costs
from campaigns.history import HOLD
from campaigns.objective import Objective, Prices
from evaluation.limits import BUDGET, limits_of

PACE, DAMPING = 0.2, 0.4
"""How far prices move a rollout while twice the limit is used, and how far they lean against it at once; in prices at
which the charge for a send is a standard deviation of what slots earn."""

SLACK = 0.05
"""Share by which training may use more than the limit: what is left to take away is taken by `agents.restraint`, which
can only make a policy send less."""


class DualAscent:
    """The prices of an objective's limits, and what was used of them since they last moved.

    Args:
        objective: its limits, of which there is at least one that leaves room to send.
        device: of the counts.
    """

    def __init__(self, objective: Objective, device: torch.device) -> None:
        self.limits = limits_of(objective)
        count = len(self.limits)
        self.prices, self.sums, self.scales = [0.0] * count, [0.0] * count, [0.0] * count
        self.used = torch.zeros(count, device=device)
        self.sends = torch.zeros((), device=device)
        self.slots = 0

    def charge(self, decision: Tensor, lost: Tensor, catalogue: Catalogue) -> Tensor:
        """What a slot is charged; it is counted, too.

        Args:
            decision: Shape [N], int64.
            lost: expected opt-outs. Shape [N].
            catalogue: the contents.
        Returns:
            Shape [N].
        """
        cost = decision_costs(catalogue)[decision]
        self.used += torch.stack([(cost if limit.name == BUDGET else lost).mean() for limit in self.limits])
        self.sends += (decision != HOLD).float().mean()
        self.slots += 1
        return self.now().charge(cost, lost)

    def now(self) -> Prices:
        """The present prices."""
        prices = Prices()
        for limit, price in zip(self.limits, self.prices, strict=True):
            own = limit.price(price)
            prices = Prices(prices.money + own.money, prices.optout + own.optout)
        return prices

    def ascend(self, spread: float, horizon: int) -> list[float]:
        """Moves the prices by what was used since the last time.

        Args:
            spread: standard deviation of what slots earn, before charges.
            horizon: slots of an episode.
        Returns:
            What was used of each limit, as a share of it.
        """
        shares, slots, sends = [], max(self.slots, 1), max(float(self.sends), 1e-9)
        for place, limit in enumerate(self.limits):
            used = float(self.used[place])
            if not self.scales[place] and used:
                self.scales[place] = spread * sends / used
            share = used / slots * horizon / limit.most
            over = min(max(share / (1.0 + SLACK) - 1.0, -1.0), 1.0)
            self.sums[place] = max(0.0, self.sums[place] + PACE * over)
            self.prices[place] = self.scales[place] * max(0.0, self.sums[place] + DAMPING * over)
            shares.append(share)
        self.used.zero_()
        self.sends.zero_()
        self.slots = 0
        return shares

    def to_tensor(self) -> Tensor:
        """Prices, and what the next ones depend on. Shape [3, limits], float64."""
        return torch.tensor([self.prices, self.sums, self.scales], dtype=torch.float64)

    def restore(self, stored: Tensor) -> None:
        """Goes on from what `to_tensor` gave."""
        self.prices, self.sums, self.scales = stored.tolist()


class DualAscents:
    """The prices of S agents that learn side by side; each has its own.

    Args:
        objective, device: as for `DualAscent`.
        agents: S. Rows come in as many blocks of equal size.
    """

    def __init__(self, objective: Objective, device: torch.device, agents: int) -> None:
        self.each = [DualAscent(objective, device) for _ in range(agents)]

    def charge(self, decision: Tensor, lost: Tensor, catalogue: Catalogue) -> Tensor:
        """What a slot is charged; see `DualAscent.charge`. Shape [N]."""
        blocks = zip(self.each, decision.chunk(len(self.each)), lost.chunk(len(self.each)), strict=True)
        return torch.cat([one.charge(its_decision, its_lost, catalogue) for one, its_decision, its_lost in blocks])

    def ascend(self, rewards: Tensor, horizon: int) -> Iterator[tuple[str, float, float]]:
        """Moves the prices.

        Args:
            rewards: what slots earned, before charges. Shape [T, S, N / S].
            horizon: slots of an episode.
        Yields:
            Of each limit its name, its price, and what was used as a share of it: means over the agents.
        """
        shares = [one.ascend(float(its.std()), horizon) for one, its in zip(self.each, rewards.unbind(1), strict=True)]
        for place, price in enumerate(self.mean_prices()):
            used = sum(share[place] for share in shares) / len(shares)
            yield self.each[0].limits[place].name, price, used

    def mean_prices(self) -> list[float]:
        """The present price of each limit, mean over the agents; in the objective's unit for a unit of the limit."""
        return [sum(prices) / len(prices) for prices in zip(*(one.prices for one in self.each), strict=True)]

    def to_tensor(self) -> Tensor:
        """As `DualAscent.to_tensor`. Shape [S, 3, limits], float64."""
        return torch.stack([one.to_tensor() for one in self.each])

    def restore(self, stored: Tensor) -> None:
        """Goes on from what `to_tensor` gave."""
        for one, its in zip(self.each, stored, strict=True):
            one.restore(its)
