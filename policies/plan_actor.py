"""The actor of weekly plans: joint logits from heads for frequency and daypart and the contents' towers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from campaigns.guardrails import Guardrails
from campaigns.observation import Observation
from campaigns.plan_features import plan_features
from campaigns.plans import CHOICES, PLAN_DAYPARTS, PlanMenu
from policies.actor import Actor, ActorSpec
from policies.chooser import register
from policies.plans import PlanChooser, menu_of


class PlanActor(Actor):
    """Logits of every plan.

    The logit of a plan is the sum of one for its frequency, one for its daypart and one for what it sends; doing
    nothing has one of its own. Single contents are scored by `Actor`'s towers, so that new ones can be planned.

    Args:
        spec: `state` is the width of `plan_features`.
        menu: of the plans.
    """

    def __init__(self, spec: ActorSpec, menu: PlanMenu) -> None:
        super().__init__(spec)
        self.frequency = nn.Linear(spec.width, len(menu.frequencies))
        self.daypart = nn.Linear(spec.width, len(PLAN_DAYPARTS))
        self.choice = nn.Linear(spec.width, len(CHOICES))
        for layer in (self.frequency, self.daypart, self.choice):
            nn.init.orthogonal_(layer.weight, gain=0.01)
            nn.init.zeros_(layer.bias)

    def forward(self, customers: Tensor, state: Tensor, contents: Tensor, candidates: Tensor) -> Tensor:
        """Logits; arguments as for `Actor`. Shape [N, P]."""
        hidden = self.body(torch.cat([customers, state], dim=1))
        hold, scores = self.logits(hidden, self.meet(hidden, contents, candidates)).split([1, len(contents)], dim=1)
        choices = torch.cat([scores, self.choice(hidden)], dim=1)
        sends = (
            self.frequency(hidden)[:, :, None, None]
            + self.daypart(hidden)[:, None, :, None]
            + choices[:, None, None, :]
        )
        return torch.cat([hold, sends.flatten(1)], dim=1)


@register
class PlanActorChooser(PlanChooser):
    """A trained actor of plans as a policy.

    Args:
        actor: the network.
        menu, guardrails: of its plans.
    """

    kind = "plan_actor"

    def __init__(self, actor: PlanActor, menu: PlanMenu, guardrails: Guardrails) -> None:
        super().__init__(menu, guardrails)
        self.actor = actor.eval()

    def scores(self, observation: Observation) -> Tensor:
        """The actor's logits. Shape [N, P]."""
        logits: Tensor = self.actor(
            observation.population.features,
            plan_features(observation),
            observation.catalogue.features,
            observation.candidates,
        )
        return logits

    def settings(self) -> dict[str, Any]:
        """JSON-able settings."""
        return super().settings() | {"spec": asdict(self.actor.spec)}

    def tensors(self) -> dict[str, Tensor]:
        """Weights by name."""
        return {name: value.detach().cpu().contiguous() for name, value in self.actor.state_dict().items()}

    @classmethod
    def restore(cls, settings: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> PlanActorChooser:
        """The inverse of `settings` and `tensors`."""
        menu, guardrails = menu_of(settings)
        actor = PlanActor(ActorSpec(**settings["spec"]), menu)
        actor.load_state_dict(dict(tensors))
        return cls(actor, menu, guardrails)
