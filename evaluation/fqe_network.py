"""FQE with a small network in place of a linear Q (Le, Voloshin and Yue 2019), for logs whose features are not enough.

One network holds Q_h of all h: it takes phi(s, a) and the share of the horizon that is left, and is fitted to
r + V_{h-1}(s') with V_{h-1} from a copy that is refreshed from time to time. Where Q is not linear in the decision,
V(s) = E_{a ~ pi} Q(s, a) needs Q of every decision; Q at the mean features phibar would be biased.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from evaluation.fqe import LoggedFeatures


@dataclass(frozen=True)
class NetworkSettings:
    """How the network is fitted.

    Attributes:
        width: hidden units of both layers.
        steps: minibatches.
        batch: rows of one.
        refresh: minibatches between two copies; values travel one slot a copy, so at least 2 H copies are needed.
        learning_rate: of Adam, falling to 0.
        seed: of weights and minibatches.
    """

    width: int = 64
    steps: int = 4000
    batch: int = 512
    refresh: int = 20
    learning_rate: float = 3e-3
    seed: int = 0


@dataclass(frozen=True)
class NetworkFQE:
    """A fitted Q.

    Attributes:
        network: of phi and the share of the horizon that is left, in `scale`s.
        horizon: H.
        scale: of values.
    """

    network: nn.Module
    horizon: int
    scale: float

    @torch.no_grad()
    def of(self, features: Tensor, to_go: Tensor) -> Tensor:
        """Q with `to_go` slots left (broadcast over the leading axes of `features` [..., d]); 0 with none left."""
        return _q(self.network, features, to_go, self.horizon) * self.scale

    @torch.no_grad()
    def value(self, decisions: Tensor, chances: Tensor, to_go: Tensor) -> Tensor:
        """V under decision probabilities [..., 1 + K], of phi of every decision [..., 1 + K, d]. Shape [...]."""
        return (chances * self.of(decisions, to_go.unsqueeze(-1))).sum(dim=-1)


def fit_network_fqe(
    log: LoggedFeatures, decisions: Tensor, chances: Tensor, settings: NetworkSettings | None = None
) -> NetworkFQE:
    """Fits Q of a policy to all customers of a log; cross-fitting is the caller's, by what `log` holds.

    Args:
        log: N sequences; lengths may differ.
        decisions: phi of every decision. Shape [N, T, 1 + K, d].
        chances: the policy's probabilities, computed once. Shape [N, T, 1 + K].
        settings: how.
    Returns:
        On the device of `log`.
    """
    settings = settings or NetworkSettings()
    device = log.taken.device
    generator = torch.Generator().manual_seed(settings.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        network = _make_network(log.taken.shape[2] + 1, settings.width).to(device)
    scale = float(log.reward[log.known].std()) * log.horizon**0.5 + 1e-6
    customer, slot = torch.nonzero(log.known, as_tuple=True)
    # a row whose successor was censored tells of its own reward alone: it is used with one slot to go
    ends = ~log.onward[customer, slot]
    following = (slot + 1).clamp(max=log.known.shape[1] - 1)
    optimizer = torch.optim.Adam(network.parameters(), lr=settings.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.steps)
    held = copy.deepcopy(network)
    for step in range(settings.steps):
        if step % settings.refresh == 0:
            held.load_state_dict(network.state_dict())
        rows = torch.randint(len(customer), (settings.batch,), generator=generator).to(device)
        drawn = torch.randint(1, log.horizon + 1, (settings.batch,), generator=generator).to(device)
        who, when, later = customer[rows], slot[rows], following[rows]
        to_go = torch.where(ends[rows], 1, drawn)
        with torch.no_grad():
            after = _q(held, decisions[who, later], (to_go - 1).unsqueeze(1), log.horizon)
            wanted = log.reward[who, when] / scale + (chances[who, later] * after).sum(dim=1)
        loss = (_q(network, log.taken[who, when], to_go, log.horizon) - wanted).square().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
    return NetworkFQE(network.eval(), log.horizon, scale)


def _make_network(inputs: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 2)
    )  # fmt: skip


def _q(network: nn.Module, features: Tensor, to_go: Tensor, horizon: int) -> Tensor:
    """Q in scales: a level times the share that is left and a part that fades in within a slot; 0 with none left."""
    left = (to_go.to(features.dtype) / horizon).expand(features.shape[:-1])
    slope, level = network(torch.cat([features, left.unsqueeze(-1)], dim=-1)).unbind(dim=-1)
    value: Tensor = (slope * left + level) * (left > 0)
    return value
