"""The actor and its critic behind SB3's policy interface, for PPO on flat observation vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from torch import Tensor, nn

from policies.actor import Actor, ActorSpec

MASKED = -1e9
"""Logit of what is masked: so low that its probability is 0."""


@dataclass(frozen=True)
class Towers:
    """One agent's networks; or those of S agents as one (`agents.stacked_layers`), whose every tensor leads with S.

    Attributes:
        actor, critic: of the agent.
        contents: encoded contents. Shape [K, Fx].
    """

    actor: Actor
    critic: nn.Sequential
    contents: Tensor


def moment_width(spec: ActorSpec) -> int:
    """Numbers of a moment; see `moments`."""
    return spec.customers + spec.state + 1 + 3 * spec.candidates


def moments(customers: Tensor, state: Tensor, remaining: Tensor, candidate_range: Tensor) -> Tensor:
    """What the critic sees of N customers; what the actor sees but for candidates stands first.

    Args:
        customers: Shape [N, Fu].
        state: Shape [N, Fs].
        remaining: share of the horizon left. Shape [N, 1].
        candidate_range: mean, maximum and minimum over the contents; see `Observation`. Shape [N, 3 Fc].
    Returns:
        Shape [N, Fu + Fs + 1 + 3 Fc].
    """
    return torch.cat([customers, state, remaining, candidate_range], dim=1)


class TowerPolicy(MaskableActorCriticPolicy):
    """Two-tower actor with a separate critic that alone sees how much of the horizon is left.

    The actor cannot see the time left, because nobody who serves it knows it. Observation vectors are as
    `envs.episodes.Episodes.vector` lays them out.

    Args:
        observation_space, action_space, lr_schedule: from SB3.
        spec: `ActorSpec` as a dict.
        contents: encoded contents as nested lists, shape [K, Fx].
        critic_width: hidden width of the critic.
    """

    contents: Tensor

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Discrete,
        lr_schedule: Any,
        spec: dict[str, Any],
        contents: list[list[float]],
        critic_width: int = 64,
        **kwargs: Any,
    ) -> None:
        self.spec = ActorSpec(**spec)
        self.content_rows = contents
        self.critic_width = critic_width
        super().__init__(observation_space, action_space, lr_schedule, **kwargs)

    def make_actor(self) -> Actor:
        """An untrained actor."""
        return Actor(self.spec)

    def make_critic(self) -> nn.Sequential:
        """An untrained critic."""
        width = self.critic_width
        return nn.Sequential(
            nn.Linear(moment_width(self.spec), width),
            nn.Tanh(),
            nn.Linear(width, width),
            nn.Tanh(),
            nn.Linear(width, 1),
        )

    def make_towers(self) -> tuple[Actor, nn.Sequential]:
        """Untrained actor and critic, drawn one after the other."""
        return self.make_actor(), self.make_critic()

    def _build(self, lr_schedule: Any) -> None:
        spec = self.spec
        self.actor, self.critic = self.make_towers()
        contents = torch.tensor(self.content_rows, dtype=torch.float32).view(-1, spec.contents)
        self.register_buffer("contents", contents)
        parameters = [*self.actor.parameters(), *self.critic.parameters()]
        self.optimizer = torch.optim.Adam(parameters, lr=lr_schedule(1), eps=1e-5, fused=True)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return super()._get_constructor_parameters() | {
            "spec": asdict(self.spec),
            "contents": self.content_rows,
            "critic_width": self.critic_width,
        }

    def _split(self, vectors: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        spec = self.spec
        customers, state, remaining, candidates = vectors.split(
            [spec.customers, spec.state, 1, vectors.shape[1] - spec.customers - spec.state - 1], dim=1
        )
        return customers, state, remaining, candidates.view(len(vectors), len(self.contents), spec.candidates)

    def towers(self) -> Towers:
        """All networks as one."""
        return Towers(self.actor, self.critic, self.contents)

    def each(self) -> Sequence[Towers]:
        """The networks of each agent that learns."""
        return [self.towers()]

    def apart(self) -> bool:
        """Whether the agents are asked one after the other, and learn so."""
        return True

    def values(self, moment: Tensor) -> Tensor:
        """What the critic expects of moments. Shape [N, F] -> [N]."""
        value: Tensor = self.critic(moment)
        return value.squeeze(1)

    def logits(self, customers: Tensor, state: Tensor, candidates: Tensor, counts: Sequence[int] | None) -> Tensor:
        """The actor's logits.

        Args:
            customers, state, candidates: as for `Actor`.
            counts: how many rows each agent that learns has, in its order; None where all have as many.
        """
        logits: Tensor = self.actor(customers, state, self.contents, candidates)
        return logits

    def make_gradients(self) -> None:
        """Gives every parameter a gradient of zeros, into which all later ones are written."""
        for parameter in self.parameters():
            parameter.grad = torch.zeros_like(parameter)

    def clip_gradients(self, most: float) -> None:
        """Shortens the gradient of each agent that learns to a norm of at most `most`."""
        nn.utils.clip_grad_norm_(self.parameters(), most)

    def log_probabilities(self, vectors: Tensor, masks: Any) -> Tensor:
        """Log-probabilities of all decisions, so low where masked that the probability is 0. Shape [B, 1 + K]."""
        customers, state, _, candidates = self._split(vectors)
        logits = self.logits(customers, state, candidates, None)
        if masks is not None:
            allowed = torch.as_tensor(masks, dtype=torch.bool, device=logits.device).view_as(logits)
            logits = logits.masked_fill(~allowed, MASKED)
        log_probs: Tensor = logits.log_softmax(dim=1)
        return log_probs

    def predict_values(self, obs: Tensor) -> Tensor:  # type: ignore[override] # observations are never dicts here
        """Value of each observation vector. Shape [B, 1]."""
        customers, state, remaining, candidates = self._split(obs)
        pooled = torch.cat([candidates.mean(1), candidates.amax(1), candidates.amin(1)], dim=1)
        return self.values(moments(customers, state, remaining, pooled)).unsqueeze(1)

    def forward(
        self, obs: Tensor, deterministic: bool = False, action_masks: Any = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Decisions [B], values [B, 1] and log-probabilities [B]."""
        log_probs = self.log_probabilities(obs, action_masks)
        actions = log_probs.argmax(dim=1) if deterministic else torch.multinomial(log_probs.exp(), 1).squeeze(1)
        return actions, self.predict_values(obs), log_probs.gather(1, actions.unsqueeze(1)).squeeze(1)

    def evaluate_actions(
        self, obs: Tensor, actions: Tensor, action_masks: Any = None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Values [B, 1], log-probabilities [B] of `actions`, and entropies [B]."""
        log_probs = self.log_probabilities(obs, action_masks)
        entropy = -(log_probs.exp() * log_probs.clamp(min=-1e6)).sum(dim=1)
        return self.predict_values(obs), log_probs.gather(1, actions.view(-1, 1)).squeeze(1), entropy

    def _predict(  # type: ignore[override] # observations are never dicts here
        self, observation: Tensor, deterministic: bool = False, action_masks: Any = None
    ) -> Tensor:
        return self.forward(observation, deterministic, action_masks)[0]

    def set_training_mode(self, mode: bool) -> None:
        """Nothing here behaves differently in training."""
        self.training = mode

    def chosen_actor(self, place: int = 0) -> Actor:
        """A copy of an agent's actor that serves without SB3."""
        actor = self.make_actor()
        actor.load_state_dict(self.each()[place].actor.state_dict())
        return actor

    def obs_to_tensor(self, observation: Any) -> tuple[Tensor, bool]:
        """Observation vectors as a batch on the policy's device, and whether they were one already."""
        batch = np.asarray(observation, dtype=np.float32)
        return torch.as_tensor(np.atleast_2d(batch), device=self.device), batch.ndim == 2
