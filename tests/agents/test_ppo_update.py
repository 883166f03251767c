"""PPO's gradients as autograd finds them for SB3's loss, with ratios within and beyond the clip range."""

from __future__ import annotations

import torch
from stable_baselines3.common.logger import Logger

from agents.ppo import DevicePPO
from agents.ppo_settings import PPOSettings
from agents.ppo_update import LossWeights, add_gradients
from agents.vec_env import MarketVecEnv
from envs.episodes import Episodes
from tests.worlds import small_market, small_world

ROWS, SLOTS = 64, 6


def rolled_out() -> tuple[DevicePPO, torch.Tensor]:
    """A learner with a finished rollout, whose weights then moved, and the rollout's flat observations."""
    settings = PPOSettings(rows=ROWS, rollout_slots=SLOTS, width=16)
    learner = DevicePPO(MarketVecEnv(Episodes(small_market(), small_world().objective, ROWS, seed=1)), settings, seed=1)
    learner.set_logger(Logger(None, []))
    _, callback = learner._setup_learn(10_000, None)
    twin = Episodes(small_market(), small_world().objective, ROWS, seed=5)
    twin.load_state_dict(learner.episodes.state_dict())
    learner.collect_rollouts(learner.env, callback, learner.rollout_buffer, SLOTS)
    vectors = [twin.vector(twin.seen, twin.remaining)]
    for slot in range(SLOTS - 1):
        twin.uniforms()  # of the decisions
        vectors.append(twin.step(learner.rollout_buffer.actions[slot])[0])
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in learner.policy.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return learner, torch.cat(vectors)


def test_gradients_and_figures_are_those_of_the_loss_that_sb3_writes_down() -> None:
    learner, vectors = rolled_out()
    policy, buffer, weights = learner.policy, learner.rollout_buffer, LossWeights(0.2, entropy=0.03, value=0.5)
    (rows,) = next(buffer.minibatches(ROWS * SLOTS - 50))

    values, log_prob, entropy = policy.evaluate_actions(
        vectors[rows], buffer.actions.flatten()[rows], buffer.masks.flatten(0, 1)[rows]
    )
    advantages = buffer.advantages.flatten()[rows]
    advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
    log_ratio = log_prob - buffer.log_probs.flatten()[rows]
    ratio = log_ratio.exp()
    policy_loss = -torch.min(advantages * ratio, advantages * ratio.clamp(0.8, 1.2)).mean()
    value_loss = torch.nn.functional.mse_loss(values.flatten(), buffer.returns_.flatten()[rows])
    assert entropy is not None
    loss = policy_loss - 0.03 * entropy.mean() + 0.5 * value_loss
    loss.backward()
    wanted = {name: parameter.grad.clone() for name, parameter in policy.named_parameters()}
    assert all(bool(gradient.abs().sum() > 0) for gradient in wanted.values())

    for parameter in policy.parameters():
        parameter.grad.zero_()
    figures = add_gradients(policy.towers(), buffer, rows, weights)
    for name, parameter in policy.named_parameters():
        torch.testing.assert_close(parameter.grad, wanted[name], rtol=1e-4, atol=1e-6, msg=name)
    beyond = ((ratio - 1).abs() > 0.2).float().mean()
    assert 0.05 < float(beyond) < 0.9
    torch.testing.assert_close(figures.loss(weights), loss)
    torch.testing.assert_close(figures.policy_loss, policy_loss)
    torch.testing.assert_close(figures.value_loss, value_loss)
    torch.testing.assert_close(figures.entropy, entropy.mean())
    torch.testing.assert_close(figures.kl, (ratio - 1 - log_ratio).mean())
    torch.testing.assert_close(figures.clipped, beyond)


def test_training_moves_the_weights_as_sb3s_own_loop_would() -> None:
    """Twin learners from one seed: one trains by `train`, the other by autograd, minibatch by minibatch."""
    (ours, _), (theirs, vectors) = rolled_out(), rolled_out()
    policy, buffer = theirs.policy, theirs.rollout_buffer
    for parameter in policy.parameters():
        parameter.grad = None
    theirs._update_learning_rate(policy.optimizer)
    for _ in range(theirs.n_epochs):
        for (rows,) in buffer.minibatches(theirs.settings.batch_size, theirs.settings.forced_share):
            values, log_prob, entropy = policy.evaluate_actions(
                vectors[rows], buffer.actions.flatten()[rows], buffer.masks.flatten(0, 1)[rows]
            )
            advantages = buffer.advantages.flatten()[rows]
            advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
            ratio = (log_prob - buffer.log_probs.flatten()[rows]).exp()
            policy_loss = -torch.min(advantages * ratio, advantages * ratio.clamp(0.8, 1.2)).mean()
            value_loss = torch.nn.functional.mse_loss(values.flatten(), buffer.returns_.flatten()[rows])
            assert entropy is not None
            policy.optimizer.zero_grad()
            (policy_loss - theirs.ent_coef * entropy.mean() + theirs.vf_coef * value_loss).backward()
            torch.nn.utils.clip_grad_norm_(policy.parameters(), theirs.max_grad_norm)
            policy.optimizer.step()
    ours.train()
    for (name, mine), its in zip(ours.policy.named_parameters(), policy.parameters(), strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-3, atol=1e-5, msg=name)
