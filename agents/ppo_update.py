"""PPO's gradients on a minibatch, written out (Schulman et al. 2017, eq. 7 and 9; Huang and Ontanon 2022 for masks).

The loss is SB3's: clipped surrogate with advantages normalised in the minibatch, squared error of the value, entropy
bonus. Where masks leave only the hold, its log-probability is 0 whatever the actor says, so that the actor is asked
about the other decisions alone. Activations are held for a few decisions at a time and stay in the cache. Together
this takes a fifth of what autograd over whole minibatches took.

Several agents side by side (`agents.stacked_layers`) have the very same formulas, with a leading dimension S in
everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from agents.rollout_buffer import TensorRolloutBuffer
from agents.stacked_layers import StackedLinear
from agents.tower_policy import MASKED, TowerPolicy, Towers
from policies.actor import Actor

CHUNK = 2048
"""Decisions whose activations are held at once; on a GPU, whose memory is wide, those of a whole minibatch."""


@dataclass(frozen=True)
class LossWeights:
    """Of the loss: policy + entropy x negative entropy + value x squared error.

    Attributes:
        clip_range: of the probability ratio.
        entropy: weight.
        value: weight.
    """

    clip_range: float
    entropy: float
    value: float


@dataclass(frozen=True)
class BatchFigures:
    """Means over a minibatch, as SB3 logs them. Tensors without dimensions, so that nothing waits for a device.

    Attributes:
        policy_loss: clipped surrogate, negative.
        value_loss: squared error.
        entropy: of the decisions' probabilities.
        kl: approximate KL divergence from the policy that acted (Schulman 2020, k3).
        clipped: share of decisions whose ratio lay beyond the clip range.
    """

    policy_loss: Tensor
    value_loss: Tensor
    entropy: Tensor
    kl: Tensor
    clipped: Tensor

    def __add__(self, other: BatchFigures) -> BatchFigures:
        return BatchFigures(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def divided(self, by: int) -> BatchFigures:
        """Means of sums."""
        return BatchFigures(*(getattr(self, f.name) / by for f in fields(self)))

    def loss(self, weights: LossWeights) -> Tensor:
        """What the gradients are of."""
        return self.policy_loss - weights.entropy * self.entropy + weights.value * self.value_loss


def add_all_gradients(
    policy: TowerPolicy, buffer: TensorRolloutBuffer, parts: Sequence[Tensor], weights: LossWeights
) -> BatchFigures:
    """Adds the gradients of each agent's minibatch to its own parameters' `grad`.

    Args:
        policy: actors and critics.
        buffer: a finished rollout.
        parts: the agents' minibatches, from `buffer.minibatches`; all as large where the policy is not `apart`.
        weights: of the loss.
    Returns:
        Means over the agents.
    """
    if policy.apart():
        each = zip(policy.each(), parts, strict=True)
        found = [add_gradients(towers, buffer, rows, weights) for towers, rows in each]
        return sum(found[1:], start=found[0]).divided(len(found))
    return add_gradients(policy.towers(), buffer, torch.stack(list(parts)), weights)


@torch.inference_mode()
def add_gradients(towers: Towers, buffer: TensorRolloutBuffer, rows: Tensor, weights: LossWeights) -> BatchFigures:
    """Adds the gradients of a minibatch's mean loss to the parameters' `grad`.

    Args:
        towers: actor and critic; every parameter has a `grad`.
        buffer: a finished rollout.
        rows: the minibatch's decisions, from `buffer.minibatches`. Shape [B], int64; of agents side by side [S, B].
        weights: of the loss.
    """
    batch = rows.shape[-1]
    advantages = _taken(buffer.advantages, rows)
    advantages = (advantages - advantages.mean(-1, keepdim=True)) / (advantages.std(-1, keepdim=True) + 1e-8)
    nothing = advantages.new_zeros(())
    figures = BatchFigures(nothing, nothing, nothing, nothing, nothing)
    held = CHUNK if rows.device.type == "cpu" else batch
    for part, advantage in zip(rows.split(held, -1), advantages.split(held, -1), strict=True):
        moments, returns = _taken(buffer.moments, part), _taken(buffer.returns_, part)
        error = _critic_gradients(towers.critic, moments, returns, weights.value / batch)
        place, chosen, worth = _taken(buffer.place, part), part, advantage
        if part.dim() == 1:
            free = torch.nonzero(place >= 0).squeeze(1)
            place, chosen, worth, moments = place[free], part[free], advantage[free], moments.index_select(0, free)
        surrogate, entropy, kl, clipped = _actor_gradients(
            towers,
            moments,
            # Agents side by side have forced holds, too, whose candidates count for nothing.
            _taken(buffer.candidates.unsqueeze(0), place.clamp(min=0)),
            _taken(buffer.masks, chosen),
            _taken(buffer.actions, chosen),
            _taken(buffer.log_probs, chosen),
            worth,
            weights,
            batch,
        )
        # A forced hold has a ratio of 1: its surrogate is its advantage.
        surrogate = surrogate + advantage.sum() - worth.sum()
        figures = figures + BatchFigures(-surrogate, error, entropy, kl, clipped)
    return figures.divided(rows.numel())


def _taken(table: Tensor, rows: Tensor) -> Tensor:
    """The decisions at `rows` [..., B] of a table [T, N, ...]. Shape [..., B, ...]."""
    return table.flatten(0, 1).index_select(0, rows.flatten()).view(*rows.shape, *table.shape[2:])


def _critic_gradients(critic: nn.Sequential, moments: Tensor, returns: Tensor, weight: float) -> Tensor:
    """Gradients of weight x squared errors, summed. Returns the sum of squared errors."""
    *hidden, output = critic
    passed = _activations(hidden, moments)
    error = output(passed[-1]).squeeze(-1) - returns
    slope = (2 * weight * error).unsqueeze(-1)
    _linear_gradients(output, passed[-1], slope)
    _tanh_gradients(hidden, passed, slope @ output.weight)
    squares: Tensor = error.square()
    return squares.sum()


def _actor_gradients(
    towers: Towers,
    moments: Tensor,
    candidates: Tensor,
    allowed: Tensor,
    actions: Tensor,
    log_prob_then: Tensor,
    advantages: Tensor,
    weights: LossWeights,
    batch: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of P decisions' part in the loss of a minibatch of `batch`.

    Returns:
        Sums over the P decisions: clipped surrogate, entropy, approximate KL divergence, ratios beyond the clip range.
    """
    actor, spec = towers.actor, towers.actor.spec
    passed = _activations(list(actor.body), moments[..., : spec.customers + spec.state])
    meeting = actor.meet(passed[-1], towers.contents, candidates)
    logits = actor.logits(passed[-1], meeting).masked_fill_(~allowed, MASKED)
    log_probs = logits - logits.logsumexp(dim=-1, keepdim=True)
    probs = log_probs.exp()
    entropy = -(probs * log_probs).sum(dim=-1)

    log_ratio = log_probs.gather(-1, actions.unsqueeze(-1)).squeeze(-1) - log_prob_then
    ratio = log_ratio.exp()
    surrogate = advantages * ratio
    bounded = advantages * ratio.clamp(1 - weights.clip_range, 1 + weights.clip_range)
    # The lesser of the two counts; where that is the bounded one, nothing changes with the policy.
    of_log_prob = torch.where(surrogate <= bounded, -surrogate, 0.0) / batch
    slope = probs * (log_probs + entropy.unsqueeze(-1)).mul_(weights.entropy / batch).sub_(of_log_prob.unsqueeze(-1))
    slope.scatter_add_(-1, actions.unsqueeze(-1), of_log_prob.unsqueeze(-1))

    hidden = _meeting_gradients(actor, passed[-1], towers.contents, candidates, meeting, slope)
    _tanh_gradients(list(actor.body), passed, hidden)
    beyond = ((ratio - 1).abs() > weights.clip_range).sum()
    return torch.min(surrogate, bounded).sum(), entropy.sum(), (ratio - 1 - log_ratio).sum(), beyond


