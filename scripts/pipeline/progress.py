"""A progress bar a stage on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from scripts.pipeline.interrupt import end_if_asked

log = logging.getLogger("campaign")
SILENCE_SECONDS = 20.0
"""Without a terminal, a long stage speaks at most this often."""


class StageProgress:
    """Shows how far a stage is.

    Args:
        name: of the stage.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.console = Console(stderr=True)
        self.bar: Progress | None = None
        self.task = None
        self.spoke = time.monotonic()

    def __enter__(self) -> StageProgress:
        end_if_asked()
        if self.console.is_terminal:
            self.bar = Progress(
                TextColumn("[bold]{task.description:<28}"),
                BarColumn(bar_width=32),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=self.console,
            )
            self.bar.start()
            self.task = self.bar.add_task(self.name, total=None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar is not None:
            self.bar.stop()

    def update(self, done: int, total: int, what: str = "") -> None:
        """Says that `done` of `total` steps are behind."""
        end_if_asked()
        if self.bar is not None and self.task is not None:
            self.bar.update(self.task, completed=done, total=total, description=f"{self.name} {what}".strip())
        elif time.monotonic() - self.spoke > SILENCE_SECONDS:
            self.spoke = time.monotonic()
            log.info("stage %s: %s of %s %s", self.name, f"{done:,}", f"{total:,}", what)

    def note(self, text: str) -> None:
        """A line that stays."""
        log.info("stage %s: %s", self.name, text)
        sys.stderr.flush()
