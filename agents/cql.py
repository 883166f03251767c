"""Discrete conservative Q-learning (Kumar, Zhou, Tucker and Levine 2020, equation 4) straight from a log.

With y = r + discount x Q'(s', argmax_a Q(s', a)) over the decisions open in s' (van Hasselt 2010), Q' a copy of Q that
is refreshed from time to time, a logged decision costs

    alpha (log sum_a exp Q(s, a) - Q(s, a_logged)) + (Q(s, a_logged) - y)^2 / 2

the sum over the decisions that were open in s: what the log seldom did there is valued low, unless it paid.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from agents.cql_settings import CQLSettings
from agents.logged_states import LoggedStates
from campaigns.errors import CampaignError
from policies.actor import ActorSpec
from policies.decision_values import TowerValues, ValueTowers


def train_cql(
    log: LoggedStates,
    discount: float,
    settings: CQLSettings,
    seed: int,
    *,
    checkpoint: Path | None = None,
    progress: Callable[[int], None] | None = None,
    on_resume: Callable[[int], None] | None = None,
) -> TowerValues:
    """Learns from a log, on the log's device.

    Args:
        log: N customers over T slots.
        discount: of a slot, as of `agents.logged_states.discount`.
        settings: how.
        seed: of weights and minibatches; the same seed gives the same policy on the CPU.
        checkpoint: file to resume from where it exists, and to write to on the way.
        progress: called with the minibatches done.
        on_resume: called with the minibatches that the checkpoint had already seen.
    Raises:
        CampaignError: where a loss is not finite, naming its minibatch; the last checkpoint stays.
    """
    learner = _Learner(log, discount, settings, seed)
    done = 0
    if checkpoint is not None and checkpoint.exists():
        done = learner.load(torch.load(checkpoint, map_location=log.state.device, weights_only=True))
        if on_resume is not None:
            on_resume(done)
    for step in range(done, settings.steps):
        learner.step(step)
        last = step + 1 == settings.steps
        if last or (step + 1) % settings.refresh == 0:
            learner.check(step)
            if progress is not None:
                progress(step + 1)
        if checkpoint is not None and (last or (step + 1) % settings.checkpoint_steps == 0):
            learner.check(step)
            part = checkpoint.with_suffix(".part")
            torch.save(learner.parts(step + 1), part)
            part.replace(checkpoint)
    return TowerValues(learner.network.cpu(), learner.scale, settings.temperature, "cql")


class _Learner:
    """Network, target and optimiser over the rows of a log."""

    def __init__(self, log: LoggedStates, discount: float, settings: CQLSettings, seed: int) -> None:
        self.log, self.discount, self.settings, self.seed = log, discount, settings, seed
        device = log.state.device
        # A row whose successor is not known has no target, unless nothing that follows counts.
        rows = log.usable if discount == 0 else log.onward
        self.customer, self.slot = torch.nonzero(rows, as_tuple=True)
        if not len(self.customer):
            raise CampaignError("decisions: no two known slots follow each other; leave cql out of the panel.")
        rewards = log.reward[rows]
        slots = 1.0 / (1.0 - discount) if discount < 1 else float(log.decision.shape[1])
        self.scale = max(float(rewards.std(correction=0)), 1e-6) * slots**0.5
        spec = ActorSpec(
            log.people.shape[1], log.state.shape[2], log.contents.shape[1], log.candidates.shape[3],
            width=settings.width, expected_contents=len(log.contents),
        )  # fmt: skip
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = ValueTowers(spec).to(device)
        # Values start at what the log earns on average, so that only differences have to be learned.
        torch.nn.init.constant_(self.network.hold.bias, float(rewards.mean()) * slots / self.scale)
        self.target = copy.deepcopy(self.network)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=settings.learning_rate)
        self.failed = torch.full((), settings.steps, device=device)

    def step(self, step: int) -> None:
        """One minibatch; its draw depends on the seed and its number alone."""
        if step % self.settings.refresh == 0:
            self.target.load_state_dict(self.network.state_dict())
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        drawn = torch.randint(len(self.customer), (self.settings.batch_size,), generator=generator)
        drawn = drawn.to(self.customer.device)
        loss = self._loss(self.customer[drawn], self.slot[drawn])
        # Kept on the device, so that nothing waits for it; `check` looks.
        self.failed = torch.where(loss.isfinite(), self.failed, self.failed.clamp(max=step))
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.learning_rate * (1.0 - step / self.settings.steps)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()

    def _loss(self, customer: Tensor, slot: Tensor) -> Tensor:
        log, decision = self.log, self.log.decision[customer, slot].unsqueeze(1)
        values = self._values(self.network, customer, slot)
        logged = values.gather(1, decision).squeeze(1)
        with torch.no_grad():
            wanted = log.reward[customer, slot] / self.scale
            if self.discount:
                following = slot + 1
                open_then = log.allowed[customer, following]
                best = self._values(self.network, customer, following).masked_fill(~open_then, -torch.inf).argmax(1)
                later = self._values(self.target, customer, following).gather(1, best.unsqueeze(1)).squeeze(1)
                wanted = wanted + self.discount * later
        loss: Tensor = 0.5 * (logged - wanted).square().mean()
        if self.settings.alpha:
            # What was logged counts among the open decisions, also where a guardrail of ours would have ruled it out.
            open_now = log.allowed[customer, slot].scatter(1, decision, value=True)
            spread = values.masked_fill(~open_now, -torch.inf).logsumexp(dim=1)
            loss = loss + self.settings.alpha * (spread - logged).mean()
        return loss

    def _values(self, network: ValueTowers, customer: Tensor, slot: Tensor) -> Tensor:
        log = self.log
        values: Tensor = network(
            log.people[customer], log.state[customer, slot], log.contents, log.candidates[customer, slot]
        )
        return values

    def check(self, step: int) -> None:
        """Raises where a loss up to this minibatch was not finite."""
        failed = int(self.failed)
        if failed <= step:
            raise CampaignError(
                f"agent.cql: the loss is not finite at minibatch {failed + 1} of {self.settings.steps}; "
                "lower agent.cql.learning_rate or agent.cql.gamma."
            )

    def parts(self, steps: int) -> dict[str, Any]:
        """Everything that the rest of the training depends on."""
        return {
            "steps": steps,
            "network": self.network.state_dict(),
            "target": self.target.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def load(self, parts: dict[str, Any]) -> int:
        """The inverse of `parts`. Returns minibatches done."""
        self.network.load_state_dict(parts["network"])
        self.target.load_state_dict(parts["target"])
        self.optimizer.load_state_dict(parts["optimizer"])
        return int(parts["steps"])
