"""Training stops at the step at which a number is none, and goes on only from weights that fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from agents.plan_ppo import train_plan_ppo
from agents.ppo import train_ppo
from agents.sound_training import check_finite
from campaigns.errors import CampaignError
from campaigns.objective import Objective
from envs.market import Market
from tests.agents.test_plan_agents import SHORT, TINY_PPO
from tests.agents.test_ppo import TINY
from tests.worlds import small_market, small_world


class BreaksDown:
    """A market whose answers turn into NaN after some slots."""

    def __init__(self, market: Market, slots: int) -> None:
        self.market, self.left = market, slots

    def __getattr__(self, name: str) -> object:
        return getattr(self.market, name)

    def step(self, *arguments: object) -> object:
        state, outcome = self.market.step(*arguments)  # type: ignore[arg-type]
        self.left -= 1
        if self.left < 0:
            outcome = replace(outcome, expected_value=torch.full_like(outcome.expected_value, torch.nan))
        return state, outcome


def test_a_market_that_breaks_down_stops_training_and_leaves_the_last_good_checkpoint(tmp_path: Path) -> None:
    market, kept = BreaksDown(small_market(), slots=4 * TINY.rollout_slots), tmp_path / "checkpoint.pt"
    decisions = 5 * TINY.rollout_slots * TINY.rows
    with pytest.raises(CampaignError, match=f"rewards of the market are not finite after {decisions:,} decisions"):
        train_ppo(market, small_world().objective, TINY, seed=1, checkpoint=kept)  # type: ignore[arg-type]
    resumed: list[int] = []
    train_ppo(small_market(), small_world().objective, TINY, seed=1, checkpoint=kept, on_resume=resumed.append)
    assert resumed == [TINY.checkpoint_updates * TINY.rollout_slots * TINY.rows]


def test_a_weight_that_is_no_number_is_named_with_the_step(tmp_path: Path) -> None:
    layer, rewards = torch.nn.Linear(2, 1), torch.zeros(3)
    check_finite(layer, rewards, 700, None)
    layer.bias.data[0] = torch.inf
    with pytest.raises(CampaignError, match=r"weights of bias are not finite after 700 decisions; lower agent\.ppo"):
        check_finite(layer, rewards, 700, tmp_path / "there is none.pt")


def test_weights_of_another_contents_table_are_refused_with_the_difference(tmp_path: Path) -> None:
    market, kept = small_market(), tmp_path / "learned.safetensors"
    train_ppo(market, Objective(horizon_days=2), replace(TINY, steps=1), seed=1, keep=kept)
    features = market.catalogue.features.clone()
    features[1] += 1.0
    dearer = replace(market, catalogue=replace(market.catalogue, features=features))
    with pytest.raises(CampaignError, match=r"learned.safetensors: .*contents in rows 1 have other features"):
        train_ppo(dearer, Objective(horizon_days=2), replace(TINY, steps=1), seed=1, start=kept)
    with pytest.raises(CampaignError, match=r"has shape .* there and .* here"):
        train_ppo(market, Objective(horizon_days=2), replace(TINY, steps=1, width=24), seed=1, start=kept)


def test_weekly_plans_stop_too_and_go_on_from_their_checkpoint_as_if_nothing_had_happened(tmp_path: Path) -> None:
    kept, settings = tmp_path / "checkpoint.pt", replace(TINY_PPO, plans=4 * TINY_PPO.rows, checkpoint_updates=1)
    whole = train_plan_ppo(small_market(), SHORT, settings, seed=1)
    # SHORT has one week of 12 slots, which the scale of rewards takes once more before the first update.
    market = BreaksDown(small_market(), slots=4 * 12)
    with pytest.raises(
        CampaignError, match=r"agent plan_ppo: rewards of the market are not finite after 128 .* last good"
    ):
        train_plan_ppo(market, SHORT, settings, seed=1, checkpoint=kept)  # type: ignore[arg-type]
    resumed: list[int] = []
    again = train_plan_ppo(small_market(), SHORT, settings, seed=9, checkpoint=kept, on_resume=resumed.append)
    assert resumed == [3 * TINY_PPO.rows]
    for name, value in whole.tensors().items():
        assert torch.equal(again.tensors()[name], value), name


def test_weights_of_other_plans_or_contents_are_refused_with_the_difference(tmp_path: Path) -> None:
    market, kept, file = small_market(), tmp_path / "learned.safetensors", tmp_path / "checkpoint.pt"
    two = replace(TINY_PPO, plans=2 * TINY_PPO.rows, checkpoint_updates=1)
    train_plan_ppo(market, SHORT, two, seed=1, keep=kept, checkpoint=file)
    for given in ({"start": kept}, {"checkpoint": file}):
        with pytest.raises(CampaignError, match=r"actor.frequency.bias has shape \(5,\) there and \(2,\) here"):
            train_plan_ppo(market, SHORT, replace(two, frequencies=[1, 2]), seed=1, **given)
    catalogue = market.catalogue
    dearer = replace(
        market, catalogue=replace(catalogue, features=catalogue.features + torch.eye(*catalogue.features.shape))
    )
    with pytest.raises(CampaignError, match=r"checkpoint.pt: .*contents in rows 0, 1, 2, 3, 4 have other features"):
        train_plan_ppo(dearer, SHORT, two, seed=1, checkpoint=file)
