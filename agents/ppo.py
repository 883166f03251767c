"""PPO whose rollouts never leave the device: sb3-contrib's MaskablePPO with its own collection and storage.

Rollout, advantages and update are three steps (`collect_rollouts`, `TensorRolloutBuffer.finish`, `train`); SB3's
logger, callbacks, schedules, `save` and `load` stay as they are. Rewards are conditional expectations under the law
that the draws use. Several seeds learn side by side, as agents of their own that share a market's steps.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from sb3_contrib import MaskablePPO
from stable_baselines3.common.logger import Logger
from torch import Tensor

from agents.dual_ascent import DualAscents
from agents.ppo_arguments import learner_arguments, tower_arguments
from agents.ppo_checkpoint import load_checkpoint, load_learned, save_checkpoint, save_learned
from agents.ppo_settings import PPOSettings
from agents.ppo_update import BatchFigures, LossWeights, add_all_gradients
from agents.rollout_buffer import TensorRolloutBuffer
from agents.seed_choice import SeedChoice, choose_seed
from agents.slot_graphs import SlotGraphs
from agents.sound_training import check_finite
from agents.stacked_policy import StackedPolicy
from agents.tower_policy import MASKED, TowerPolicy, moment_width, moments
from agents.vec_env import MarketVecEnv
from campaigns.features import STATE_FEATURES, candidate_names
from campaigns.history import HOLD
from campaigns.objective import Objective
from envs.episodes import Episodes, seed_of
from envs.world import World
from evaluation.limits import limits_of
from policies.actor import ActorChooser, ActorSpec
from policies.chooser import sample


class DevicePPO(MaskablePPO):
    """MaskablePPO over an `Episodes` batch; see the module.

    Args:
        env: whose rows are those of all seeds.
        settings: how each learns.
        seed: of the first; the others have `seed_of` it.
    """

    policy: TowerPolicy
    rollout_buffer: TensorRolloutBuffer  # type: ignore[assignment] # nothing of SB3's reads it

    def __init__(self, env: MarketVecEnv, settings: PPOSettings, seed: int, **kwargs: Any) -> None:
        self.settings = settings
        self.seeds = [seed_of(seed, agent) for agent in range(settings.seeds)]
        self.reward_scale: Tensor | None = None
        objective = env.episodes.objective
        limited = bool(limits_of(objective)) and not objective.sends_nothing
        self.limits = DualAscents(objective, env.episodes.device, settings.seeds) if limited else None
        self.recorded: SlotGraphs | None = None
        market = env.episodes.market
        spec = ActorSpec(
            market.pool.features.shape[1],
            len(STATE_FEATURES),
            market.catalogue.features.shape[1],
            len(candidate_names(market.catalogue.tells_channels)),
            width=settings.width,
            expected_contents=len(market.catalogue),
        )
        torch.manual_seed(seed)
        env.seed(seed)
        alone = settings.seeds == 1
        super().__init__(
            TowerPolicy if alone else StackedPolicy,
            env,
            n_steps=settings.rollout_slots,
            policy_kwargs=tower_arguments(spec, market.catalogue) | ({} if alone else {"seeds": self.seeds}),
            seed=seed,
            device=env.episodes.device,
            **learner_arguments(settings),
            **kwargs,
        )

    def _setup_model(self) -> None:
        """As SB3, but the rollout buffer is a tensor buffer."""
        self.rollout_buffer_class = _NoBuffer  # type: ignore[assignment]
        super()._setup_model()
        spec = self.policy.spec
        self.rollout_buffer = TensorRolloutBuffer(
            self.n_steps,
            self.episodes.rows,
            moment_width(spec),
            len(self.episodes.market.catalogue),
            spec.candidates,
            self.device,
            self.seeds,
        )

    @property
    def episodes(self) -> Episodes:
        """The running episodes."""
        env = self.env
        assert isinstance(env, MarketVecEnv)
        assert isinstance(env.episodes, Episodes)
        return env.episodes

    @torch.no_grad()
    def collect_rollouts(
        self,
        env: Any,
        callback: Any,
        rollout_buffer: Any,
        n_rollout_steps: int,
        use_masking: bool = True,
    ) -> bool:
        """Fills the buffer on the device. Returns False where a callback asked to stop."""
        episodes, buffer = self.episodes, rollout_buffer
        callback.on_rollout_start()
        buffer.clear()
        if self.limits is not None:
            self.charges = torch.zeros_like(buffer.rewards)
        graphs = self._graphs()
        for slot in range(n_rollout_steps):
            ended = episodes.ending()
            if graphs is None:
                self._take_slot(slot, ended)
            else:
                graphs.play(slot, ended)
            self.num_timesteps += self.settings.rows
            callback.update_locals(locals())
            if not callback.on_step():
                return False
        now = self.policy.values(self._moments())
        after = torch.cat([buffer.values_[1:], now.unsqueeze(0)])
        torch.where(buffer.done, buffer.following, after, out=buffer.following)
        by_seed = buffer.by_agent(buffer.rewards)
        if self.reward_scale is None:
            scales = [_reward_scale(rewards, self.gamma, episodes.horizon) for rewards in by_seed.unbind(1)]
            self.reward_scale = torch.tensor(scales, dtype=torch.float64, device=self.device)
        self._log_earned(by_seed.mean(dim=(0, 2)) * episodes.horizon)
        self.logger.record("rollout/sends_per_slot", float((buffer.actions > 0).float().mean()))
        if self.limits is not None:
            self._price_limits(self.charges)
        by_seed *= self.reward_scale.float().unsqueeze(1)
        buffer.finish(self.gamma, self.gae_lambda)
        callback.on_rollout_end()
        return True

    def _log_earned(self, earned: Tensor) -> None:
        """What each seed earns a customer over a horizon, and the mean of them. `earned` [S]."""
        self.logger.record("rollout/value_per_horizon", float(earned.mean()))
        if len(earned) > 1:
            for number, value in enumerate(earned.tolist(), start=1):
                self.logger.record(f"rollout/value_per_horizon_{number}", value)

    def _price_limits(self, charges: Tensor) -> None:
        """Takes what this rollout is charged off its rewards, and moves the prices of the next. `charges` [T, N]."""
        assert self.limits is not None
        buffer = self.rollout_buffer
        moved = list(self.limits.ascend(buffer.by_agent(buffer.rewards), self.episodes.horizon))
        buffer.rewards -= charges
        for name, price, used in moved:
            self.logger.record(f"limits/{name}_price", price)
            self.logger.record(f"limits/{name}_used", used)

    def _moments(self) -> Tensor:
        """What the critic sees now; see `tower_policy.moments`."""
        seen, remaining = self.episodes.seen, self.episodes.remaining
        return moments(seen.population.features, seen.state, remaining.unsqueeze(1), seen.candidate_range)

    def _graphs(self) -> SlotGraphs | None:
        """Slots as CUDA graphs, on a GPU; not where limits are priced, since prices move between rollouts."""
        if self.device.type != "cuda" or self.limits is not None or not self.settings.graphs:
            return None
        if self.recorded is None:
            self.recorded = SlotGraphs(self.episodes, self._take_slot)
        return self.recorded

    def _take_slot(self, slot: int | Tensor, ended: Tensor) -> None:
        """Decides for all rows, moves them on by a slot, and fills that slot of the buffer; see `put` there."""
        episodes, buffer = self.episodes, self.rollout_buffer
        seen = self._moments()
        buffer.put(slot, moments=seen, values_=self.policy.values(seen))
        actions = self._decide(slot)
        transition = episodes.take_slot(actions, ended)
        buffer.put(slot, actions=actions, rewards=transition.reward, done=transition.done)
        if self.limits is not None:
            assert isinstance(slot, int)
            lost = transition.outcome.expected_unsubscribed
            self.charges[slot] = self.limits.charge(actions, lost, episodes.market.catalogue)
        if len(ended):
            last = self.policy.predict_values(transition.final).squeeze(1)
            last = torch.where(transition.terminated[ended], 0.0, last)
            buffer.put(slot, following=torch.zeros_like(transition.reward).index_copy(0, ended, last))

    def _decide(self, slot: int | Tensor) -> Tensor:
        """Decisions of all rows, shape [N]. Where hold is forced nobody is asked; on a GPU all are, since it would have
        to wait for how many are free."""
        buffer, seen, masks = self.rollout_buffer, self.episodes.seen, self.episodes.masks()
        uniform = self.episodes.uniforms()
        chooses = masks[:, 1:].any(dim=1)
        asked = (seen.population.features, seen.state, masks, uniform)
        if self.device.type == "cpu":
            assert isinstance(slot, int)
            free = torch.nonzero(chooses).squeeze(1)
            candidates = buffer.add_candidates(slot, free, seen.candidates)
            people, state, allowed, chance = (part.index_select(0, free) for part in asked)
            counts = chooses.view(len(self.seeds), -1).sum(dim=1).tolist()
            actions, taken = self._choose(people, state, allowed, chance, candidates, counts)
            actions = torch.full_like(buffer.actions[slot], HOLD).index_copy_(0, free, actions)
            taken = torch.zeros_like(uniform).index_copy_(0, free, taken)
        else:
            buffer.put_all_candidates(slot, chooses, seen.candidates)
            actions, taken = self._choose(*asked, seen.candidates)
        buffer.put(slot, masks=masks, log_probs=taken)
        return actions

    def _choose(
        self,
        people: Tensor,
        state: Tensor,
        masks: Tensor,
        uniform: Tensor,
        candidates: Tensor,
        counts: list[int] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Decisions of P rows, `counts` of each seed, and their log-probabilities. Shape [P] each."""
        logits = self.policy.logits(people, state, candidates, counts)
        log_probs = logits.masked_fill_(~masks, MASKED).log_softmax(dim=1)
        actions = sample(log_probs.exp(), uniform)
        return actions, log_probs.gather(1, actions.unsqueeze(1)).squeeze(1)

    def train(self) -> None:
        """One pass of SB3's `train` over the rollout, with the gradients of `ppo_update`."""
        self._update_learning_rate(self.policy.optimizer)
        clip_range = float(self.clip_range(self._current_progress_remaining))  # type: ignore[operator]
        weights = LossWeights(clip_range, self.ent_coef, self.vf_coef)
        policy, buffer, optimizer = self.policy, self.rollout_buffer, self.policy.optimizer
        policy.make_gradients()
        epochs: list[list[BatchFigures]] = []
        for _ in range(self.n_epochs):
            epochs.append([])
            for parts in buffer.minibatches(
                self.settings.batch_size, self.settings.forced_share, even=not policy.apart()
            ):
                optimizer.zero_grad(set_to_none=False)
                epochs[-1].append(add_all_gradients(policy, buffer, parts, weights))
                policy.clip_gradients(self.max_grad_norm)
                optimizer.step()
            self._n_updates += 1
        self._log_update(epochs, weights)

    def _log_update(self, epochs: list[list[BatchFigures]], weights: LossWeights) -> None:
        """Under the names that SB3 gives them; the KL divergence is the last epoch's."""

        def mean(name: str) -> float:
            batches = epochs[-1] if name == "kl" else itertools.chain(*epochs)
            return float(torch.stack([getattr(batch, name) for batch in batches]).mean())

        record = self.logger.record
        record("train/entropy_loss", -mean("entropy"))
        record("train/policy_gradient_loss", mean("policy_loss"))
        record("train/value_loss", mean("value_loss"))
        record("train/approx_kl", mean("kl"))
        record("train/clip_fraction", mean("clipped"))
        record("train/loss", float(epochs[-1][-1].loss(weights)))
        record("train/explained_variance", float(self.rollout_buffer.explained_variance()))
        record("train/n_updates", self._n_updates, exclude="tensorboard")
        record("train/clip_range", weights.clip_range)


