"""How far a batch is: live on a terminal, and now and then a line anywhere else."""

from __future__ import annotations

import asyncio
import logging
import math
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from ..terminal import in_options, make_console, one_line

if TYPE_CHECKING:
    from types import TracebackType

    from ... import Batch
    from ..._values.batches import BatchProgress

__all__ = ["Display", "counted", "paced"]

PAUSE: Final = 30.0
"""Seconds between lines where there is no terminal, while rows come to their end."""
STILL: Final = 300.0
"""Seconds between lines there while no row does."""
REFRESH: Final = 10.0
"""Seconds between looks at the batch on a terminal: seldom, since the time left grows until the next row is over."""


def counted(progress: BatchProgress) -> str:
    """Progress in words."""
    over = progress.done + progress.failed + progress.unknown
    gone = progress.total is not None and over + progress.running > progress.total
    total = "" if progress.total is None or gone else f" of {progress.total:,}"
    parts = [f"{over:,}{total} rows: {progress.done:,} done"]
    parts += [
        f"{count:,} {what}"
        for what, count in (("failed", progress.failed), ("unknown", progress.unknown), ("running", progress.running))
        if count
    ]
    said = ", ".join(parts)
    # With --key, the rows of a file come and go; the store keeps them all.
    return f"{said}; the file had {progress.total:,} when it was last run" if gone else said


def paced(progress: BatchProgress) -> str:
    """The rate and the time left in words; empty where there is neither."""
    rate, left = progress.rate, progress.seconds_left
    parts = []
    if rate:
        parts.append(f"{rate:.1f} rows/s" if rate >= 1 else f"{rate * 60:.1f} rows/min")
    if left:
        parts.append(f"{timedelta(seconds=math.ceil(left))} left")
    return ", ".join(parts)


class Display:
    """Shows on stderr how far a batch is, as long as its ``with`` block lasts."""

    def __init__(self) -> None:
        console = make_console(sys.stderr)
        self._live: Progress | None = None
        if console.is_terminal:
            pace = TextColumn("{task.fields[pace]}")
            columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), pace
            self._live = Progress(*columns, console=console, transient=True)
            self._task = self._live.add_task("", total=None, pace="")
        self._said_at = time.monotonic()
        self._has_told = False  # how far it is, since it was last looked at
        self._warnings = _Warnings()

    def __enter__(self) -> Self:
        logging.getLogger("toolhouse_async").addHandler(self._warnings)
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
        logging.getLogger("toolhouse_async").removeHandler(self._warnings)

    def show(self, progress: BatchProgress) -> None:
        """Show how far it is now."""
        if self._live is not None:
            over = progress.done + progress.failed + progress.unknown
            trouble = f"{progress.failed:,} failed, {progress.unknown:,} unknown"
            self._live.update(
                self._task, completed=over, total=progress.total, description=trouble, pace=paced(progress)
            )
        elif time.monotonic() > self._said_at + PAUSE:
            self._tell(progress)

    @contextmanager
    def following(self, batch: Batch) -> Generator[None]:
        """Show how far a batch is while none of its rows comes to its end, too."""
        self._look_later(batch)
        try:
            yield
        finally:
            self._timer.cancel()

    def _look_later(self, batch: Batch) -> None:
        pause = STILL if self._live is None else REFRESH
        self._timer = asyncio.get_running_loop().call_later(pause, self._look, batch)

    def _look(self, batch: Batch) -> None:
        self._look_later(batch)
        if self._live is not None:
            self.show(batch.progress)
        elif not self._has_told:
            self._tell(batch.progress)
        self._has_told = False

    def _tell(self, progress: BatchProgress) -> None:
        self._said_at, self._has_told = time.monotonic(), True
        self.say(", ".join(filter(None, (counted(progress), paced(progress)))))

    @staticmethod
    def say(text: str) -> None:
        """Say something in a line of its own."""
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


class _Warnings(logging.Handler):
    """Says what the library warns of: that the service or the store is away; an error that many rows meet with once."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._errors: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        if record.name != "toolhouse_async":
            return
        said = one_line(in_options(record.getMessage()), 300)
        if said in self._errors:
            return
        if record.levelno >= logging.ERROR:  # a warning may be said anew, as of the next outage
            self._errors.add(said)
        Display.say(said)
