"""How fast the market steps, PPO trains and policies decide, as ratios in one run: `python benchmarks/speed.py`.

Networks are of the default sizes and fitted for one epoch only, which changes no timing. Prints one JSON line a figure.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable

import pandas as pd
import torch
from sb3_contrib import MaskablePPO
from stable_baselines3.common.logger import Logger

from agents.ppo import DevicePPO
from agents.ppo_settings import PPOSettings
from agents.vec_env import MarketVecEnv
from campaigns.audience import make_catalogue, make_population
from campaigns.encoding import FeatureEncoder, fit_encoder
from campaigns.features import CANDIDATE_FEATURES, STATE_FEATURES
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


def seconds(work: Callable[[], object], repeats: int = 5) -> float:
    """Median duration of a call, in seconds, after one call to warm up."""
    work()
    taken = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return sorted(taken)[len(taken) // 2]


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
def market_step(market: Market, customers: int) -> None:
    """A market step (observation, response, draws, history) beside the bare forward of its network."""
    generator = torch.Generator().manual_seed(0)
    state = market.begin(torch.arange(customers) % len(market.pool), generator)
    decision = torch.randint(0, 1 + len(market.catalogue), (customers,), generator=generator)
    noise = torch.rand(customers, market.noise_columns, generator=generator)
    seen = market.observe(state)
    content, sent = (decision - 1).clamp(min=0), decision > 0
    contents, candidate, moment = market.catalogue.features[content], seen.candidate(content), seen.state
    forward = seconds(lambda: market.model.predictor(state.projected, moment, contents, candidate, sent, state.member))
    step = seconds(lambda: market.step(state, decision, noise))
    say("market step", customers=customers, steps_per_second=customers / step,
        bare_forward_per_second=customers / forward, share_of_bare_forward=forward / step)  # fmt: skip


def ppo(market: Market, rows: int) -> None:
    """PPO end to end: on the device, and SB3's own loop through numpy, on one market with the same networks."""
    settings = PPOSettings(rows=rows)
    episodes = Episodes(market, OBJECTIVE, rows, seed=0)
    learner = DevicePPO(MarketVecEnv(episodes), settings, seed=0)
    learner.set_logger(Logger(None, []))
    _, callback = learner._setup_learn(10**9, None)

    def update() -> None:
        learner.collect_rollouts(learner.env, callback, learner.rollout_buffer, learner.n_steps)
        learner.train()

    ours = rows * settings.rollout_slots / seconds(update, repeats=3)
    env = MarketVecEnv(Episodes(market, OBJECTIVE, rows, seed=0))
    peer = MaskablePPO(
        type(learner.policy), env, n_steps=settings.rollout_slots, batch_size=settings.batch_size,
        n_epochs=settings.epochs, gamma=settings.gamma, ent_coef=settings.entropy, device="cpu", seed=0,
        policy_kwargs=learner.policy_kwargs,
    )  # fmt: skip
    steps = rows * settings.rollout_slots
    peer.learn(steps)
    began = time.perf_counter()
    peer.learn(2 * steps)
    theirs = 2 * steps / (time.perf_counter() - began)
    say("ppo end to end", customers=rows, steps_per_second=ours, sb3_steps_per_second=theirs, ratio=ours / theirs)


def decide(log: CampaignLog, users: FeatureEncoder, contents: FeatureEncoder, customers: int) -> None:
    """`decide` of a PPO policy with 20 contents and default guardrails, DataFrames included."""
    table = pd.concat([log.contents] * 2, ignore_index=True).assign(content_id=[f"content {i}" for i in range(20)])
    people = pd.concat([log.users] * (customers // len(log.users) + 1), ignore_index=True).head(customers)
    people = people.assign(user_id=[f"u{i}" for i in range(customers)])
    spec = ActorSpec(users.width, len(STATE_FEATURES), contents.width, len(CANDIDATE_FEATURES), expected_contents=20)
    torch.manual_seed(0)
    policy = Policy("ppo", ActorChooser(Actor(spec)), None, users, contents, Guardrails(), OBJECTIVE, log.clock)
    session = policy.start(people, table)
    times = iter(pd.date_range("2025-04-01T08:00", periods=12, freq="4h"))
    taken = seconds(lambda: session.decide(next(times)), repeats=9)
    say("decide", customers=customers, contents=20, customers_per_second=customers / taken)


def main() -> None:
    """Runs all benchmarks, or those named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="market, ppo, decide; all by default")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="torch threads")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    say("machine", processor=platform.machine(), threads=chosen.threads, torch=torch.__version__)
    market, log, users, contents = default_market()
    names = chosen.names or ["market", "ppo", "decide"]
    if "market" in names:
        market_step(market, 4096)
        market_step(market, 65_536)
    if "ppo" in names:
        ppo(market, 4096)
    if "decide" in names:
        decide(log, users, contents, 100_000)


if __name__ == "__main__":
    main()
