"""A second process that computes a run's independent stages ahead, into the cache that both processes share.

Stages are cached by content and locked while they are computed, so all that the run itself has to do is to ask for
them: it finds them finished, waits for the one that is under way, or computes it. Nothing depends on who was first.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from conf.schema import RunConfig
from scripts.pipeline.agent_stage import agent_stage, plain_rules, trained_names
from scripts.pipeline.context import JUDGE, TRAIN, Study
from scripts.pipeline.fit_stage import incumbent_stage, network_stage
from scripts.pipeline.judge_stage import INCUMBENT, worlds_stage

SLOWEST = "ppo"
"""The agent that the run itself trains; all others are trained beside it."""


@contextmanager
def computing_ahead(study: Study) -> Iterator[None]:
    """Runs the second process as long as the context lasts, where `processes` allows it.

    A one-shot log has too little to do for a second process. Both processes share the cores evenly. Memory: that of a
    second run, about 1.5 GiB on 8,000 customers x 28 days.

    Args:
        study: the run, whose data stage is finished.
    """
    config = study.config
    if config.processes < 2 or study.is_one_shot:
        yield
        return
    threads = torch.get_num_threads()
    shared = max(1, threads // 2)
    context = multiprocessing.get_context("spawn")  # a forked process would inherit locked threads
    helper = context.Process(target=_compute, args=(config, shared, os.getpid()), daemon=True)
    helper.start()
    torch.set_num_threads(shared)
    try:
        yield
    finally:
        helper.terminate()
        helper.join()
        torch.set_num_threads(threads)


def _compute(config: RunConfig, threads: int, parent: int) -> None:
    from scripts.pipeline.pipeline import open_study

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the run ends this process when it ends itself
    torch.set_num_threads(threads)
    try:
        with tempfile.TemporaryDirectory() as folder:
            for _ in _stages(open_study(config, Path(folder))):
                if os.getppid() != parent:
                    return
    except Exception:  # the run meets the same fault in the same stage, and says it
        return


def _stages(study: Study) -> Iterator[object]:
    """Computes what PPO's training does not wait for, in the order in which the run asks for it."""
    judge = network_stage(study, JUDGE)
    yield judge
    yield network_stage(study, "all")
    train, incumbent = network_stage(study, TRAIN), incumbent_stage(study)
    yield incumbent
    agents = {}
    for name in (name for name in trained_names(study) if name != SLOWEST):
        agents[name] = agent_stage(study, name, train, incumbent)
        yield agents[name]
    for name in (INCUMBENT, *plain_rules(study), *agents):
        yield worlds_stage(study, name, agents, train, judge, incumbent)
