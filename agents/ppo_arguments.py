"""Settings of PPO, on slots and on weekly plans, as arguments of sb3-contrib's MaskablePPO."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from agents.plan_settings import PlanPPOSettings
from agents.ppo_settings import PPOSettings
from campaigns.audience import Catalogue
from policies.actor import ActorSpec


def learner_arguments(settings: PPOSettings | PlanPPOSettings) -> dict[str, Any]:
    """How it learns. The learning rate falls linearly to a tenth."""
    return {
        "learning_rate": lambda left: settings.learning_rate * (0.1 + 0.9 * left),
        "batch_size": settings.batch_size,
        "n_epochs": settings.epochs,
        "gamma": settings.gamma,
        "gae_lambda": settings.gae_lambda,
        "clip_range": settings.clip_range,
        "ent_coef": settings.entropy,
    }


def tower_arguments(spec: ActorSpec, catalogue: Catalogue) -> dict[str, Any]:
    """What a `TowerPolicy` is made of; the critic is as wide as the actor."""
    return {"spec": asdict(spec), "contents": catalogue.features.tolist(), "critic_width": spec.width}
