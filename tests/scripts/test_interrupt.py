"""An interrupt ends the run even where something on its way swallowed it."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator

import pytest

from scripts.pipeline.interrupt import end_if_asked, listen
from scripts.pipeline.progress import StageProgress


@pytest.fixture(autouse=True)
def own_handler() -> Iterator[None]:
    """Puts the handler back afterwards."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_swallowed_interrupt_ends_the_stage_at_its_next_step() -> None:
    listen()
    with StageProgress("stage") as progress:
        progress.update(1, 3)
        with contextlib.suppress(BaseException):  # as careless libraries do
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            progress.update(2, 3)
        progress.update(3, 3)  # once is enough


def test_without_an_interrupt_nothing_ends() -> None:
    listen()
    end_if_asked()
