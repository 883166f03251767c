"""Several seeds side by side: each learns what it would learn alone, and the one that earns most is kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from stable_baselines3.common.logger import Logger

from agents.ppo import DevicePPO, make_learner, train_ppo
from agents.ppo_settings import PPOSettings
from agents.ppo_update import LossWeights, add_all_gradients, add_gradients
from agents.rollout_buffer import TensorRolloutBuffer
from agents.seed_choice import SeedChoice, choose_seed
from agents.sound_training import check_finite
from agents.stacked_layers import clip_gradients, stacked, view_of
from agents.stacked_policy import StackedPolicy
from agents.tower_policy import Towers
from campaigns.errors import CampaignError
from campaigns.objective import Objective
from envs.episodes import seed_of
from policies.rules import CapDaypartContent, Never, Random
from tests.agents.test_ppo import TINY
from tests.agents.test_restraint import COST
from tests.envs.hand_made import hand_made_market, its_objective
from tests.worlds import numberless, small_market, small_world, tensors_of

SEEDS = 3
SIDE_BY_SIDE = replace(TINY, seeds=SEEDS, steps=64 * 8 * 4, forced_share=1.0)


def learner_of(settings: PPOSettings = SIDE_BY_SIDE, seed: int = 1) -> DevicePPO:
    """A learner that did not learn yet."""
    learner = make_learner(small_market(), small_world().objective, settings, seed)
    learner.set_logger(Logger(None, []))
    return learner


def rolled_out() -> DevicePPO:
    """A learner of several seeds with a finished rollout, whose weights then moved."""
    learner = learner_of()
    _, callback = learner._setup_learn(10_000, None)
    learner.collect_rollouts(learner.env, callback, learner.rollout_buffer, learner.n_steps)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in learner.policy.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return learner


def alone(learner: DevicePPO, place: int) -> Towers:
    """A copy of one seed's networks with gradients of zeros, as a single training has them."""
    policy, own = learner.policy, learner.policy.each()[place]
    actor, critic = policy.chosen_actor(place), policy.make_critic()
    critic.load_state_dict(own.critic.state_dict())
    for parameter in (*actor.parameters(), *critic.parameters()):
        parameter.grad = torch.zeros_like(parameter)
    return Towers(actor, critic, policy.contents)


@pytest.mark.parametrize("together", [False, True])
def test_each_seeds_gradients_are_those_of_the_seed_alone(together: bool) -> None:
    """One after the other, as on a processor, and in batched products, as on a GPU."""
    learner = rolled_out()
    policy, buffer, weights = learner.policy, learner.rollout_buffer, LossWeights(0.2, entropy=0.03, value=0.5)
    policy.make_gradients()
    parts = next(buffer.minibatches(300, forced_share=0.3, even=together))
    if together:
        assert isinstance(policy, StackedPolicy)
        figures = add_gradients(policy.towers(), buffer, torch.stack(parts), weights)
    else:
        assert len({len(rows) for rows in parts}) > 1
        figures = add_all_gradients(policy, buffer, parts, weights)
    losses = []
    for place, rows in enumerate(parts):
        single = alone(learner, place)
        losses.append(add_gradients(single, buffer, rows, weights).loss(weights))
        for net, all_nets in ((single.actor, policy.actor), (single.critic, policy.critic)):
            for (name, its), whole in zip(net.named_parameters(), all_nets.parameters(), strict=True):
                assert its.grad is not None
                assert whole.grad is not None
                assert bool(its.grad.abs().sum() > 0), name
                torch.testing.assert_close(whole.grad[place], its.grad, rtol=1e-4, atol=1e-6, msg=name)
    torch.testing.assert_close(figures.loss(weights), torch.stack(losses).mean())


def test_networks_side_by_side_answer_as_each_does_and_are_clipped_one_by_one() -> None:
    learner = rolled_out()
    policy, buffer = learner.policy, learner.rollout_buffer
    spec, free = policy.spec, torch.arange(SEEDS * 4)
    people, state = buffer.moments[0, free, : spec.customers + spec.state].split([spec.customers, spec.state], dim=1)
    candidates = torch.randn(len(free), len(policy.contents), spec.candidates)
    apart = policy.logits(people, state, candidates, [4] * SEEDS)
    whole = policy.towers()
    blocks = [part.view(SEEDS, 4, *part.shape[1:]) for part in (people, state, candidates)]
    together = whole.actor(blocks[0], blocks[1], whole.contents, blocks[2])
    torch.testing.assert_close(together.flatten(0, 1), apart, rtol=1e-5, atol=1e-6)
    for place in range(SEEDS):
        own = policy.chosen_actor(place)(people, state, policy.contents, candidates)
        rows = slice(4 * place, 4 * place + 4)
        torch.testing.assert_close(apart[rows], own[rows])
    policy.make_gradients()
    add_all_gradients(policy, buffer, next(buffer.minibatches(200)), LossWeights(0.2, entropy=0.03, value=0.5))
    singles = [[parameter.grad[place].clone() for parameter in policy.parameters()] for place in range(SEEDS)]
    most = 1.1 * min(float(torch.cat([part.flatten() for part in single]).norm()) for single in singles)
    clip_gradients(list(policy.parameters()), most)
    for place, single in enumerate(singles):
        norm = float(torch.cat([part.flatten() for part in single]).norm())
        for before, parameter in zip(single, policy.parameters(), strict=True):
            torch.testing.assert_close(parameter.grad[place], before * min(1.0, most / norm), rtol=1e-4, atol=1e-7)


