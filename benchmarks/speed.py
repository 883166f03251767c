"""How fast the market steps, PPO trains and policies decide, as ratios in one run: `python benchmarks/speed.py`.

Networks are of the default sizes and fitted for one epoch only, which changes no timing. Prints one JSON line a figure;
speeds are per processor second of one thread, what is compared takes turns.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import pandas as pd
import torch
from sb3_contrib import MaskablePPO
from stable_baselines3.common.logger import Logger

from agents.ppo import DevicePPO, make_learner
from agents.ppo_settings import PPOSettings
from agents.vec_env import MarketVecEnv
from campaigns.audience import knows_channels, make_catalogue, make_population
from campaigns.encoding import FeatureEncoder, fit_encoder
from campaigns.features import STATE_FEATURES, candidate_names
from campaigns.grid import make_grid
from campaigns.guardrails import Guardrails
from campaigns.logs import CampaignLog, LogSettings, make_log
from campaigns.objective import Objective
from campaigns.replay import decision_rows
from envs.episodes import Episodes
from envs.market import Market, make_market
from envs.reference.simulate import simulate
from envs.reference.variants import find_variant
from policies.actor import Actor, ActorChooser, ActorSpec
from policies.policy import Policy
from propensity.fit import fit_network
from propensity.fit_settings import FitSettings

OBJECTIVE = Objective()


def seconds(work: Callable[[], object]) -> float:
    """Processor seconds of a call: on one thread those of a quiet clock, whatever else the machine does."""
    began = time.process_time()
    work()
    return time.process_time() - began


def in_turn(works: Sequence[Callable[[], object]], repeats: int = 9) -> list[float]:
    """Median processor seconds of each of several calls that take turns, after one round to warm up."""
    rounds = [[seconds(work) for work in works] for _ in range(1 + repeats)]
    return [statistics.median(taken) for taken in zip(*rounds[1:], strict=True)]


def say(name: str, **figures: object) -> None:
    """Prints one figure."""
    shown = {key: float(f"{value:.4g}") if isinstance(value, float) else value for key, value in figures.items()}
    print(json.dumps({"benchmark": name, **shown}), flush=True)


def default_market() -> tuple[Market, CampaignLog, FeatureEncoder, FeatureEncoder]:
    """A market with the default network over 2,000 simulated customers."""
    log = make_log(simulate(find_variant("ecommerce"), 2000, 28, seed=0), LogSettings())
    users, contents = fit_encoder(log.users, "users"), fit_encoder(log.contents, "contents")
    catalogue = make_catalogue(log.contents, contents, OBJECTIVE)
    people = make_population(log.users, users, catalogue.channels, "UTC", holdout=0.0)
    grid = make_grid(log)
    rows = decision_rows(grid, people, catalogue, log.clock)
    model = fit_network(rows, people, catalogue, FitSettings(epochs=1), seed=0)
    slots = OBJECTIVE.horizon_days * log.clock.slots_per_day
    market = make_market(model, people, catalogue, log.clock, Guardrails(holdout=0.0), grid.first_slot, slots)
    return market, log, users, contents


@torch.no_grad()
def market_step(market: Market, customers: int, sends: float) -> None:
    """A market step (observation, response, draws, history) beside the bare forward of its network.

    The bare forward is the whole network from features that are ready, one member a customer: embedding and first
    layers of the customers, both trunks and all heads, whatever was decided. A step keeps the customers' part for an
    episode and asks about sends alone where there is one; `share_of_kept_forward` leaves out what is kept.

    Args:
        market, customers: where and how many.
        sends: share of the decisions; policies within the default guardrails send in about one slot of ten.
    """
    generator = torch.Generator().manual_seed(0)
    state = market.begin(torch.arange(customers) % len(market.pool), generator)
    content = torch.randint(0, len(market.catalogue), (customers,), generator=generator)
    decision = torch.where(torch.rand(customers, generator=generator) < sends, 1 + content, 0)
    noise = torch.rand(customers, market.noise_columns, generator=generator)
    seen, network = market.observe(state), market.model.predictor
    contents, candidate, moment = market.catalogue.features[content], seen.candidate(content), seen.state
    everyone = torch.ones(customers, dtype=torch.bool)

    def forward(projected: torch.Tensor) -> object:
        return network(projected, moment, contents, candidate, everyone, state.member)

    features = state.population.features
    whole, kept, step = in_turn(
        [
            lambda: forward(network.project_customers(features)),
            lambda: forward(state.projected),
            lambda: market.step(state, decision, noise),
        ]
    )
    say("market step", customers=customers, sends=sends, customers_per_second=customers / step,
        bare_forward_per_second=customers / whole, share_of_bare_forward=whole / step,
        share_of_kept_forward=kept / step)  # fmt: skip


def ppo(market: Market, rows: int) -> None:
    """PPO on the device, and SB3's own loop through numpy, on one market with the same networks and epochs.

    The peer is sb3-contrib's `MaskablePPO` as it is, its numpy buffer and `train`, in the batched market: the dear part
    of a usual SB3 set-up, one Python environment a customer, is spared it.
    """
    settings = PPOSettings(rows=rows)
    learner = make_learner(market, OBJECTIVE, settings, seed=0)
    peer = MaskablePPO(
        type(learner.policy), MarketVecEnv(Episodes(market, OBJECTIVE, rows, seed=0)),
        n_steps=settings.rollout_slots, batch_size=settings.batch_size, n_epochs=settings.epochs,
        gamma=settings.gamma, ent_coef=settings.entropy, device="cpu", seed=0,
        policy_kwargs=learner.policy_kwargs,
    )  # fmt: skip
    works = [*ready(learner), *ready(peer)]
    rollout, update, peer_rollout, peer_update = in_turn(works, repeats=3)
    steps = rows * settings.rollout_slots
    free = float(learner.rollout_buffer.masks[:, :, 1:].any(dim=2).float().mean())
    say("ppo", customers=rows, horizon_slots=OBJECTIVE.slots(market.clock), rollout_slots=settings.rollout_slots,
        minibatch=settings.batch_size, epochs=settings.epochs, width=settings.width, free_decisions=free,
        rollout_steps_per_second=steps / rollout, update_steps_per_second=steps / update,
        steps_per_second=steps / (rollout + update), sb3_rollout_steps_per_second=steps / peer_rollout,
        sb3_update_steps_per_second=steps / peer_update, sb3_steps_per_second=steps / (peer_rollout + peer_update),
        ratio=(peer_rollout + peer_update) / (rollout + update))  # fmt: skip


def ready(learner: MaskablePPO) -> tuple[Callable[[], object], Callable[[], object]]:
    """A learner's rollout and its update, to be called in turn."""
    learner.set_logger(Logger(None, []))
    _, callback = learner._setup_learn(10**12, None)
    collect = partial(
        learner.collect_rollouts, learner.env, callback, learner.rollout_buffer, learner.n_steps  # type: ignore[arg-type]
    )  # fmt: skip
    return collect, learner.train