def _meeting_gradients(
    actor: Actor, hidden: Tensor, contents: Tensor, candidates: Tensor, meeting: Tensor, slope: Tensor
) -> Tensor:
    """Gradients of the actor's layers above its body, from those of its logits, `slope` [P, 1 + K].

    Returns:
        Those of `hidden`. Shape [P, width].
    """
    of_scores = slope[..., 1:].contiguous()
    _add_product(actor.score.weight, of_scores.flatten(-2).unsqueeze(-2), meeting.flatten(-3, -2))
    inner = _through_tanh(of_scores.unsqueeze(-1) * actor.score.weight.unsqueeze(-3), meeting)
    _add_product(actor.candidate.weight, inner.flatten(-3, -2).mT, candidates.flatten(-3, -2))
    _add_product(actor.content.weight, inner.sum(dim=-3).mT, contents)
    of_customer, of_hold = inner.sum(dim=-2), slope[..., :1]
    _linear_gradients(actor.customer, hidden, of_customer)
    _linear_gradients(actor.hold, hidden, of_hold)
    added = torch.addmm if hidden.dim() == 2 else torch.baddbmm
    through: Tensor = added(of_hold * actor.hold.weight, of_customer, actor.customer.weight)
    return through


def _activations(layers: list[nn.Module], inputs: Tensor) -> list[Tensor]:
    """The inputs and the outputs of each of L linear layers with its tanh; L + 1 tensors."""
    passed = [inputs]
    for linear in layers[::2]:
        passed.append(linear(passed[-1]).tanh_())
    return passed


def _tanh_gradients(layers: list[nn.Module], passed: list[Tensor], slope: Tensor) -> None:
    """Gradients of the layers that `_activations` went through, from those of the last one's output."""
    for place in reversed(range(len(passed) - 1)):
        linear = layers[2 * place]
        assert isinstance(linear, nn.Linear | StackedLinear)
        slope = _through_tanh(slope, passed[place + 1])
        _linear_gradients(linear, passed[place], slope)
        if place:
            slope = slope @ linear.weight


def _through_tanh(slope: Tensor, output: Tensor) -> Tensor:
    """Gradients before a tanh, from those of its output, which are written over."""
    through: Tensor = torch.ops.aten.tanh_backward.grad_input(slope, output, grad_input=slope)
    return through


def _linear_gradients(layer: nn.Module, inputs: Tensor, slope: Tensor) -> None:
    assert isinstance(layer, nn.Linear | StackedLinear)
    _add_product(layer.weight, slope.mT, inputs)
    assert layer.bias is not None
    assert layer.bias.grad is not None
    layer.bias.grad += slope.sum(dim=-2)


def _add_product(weight: nn.Parameter | Tensor, left: Tensor, right: Tensor) -> None:
    assert weight.grad is not None
    if weight.dim() == 2:
        weight.grad.addmm_(left, right)
    else:
        weight.grad.baddbmm_(left, right)
