"""A linear bandit of weekly plans as a policy: what a week is worth, from one shared parameter vector.

The features of a week and a plan are never written out for all plans: an estimate is the sum of a head for the
frequency and, times the sends, one for the daypart and one for the content.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from campaigns.audience import Catalogue
from campaigns.clock import DAYPARTS
from campaigns.features import candidate_names
from campaigns.guardrails import Guardrails
from campaigns.observation import Observation
from campaigns.plan_features import PLAN_FEATURES, plan_features
from campaigns.plans import CHOICES, NO_PLAN, PLAN_DAYPARTS, PlanMenu
from policies.chooser import register
from policies.plans import PlanChooser, menu_of


def situation(observation: Observation) -> Tensor:
    """1, customer and what is known. Shape [N, B], float32."""
    people = observation.population.features
    return torch.cat([people.new_ones(len(people), 1), people, plan_features(observation)], dim=1)


def block_sizes(menu: PlanMenu, customers: int, catalogue: Catalogue) -> list[int]:
    """Widths of the blocks of `week_features`.

    The situation; it by frequency; 1, customer and dayparts by daypart; attributes and candidate features of the
    content; attributes by customer; 1 and customer by choice.

    Args:
        menu: of the plans.
        customers: width of their features, Fu.
        catalogue: of the contents.
    """
    base = 1 + customers + len(PLAN_FEATURES)
    contents = catalogue.features.shape[1]
    by_daypart = 1 + customers + 2 * len(DAYPARTS)
    return [
        base,
        len(menu.frequencies) * base,
        len(PLAN_DAYPARTS) * by_daypart,
        contents + len(candidate_names(catalogue.tells_channels)),
        contents * customers,
        len(CHOICES) * (1 + customers),
    ]


def week_features(observation: Observation, menu: PlanMenu, plan: Tensor) -> Tensor:
    """Features of a customer's week under a plan; all but the first block are 0 where nothing is sent.

    Args:
        observation: of N customers, when the plan is made.
        menu: of the plans.
        plan: Shape [N], int64.
    Returns:
        Shape [N, D], float32.
    """
    catalogue, people = observation.catalogue, observation.population.features
    known, contents = situation(observation), len(catalogue)
    frequency, daypart, choice = menu.places(plan, contents)
    sends = _share(menu, people)[frequency].unsqueeze(1)
    by_frequency = one_hot(frequency, 1 + len(menu.frequencies)).float()[:, 1:]
    by_daypart = one_hot(daypart, len(PLAN_DAYPARTS)).float() * sends
    single = (choice < contents).float().unsqueeze(1) * sends
    content = choice.clamp(max=contents - 1)
    attributes = catalogue.features[content] * single
    by_choice = one_hot((choice - contents).clamp(min=-1) + 1, 1 + len(CHOICES)).float()[:, 1:] * sends
    own = known[:, : 1 + people.shape[1]]
    return torch.cat(
        [
            known,
            _crossed(by_frequency, known),
            _crossed(by_daypart, _daypart_situation(known, people)),
            attributes,
            observation.candidate(content) * single,
            _crossed(attributes, people),
            _crossed(by_choice, own),
        ],
        dim=1,
    )


def plan_estimates(theta: Tensor, observation: Observation, menu: PlanMenu) -> Tensor:
    """What each plan adds to a week without sends: `week_features` of it times theta, less those of nothing.

    Args:
        theta: one vector for all, shape [D], or one for each customer, shape [N, D].
        observation, menu: as for `week_features`.
    Returns:
        Shape [N, P].
    """
    catalogue, people = observation.catalogue, observation.population.features
    rows, users, contents = len(people), people.shape[1], catalogue.features
    _, *parts = theta.expand(rows, -1).split(block_sizes(menu, users, catalogue), dim=1)
    known = situation(observation)

    def head(part: Tensor, features: Tensor) -> Tensor:
        return torch.einsum("nhf,nf->nh", part.view(rows, -1, features.shape[1]), features)

    frequency = head(parts[0], known)
    daypart = head(parts[1], _daypart_situation(known, people))
    attributes, relative = parts[2].split([contents.shape[1], observation.candidates.shape[2]], dim=1)
    taste = attributes + torch.einsum("nxu,nu->nx", parts[3].view(rows, -1, users), people)
    single = taste @ contents.T + torch.einsum("nkc,nc->nk", observation.candidates, relative)
    choice = torch.cat([single, head(parts[4], known[:, : 1 + users])], dim=1)
    sends = _share(menu, people)[1:, None, None]
    added = frequency[:, :, None, None] + sends * (daypart[:, None, :, None] + choice[:, None, None, :])
    return torch.cat([people.new_zeros(rows, 1 + NO_PLAN), added.flatten(1)], dim=1)


def _share(menu: PlanMenu, like: Tensor) -> Tensor:
    """Sends a day of nothing and of each frequency. Shape [1 + F]."""
    return like.new_tensor((0, *menu.frequencies)) / 7


def _daypart_situation(known: Tensor, people: Tensor) -> Tensor:
    """1, customer, and sends and open rates by daypart, which stand last. Shape [N, 1 + Fu + 8]."""
    return torch.cat([known[:, : 1 + people.shape[1]], known[:, -2 * len(DAYPARTS) :]], dim=1)


def _crossed(left: Tensor, right: Tensor) -> Tensor:
    return (left.unsqueeze(2) * right.unsqueeze(1)).flatten(1)


@register
class PlanLinearChooser(PlanChooser):
    """Chooses the plan with the highest estimate for the week.

    Args:
        theta: Shape [D].
        menu, guardrails: of its plans.
    """

    kind = "plan_linear"

    def __init__(self, theta: Tensor, menu: PlanMenu, guardrails: Guardrails) -> None:
        super().__init__(menu, guardrails)
        self.theta = theta

    def scores(self, observation: Observation) -> Tensor:
        """Estimates. Shape [N, P]."""
        return plan_estimates(self.theta, observation, self.menu)

    def tensors(self) -> dict[str, Tensor]:
        """Parameters by name."""
        return {"theta": self.theta}

    @classmethod
    def restore(cls, settings: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> PlanLinearChooser:
        """The inverse of `settings` and `tensors`."""
        return cls(tensors["theta"], *menu_of(settings))
