"""The two-tower actor: scores of contents come from their features, so it decides over contents it never saw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from campaigns.observation import Observation
from policies.chooser import Chooser, register


@dataclass(frozen=True)
class ActorSpec:
    """Sizes of the actor.

    Attributes:
        customers, state, contents, candidates: widths Fu, Fs, Fx, Fc of its inputs.
        width: hidden width of the customer tower.
        towers: width in which customer, content and candidate meet.
        send_prior: probability of a send that the untrained actor gives where everything is allowed.
        expected_contents: K, of the training catalogue, for which `send_prior` holds.
    """

    customers: int
    state: int
    contents: int
    candidates: int
    width: int = 64
    towers: int = 32
    send_prior: float = 0.1
    expected_contents: int = 10


class Actor(nn.Module):
    """Logits of hold and of every content.

    The logit of content j for customer i is w . tanh(U h_i + V x_j + C c_ij), with h the customer tower's output,
    x the content's attributes and c its candidate-relative features; hold has a logit of its own from h.
    """

    def __init__(self, spec: ActorSpec) -> None:
        super().__init__()
        self.spec = spec
        self.body = nn.Sequential(
            nn.Linear(spec.customers + spec.state, spec.width),
            nn.Tanh(),
            nn.Linear(spec.width, spec.width),
            nn.Tanh(),
        )
        self.hold = nn.Linear(spec.width, 1)
        self.customer = nn.Linear(spec.width, spec.towers)
        self.content = nn.Linear(spec.contents, spec.towers, bias=False)
        self.candidate = nn.Linear(spec.candidates, spec.towers, bias=False)
        self.score = nn.Linear(spec.towers, 1, bias=False)
        for layer in (self.hold, self.score):
            nn.init.orthogonal_(layer.weight, gain=0.01)
        odds = (1.0 - spec.send_prior) / spec.send_prior
        nn.init.constant_(self.hold.bias, float(torch.log(torch.tensor(odds * spec.expected_contents))))

    def forward(self, customers: Tensor, state: Tensor, contents: Tensor, candidates: Tensor) -> Tensor:
        """Logits. Several actors side by side (`agents.stacked_layers`) take a leading dimension more in everything.

        Args:
            customers: Shape [N, Fu].
            state: Shape [N, Fs].
            contents: Shape [K, Fx].
            candidates: Shape [N, K, Fc].
        Returns:
            Shape [N, 1 + K].
        """
        hidden = self.body(torch.cat([customers, state], dim=-1))
        return self.logits(hidden, self.meet(hidden, contents, candidates))

    def meet(self, hidden: Tensor, contents: Tensor, candidates: Tensor) -> Tensor:
        """Where the customer tower's output [N, width], contents and candidates meet. Shape [N, K, towers]."""
        # In place, since these are by far the largest tensors and fetching fresh memory for them took longest.
        meeting: Tensor = self.candidate(candidates)
        meeting += self.content(contents).unsqueeze(-3)
        meeting += self.customer(hidden).unsqueeze(-2)
        return meeting.tanh_()

    def logits(self, hidden: Tensor, meeting: Tensor) -> Tensor:
        """Logits of hold and of every content from what `meet` gave. Shape [N, 1 + K]."""
        return torch.cat([self.hold(hidden), self.score(meeting).squeeze(-1)], dim=-1)


@register
class ActorChooser(Chooser):
    """A trained actor as a policy.

    Args:
        actor: the network.
        name: of the agent that trained it.
    """

    kind = "actor"

    def __init__(self, actor: Actor, name: str = "ppo") -> None:
        self.actor = actor.eval()
        self.name = name

    @torch.no_grad()
    def probabilities(self, observation: Observation) -> Tensor:
        """Softmax over the allowed decisions. Shape [N, 1 + K]."""
        logits = self.actor(
            observation.population.features, observation.state, observation.catalogue.features, observation.candidates
        )
        chances: Tensor = logits.masked_fill(~observation.allowed, -torch.inf).softmax(dim=1)
        return chances

    def settings(self) -> dict[str, Any]:
        """JSON-able settings."""
        return {"spec": asdict(self.actor.spec), "name": self.name}

    def tensors(self) -> dict[str, Tensor]:
        """Weights by name."""
        return {name: value.detach().cpu().contiguous() for name, value in self.actor.state_dict().items()}

    @classmethod
    def restore(cls, settings: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> ActorChooser:
        """The inverse of `settings` and `tensors`."""
        actor = Actor(ActorSpec(**settings["spec"]))
        actor.load_state_dict(dict(tensors))
        return cls(actor, settings["name"])
