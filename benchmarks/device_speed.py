"""Steps a second of market, rollout, update and whole training on one device: `python -m benchmarks.device_speed`.

On a GPU slots are CUDA graphs, as in training; `--plain` adds what they cost launched one by one. Wall-clock times of
finished work. Prints one JSON line a figure; `--profile` adds where replayed slots and updates spend the device's time.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch

from agents.ppo import DevicePPO, make_learner
from agents.ppo_settings import PPOSettings
from agents.slot_graphs import SlotGraphs
from benchmarks.speed import OBJECTIVE, default_market, ready, say, tensor_bytes
from envs.episodes import Episodes
from envs.market import Market

SENDS = 0.1
"""Share of the decisions that are sends, where no policy is asked; within the default guardrails about as many are."""


def seconds_of(work: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Seconds of one call, on average, once warm."""
    work()
    _finish(device)
    began = time.perf_counter()
    for _ in range(repeats):
        work()
    _finish(device)
    return (time.perf_counter() - began) / repeats


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def profiled(work: Callable[[], object], device: torch.device) -> str:
    """The kernels on which a call spends most, as a table."""
    from torch.profiler import ProfilerActivity, profile

    work()
    _finish(device)
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as found:
        work()
        _finish(device)
    table: str = found.key_averages().table(sort_by="self_device_time_total", row_limit=22, max_name_column_width=70)
    return "\n".join(line for line in table.splitlines() if "0.000us  " not in line[-60:] or "---" in line)


@torch.no_grad()
def market_alone(market: Market, rows: int, device: torch.device, recorded: bool, repeats: int) -> Callable[[], object]:
    """Slots of episodes in the market, newcomers and rewards included, with decisions that are there already."""
    episodes = Episodes(market, OBJECTIVE, rows, seed=0, device=device)
    generator = torch.Generator(device=device).manual_seed(0)
    content = torch.randint(1, episodes.decisions, (rows,), generator=generator, device=device)
    decision = torch.where(torch.rand(rows, generator=generator, device=device) < SENDS, content, 0)
    graphs = SlotGraphs(episodes, lambda _, ended: episodes.take_slot(decision, ended)) if recorded else None

    def slot() -> None:
        if graphs is None:
            episodes.advance(decision)
        else:
            graphs.play(0, episodes.ending())

    def slots() -> None:
        for _ in range(24):
            slot()

    taken = seconds_of(slots, device, repeats) / 24
    say("market", rows=rows, recorded=recorded, milliseconds=1e3 * taken, steps_per_second=rows / taken)
    return slot


def training(market: Market, settings: PPOSettings, device: torch.device, repeats: int) -> DevicePPO:
    """PPO's rollouts and updates."""
    learner = make_learner(market, OBJECTIVE, settings, seed=0, device=device)
    collect, learn = ready(learner)
    rollout = seconds_of(collect, device, repeats)
    update = seconds_of(learn, device, repeats)
    steps = settings.seeds * settings.rows * settings.rollout_slots
    free = float(learner.rollout_buffer.masks[:, :, 1:].any(dim=2).float().mean())
    say("ppo", seeds=settings.seeds, rows=settings.rows, rollout_slots=settings.rollout_slots,
        minibatch=settings.batch_size, epochs=settings.epochs, width=settings.width,
        recorded=settings.graphs and device.type == "cuda",
        free_decisions=free, rollout_steps_per_second=steps / rollout, update_steps_per_second=steps / update,
        steps_per_second=steps / (rollout + update), mebibytes=tensor_bytes(learner) / 2**20)  # fmt: skip
    return learner


def whole_slot(learner: DevicePPO) -> None:
    """One recorded slot of a rollout."""
    assert learner.recorded is not None
    learner.recorded.play(0, learner.episodes.ending())


def main() -> None:
    """Runs all sizes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument(
        "--rows", nargs="+", type=int, default=[4096, 16_384, 65_536], help="customers that act at once"
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[1], help="that learn side by side, with `rows` each")
    parser.add_argument("--minibatches", type=int, default=6, help="in a pass over a rollout")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--precision", default="high", choices=("highest", "high", "medium"), help="of matrix products")
    parser.add_argument("--plain", action="store_true", help="also without CUDA graphs")
    parser.add_argument("--profile", action="store_true")
    chosen = parser.parse_args()
    torch.set_float32_matmul_precision(chosen.precision)
    device, on_gpu = torch.device(chosen.device), chosen.device.startswith("cuda")
    own = default_market()[0]
    market = own.to(device)
    say("machine", device=torch.cuda.get_device_name(device) if on_gpu else "cpu", torch=torch.__version__,
        threads=torch.get_num_threads(), precision=chosen.precision, network=own.model.settings().get("spec"),
        contents=len(own.catalogue), horizon_slots=OBJECTIVE.slots(own.clock))  # fmt: skip
    ways = [True, False] if on_gpu and chosen.plain else [on_gpu]
    for rows in chosen.rows:
        for recorded in ways:
            slot = market_alone(market, rows, device, recorded, chosen.repeats)
            if chosen.profile and recorded and rows == chosen.rows[-1]:
                print(profiled(slot, device), flush=True)
            settings = PPOSettings(rows=rows, graphs=recorded)
            settings = replace(settings, batch_size=-(-rows * settings.rollout_slots // chosen.minibatches))
            for count in chosen.seeds:
                learner = training(market, replace(settings, seeds=count), device, chosen.repeats)
            if chosen.profile and recorded and rows == chosen.rows[-1]:
                for work in (learner.train, partial(whole_slot, learner)):
                    print(profiled(work, device), flush=True)
            del learner, slot
            if on_gpu:
                torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
