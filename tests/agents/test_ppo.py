"""PPO on the device: masks bind, rollouts agree with the policy, a checkpoint goes on bit for bit, and it learns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.buffers import MaskableRolloutBuffer
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger

from agents.ppo import DevicePPO, train_ppo
from agents.ppo_settings import PPOSettings
from agents.vec_env import MarketVecEnv
from campaigns.guardrails import NO_GUARDRAILS, Guardrails
from campaigns.history import SEND
from campaigns.objective import Objective
from envs.episodes import Episodes
from evaluation.rollout import rollout
from policies.actor import ActorChooser
from policies.chooser import Chooser
from policies.rules import CapDaypartContent, Never
from tests.envs.hand_made import GOOD, hand_made_market, its_objective
from tests.worlds import Serves, numberless, small_market, small_world, tensors_of

QUICK = PPOSettings(rows=128, rollout_slots=12, batch_size=256, epochs=6, learning_rate=3e-3, width=32, gamma=0.9)
TINY = PPOSettings(steps=64 * 8 * 6, rows=64, rollout_slots=8, batch_size=128, epochs=2, width=16, checkpoint_updates=3)


def weights(chooser: Chooser) -> torch.Tensor:
    """All weights of an actor in one vector."""
    return torch.cat([value.flatten() for value in chooser.tensors().values()])


def test_rollouts_hold_what_the_policy_did_and_never_a_forbidden_decision() -> None:
    episodes = Episodes(small_market(), small_world().objective, 64, seed=1)
    learner = DevicePPO(MarketVecEnv(episodes), TINY, seed=1)
    learner.set_logger(Logger(None, []))
    _, callback = learner._setup_learn(10_000, None)
    twin = Episodes(small_market(), small_world().objective, 64, seed=5)
    twin.load_state_dict(learner.episodes.state_dict())
    assert learner.collect_rollouts(learner.env, callback, learner.rollout_buffer, learner.n_steps)
    buffer = learner.rollout_buffer
    assert bool(buffer.masks.gather(2, buffer.actions.unsqueeze(2)).all())
    forced = ~buffer.masks[:, :, 1:].any(dim=2)
    assert 0.2 < float(forced.float().mean()) < 0.9
    assert torch.equal(buffer.place < 0, forced)
    vectors = twin.vector(twin.seen, twin.remaining)
    for slot in range(8):
        with torch.no_grad():
            values, log_probs, _ = learner.policy.evaluate_actions(vectors, buffer.actions[slot], twin.masks())
        torch.testing.assert_close(log_probs, buffer.log_probs[slot], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(values.squeeze(1), buffer.values_[slot], rtol=1e-4, atol=1e-5)
        twin.uniforms()  # of the decisions
        vectors, _ = twin.step(buffer.actions[slot])
    assert learner.num_timesteps == 64 * 8


def test_the_same_seed_trains_the_same_actor_and_another_seed_another() -> None:
    first, second, other = (train_ppo(small_market(), small_world().objective, TINY, seed) for seed in (3, 3, 4))
    assert torch.equal(weights(first), weights(second))
    assert not torch.equal(weights(first), weights(other))


def test_training_that_stopped_after_a_checkpoint_ends_in_the_same_actor(tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def stop_late(done: int) -> None:
        if done >= 5 * 64 * 8:
            raise Stop

    market, objective, file = small_market(), small_world().objective, tmp_path / "checkpoint.pt"
    with pytest.raises(Stop):
        train_ppo(market, objective, TINY, seed=2, checkpoint=file, progress=stop_late)
    resumed: list[int] = []
    second = train_ppo(market, objective, TINY, seed=2, checkpoint=file, on_resume=resumed.append)
    assert resumed == [3 * 64 * 8]
    assert torch.equal(weights(second), weights(train_ppo(market, objective, TINY, seed=2)))


def test_where_everything_is_forbidden_training_holds() -> None:
    market = small_market(Guardrails(quiet_from=0, quiet_until=24, holdout=0.0))
    chooser = train_ppo(market, Objective(horizon_days=2), TINY, seed=0)
    chances = chooser.probabilities(market.observe(market.begin(torch.arange(20), torch.Generator())))
    assert torch.equal(chances[:, 0], torch.ones(20))


def test_stock_maskable_ppo_trains_through_the_numpy_face() -> None:
    env = MarketVecEnv(Episodes(small_market(), Objective(horizon_days=2), 8, seed=0))
    learner = MaskablePPO("MlpPolicy", env, n_steps=16, batch_size=64, n_epochs=1, seed=0, device="cpu")
    learner.learn(8 * 16 * 2)
    observation = env.reset()
    actions, _ = learner.predict(observation, action_masks=env.episodes.masks().numpy())
    assert bool(env.episodes.masks().gather(1, torch.as_tensor(actions).unsqueeze(1)).all())


def test_ppo_finds_the_one_content_that_pays() -> None:
    market = small_market(NO_GUARDRAILS)
    names = [str(i) for i in market.catalogue.ids]
    cost = torch.full((len(names),), 0.1)
    cost[names.index("home_ideas")] = -1.0  # a sponsor pays for it
    market = replace(market, catalogue=replace(market.catalogue, cost=cost))
    objective = Objective(horizon_days=2, unsubscribe_cost=0.0)
    settings = replace(QUICK, steps=128 * 12 * 30)

    def worth(chooser: Chooser) -> float:
        return float(rollout(market, Serves(chooser), objective, 300, seed=9).value.mean())

    best, idle = worth(CapDaypartContent(16, "any", "home_ideas")), worth(Never())
    learned = worth(train_ppo(market, objective, settings, seed=0))
    assert (learned - idle) / (best - idle) > 0.9


def test_advantages_are_those_of_the_stock_buffer_fed_with_the_same_experience() -> None:
    """SB3 adds the discounted value of a cut episode's last observation to its reward; terminated ones get none."""
    slots, rows = 24, 40
    settings = replace(TINY, rows=rows, rollout_slots=slots, gamma=0.95, gae_lambda=0.9)
    market, objective = small_market(), Objective(horizon_days=2)
    learner = DevicePPO(MarketVecEnv(Episodes(market, objective, rows, seed=1)), settings, seed=1)
    learner.set_logger(Logger(None, []))
    _, callback = learner._setup_learn(10_000, None)
    # The same episodes once more, with the same draws: what the learner saw.
    again = Episodes(market, objective, rows, seed=5)
    again.load_state_dict(learner.episodes.state_dict())
    learner.collect_rollouts(learner.env, callback, learner.rollout_buffer, slots)
    ours = learner.rollout_buffer

    stock = MaskableRolloutBuffer(
        slots, learner.observation_space, learner.action_space, "cpu", settings.gae_lambda, settings.gamma, rows
    )
    starts, vectors = np.ones(rows, dtype=bool), again.vector(again.seen, again.remaining)
    cut = terminated = 0
    with torch.no_grad():
        for slot in range(slots):
            torch.testing.assert_close(ours.values_[slot], learner.policy.predict_values(vectors).squeeze(1))
            again.uniforms()  # of the decisions
            masks, value = again.masks().numpy(), learner.policy.predict_values(vectors)
            following, transition = again.step(ours.actions[slot])
            assert learner.reward_scale is not None
            reward = transition.reward * learner.reward_scale.float()
            torch.testing.assert_close(ours.rewards[slot], reward)
            truncated = transition.done & ~transition.terminated
            last = torch.zeros(rows).index_copy(
                0, transition.ended, learner.policy.predict_values(transition.final).squeeze(1)
            )
            bootstrapped = reward + truncated * 0.95 * last
            stock.add(
                vectors.numpy(), ours.actions[slot].numpy(), bootstrapped.numpy(), starts, value,
                ours.log_probs[slot], action_masks=masks,
            )  # fmt: skip
            starts, vectors = transition.done.numpy(), following
            cut, terminated = cut + int(truncated.sum()), terminated + int(transition.terminated.sum())
        stock.compute_returns_and_advantage(learner.policy.predict_values(vectors), starts)
    assert cut > 5
    assert terminated > 5
    np.testing.assert_allclose(ours.advantages.numpy(), stock.advantages, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(ours.returns_.numpy(), stock.returns, rtol=1e-3, atol=1e-4)


def test_undiscounted_training_stays_finite() -> None:
    learned = weights(train_ppo(small_market(), Objective(horizon_days=1), replace(TINY, gamma=1.0), seed=0))
    assert bool(torch.isfinite(learned).all())


def test_learners_that_know_no_masks_send_nothing_that_guardrails_forbid() -> None:
    market = small_market(Guardrails(quiet_from=0, quiet_until=24, holdout=0.0))
    env = MarketVecEnv(Episodes(market, Objective(horizon_days=2), 8, seed=0))
    learner = PPO("MlpPolicy", env, n_steps=16, batch_size=64, n_epochs=1, seed=0, device="cpu")
    wanted = []

    def note(local: dict[str, object], _: dict[str, object]) -> bool:
        wanted.append(np.asarray(local["actions"]).ravel())
        return True

    learner.learn(8 * 16 * 2, callback=note)
    assert (np.concatenate(wanted) > 0).mean() > 0.5  # it tried
    assert int(env.episodes.state.history.total[:, SEND].sum()) == 0


def test_the_same_critic_and_actor_are_served_as_were_trained() -> None:
    episodes = Episodes(small_market(), small_world().objective, 64, seed=1)
    learner = DevicePPO(MarketVecEnv(episodes), TINY, seed=1)
    with torch.no_grad():
        vectors = episodes.vector(episodes.seen, episodes.remaining)
        trained = learner.policy.log_probabilities(vectors, episodes.masks()).exp()
    served = ActorChooser(learner.policy.chosen_actor(), "ppo").probabilities(episodes.seen)
    torch.testing.assert_close(served, trained, rtol=1e-5, atol=1e-6)


def test_ppo_learns_to_send_the_right_content_at_the_right_hour_and_nothing_else() -> None:
    market, objective = hand_made_market(days=2), its_objective(2)
    settings = replace(QUICK, steps=128 * 12 * 40)
    learned = rollout(market, Serves(train_ppo(market, objective, settings, seed=0)), objective, 300, seed=9)
    best = rollout(market, Serves(CapDaypartContent(16, "evening", "good")), objective, 300, seed=9)
    idle = rollout(market, Serves(Never()), objective, 300, seed=9)
    gain = (learned.value.mean() - idle.value.mean()) / (best.value.mean() - idle.value.mean())
    assert 0.9 < gain <= 1 + 1e-6  # the rule is the optimum
    assert learned.heatmap[:, 18:].sum() > 0.8 * learned.sends.sum()
    assert learned.contents[:, GOOD - 1].sum() > 0.8 * learned.sends.sum()


def test_a_refit_goes_on_from_where_the_agent_stood(tmp_path: Path) -> None:
    """With steps too small to move it the refitted agent is the kept one; one that starts anew is not."""
    kept, objective = tmp_path / "learned.safetensors", small_world().objective
    first = train_ppo(small_market(), objective, TINY, seed=0, keep=kept)
    still = replace(TINY, steps=1, refit_steps=1, learning_rate=1e-9)
    again = train_ppo(small_market(), objective, still, seed=1, start=kept)
    anew = train_ppo(small_market(), objective, still, seed=1)
    torch.testing.assert_close(weights(again), weights(first), rtol=0, atol=1e-6)
    assert float((weights(anew) - weights(first)).abs().max()) > 0.05


def test_a_slot_of_a_rollout_looks_at_no_number_as_a_cuda_graph_must_not() -> None:
    learner = DevicePPO(MarketVecEnv(Episodes(small_market(), Objective(horizon_days=2), 24, seed=1)), TINY, seed=1)
    numberless(learner.episodes)
    learner.policy.to("meta")
    learner.device = torch.device("meta")
    for name, table in vars(learner.rollout_buffer).items():
        if isinstance(table, torch.Tensor):
            setattr(learner.rollout_buffer, name, table.to("meta"))
    slot = torch.zeros(1, dtype=torch.int64, device="meta")
    with torch.no_grad():
        for ended in ([], [3, 5]):
            learner._take_slot(slot, torch.tensor(ended, dtype=torch.int64, device="meta"))
    assert {tensor.device.type for tensor in tensors_of(learner.episodes.running())} == {"meta"}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_recorded_slot_gives_what_the_slot_itself_gives_and_draws_anew_each_time() -> None:
    rollouts = []
    for graphs in (True, False):
        market = small_market().to("cuda")
        episodes = Episodes(market, Objective(horizon_days=2), 96, seed=1, device="cuda")
        settings = replace(TINY, graphs=graphs, rollout_slots=16)
        learner = DevicePPO(MarketVecEnv(episodes), settings, seed=1)
        learner.set_logger(Logger(None, []))
        _, callback = learner._setup_learn(100_000, None)
        for _ in range(2):
            learner.collect_rollouts(learner.env, callback, learner.rollout_buffer, learner.n_steps)
            buffer = learner.rollout_buffer
            tables = {name: getattr(buffer, name).clone() for name in ("actions", "rewards", "moments", "following")}
            rollouts.append({name: table.cpu() for name, table in tables.items()})
    for recorded, plain in zip(rollouts[:2], rollouts[2:], strict=True):
        assert torch.equal(recorded["actions"], plain["actions"])
        for name in ("rewards", "moments", "following"):
            torch.testing.assert_close(recorded[name], plain[name], rtol=1e-4, atol=1e-4)
    assert not torch.equal(rollouts[0]["actions"], rollouts[1]["actions"])
    assert len({tuple(slot.tolist()) for slot in rollouts[1]["actions"]}) > 4


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_training_on_a_graphics_card_learns_what_it_learns_on_the_processor() -> None:
    market, objective = hand_made_market(), its_objective()
    earned = []
    for device in ("cpu", "cuda"):
        settings = replace(QUICK, steps=128 * 12 * 40)
        chooser = train_ppo(market.to(device), objective, settings, seed=2, device=device)
        earned.append(rollout(market, Serves(chooser), objective, 300, seed=7).value.mean())
    assert earned[1] == pytest.approx(earned[0], rel=0.1)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_graphics_card_nothing_waits_for_the_host_while_a_rollout_is_collected() -> None:
    class Watch(BaseCallback):
        slots = 0

        def _on_rollout_start(self) -> None:
            torch.cuda.set_sync_debug_mode("error")

        def _on_step(self) -> bool:
            self.slots += 1
            if self.slots % TINY.rollout_slots == 0:  # what follows is logged, and may wait
                torch.cuda.set_sync_debug_mode("default")
            return True

    market, watch = small_market().to("cuda"), Watch()
    learner = DevicePPO(MarketVecEnv(Episodes(market, Objective(horizon_days=1), 64, 1, device="cuda")), TINY, seed=1)
    learner.set_logger(Logger(None, []))
    _, callback = learner._setup_learn(10_000, watch)
    try:
        for _ in range(2):
            learner.collect_rollouts(learner.env, callback, learner.rollout_buffer, learner.n_steps)
            learner.train()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert watch.slots == 2 * TINY.rollout_slots
    assert all(bool(torch.isfinite(parameter).all()) for parameter in learner.policy.parameters())
