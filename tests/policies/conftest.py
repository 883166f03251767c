"""Policies that serve the small world."""

from __future__ import annotations

import pytest

from campaigns.guardrails import Guardrails
from policies.policy import Policy
from policies.rules import Random
from tests.worlds import small_world


def make_policy(guardrails: Guardrails | None = None, **changes: object) -> Policy:
    """A random policy over the small world's tables."""
    world = small_world()
    settings = {
        "name": "random",
        "chooser": Random(0.5),
        "incumbent": None,
        "user_encoder": world.users,
        "content_encoder": world.contents,
        "guardrails": guardrails or Guardrails(holdout=0.0),
        "objective": world.objective,
        "clock": world.log.clock,
    }
    return Policy(**{**settings, **changes})  # type: ignore[arg-type]


@pytest.fixture
def policy() -> Policy:
    """A random policy under the default guardrails, nobody held out."""
    return make_policy()