def test_each_seed_learns_what_it_learns_alone(tmp_path: Path) -> None:
    """First weights, customers, noise and the order of minibatches are the same, so that all weights are."""
    market, objective = small_market(), small_world().objective
    train_ppo(market, objective, SIDE_BY_SIDE, seed=5, keep=tmp_path / "all")
    together = load_file(tmp_path / "all")
    single = replace(SIDE_BY_SIDE, seeds=1)
    for place in range(SEEDS):
        train_ppo(market, objective, single, seed=seed_of(5, place), keep=tmp_path / "one")
        for name, its in load_file(tmp_path / "one").items():
            mine = together[name] if name == "contents" else together[name].view(SEEDS, *its.shape)[place]
            torch.testing.assert_close(mine, its.view(mine.shape), rtol=1e-3, atol=1e-4, msg=name)


def test_the_seed_that_earns_most_is_kept() -> None:
    market, objective = hand_made_market(), its_objective()
    rules = [Never(), CapDaypartContent(16, "evening", "good"), Random(0.5)]
    choice = choose_seed(rules, [3, 4, 5], market, objective, seed=0)
    assert choice.chosen == 1
    assert choice.behind[1].value == 0
    assert choice.behind[0].low > 0
    told = choice.to_dict()
    assert [row["seed"] for row in told["seeds"]] == [3, 4, 5]
    assert told["chosen"] == 2
    assert "number 2 is kept" in choice.told()


def test_training_gives_the_actor_that_was_chosen_and_keeps_all(tmp_path: Path) -> None:
    told: list[SeedChoice] = []
    kept = tmp_path / "learned.safetensors"
    actor = train_ppo(small_market(), Objective(horizon_days=2), SIDE_BY_SIDE, seed=2, keep=kept, on_choice=told.append)
    (choice,) = told
    assert choice.earned[choice.chosen].value == max(one.value for one in choice.earned)
    assert len({one.value for one in choice.earned}) == SEEDS
    everything = load_file(kept)
    for name, value in actor.tensors().items():
        assert torch.equal(everything[f"actor.{name}"][choice.chosen], value), name


def test_training_of_several_goes_on_from_its_checkpoint_as_if_nothing_had_happened(tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def stop_late(done: int) -> None:
        if done >= 3 * 64 * 8:
            raise Stop

    settings, file = replace(SIDE_BY_SIDE, seeds=2, checkpoint_updates=2, forced_share=0.3), tmp_path / "checkpoint.pt"
    market, objective = small_market(), Objective(horizon_days=2)
    with pytest.raises(Stop):
        train_ppo(market, objective, settings, seed=2, checkpoint=file, progress=stop_late)
    resumed: list[int] = []
    train_ppo(market, objective, settings, seed=2, checkpoint=file, keep=tmp_path / "resumed", on_resume=resumed.append)
    assert resumed == [2 * 64 * 8]
    train_ppo(market, objective, settings, seed=2, keep=tmp_path / "whole")
    whole, again = load_file(tmp_path / "whole"), load_file(tmp_path / "resumed")
    assert all(torch.equal(again[name], value) for name, value in whole.items())
    for other in (1, 3):
        with pytest.raises(CampaignError, match=rf"whole: holds the weights of 2 seeds.* with {other}; say agent\.ppo"):
            train_ppo(market, objective, replace(settings, seeds=other), seed=2, start=tmp_path / "whole")
    with pytest.raises(CampaignError, match=r"checkpoint.pt: holds the weights of 2 seeds"):
        train_ppo(market, objective, replace(settings, seeds=3), seed=2, checkpoint=file)


def test_a_refit_lets_all_seeds_go_on(tmp_path: Path) -> None:
    market, objective, kept = small_market(), Objective(horizon_days=2), tmp_path / "first"
    settings = replace(SIDE_BY_SIDE, seeds=2, steps=1)
    train_ppo(market, objective, settings, seed=2, keep=kept)
    still = replace(settings, refit_steps=1, learning_rate=1e-9)
    train_ppo(market, objective, still, seed=7, start=kept, keep=tmp_path / "second")
    first, second = load_file(kept), load_file(tmp_path / "second")
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, rtol=0, atol=1e-6, msg=name)


