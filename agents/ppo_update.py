"""PPO's gradients on a minibatch, written out (Schulman et al. 2017, eq. 7 and 9; Huang and Ontanon 2022 for masks).

The loss is SB3's: clipped surrogate with advantages normalised in the minibatch, squared error of the value, entropy
bonus. Where masks leave only the hold, its log-probability is 0 whatever the actor says, so that the actor is asked
about the other decisions alone. Activations are held for a few decisions at a time and stay in the cache. Together
this takes a fifth of what autograd over whole minibatches took.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from agents.rollout_buffer import TensorRolloutBuffer
from agents.tower_policy import MASKED, TowerPolicy
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

    def loss(self, weights: LossWeights) -> Tensor:
        """What the gradients are of."""
        return self.policy_loss - weights.entropy * self.entropy + weights.value * self.value_loss


@torch.inference_mode()
def add_gradients(policy: TowerPolicy, buffer: TensorRolloutBuffer, rows: Tensor, weights: LossWeights) -> BatchFigures:
    """Adds the gradients of a minibatch's mean loss to the parameters' `grad`.

    Args:
        policy: actor and critic; every parameter has a `grad`.
        buffer: a finished rollout.
        rows: the minibatch's decisions, from `buffer.minibatches`. Shape [B], int64.
        weights: of the loss.
    """
    advantages = buffer.advantages.flatten().index_select(0, rows)
    advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
    nothing = advantages.new_zeros(())
    figures = BatchFigures(nothing, nothing, nothing, nothing, nothing)
    held = CHUNK if rows.device.type == "cpu" else len(rows)
    for part, advantage in zip(rows.split(held), advantages.split(held), strict=True):
        moments = buffer.moments.flatten(0, 1).index_select(0, part)
        returns = buffer.returns_.flatten().index_select(0, part)
        error = _critic_gradients(policy.critic, moments, returns, weights.value / len(rows))
        place = buffer.place.flatten().index_select(0, part)
        free = torch.nonzero(place >= 0).squeeze(1)
        chosen, worth = part[free], advantage[free]
        surrogate, entropy, kl, clipped = _actor_gradients(
            policy,
            moments.index_select(0, free),
            buffer.candidates.index_select(0, place[free]),
            buffer.masks.flatten(0, 1).index_select(0, chosen),
            buffer.actions.flatten()[chosen],
            buffer.log_probs.flatten()[chosen],
            worth,
            weights,
            len(rows),
        )
        # A forced hold has a ratio of 1: its surrogate is its advantage.
        surrogate = surrogate + advantage.sum() - worth.sum()
        figures = figures + BatchFigures(-surrogate, error, entropy, kl, clipped)
    return BatchFigures(*(getattr(figures, f.name) / len(rows) for f in fields(figures)))


def _critic_gradients(critic: nn.Sequential, moments: Tensor, returns: Tensor, weight: float) -> Tensor:
    """Gradients of weight x squared errors, summed. Returns the sum of squared errors."""
    *hidden, output = critic
    passed = _activations(hidden, moments)
    error = output(passed[-1]).squeeze(1) - returns
    slope = (2 * weight * error).unsqueeze(1)
    _linear_gradients(output, passed[-1], slope)
    _tanh_gradients(hidden, passed, slope @ output.weight)
    squares: Tensor = error.square()
    return squares.sum()


def _actor_gradients(
    policy: TowerPolicy,
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
    actor, spec = policy.actor, policy.spec
    passed = _activations(list(actor.body), moments[:, : spec.customers + spec.state])
    meeting = actor.meet(passed[-1], policy.contents, candidates)
    logits = actor.logits(passed[-1], meeting).masked_fill_(~allowed, MASKED)
    log_probs = logits - logits.logsumexp(dim=1, keepdim=True)
    probs = log_probs.exp()
    entropy = -(probs * log_probs).sum(dim=1)

    log_ratio = log_probs.gather(1, actions.unsqueeze(1)).squeeze(1) - log_prob_then
    ratio = log_ratio.exp()
    surrogate = advantages * ratio
    bounded = advantages * ratio.clamp(1 - weights.clip_range, 1 + weights.clip_range)
    # The lesser of the two counts; where that is the bounded one, nothing changes with the policy.
    of_log_prob = torch.where(surrogate <= bounded, -surrogate, 0.0) / batch
    slope = probs * (log_probs + entropy.unsqueeze(1)).mul_(weights.entropy / batch).sub_(of_log_prob.unsqueeze(1))
    slope.scatter_add_(1, actions.unsqueeze(1), of_log_prob.unsqueeze(1))

    hidden = _meeting_gradients(actor, passed[-1], policy.contents, candidates, meeting, slope)
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
    towers = meeting.shape[2]
    of_scores = slope[:, 1:].contiguous()
    _add_product(actor.score.weight, of_scores.view(1, -1), meeting.view(-1, towers))
    inner = _through_tanh(of_scores.unsqueeze(2) * actor.score.weight[0], meeting)
    _add_product(actor.candidate.weight, inner.view(-1, towers).t(), candidates.view(-1, candidates.shape[2]))
    _add_product(actor.content.weight, inner.sum(dim=0).t(), contents)
    of_customer, of_hold = inner.sum(dim=1), slope[:, :1]
    _linear_gradients(actor.customer, hidden, of_customer)
    _linear_gradients(actor.hold, hidden, of_hold)
    return torch.addmm(of_hold * actor.hold.weight, of_customer, actor.customer.weight)


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
        assert isinstance(linear, nn.Linear)
        slope = _through_tanh(slope, passed[place + 1])
        _linear_gradients(linear, passed[place], slope)
        if place:
            slope = slope @ linear.weight


def _through_tanh(slope: Tensor, output: Tensor) -> Tensor:
    """Gradients before a tanh, from those of its output, which are written over."""
    through: Tensor = torch.ops.aten.tanh_backward.grad_input(slope, output, grad_input=slope)
    return through


def _linear_gradients(layer: nn.Module, inputs: Tensor, slope: Tensor) -> None:
    assert isinstance(layer, nn.Linear)
    _add_product(layer.weight, slope.t(), inputs)
    assert layer.bias.grad is not None
    layer.bias.grad += slope.sum(dim=0)


def _add_product(weight: nn.Parameter | Tensor, left: Tensor, right: Tensor) -> None:
    assert weight.grad is not None
    weight.grad.addmm_(left, right)
