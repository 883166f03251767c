"""An interrupt that is not lost: where a library swallows the exception, the run ends at its next step all the same."""

from __future__ import annotations

import signal
import threading
from types import FrameType

_asked = threading.Event()


def listen() -> None:
    """Notes every interrupt of this process from now on, besides raising it."""
    signal.signal(signal.SIGINT, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    _asked.set()
    raise KeyboardInterrupt


def end_if_asked() -> None:
    """Called at every step of long work.

    Raises:
        KeyboardInterrupt: where an interrupt was noted, once.
    """
    if _asked.is_set():
        _asked.clear()
        raise KeyboardInterrupt