def test_the_seed_whose_weights_are_no_numbers_is_named() -> None:
    learner = learner_of()
    check_finite(learner.policy, torch.zeros(1), 700, None, seeds=SEEDS)
    with torch.no_grad():
        learner.policy.each()[1].critic[2].bias[0] = torch.nan
    with pytest.raises(CampaignError, match=r"weights of critic.2.bias of seed 2 of 3 are not finite after 700"):
        check_finite(learner.policy, torch.zeros(1), 700, None, seeds=SEEDS)


def test_a_slot_and_an_update_of_several_seeds_look_at_no_number_as_a_gpu_must_not() -> None:
    settings = replace(SIDE_BY_SIDE, rows=24)
    learner = learner_of(settings)
    numberless(learner.episodes)
    learner.policy.to("meta")
    learner.device = torch.device("meta")
    buffer = learner.rollout_buffer
    for name, table in vars(buffer).items():
        if isinstance(table, torch.Tensor):
            setattr(buffer, name, table.to("meta"))
    slot = torch.zeros(1, dtype=torch.int64, device="meta")
    with torch.no_grad():
        for ended in ([], [3, 5, 27, 29, 51, 53]):
            learner._take_slot(slot, torch.tensor(ended, dtype=torch.int64, device="meta"))
    assert {tensor.device.type for tensor in tensors_of(learner.episodes.running())} == {"meta"}
    learner.policy.make_gradients()
    rows = torch.zeros(SEEDS, 40, dtype=torch.int64, device="meta")
    add_all_gradients(learner.policy, buffer, list(rows), LossWeights(0.2, entropy=0.03, value=0.5))
    learner.policy.clip_gradients(0.5)


def test_minibatches_of_equal_size_hold_every_decision_that_was_one_of_every_seed() -> None:
    """A seed that had fewer of them gets more of its forced holds, and none gets another's."""
    buffer = TensorRolloutBuffer(40, 60, width=3, contents=3, candidate_width=2, device="cpu", seeds=[0, 1, 2])
    share = torch.tensor([0.1, 0.3, 0.6]).repeat_interleave(20)
    free = torch.rand(40, 60, generator=torch.Generator().manual_seed(1)) < share
    buffer.place.copy_(torch.where(free, 1, -1))
    for even in (True, False):
        batches = list(buffer.minibatches(64, forced_share=0.1, even=even))
        sizes = {tuple(len(rows) for rows in parts) for parts in batches}
        for seed in range(3):
            own = torch.cat([parts[seed] for parts in batches])
            assert len(own) == len(set(own.tolist()))
            assert bool(((own % 60) // 20 == seed).all())
            chosen = torch.zeros(40 * 60, dtype=torch.bool).index_fill(0, own, value=True).view(40, 60)
            assert bool(chosen[free & (torch.arange(60) // 20 == seed)].all())
        assert all(len(set(size)) == 1 for size in sizes) == even


def test_a_view_moves_with_what_it_is_a_view_of() -> None:
    layers = [torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Tanh()) for _ in range(2)]
    whole = stacked(layers)
    one = view_of(whole, 1)
    inputs = torch.randn(5, 3)
    torch.testing.assert_close(one(inputs), layers[1](inputs))
    with torch.no_grad():
        next(whole.parameters())[1].add_(1.0)
    assert not torch.allclose(one(inputs), layers[1](inputs))
    torch.testing.assert_close(whole(inputs.expand(2, -1, -1))[1], one(inputs))


def test_each_seed_finds_prices_of_its_own_for_a_limit(tmp_path: Path) -> None:
    """The prices that each would find alone; and what a seed uses beyond the limit does not make it the best."""
    market, objective = hand_made_market(cost=COST), replace(its_objective(), budget=COST)
    settings = replace(SIDE_BY_SIDE, seeds=2)
    train_ppo(market, objective, settings, seed=5, keep=tmp_path / "all")
    together = load_file(tmp_path / "all")["prices"]
    for place in range(2):
        train_ppo(market, objective, replace(settings, seeds=1), seed=seed_of(5, place), keep=tmp_path / "one")
        torch.testing.assert_close(together[place], load_file(tmp_path / "one")["prices"][0], rtol=1e-3, atol=1e-6)
    assert not torch.equal(together[0], together[1])
    rules = [CapDaypartContent(cap, "evening", "good") for cap in (1, 2, 16)]
    for price, best in ((0.0, 2), (100.0, 0)):
        assert choose_seed(rules, [0, 1, 2], market, objective, seed=0, prices=[price]).chosen == best


def test_no_seed_at_all_is_refused() -> None:
    with pytest.raises(CampaignError, match=r"agent.ppo.seeds=0: must be at least 1"):
        PPOSettings(seeds=0)


def test_seeds_start_with_weights_of_their_own() -> None:
    learner = learner_of()
    vectors = [torch.cat([p.flatten() for p in one.actor.parameters()]) for one in learner.policy.each()]
    assert not torch.equal(vectors[0], vectors[1])
    single = learner_of(replace(SIDE_BY_SIDE, seeds=1), seed=seed_of(1, 2))
    assert torch.equal(vectors[2], torch.cat([p.flatten() for p in single.policy.actor.parameters()]))
