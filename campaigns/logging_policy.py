"""The incumbent: the logging policy as a log shows it, fitted by weighted likelihood.

For markets it is fitted to what was really decided, forced holds included, since a market does not know why nothing was
sent; for estimates from a log without probabilities it is fitted to decisions that were free.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from campaigns.audience import Catalogue, Population
from campaigns.clock import SlotClock
from campaigns.errors import CampaignError
from campaigns.features import CANDIDATE_FEATURES, STATE_FEATURES, candidate_names
from campaigns.grid import DecisionGrid
from campaigns.history import ABSENT, HOLD
from campaigns.observation import Observation
from campaigns.replay import replay

HOURS = 24

HOUR_PRIOR = 1.0
"""Sends that the overall rate weighs as in each hour's own rate, where the fit starts."""


@dataclass(frozen=True)
class LoggingPolicySpec:
    """Sizes of the model.

    Attributes:
        customers, contents: widths Fu and Fx.
        candidates: width Fc; policies saved by earlier versions, which do not name it, were told of no channel.
        width: hidden units.
    """

    customers: int
    contents: int
    width: int = 48
    candidates: int = len(CANDIDATE_FEATURES)


class LoggingPolicyModel(nn.Module):
    """A send logit from customer and moment, and content logits given a send from a bilinear form of attributes.

    Every local hour has a send logit of its own: quiet hours begin and end at once, which no smooth function of the
    time of day gives back.

    Args:
        spec: sizes.
        content_ids: ids of the log's contents, as text; each has a bias of its own, a new one their mean.
    """

    def __init__(self, spec: LoggingPolicySpec, content_ids: tuple[str, ...]) -> None:
        super().__init__()
        self.spec = spec
        self.content_ids = content_ids
        inputs = spec.customers + len(STATE_FEATURES)
        self.send = nn.Sequential(nn.Linear(inputs, spec.width), nn.Tanh(), nn.Linear(spec.width, 1))
        self.taste = nn.Linear(inputs, spec.contents)
        self.candidate = nn.Linear(spec.candidates, 1)
        self.bias = nn.Parameter(torch.zeros(len(content_ids)))
        self.hour = nn.Parameter(torch.zeros(HOURS))
        for layer in (self.taste, self.candidate):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def content_bias(self, content_ids: tuple[object, ...]) -> Tensor:
        """The bias of each content, the mean of the known ones for new ones. Shape [K]."""
        known = {name: index for index, name in enumerate(self.content_ids)}
        rows = [known.get(str(i), -1) for i in content_ids]
        mean = self.bias.mean()
        return torch.stack([self.bias[row] if row >= 0 else mean for row in rows])

    def log_probabilities(
        self, customers: Tensor, state: Tensor, contents: Tensor, candidates: Tensor, bias: Tensor, allowed: Tensor
    ) -> Tensor:
        """Log-probabilities of hold and contents, -inf where not allowed. Shape [N, 1 + K]."""
        inputs = torch.cat([customers, state], dim=1)
        send = self.send(inputs) + self.hour[local_hour(state)].unsqueeze(1)
        scores = self.taste(inputs) @ contents.T + self.candidate(candidates).squeeze(-1) + bias
        open_ = allowed[:, 1:]
        some = open_.any(dim=1, keepdim=True)
        share = scores.masked_fill(~open_, -1e9).log_softmax(dim=1)
        log_send = torch.nn.functional.logsigmoid(send) + share
        log_hold = torch.where(some, torch.nn.functional.logsigmoid(-send), torch.zeros_like(send))
        return torch.cat([log_hold, log_send.masked_fill(~open_, -torch.inf)], dim=1)

    @torch.no_grad()
    def probabilities(self, observation: Observation) -> Tensor:
        """What the logging policy would do, within what is allowed. Shape [N, 1 + K], rows sum to 1.

        Where some contents are masked the others are sent the more, where all are it holds.
        """
        bias = self.content_bias(observation.catalogue.ids)
        logs = self.log_probabilities(
            observation.population.features,
            observation.state,
            observation.catalogue.features,
            observation.candidates,
            bias,
            observation.allowed,
        )
        return logs.exp()

    def settings(self) -> dict[str, Any]:
        """JSON-able part."""
        return {"spec": asdict(self.spec), "content_ids": list(self.content_ids)}

    @staticmethod
    def restore(settings: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> LoggingPolicyModel:
        """The inverse of `settings` and `state_dict`."""
        model = LoggingPolicyModel(LoggingPolicySpec(**settings["spec"]), tuple(settings["content_ids"]))
        # Policies saved by earlier versions know no hours.
        model.load_state_dict({"hour": torch.zeros(HOURS), **tensors})
        return model.eval()


def local_hour(state: Tensor) -> Tensor:
    """The customers' local hour of the day, 0..23, read off state features [N, Fs]. Shape [N], int64."""
    sine, cosine = (state[:, STATE_FEATURES.index(name)] for name in ("hour sin", "hour cos"))
    return torch.floor(torch.atan2(sine, cosine) * (HOURS / (2.0 * torch.pi)) + 1e-3).long() % HOURS


@dataclass(frozen=True)
class _Rows:
    customer: Tensor
    state: Tensor
    candidates: Tensor
    allowed: Tensor
    decision: Tensor
    weight: Tensor


def fit_logging_policy(
    grid: DecisionGrid,
    population: Population,
    catalogue: Catalogue,
    clock: SlotClock,
    seed: int = 0,
    rows: int = 150_000,
    epochs: int = 8,
    respect_eligible: bool = False,
) -> LoggingPolicyModel:
    """Fits the incumbent.

    Args:
        grid, population, catalogue, clock: of one log.
        seed: the same seed gives the same model on the CPU.
        rows: decisions used at most; sends and holds are thinned alike, in different shares, and weighted up.
        epochs: passes over them.
        respect_eligible: whether holds that the log calls ineligible count as forced, with probability 1: so for
            estimates from the log; a market, which does not know who is eligible, needs what was done in all.
    Raises:
        CampaignError: where the log holds no decision.
    """
    table = _collect(grid, population, catalogue, clock, seed, rows, respect_eligible)
    torch.manual_seed(seed)
    spec = LoggingPolicySpec(
        population.features.shape[1],
        catalogue.features.shape[1],
        candidates=len(candidate_names(catalogue.tells_channels)),
    )
    model = LoggingPolicyModel(spec, tuple(str(i) for i in catalogue.ids))
    rate = float((table.weight * (table.decision > HOLD)).sum() / table.weight.sum())
    last = model.send[2]
    assert isinstance(last, nn.Linear)
    nn.init.constant_(last.bias, float(torch.logit(torch.tensor(min(max(rate, 1e-5), 1 - 1e-5)))))
    with torch.no_grad():
        model.hour.copy_(_hourly_logits(table, rate))
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=1e-3)
    batch_size = 8192
    steps = epochs * -(-len(table.weight) // batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(epochs):
        for batch in torch.randperm(len(table.weight), generator=generator).split(batch_size):
            optimizer.zero_grad(set_to_none=True)
            logs = model.log_probabilities(
                population.features[table.customer[batch]],
                table.state[batch],
                catalogue.features,
                table.candidates[batch],
                model.bias,
                table.allowed[batch],
            )
            taken = logs.gather(1, table.decision[batch].unsqueeze(1)).squeeze(1)
            weight = table.weight[batch]
            loss = -(weight * taken).sum() / weight.sum()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval()


def _hourly_logits(table: _Rows, rate: float) -> Tensor:
    """Send logit of every local hour, over that of the overall rate. Shape [24]."""
    hour, free = local_hour(table.state), table.weight * table.allowed[:, 1:].any(dim=1)
    sends = torch.zeros(HOURS).index_add_(0, hour, free * (table.decision > HOLD))
    decisions = torch.zeros(HOURS).index_add_(0, hour, free)
    known = (sends + HOUR_PRIOR) / (decisions + HOUR_PRIOR / max(rate, 1e-5))
    overall = torch.tensor(rate).clamp(1e-5, 1 - 1e-5)
    return known.clamp(1e-5, 1 - 1e-5).logit() - overall.logit()


def _collect(
    grid: DecisionGrid,
    population: Population,
    catalogue: Catalogue,
    clock: SlotClock,
    seed: int,
    rows: int,
    respect_eligible: bool,
) -> _Rows:
    sends, decisions = int((grid.decision > HOLD).sum()), int((grid.decision != ABSENT).sum())
    if not decisions:
        raise CampaignError("decisions: there is none to fit the logging policy to.")
    send_share = min(1.0, 0.5 * rows / max(sends, 1))
    hold_share = min(1.0, 0.5 * rows / max(decisions - sends, 1))
    generator = np.random.default_rng(seed)
    parts: list[_Rows] = []
    for step in replay(grid, population, catalogue, clock, respect_eligible=respect_eligible):
        decision = step.decision.numpy()
        sent = (decision > HOLD) & (decision <= len(catalogue))
        share = np.where(sent, send_share, hold_share)
        kept = ((decision == HOLD) | sent) & (generator.random(len(decision)) < share)
        index = torch.from_numpy(np.flatnonzero(kept))
        if not len(index):
            continue
        seen = step.observation
        taken = step.decision[index]
        allowed = seen.allowed[index]
        # A logged send shows that it was possible, whatever our own bookkeeping says.
        allowed = allowed.scatter(1, taken.unsqueeze(1), True)
        parts.append(
            _Rows(
                index, seen.state[index], seen.candidates[index], allowed, taken,
                torch.from_numpy(1.0 / share[kept]).float(),
            )
        )  # fmt: skip
    return _Rows(*(torch.cat([getattr(p, name) for p in parts]) for name in _Rows.__dataclass_fields__))