class _NoBuffer:
    """Stands in while SB3 sets up, so that no numpy buffer is allocated."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass


def make_learner(
    market: World[Any], objective: Objective, settings: PPOSettings, seed: int, device: torch.device | str = "cpu"
) -> DevicePPO:
    """An untrained learner in a market; arguments as for `train_ppo`."""
    rows, expected = settings.seeds * settings.rows, settings.expected_reward
    episodes = Episodes(market, objective, rows, seed, expected=expected, device=device, agents=settings.seeds)
    return DevicePPO(MarketVecEnv(episodes), settings, seed)


def train_ppo(
    market: World[Any],
    objective: Objective,
    settings: PPOSettings,
    seed: int,
    *,
    device: torch.device | str = "cpu",
    checkpoint: Path | None = None,
    start: Path | None = None,
    keep: Path | None = None,
    logger: Logger | None = None,
    progress: Callable[[int], None] | None = None,
    on_resume: Callable[[int], None] | None = None,
    on_choice: Callable[[SeedChoice], None] | None = None,
) -> ActorChooser:
    """Trains PPO in a market, `settings.seeds` agents side by side.

    Args:
        market: where.
        objective: what for.
        settings: how.
        seed: the same seed gives the same actor on the CPU; agent i learns what one alone learns from `seed_of` it.
        device: of market and networks.
        checkpoint: file to resume from where it exists, and to write to on the way.
        start: what an earlier training kept, in another market of the same contents: training goes on from there, for
            `settings.refit_steps` decisions.
        keep: file for what such a training starts from.
        logger: SB3's, for TensorBoard; silent by default.
        progress: called with the decisions of each seed so far.
        on_resume: called with the decisions that the checkpoint had already taken.
        on_choice: called with what each of several seeds earns.
    Returns:
        The trained actor; of several the one that earns most in the market, also where all of them are kept.
    Raises:
        CampaignError: where a number is none, at that step; the last checkpoint stays. Where checkpoint or start were
            learned for other contents or features.
    """
    learner = make_learner(market, objective, settings, seed, device)
    learner.set_logger(logger or Logger(None, []))
    per_update = settings.rows * settings.rollout_slots
    updates = max(1, round((settings.steps if start is None else settings.refit_steps) / per_update))
    done = 0
    if start is not None:
        load_learned(learner, start)
    _, callback = learner._setup_learn(updates * per_update, None)
    if checkpoint is not None and checkpoint.exists():
        done = load_checkpoint(learner, checkpoint)
        if on_resume is not None:
            on_resume(done * per_update)
    for update in range(done, updates):
        learner.collect_rollouts(learner.env, callback, learner.rollout_buffer, learner.n_steps)
        learner._update_current_progress_remaining(learner.num_timesteps, updates * per_update)
        learner.train()
        check_finite(
            learner.policy, learner.rollout_buffer.rewards, learner.num_timesteps, checkpoint, seeds=settings.seeds
        )
        learner.logger.dump(step=learner.num_timesteps)
        if checkpoint is not None and (update + 1) % settings.checkpoint_updates == 0:
            save_checkpoint(learner, update + 1, checkpoint)
        if progress is not None:
            progress((update + 1) * per_update)
    if keep is not None:
        save_learned(learner, keep)
    actors = [ActorChooser(learner.policy.chosen_actor(place).cpu(), "ppo") for place in range(settings.seeds)]
    if settings.seeds == 1:
        return actors[0]
    prices = () if learner.limits is None else learner.limits.mean_prices()
    choice = choose_seed(actors, learner.seeds, market.to("cpu"), objective, seed, prices)
    if on_choice is not None:
        on_choice(choice)
    return actors[choice.chosen]


def _reward_scale(rewards: Tensor, gamma: float, slots: int) -> float:
    """Brings returns to order 1, so that value and policy gradients share one clipping norm.

    A return sums about 1 / (1 - gamma) rewards, undiscounted all `slots` of an episode.
    """
    horizon = 1.0 / (1.0 - gamma) if gamma < 1 else float(slots)
    typical = max(float(rewards.mean().abs()) * horizon, float(rewards.std()) * horizon**0.5, 1e-8)
    return float(1.0 / typical)