def seeds(market: Market, rows: int, counts: Sequence[int]) -> None:
    """Agents that learn side by side, beside as many that learn one after the other.

    Args:
        market: where.
        rows: customers of each seed that act at once.
        counts: how many seeds.
    """
    alone = PPOSettings(rows=rows)
    learners = {count: make_learner(market, OBJECTIVE, replace(alone, seeds=count), seed=0) for count in (1, *counts)}
    times = in_turn([work for learner in learners.values() for work in ready(learner)], repeats=5)
    taken = {count: times[2 * place : 2 * place + 2] for place, count in enumerate(learners)}
    for count, learner in learners.items():
        rollout, update = taken[count]
        steps, held = count * rows * alone.rollout_slots, tensor_bytes(learner)
        say("seeds", seeds=count, rows_a_seed=rows, rollout_steps_per_second=steps / rollout,
            update_steps_per_second=steps / update, steps_per_second=steps / (rollout + update),
            steps_per_second_a_seed=steps / count / (rollout + update), mebibytes=held / 2**20,
            ratio_to_one_after_the_other=count * sum(taken[1]) / (rollout + update))  # fmt: skip


def tensor_bytes(learner: DevicePPO) -> int:
    """Bytes of what grows with the number of seeds: rollout, networks and the customers' states."""
    held = [*vars(learner.rollout_buffer).values(), *learner.policy.state_dict().values()]
    parts = [learner.episodes.running()]
    while parts:
        for value in parts.pop().values():
            (parts if isinstance(value, dict) else held).append(value)
    return sum(value.nbytes for value in held if isinstance(value, torch.Tensor))


def decide(log: CampaignLog, users: FeatureEncoder, contents: FeatureEncoder, customers: int) -> None:
    """`decide` of a PPO policy with 20 contents and default guardrails, DataFrames included."""
    table = pd.concat([log.contents] * 2, ignore_index=True).assign(content_id=[f"content {i}" for i in range(20)])
    people = pd.concat([log.users] * (customers // len(log.users) + 1), ignore_index=True).head(customers)
    people = people.assign(user_id=[f"u{i}" for i in range(customers)])
    told = len(candidate_names(knows_channels(contents)))
    spec = ActorSpec(users.width, len(STATE_FEATURES), contents.width, told, expected_contents=20)
    torch.manual_seed(0)
    policy = Policy("ppo", ActorChooser(Actor(spec)), None, users, contents, Guardrails(), OBJECTIVE, log.clock)
    session = policy.start(people, table)
    times = iter(pd.date_range("2025-04-01T08:00", periods=12, freq="4h"))
    (taken,) = in_turn([lambda: session.decide(next(times))])
    say("decide", customers=customers, contents=20, customers_per_second=customers / taken)


def main() -> None:
    """Runs all benchmarks, or those named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="market, ppo, decide (all three by default), seeds")
    parser.add_argument("--seeds", nargs="+", type=int, default=[2, 4, 8], help="that learn side by side, for `seeds`")
    parser.add_argument("--rows", nargs="+", type=int, default=[512, 2048], help="customers of each, for `seeds`")
    parser.add_argument("--threads", type=int, default=1, help="torch threads; with several, processor seconds of all")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    market, log, users, contents = default_market()
    say("machine", device="cpu", processor=platform.machine(), threads=chosen.threads, torch=torch.__version__,
        network=market.model.settings().get("spec"), contents=len(market.catalogue))  # fmt: skip
    names = chosen.names or ["market", "ppo", "decide"]
    if "market" in names:
        for customers in (4096, 65_536):
            for sends in (1.0, 0.1):
                market_step(market, customers, sends)
    if "ppo" in names:
        ppo(market, 4096)
    if "seeds" in names:
        for rows in chosen.rows:
            seeds(market, rows, chosen.seeds)
    if "decide" in names:
        decide(log, users, contents, 100_000)


if __name__ == "__main__":
    main()
